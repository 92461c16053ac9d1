"""The messages of a transcript, in every shape that they come in, made into turns.

The shapes: OpenCX's history items (reference: ``GET /chat/sessions/{id}/history``), the same without ``event``, and
flat ``{role, text, at, name}``.
"""

from typing import Any

from pydantic import ValidationError, ValidationInfo, field_validator

from shared.handoff.fields import Model, Moment, Text
from shared.handoff.model import Attachment, Turn
from shared.handoff.text import clean
from shared.handoff.transcript import in_order, role_of

MAX_TURNS = 50_000

_MESSAGE_TYPES = frozenset({"message", "text"})


class _Attachment(Model):
    name: Text = None
    url: Text = None


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
    turns = []
    for item in items:
        flat = _flatten(item)
        if isinstance(flat, dict):
            try:
                turns.append(Message.model_validate(flat).to_turn())
            except ValidationError:
                continue  # an event without text, or a shape of tomorrow: nothing a rep could read
    return in_order(turns)


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


def _flatten(item: object) -> object:
    """One transcript item in the flat shape; None for an item that is not a message, or says nothing.

    Only in OpenCX's own shapes may an item say nothing: nobody can correct those. Whoever writes flat items is told.
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
    attachments = event.get("attachments")
    is_opencx = "event" in item or ("role" not in event and ("sender" in event or "content" in event))
    if not attachments and is_opencx and not (isinstance(text, str) and text.strip()):
        return None
    sender = event.get("sender")
    flat: dict[str, Any] = {"at": item.get("created_at", item.get("at")), "attachments": attachments}
    flat["text"] = "" if text is None and attachments else text
    if isinstance(sender, dict):
        flat["role"], flat["name"] = sender.get("type") or "unknown", sender.get("name")
    else:
        flat["role"], flat["name"] = event.get("role", sender) or "unknown", event.get("name")
    return flat
