"""The fields of a request: what each may hold, as types that pydantic checks.

A check raises ValueError with words that follow the field's name: "must be text", "is not an e-mail address".
"""

import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import email_validator
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.handoff import channel as channels
from shared.handoff.model import Scalar
from shared.handoff.text import clean

MAX_PROPERTIES = 200

# A company's own mail may live under .local or .test; this is the library's documented way to allow that.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}(@odata\.bind)?")
_FIRST_YEAR, _LAST_YEAR = 1971, 2100
_FIRST_SECOND = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp()
_END_SECOND = datetime(_LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()
_WHOLE_NUMBER = re.compile(r"\s*(\d{1,9})(?:\.0*)?\s*")


class Model(BaseModel):
    """A part of a request: types are not guessed at, and what is not known is ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)


def _blank_is_absent(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _printable(value: str) -> str:
    value = value.strip()
    if not 1 <= len(value) <= 128 or not value.isprintable():
        raise ValueError("must be 1 to 128 printable characters")
    return value


def _identifier(value: str) -> str:
    value = _printable(value)
    if value in (".", ".."):  # ids stand in the paths of addresses, where these are resolved even when quoted
        raise ValueError("must not be . or ..")
    return value


def _channel(value: object) -> object:
    if isinstance(value, dict):
        if not isinstance(value.get("type"), str):
            raise ValueError('must be a name or an object like {"type": "web"}')  # noqa: TRY004 - pydantic's way
        value = value["type"]
    if isinstance(value, str):
        return channels.normalise(_printable(value)) if value.strip() else None
    return value


def _email(value: str) -> str:
    try:
        checked = email_validator.validate_email(
            value.strip(), check_deliverability=False, allow_quoted_local=True, globally_deliverable=False
        )
    except email_validator.EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    return checked.normalized


def _moment(value: object) -> datetime | None:
    """A time in UTC; one before 1971 is none: 0001-01-01 and 1970-01-01 are what programs write for "not set"."""
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a date and time in ISO 8601, such as 2026-01-31T09:30:00Z")  # noqa: TRY004
    try:
        parsed = datetime.fromisoformat(value.strip())
        if parsed.year < _FIRST_YEAR:  # first, for the year 1 has no UTC east of Greenwich
            return None
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a date and time in ISO 8601, such as 2026-01-31T09:30:00Z") from None


def likely_moment(value: object) -> datetime | None:
    """A time of 1971 to 2100 in UTC, as text or as seconds or milliseconds since 1970; None for all else."""
    if isinstance(value, int | float):  # True is 1, and thereby no time
        return next((datetime.fromtimestamp(value / unit, UTC) for unit in (1, 1000) if _is_likely(value, unit)), None)
    try:
        moment = _moment(value)
    except ValueError:
        return None
    return moment if moment is not None and moment.year <= _LAST_YEAR else None


def _is_likely(number: float, unit: int) -> bool:
    return _FIRST_SECOND * unit <= number < _END_SECOND * unit


def _guid(value: str) -> str:
    try:
        return str(uuid.UUID(value.strip()))
    except ValueError:
        raise ValueError("must be a GUID, such as 56ae8258-4878-e511-80d4-00155d2a68d1") from None


def _owner(value: str) -> str:
    match = re.fullmatch(r"(systemusers|teams)\((.*)\)", value.strip())
    return f"{match[1]}({_guid(match[2])})" if match else _guid(value)


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>\"\x00-\x1f]{1,2000}", value.strip()):
        raise ValueError("must be an http or https address")
    return value.strip()


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _priority(value: object) -> object:
    """A whole number also where a template wrote it as text, or a language without integers as 2.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _WHOLE_NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else _blank_is_absent(value)


def properties(value: dict[str, Any]) -> dict[str, Scalar]:
    """Check ``ticket_properties``: Dataverse column names with plain values (one level, nothing nested)."""
    for name, entry in value.items():
        if not _COLUMN.fullmatch(name):
            raise ValueError(f"has no valid column name in '{clean(name)[:60]}'")
        if isinstance(entry, dict | list):
            raise ValueError(f"must hold plain values: '{name}' is nested")  # noqa: TRY004 - pydantic's way
        if name.endswith("@odata.bind") and not isinstance(entry, str):
            raise ValueError(f"must bind '{name}' to text such as /accounts(guid)")
    return value


Text = Annotated[str | None, BeforeValidator(_blank_is_absent)]
Guid = Annotated[Annotated[str, AfterValidator(_guid)] | None, BeforeValidator(_blank_is_absent)]
Identifier = Annotated[str, AfterValidator(_identifier)]
OptionalIdentifier = Annotated[Identifier | None, BeforeValidator(_blank_is_absent)]
Channel = Annotated[str | None, BeforeValidator(_channel)]
Email = Annotated[Annotated[str, AfterValidator(_email)] | None, BeforeValidator(_blank_is_absent)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Owner = Annotated[Annotated[str, AfterValidator(_owner)] | None, BeforeValidator(_blank_is_absent)]
WebAddress = Annotated[Annotated[str, AfterValidator(_web_address)] | None, BeforeValidator(_blank_is_absent)]
TextOrNumber = Annotated[Text, BeforeValidator(_number_as_text)]
Priority = Annotated[Annotated[int, Field(ge=1, le=4)] | None, BeforeValidator(_priority)]
Target = Annotated[str, Field(pattern=r"^(dynamics365|salesforce)$")]
Properties = Annotated[dict[str, Any], Field(max_length=MAX_PROPERTIES), AfterValidator(properties)]
