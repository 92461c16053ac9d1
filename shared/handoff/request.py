"""The request body of ``POST /api/handoff``: every shape that the contract allows, made into a `Handoff`.

The message shapes are OpenCX's (``GET /chat/sessions/{id}/history``), the same without ``event``, and flat.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from shared.errors import FieldError, InvalidRequest
from shared.handoff.fields import (
    Channel,
    Email,
    Guid,
    Identifier,
    Moment,
    OptionalIdentifier,
    Owner,
    Priority,
    Properties,
    Target,
    Text,
    TextOrNumber,
    WebAddress,
)
from shared.handoff.model import Attachment, Contact, Handoff, Turn
from shared.handoff.phone import e164
from shared.handoff.text import clean
from shared.handoff.transcript import in_order, role_of

MAX_DEPTH = 32
MAX_TURNS = 50_000

_MESSAGE_TYPES = frozenset({"message", "text"})
_NESTED = ("summary", "classification", "contact_reason", "sentiment", "user_sentiment", "reason", "language")


def parse_body(body: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        InvalidRequest: not UTF-8, not JSON, not an object, or nested too deeply.
    """
    try:
        data = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).", code="invalid_json") from None
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise InvalidRequest(message, code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise InvalidRequest("The body is not JSON: a number is out of range.", code="invalid_json") from None
    if not isinstance(data, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    _check_depth(data)
    return data


def parse(data: Mapping[str, Any], *, session_id: str | None = None, channel_may_be_read: bool = False) -> Handoff:
    """The handoff that a request body describes.

    Args:
        data: the body, as `parse_body` gives it.
        session_id: the value of header ``x-opencx-session-id``; the body's own wins.
        channel_may_be_read: whether a missing channel can still be read from OpenCX.

    Raises:
        InvalidRequest: with one detail for every wrong field.
    """
    merged = _merge(data, session_id)
    details: list[FieldError] = []
    try:
        body = _Body.model_validate(merged)
    except ValidationError as error:
        details = [_detail(item) for item in error.errors(include_url=False)]
        body = None
    failed = {detail.field for detail in details}
    if "session_id" not in failed and not merged.get("session_id"):
        message = "is missing: send session_id, conversation_id or the header x-opencx-session-id"
        details.append(FieldError("session_id", message))
    if "channel" not in failed and merged.get("channel") is None and not channel_may_be_read:
        message = "is missing: send web, sms, whatsapp, phone or email, or set OPENCX_API_KEY to have it read"
        details.append(FieldError("channel", message))
    if details or body is None:
        fields = ", ".join(sorted({detail.field for detail in details})[:8])
        count = f"{len(details)} field is" if len(details) == 1 else f"{len(details)} fields are"
        raise InvalidRequest(f"{count} wrong: {fields}.", details=tuple(details))
    return body.to_handoff()


def turns_of(items: list[Any]) -> tuple[Turn, ...]:
    """The messages of an OpenCX history, in order; what is not a message with content is skipped."""
    turns = []
    for item in items:
        flat = _flatten(item)
        if isinstance(flat, dict):
            try:
                turns.append(_Turn.model_validate(flat).to_turn())
            except ValidationError:
                continue  # an event without text, or a shape of tomorrow: nothing a rep could read
    return in_order(turns)


def contact_of(data: Mapping[str, Any]) -> Contact:
    """A contact as OpenCX's API gives it; what is malformed there is left out, for nobody can correct it."""
    kept: dict[str, Any] = {}
    for name in ("name", "email", "phone_number"):
        value = data.get(name) or data.get(f"non_verified_{name}")
        try:
            _Contact.model_validate({name: value})
        except ValidationError:
            continue
        kept[name] = value
    return _Contact.model_validate(kept).to_contact()


def _merge(data: Mapping[str, Any], session_id: str | None) -> dict[str, Any]:
    """The body with its aliases under their own names; a top-level field wins over ``handoff: {…}``."""
    merged = dict(data)
    nested = data.get("handoff")
    if isinstance(nested, dict):
        for name in _NESTED:
            if merged.get(name) in (None, "") and nested.get(name) is not None:
                merged[name] = nested[name]
    for name, alias in (("classification", "contact_reason"), ("sentiment", "user_sentiment")):
        if merged.get(name) in (None, ""):
            merged[name] = merged.get(alias)
    for candidate in (data.get("session_id"), data.get("conversation_id"), session_id):
        if candidate not in (None, ""):
            merged["session_id"] = candidate
            break
    return merged


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


class _Attachment(_Model):
    name: Text = None
    url: Text = None


class _Turn(_Model):
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
        return Turn(
            role=role_of(self.role),
            text=clean(self.text),
            at=self.at,
            name=self.name,
            attachments=tuple(Attachment(item.name, item.url) for item in self.attachments or ()),
        )


class _Contact(_Model):
    name: Text = None
    email: Email = None
    phone_number: Text = None
    external_id: TextOrNumber = None
    verified: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _phone_is_an_alias(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("phone_number") in (None, ""):
            return {**data, "phone_number": data.get("phone")}
        return data

    def to_contact(self) -> Contact:
        phone = clean(self.phone_number).strip() if self.phone_number else None
        return Contact(
            name=clean(self.name).strip() if self.name else None,
            email=self.email,
            phone=(e164(phone) or phone) if phone else None,
            external_id=self.external_id,
            verified=self.verified,
        )


def _flatten(item: object) -> object:
    """One transcript item in the flat shape; None for an item that is not a message."""
    if not isinstance(item, dict):
        return item
    event = item.get("event", item)
    if not isinstance(event, dict):
        return {"text": None}
    kind = event.get("type", "message")
    if isinstance(kind, str) and kind not in _MESSAGE_TYPES and "role" not in event:
        return None
    content = event.get("content")
    text = content.get("text") if isinstance(content, dict) else content
    sender = event.get("sender")
    attachments = event.get("attachments")
    flat: dict[str, Any] = {"at": item.get("created_at", item.get("at")), "attachments": attachments}
    flat["text"] = event.get("text") if text is None else text
    if flat["text"] is None and attachments:
        flat["text"] = ""
    if isinstance(sender, dict):
        flat["role"], flat["name"] = sender.get("type") or "unknown", sender.get("name")
    else:
        flat["role"], flat["name"] = event.get("role", sender) or "unknown", event.get("name")
    return flat


def _flatten_all(items: object) -> object:
    if not isinstance(items, list):
        return items
    if len(items) > MAX_TURNS:
        raise ValueError(f"has more than {MAX_TURNS} items")
    return [_flatten(item) for item in items]


class _Body(_Model):
    session_id: Identifier = "-"
    handoff_id: OptionalIdentifier = None
    channel: Channel = None
    summary: Text = None
    classification: Text = None
    sentiment: Text = None
    reason: Text = None
    language: Text = None
    contact: _Contact | None = None
    transcript: Annotated[list[_Turn | None] | None, BeforeValidator(_flatten_all)] = None
    priority: Priority | None = None
    queue_id: Guid = None
    workstream_id: Guid = None
    owner_id: Owner = None
    ticket_properties: Properties | None = None
    target: Target | None = None
    session_url: WebAddress = None
    ticket_number: TextOrNumber = None
    organization_id: Text = None
    custom_data: dict[str, Any] | None = None

    def to_handoff(self) -> Handoff:
        turns = None
        if self.transcript is not None:
            turns = in_order([turn.to_turn() for turn in self.transcript if turn is not None])
        return Handoff(
            handoff_id=self.handoff_id or self.session_id,
            session_id=self.session_id,
            channel=self.channel,
            contact=(self.contact or _Contact()).to_contact(),
            transcript=turns,
            summary=clean(self.summary).strip() if self.summary else None,
            classification=self.classification,
            sentiment=self.sentiment,
            reason=self.reason,
            language=self.language,
            priority=self.priority,
            queue_id=self.queue_id,
            workstream_id=self.workstream_id,
            owner_id=self.owner_id,
            ticket_properties=self.ticket_properties or {},
            target=self.target,
            session_url=self.session_url,
            ticket_number=self.ticket_number,
            organization_id=self.organization_id,
            custom_data=self.custom_data or {},
        )


_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "holds a broken character (a lone surrogate)",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_pattern_mismatch": "must be dynamics365 or salesforce",
    "greater_than_equal": "must be 1 to 4",
    "less_than_equal": "must be 1 to 4",
    "too_long": "has too many entries",
}


def _detail(error: ErrorDetails) -> FieldError:
    """A pydantic error in our words: the path as the caller wrote it, never the value."""
    kind = error["type"]
    message = str(error["ctx"]["error"]) if kind == "value_error" else _MESSAGES.get(kind, f"is wrong ({kind})")
    return FieldError(".".join(str(part) for part in error["loc"]) or "body", message)


def _refuse_constant(name: str) -> float:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.", code="invalid_json")


def _check_depth(data: dict[str, Any]) -> None:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()
