"""The bodies that the OpenCX API takes, field by field (reference: docs.open.cx/api-reference/chat-sessions)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.server import Request

CHANNELS = {
    "web",
    "email",
    "phone_voice",
    "slack",
    "sms",
    "whatsapp",
    "instagram",
    "messenger",
    "api",
    "web_voice",
}
_STATUSES = {"open", "closed_resolved", "closed_unresolved"}
_SEND = {"sender", "message", "contact", "custom_data", "agent", "should_take_over_session_from_ai"}
_MESSAGE = {"type", "text", "attachments"}
_ATTACHMENT = {"name", "url", "base64", "mime_type"}
_CONTACT = {"name", "email", "phone_number", "avatar_url", "custom_data"}
_AGENT = {"id", "name", "avatar_url"}
_PATCH = {
    "status",
    "generate_summary_and_sentiment_on_resolve",
    "reflect_status_change_for_integration",
    "session_closed_payload",
}
MADE = {
    "id",
    "channel",
    "contact",
    "language",
    "handoff",
    "history",
    "custom_data",
    "sentiment",
    "assist_mode",
}

Json = dict[str, Any]


class BadBodyError(ValueError):
    """A request body that OpenCX refuses; the text is its message."""


def parse(request: Request) -> Json:
    """The JSON object that a request carries. Raises BadBodyError."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise BadBodyError("Content-Type must be application/json")
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise BadBodyError(f"body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadBodyError("body must be an object")
    return body


def only(given: Mapping[str, Any], known: set[str], where: str) -> None:
    """Raises BadBodyError for the first field that is not known."""
    if unknown := sorted(set(given) - known):
        raise BadBodyError(f"{where}: property {unknown[0]} should not exist")


def _object(body: Json, name: str, known: set[str]) -> Json:
    value = body.get(name)
    if not isinstance(value, dict):
        raise BadBodyError(f"{name} must be an object")
    only(value, known, name)
    return value


def _flat(values: Mapping[str, Any], where: str, kinds: tuple[type, ...]) -> None:
    for name, value in values.items():
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise BadBodyError(f"{where}.{name} must be {names}, not nested")


def item_of(given: Mapping[str, Any], now: str) -> Json:
    """A history item with what every item has. Raises BadBodyError without an event."""
    item: Json = {"id": str(uuid.uuid4()), "created_at": now, **given}
    if "event" not in item:
        raise BadBodyError("history: an item needs event {type, sender, content}")
    return item


def check_send(body: Json) -> None:
    """The body of `POST …/send`. Raises BadBodyError."""
    only(body, _SEND, "body")
    sender = body.get("sender")
    if sender not in {"contact", "agent"}:
        raise BadBodyError("sender must be contact or agent")
    message = _object(body, "message", _MESSAGE)
    attachments = message.get("attachments") or []
    for attachment in attachments:
        only(attachment, _ATTACHMENT, "message.attachments")
    if message.get("type") != "text" or not (message.get("text") or attachments):
        raise BadBodyError("message must have type text and a text or attachments")
    for name, known in (("contact", _CONTACT), ("agent", _AGENT)):
        if name in body:
            _object(body, name, known)
    _flat(body.get("custom_data") or {}, "custom_data", (str, int, float, bool))
    _flat((body.get("contact") or {}).get("custom_data") or {}, "contact.custom_data", (str,))


def check_patch(body: Json) -> None:
    """The body of `PATCH /chat/sessions/{id}`. Raises BadBodyError."""
    only(body, _PATCH, "body")
    if "status" in body and body["status"] not in _STATUSES:
        raise BadBodyError(f"status must be one of {', '.join(sorted(_STATUSES))}")
