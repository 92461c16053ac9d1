"""The messages of a transcript, in every shape that they come in, made into turns.

The shapes: OpenCX's history items (reference: ``GET /chat/sessions/{id}/history``), the same without ``event``, and
flat ``{role, text, at, name}``. Whoever writes flat ones is told what is wrong. OpenCX's own nobody can correct: a part
of another shape costs that part there, and never the words.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError, ValidationInfo, field_validator

from shared.handoff.fields import Model, Moment, Text, likely_moment
from shared.handoff.model import Attachment, Turn
from shared.handoff.text import clean
from shared.handoff.transcript import in_order, role_of

MAX_TURNS = 50_000

_MESSAGE_TYPES = frozenset({"message", "text"})


class _Attachment(Model):
    name: Text = None
    url: Text = None
    type: Any = None
    mime_type: Any = None

    @property
    def content_type(self) -> str | None:
        """Its media type, where it has one."""
        return next((kind for kind in (self.type, self.mime_type) if isinstance(kind, str) and kind), None)


class Message(Model):
    """One message in the flat shape."""

    role: str = "unknown"
    name: Text = None
    attachments: list[_Attachment] | None = None
    text: str
    at: Moment = None

    @field_validator("text")
    @classmethod
    def _has_content(cls, text: str, info: ValidationInfo) -> str:
        if not text.strip() and not info.data.get("attachments"):
            raise ValueError("is empty: a message needs text or an attachment")
        return text

    def to_turn(self) -> Turn:
        """The turn that it is."""
        return Turn(
            role=role_of(self.role),
            text=clean(self.text),
            at=self.at,
            name=self.name,
            attachments=tuple(Attachment(item.name, item.url) for item in self.attachments or ()),
        )


def turns_of(items: list[Any]) -> tuple[Turn, ...]:
    """The messages of an OpenCX history, in order; what is not a message with content is skipped."""
    return in_order([message.to_turn() for message in map(message_of, items) if message is not None])


def message_of(item: object) -> Message | None:
    """The message that an item of OpenCX's history is; None: an event, or a shape of tomorrow."""
    flat = _flatten(item, is_opencx=True)
    if not isinstance(flat, dict):
        return None
    try:
        return Message.model_validate(flat)
    except ValidationError:
        return None


def time_of(item: object) -> datetime | None:
    """When an item of OpenCX's history was written; None: it does not say, or what it says cannot be."""
    if not isinstance(item, dict):
        return None
    created_at = item.get("created_at")
    return likely_moment(item.get("at") if created_at is None else created_at)


def flatten_all(items: object) -> object:
    """A request's transcript in the flat shape, with None for what is skipped; what is no list stays as it is.

    Raises:
        ValueError: it has too many items.
    """
    if not isinstance(items, list):
        return items
    if len(items) > MAX_TURNS:
        raise ValueError(f"has more than {MAX_TURNS} items")
    return [_flatten(item) for item in items]


def _flatten(item: object, *, is_opencx: bool = False) -> object:
    """One transcript item in the flat shape; None for an item that is not a message, or says nothing.

    Only in OpenCX's own shapes may an item say nothing; ``is_opencx``: all of them are, for OpenCX has sent it.
    """
    if not isinstance(item, dict):
        return item
    event = item.get("event", item)
    if not isinstance(event, dict):
        return None
    kind = event.get("type", "message")
    if isinstance(kind, str) and kind not in _MESSAGE_TYPES and "role" not in event:
        return None
    content = event.get("content")
    text = content.get("text") if isinstance(content, dict) else content
    text = event.get("text") if text is None else text
    if is_opencx or "event" in item or ("role" not in event and ("sender" in event or "content" in event)):
        return _mended(item, event, text)
    role, name = _speaker(event)
    attachments = event.get("attachments")
    return {
        "role": role,
        "name": name,
        "attachments": attachments,
        "text": "" if text is None and attachments else text,
        "at": item.get("created_at", item.get("at")),
    }


def _mended(item: Mapping[str, Any], event: Mapping[str, Any], text: object) -> dict[str, Any] | None:
    """An item of OpenCX's in the flat shape, without its parts that have another shape; None: nothing is left."""
    given = event.get("attachments")
    attachments = [
        {**each, "name": _words(each.get("name")), "url": _words(each.get("url"))}
        for each in (given if isinstance(given, list) else ())
        if isinstance(each, dict)
    ]
    words = _words(text) or ""
    if not attachments and not words.strip():
        return None
    role, name = _speaker(event)
    return {
        "role": _words(role) or "unknown",
        "name": _words(name),
        "attachments": attachments,
        "text": words,
        "at": time_of(item),
    }


def _speaker(event: Mapping[str, Any]) -> tuple[Any, Any]:
    """The role and the name of whoever says it."""
    sender = event.get("sender")
    if isinstance(sender, dict):
        return sender.get("type") or "unknown", sender.get("name")
    return event.get("role", sender) or "unknown", event.get("name")


def _words(value: object) -> str | None:
    """Text that can be handed on; None for what is no text."""
    return clean(value) if isinstance(value, str) else None
