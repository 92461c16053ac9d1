"""The body of conversation/create, field by field (reference: "Create conversation" of the Messaging APIs).

Stricter than documented where the documentation is silent: an unknown field is refused, and lengths without a
code of their own are 30012.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.dynamics_messaging.refusals import TOO_MUCH_CONTEXT, RefusalError, malformed

Json = dict[str, Any]

MAX_NAME = 200
MAX_VARIABLES = 100
MAX_VARIABLE_NAME = 100
MAX_VARIABLE_VALUE = 4_000
MAX_START_BYTES = 27 * 1024
_CUSTOMER = {"customerid", "firstname", "lastname", "preferredname", "email", "phonenumber"}
_TOP = {"customercontext", "conversationcontext", "conversationrequestid", "startmessage", "skipdeflectionbot"}
_START = {"message", "displayname"}


@dataclass(frozen=True)
class Creation:
    """A checked create call.

    Attributes:
        customer: the customer context, without empty values.
        context: variables by name: value and whether it may be shown.
        request_id: `conversationrequestid`.
        start_message: as given; None when there is none.
        is_bot_skipped: `skipdeflectionbot`.
    """

    customer: dict[str, str]
    context: dict[str, tuple[Any, bool]] = field(default_factory=dict)
    request_id: str = ""
    start_message: Json | None = None
    is_bot_skipped: bool = False


def decode(body: bytes, content_type: str) -> Json:
    """The JSON object that a POST needs. Raises RefusalError 400/30012."""
    if not content_type.lower().startswith("application/json"):
        raise malformed(f"A content type of application/json is needed, not '{content_type}'.")
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise malformed(f"The request body is not JSON: {error}.") from error
    if not isinstance(decoded, dict):
        raise malformed("The request body must be a JSON object.")
    return decoded


def check(body: Json) -> Creation:
    """Reads a create call. Raises RefusalError 400."""
    only(body, _TOP, "the request body")
    customer = part(body, "customercontext")
    only(customer, _CUSTOMER, "customercontext")
    for name, value in customer.items():
        _text(value, f"customercontext.{name}", MAX_NAME)
    skip = body.get("skipdeflectionbot", False)
    if not isinstance(skip, bool):
        raise malformed("skipdeflectionbot must be true or false.")
    return Creation(
        {name: value for name, value in customer.items() if value},
        variables(part(body, "conversationcontext")),
        _text(body.get("conversationrequestid", ""), "conversationrequestid", MAX_NAME),
        _start(part(body, "startmessage")) if "startmessage" in body else None,
        skip,
    )


def variables(given: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Context variables: at most 100 of `{isDisplayable, value}`. Raises RefusalError 400."""
    if len(given) > MAX_VARIABLES:
        raise RefusalError(400, TOO_MUCH_CONTEXT, f"The context has more than {MAX_VARIABLES} entries.")
    found: dict[str, tuple[Any, bool]] = {}
    for name, entry in given.items():
        if not name or len(name) > MAX_VARIABLE_NAME:
            raise malformed(f"The name of a context variable must have 1 to {MAX_VARIABLE_NAME} characters.")
        if not isinstance(entry, dict) or set(entry) != {"isDisplayable", "value"}:
            raise malformed(f"The context variable {name} must have isDisplayable and value, and nothing else.")
        if not isinstance(entry["isDisplayable"], bool):
            raise malformed(f"isDisplayable of the context variable {name} must be true or false.")
        found[name] = (variable(name, entry["value"]), entry["isDisplayable"])
    return found


def variable(name: str, value: object) -> Any:
    """The value of a context variable: text, number or Boolean. Raises RefusalError 400."""
    if not isinstance(value, str | int | float | bool):
        raise malformed(f"The value of the context variable {name} must be a text, a number or a Boolean.")
    if isinstance(value, str) and units(value) > MAX_VARIABLE_VALUE:
        raise malformed(f"The value of the context variable {name} is longer than {MAX_VARIABLE_VALUE} characters.")
    return value


def only(given: Mapping[str, Any], known: set[str], what: str) -> None:
    """Raises RefusalError 400 for a field that is not known."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise malformed(f"{unknown[0]} is no field of {what}.")


def part(body: Mapping[str, Any], name: str) -> Json:
    """An object inside the body; empty when it is not there. Raises RefusalError 400."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise malformed(f"{name} must be an object.")
    return value


def units(text: str) -> int:
    """Length as .NET counts it, in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _text(value: object, name: str, limit: int) -> str:
    if not isinstance(value, str):
        raise malformed(f"{name} must be a text.")
    if units(value) > limit:
        raise malformed(f"{name} is longer than {limit} characters.")
    return value


def _start(given: Json) -> Json:
    only(given, _START, "startmessage")
    message = given.get("message")
    if not isinstance(message, str) or not message:
        raise malformed("startmessage.message must be a text.")
    if len(message.encode("utf-8", "surrogatepass")) > MAX_START_BYTES:
        raise malformed(f"startmessage.message is larger than {MAX_START_BYTES // 1024} KB.")
    _text(given.get("displayname", ""), "startmessage.displayname", MAX_NAME)
    return given
