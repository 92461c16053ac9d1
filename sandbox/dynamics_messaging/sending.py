"""The body of an activity from the customer's side (reference: "Send activity" of the Messaging APIs).

Stricter than documented where the documentation is silent: `channelId` and `conversation.id` must be there.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlsplit

from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.creation import part, units, variable, variables
from sandbox.dynamics_messaging.refusals import (
    INVALID_CHANNEL,
    INVALID_CONVERSATION,
    INVALID_OPERATION,
    NO_CONTENT,
    TEXT_TOO_LONG,
    RefusalError,
    malformed,
)

Json = dict[str, Any]

MAX_TEXT = 6_000
MAX_STRING = 256
AUTOMATED = "AutomatedMessage"
READ = "MessageRead"
KINDS = {"message", "typing", "endOfConversation", "event"}
# Some of the extensions that "Set blocked file extensions" of System Settings has at first.
BLOCKED = {"bat", "cmd", "com", "dll", "exe", "hta", "jar", "js", "msi", "ps1", "scr", "sh", "vbs", "wsf"}


def check(activity: Json, conversation_id: str, channel: Channel, max_bytes: int) -> str:
    """Checks what every activity needs, and what its type needs; its type. Raises RefusalError 400."""
    kind = activity.get("type")
    if not isinstance(kind, str):
        raise malformed("type must be a text.")
    if kind not in KINDS:
        raise RefusalError(400, INVALID_OPERATION, f"Activities of type '{kind}' are not supported.")
    if str(activity.get("channelId", "")).lower() != channel.id.lower():
        raise RefusalError(400, INVALID_CHANNEL, "channelId is not the channel of the request.")
    if str(part(activity, "conversation").get("id", "")).lower() != conversation_id:
        raise RefusalError(400, INVALID_CONVERSATION, "conversation.id is not the conversation of the request.")
    sender = part(activity, "from")
    for name, value in (("id", activity.get("id")), ("from.id", sender.get("id")), ("from.name", sender.get("name"))):
        _short(name, value)
    if kind == "message":
        _message(activity, channel, max_bytes)
    return kind


def is_automated(activity: Json) -> bool:
    """Whether a message is marked as automated."""
    mark = part(activity, "channelData").get("messagingapi-oc")
    return isinstance(mark, dict) and mark.get("type") == AUTOMATED


def event_variables(activity: Json) -> dict[str, tuple[Any, bool]]:
    """The context variables of a custom event. Raises RefusalError 400 for any other event."""
    data = part(activity, "channelData")
    name = activity.get("name")
    if not name or data.get("customEvent") is not True or data.get("customEventName") != name:
        raise RefusalError(400, INVALID_OPERATION, f"The event '{name}' is not supported.")
    value = data.get("customEventValue", "{}")
    if not isinstance(value, str):
        raise malformed("channelData.customEventValue must be JSON as a text.")
    try:
        given = json.loads(value)
    except ValueError as error:
        raise malformed(f"channelData.customEventValue is not JSON: {error}.") from error
    if not isinstance(given, dict):
        raise malformed("channelData.customEventValue must hold an object.")
    plain = {key: (variable(key, one), False) for key, one in given.items() if not isinstance(one, dict)}
    return variables({key: one for key, one in given.items() if isinstance(one, dict)}) | plain


def _message(activity: Json, channel: Channel, max_bytes: int) -> None:
    text, attachments = activity.get("text"), activity.get("attachments")
    if text is not None and not isinstance(text, str):
        raise malformed("text must be a text.")
    if attachments is not None and not isinstance(attachments, list):
        raise malformed("attachments must be a list.")
    if not text and not attachments:
        raise RefusalError(400, NO_CONTENT, "The message has neither text nor attachments.")
    if text and units(text) > MAX_TEXT:
        raise RefusalError(400, TEXT_TOO_LONG, f"The text is longer than {MAX_TEXT} characters.")
    if attachments and not channel.attachments_from_customers:
        raise RefusalError(400, INVALID_OPERATION, "File attachments from customers are not enabled.")
    for attachment in attachments or ():
        _attachment(attachment, max_bytes)


def _attachment(attachment: object, max_bytes: int) -> None:
    if not isinstance(attachment, dict):
        raise malformed("An attachment must be an object.")
    for name in ("contentType", "name"):
        if not attachment.get(name):
            raise malformed(f"{name} of an attachment is missing.")
        _short(f"attachments.{name}", attachment[name])
    name = str(attachment["name"])
    if name.rpartition(".")[2].lower() in BLOCKED:
        raise RefusalError(400, INVALID_OPERATION, f"Files like '{name[-20:]}' are blocked.")
    address = attachment.get("contentUrl")
    if not isinstance(address, str):
        raise malformed("contentUrl of an attachment must be a text.")
    if address.startswith("data:"):
        _embedded(address, max_bytes)
    elif urlsplit(address).scheme != "https" or not urlsplit(address).hostname:
        raise malformed("contentUrl of an attachment must be an https URL or a data URI.")


def _embedded(address: str, max_bytes: int) -> None:
    head, comma, content = address.partition(",")
    if not comma or not head.endswith(";base64"):
        raise malformed("The data URI of an attachment must be in base64.")
    try:
        decoded = base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise malformed(f"The data URI of an attachment is not base64: {error}.") from error
    if len(decoded) > max_bytes:
        raise RefusalError(400, INVALID_OPERATION, f"The file is larger than {max_bytes} bytes.")


def _short(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise malformed(f"{name} must be a text.")
    if units(value) > MAX_STRING:
        raise malformed(f"{name} is longer than {MAX_STRING} characters.")
