"""The request body of ``POST /api/handoff``: every shape that the contract allows, made into a `Handoff`.

The shapes of a message are in `shared.handoff.message`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from shared.errors import FieldError, InvalidRequest
from shared.handoff.fields import (
    Channel,
    Email,
    Guid,
    Identifier,
    Model,
    OptionalIdentifier,
    Owner,
    Priority,
    Properties,
    Target,
    Text,
    TextOrNumber,
    WebAddress,
)
from shared.handoff.message import Message, flatten_all
from shared.handoff.model import Contact, Handoff
from shared.handoff.phone import e164
from shared.handoff.text import clean, parse_json
from shared.handoff.transcript import in_order

MAX_DEPTH = 32

_NESTED = ("summary", "classification", "contact_reason", "sentiment", "user_sentiment", "reason", "language")


def parse_body(body: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        InvalidRequest: not UTF-8, not JSON, not an object, or nested too deeply.
    """
    try:
        data = parse_json(body.decode("utf-8-sig"))
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


def parse(
    data: Mapping[str, Any],
    *,
    session_id: str | None = None,
    channel_may_be_read: bool | Callable[[], bool] = False,
) -> Handoff:
    """The handoff that a request body describes.

    Args:
        data: the body, as `parse_body` gives it.
        session_id: the value of header ``x-opencx-session-id``; the body's own wins.
        channel_may_be_read: whether a missing channel can still be read from OpenCX; asked only when it is missing.

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
    if "session_id" not in merged:
        message = "is missing: send session_id, conversation_id or the header x-opencx-session-id"
        details.append(FieldError("session_id", message))
    if "channel" not in failed and _has_no_channel(merged) and not _holds(channel_may_be_read):
        message = "is missing: send web, sms, whatsapp, phone or email, or set OPENCX_API_KEY to have it read"
        details.append(FieldError("channel", message))
    if details or body is None:
        fields = ", ".join(sorted({detail.field for detail in details})[:8])
        count = f"{len(details)} field is" if len(details) == 1 else f"{len(details)} fields are"
        raise InvalidRequest(f"{count} wrong: {fields}.", details=tuple(details))
    return body.to_handoff()


def contact_of(data: Mapping[str, Any]) -> Contact:
    """A contact as OpenCX's API gives it; what is malformed there is left out, for nobody can correct it.

    ``verified`` is False when its e-mail address comes from ``non_verified_email``, else unknown.
    """
    kept: dict[str, Any] = {}
    for name in ("name", "email", "phone_number"):
        value = data.get(name) or data.get(f"non_verified_{name}")
        try:
            _Contact.model_validate({name: value})
        except ValidationError:
            continue
        kept[name] = value
    contact = _Contact.model_validate(kept).to_contact()
    return replace(contact, verified=False) if contact.email and not data.get("email") else contact


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
    merged.pop("session_id", None)
    for candidate in (data.get("session_id"), data.get("conversation_id"), session_id):
        if not _is_blank(candidate):
            merged["session_id"] = candidate
            break
    return merged


def _has_no_channel(merged: Mapping[str, Any]) -> bool:
    channel = merged.get("channel")
    return _is_blank(channel.get("type") if isinstance(channel, dict) else channel)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _holds(condition: bool | Callable[[], bool]) -> bool:
    return condition() if callable(condition) else condition


class _Contact(Model):
    name: Text = None
    email: Email = None
    phone_number: TextOrNumber = None
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


class _Body(Model):
    session_id: Identifier = "-"
    handoff_id: OptionalIdentifier = None
    channel: Channel = None
    summary: Text = None
    classification: Text = None
    sentiment: Text = None
    reason: Text = None
    language: Text = None
    contact: _Contact | None = None
    transcript: Annotated[list[Message | None] | None, BeforeValidator(flatten_all)] = None
    priority: Priority = None
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
