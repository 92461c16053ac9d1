"""The bodies that the messaging API takes. Its schema is strict: what it does not know is a 400."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce.model import Json
from sandbox.salesforce.refusal import Refused

NOT_API = "Set the esDeveloperName to a deploymentType that's set to api"
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z]{2,4})*")
_SENDING = {"isNewMessagingSession", "routingAttributes", "language"}


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client says of itself; `identity` is None for a guest."""

    org_id: str
    developer_name: str
    device_id: str | None
    identity: str | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What starts a conversation or a session."""

    attributes: Mapping[str, str]
    language: str


@dataclass(frozen=True, slots=True)
class Sending:
    """One message or file of a customer. `opening` is there when a new session is asked for."""

    id: str
    text: str
    reply_to: str | None = None
    file_id: str = ""
    opening: Opening | None = None


def parse(media_type: str, body: bytes) -> Json:
    """The JSON object of a body. Raises Refused (415, 400)."""
    if media_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Content-Type must be application/json")
    try:
        return _object(json.loads(body), "body")
    except ValueError as error:
        raise Refused(400, "Malformed JSON") from error


def token_request(body: Json, *, authenticated: bool) -> TokenRequest:
    """The body of a request for a token. Raises Refused (400)."""
    extra = {"authorizationType", "customerIdentityToken"} if authenticated else set()
    required = {"orgId", "esDeveloperName", "capabilitiesVersion", "platform"} | extra
    _only(body, "body", required=required, optional={"context", "deviceId", "captchaToken"})
    for name in required:
        _string(body[name], name)
    if body["platform"] not in {"Web", "Mobile"}:
        raise Refused(400, "platform must be Web or Mobile")
    if "context" in body:
        _only(_object(body["context"], "context"), "context", required=(), optional={"appName", "clientVersion"})
    if "deviceId" in body and body["platform"] == "Web":
        raise Refused(400, "deviceId is not allowed for platform Web")
    if authenticated and body["authorizationType"] != "JWT":
        raise Refused(400, "authorizationType must be JWT")
    return TokenRequest(
        org_id=body["orgId"],
        developer_name=body["esDeveloperName"],
        device_id=body.get("deviceId"),
        identity=body.get("customerIdentityToken"),
    )


def conversation(body: Json, *, developer_name: str, language_required: bool) -> tuple[str, Opening]:
    """The id and the opening in a create. Raises Refused (400)."""
    always = {"language"} if language_required else set()
    required = {"conversationId", "esDeveloperName"} | always
    _only(body, "body", required=required, optional={"routingAttributes", "language"} - always)
    given = uuid4(body["conversationId"], "conversationId")
    _deployment(body, developer_name)
    return given, Opening(_attributes(body), _language(body))


def message(body: Json, *, developer_name: str, max_chars: int) -> Sending:
    """The body of a message. `max_chars` counts UTF-16 units, as Java does. Raises Refused (400)."""
    _only(body, "body", required={"message", "esDeveloperName"}, optional=_SENDING)
    _deployment(body, developer_name)
    given = _object(body["message"], "message")
    required = {"id", "messageType", "staticContent"}
    _only(given, "message", required=required, optional={"inReplyToMessageId"})
    if given["messageType"] != "StaticContentMessage":
        raise Refused(400, "message.messageType must be StaticContentMessage")
    content = _object(given["staticContent"], "message.staticContent")
    _only(content, "message.staticContent", required={"formatType", "text"}, optional=())
    if content["formatType"] != "Text":
        raise Refused(400, "message.staticContent.formatType must be Text")
    words = _string(content["text"], "message.staticContent.text")
    if len(words.encode("utf-16-le")) // 2 > max_chars:
        raise Refused(400, f"message.staticContent.text is longer than {max_chars} characters")
    reply = given.get("inReplyToMessageId")
    return Sending(
        id=uuid4(given["id"], "message.id"),
        text=words,
        reply_to=None if reply is None else uuid4(reply, "message.inReplyToMessageId"),
        opening=_opening(body),
    )


def file_entry(body: Json, *, developer_name: str) -> Sending:
    """The part `messageEntry` of a file. Raises Refused (400)."""
    _only(body, "messageEntry", required={"message", "esDeveloperName"}, optional=_SENDING)
    _deployment(body, developer_name)
    given = _object(body["message"], "message")
    _only(given, "message", required={"id", "fileId"}, optional={"text", "inReplyToMessageId"})
    caption = given.get("text", "")
    if not isinstance(caption, str):
        raise Refused(400, "message.text must be a string")
    return Sending(
        id=uuid4(given["id"], "message.id"),
        text=caption,
        file_id=uuid4(given["fileId"], "message.fileId"),
        opening=_opening(body),
    )


def typing(body: Json) -> bool:
    """Whether the customer started to type; False for stopped. Raises Refused (400)."""
    _only(body, "body", required={"entryType", "id"}, optional=())
    uuid4(body["id"], "id")
    if body["entryType"] not in {"TypingStartedIndicator", "TypingStoppedIndicator"}:
        raise Refused(400, "entryType must be TypingStartedIndicator or TypingStoppedIndicator")
    return bool(body["entryType"] == "TypingStartedIndicator")


def acknowledgements(body: Json) -> list[tuple[str, str]]:
    """(Delivery or Read, entry identifier) of each receipt. Raises Refused (400)."""
    _only(body, "body", required={"acks"}, optional=())
    if not isinstance(body["acks"], list) or not body["acks"]:
        raise Refused(400, "acks must be a list that is not empty")
    found = []
    for one in body["acks"]:
        _only(_object(one, "acks"), "acks", required={"id", "entryType", "conversationEntryId"}, optional=())
        uuid4(one["id"], "acks.id")
        if one["entryType"] not in {"Delivery", "Read"}:
            raise Refused(400, "acks.entryType must be Delivery or Read")
        found.append((str(one["entryType"]), _string(one["conversationEntryId"], "acks.conversationEntryId")))
    return found


def uuid4(value: object, name: str) -> str:
    """The value, if it is a lower-case UUID of version 4. Raises Refused (400) with the documented text."""
    if not isinstance(value, str) or not _UUID4.fullmatch(value):
        text = f"Specify the {name} in UUID format. The UUID must be in lowercase."
        raise Refused(400, text)
    return value


def _opening(body: Json) -> Opening | None:
    wanted = body.get("isNewMessagingSession", False)
    if not isinstance(wanted, bool):
        raise Refused(400, "isNewMessagingSession must be a boolean")
    opening = Opening(_attributes(body), _language(body))
    if wanted and not {"routingAttributes", "language"} <= body.keys():
        raise Refused(400, "isNewMessagingSession needs routingAttributes and language")
    return opening if wanted else None


def _attributes(body: Json) -> dict[str, str]:
    given = _object(body.get("routingAttributes", {}), "routingAttributes")
    for name, value in given.items():
        if not isinstance(value, str):
            raise Refused(400, f"routingAttributes.{name} must be a string")
    return given


def _language(body: Json) -> str:
    if "language" not in body:
        return ""
    given = _string(body["language"], "language")
    if not _LANGUAGE.fullmatch(given):
        raise Refused(400, "language is not valid")
    return given


def _deployment(body: Json, developer_name: str) -> None:
    if body["esDeveloperName"] != developer_name:
        raise Refused(400, NOT_API)


def _object(value: Any, name: str) -> Json:
    if not isinstance(value, dict):
        raise Refused(400, f"{name} must be an object")
    return value


def _string(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise Refused(400, f"{name} must be a string that is not empty")
    return value


def _only(given: Json, where: str, *, required: Iterable[str], optional: Iterable[str]) -> None:
    needed = set(required)
    if unknown := sorted(given.keys() - needed - set(optional)):
        raise Refused(400, f"{where}: unrecognized property {unknown[0]}")
    if missing := sorted(needed - given.keys()):
        raise Refused(400, f"{where}: property {missing[0]} is required")
