"""What a refusal of the Messaging APIs means.

Facts: Microsoft's page "Error handling" of the Messaging APIs. It shows neither where the code 30001 to 30016 stands
in the body nor what a missing route looks like, so a code is looked up wherever it may stand.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.dynamics_messaging import MESSAGING
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure

_ENDED = 30013
_NUMBER = re.compile(r"300(?:0[1-9]|1[0-6])")
_NUMBER_IN_TEXT = re.compile(r"(?<![\w-])300(?:0[1-9]|1[0-6])(?![\w-])")
_PLACES = frozenset({"code", "errorcode"})
_NO_ROUTE = "routenotfound"
_DEEPEST = 6


@dataclass(frozen=True)
class _Fault:
    code: str
    message: str
    fix: str


_FAULTS = {
    30001: _Fault(
        code="messaging_organization_wrong",
        message="The Messaging APIs do not take the organization id (30001).",
        fix="Remove DYNAMICS_ORGANIZATION_ID, or set it to the OrganizationId that WhoAmI gives.",
    ),
    30002: _Fault(
        code="messaging_channel_wrong",
        message="The Messaging APIs do not take the channel id (30002).",
        fix="Set DYNAMICS_MESSAGING_CHANNEL_ID to the GUID of the row msdyn_occustommessagingchannel.",
    ),
    30004: _Fault(
        code="messaging_channel_missing",
        message="There is no channel of that id (30004).",
        fix="Make the row msdyn_occustommessagingchannel, and put its GUID into DYNAMICS_MESSAGING_CHANNEL_ID.",
    ),
    30014: _Fault(
        code="messaging_workstream_missing",
        message="The channel is not linked to a workstream (30014).",
        fix="In the admin center choose this channel in a workstream of type Messaging, channel Custom.",
    ),
}
_STATUSES = {
    401: _Fault(
        code="messaging_unauthorized",
        message="The Messaging APIs refuse the service's token for this channel (HTTP 401).",
        fix="Compare msdyn_appid and msdyn_tenantid of the channel row with DYNAMICS_CLIENT_ID and DYNAMICS_TENANT_ID, "
        "and DYNAMICS_MESSAGING_SCOPE with the organization id.",
    ),
    403: _Fault(
        code="messaging_forbidden",
        message="The Messaging APIs forbid a call (HTTP 403).",
        fix="Check that the channel is provisioned and licensed, and that it names this app registration.",
    ),
}
_URL = _Fault(
    code="messaging_url_wrong",
    message="DYNAMICS_MESSAGING_URL is not the address of the Messaging APIs.",
    fix="Take it from the data-org-url of any chat widget of the organization, with nothing after the host.",
)


def number_of(body: bytes) -> int | None:
    """The code 30001 to 30016 of an error answer; None when there is none."""
    data = _json(body)
    for name, value in _leaves(data):
        if name in _PLACES and _NUMBER.fullmatch(str(value)):
            return int(str(value))
    texts = [str(value) for _, value in _leaves(data)] if data is not None else [body[:4000].decode("utf-8", "replace")]
    found = next((match for match in map(_NUMBER_IN_TEXT.search, texts) if match), None)
    return int(found[0]) if found else None


def failure(
    status: int, body: bytes, *, retry_after_seconds: float | None, is_about_conversation: bool
) -> HandoffError:
    """What an answer other than 2xx means.

    Args:
        status: HTTP status.
        body: as it came.
        retry_after_seconds: what the answer asks for.
        is_about_conversation: whether the call named a conversation, so that 404 can mean that it has ended.
    """
    number = number_of(body)
    what = f"HTTP {status}{f', {number}' if number else ''}"
    fault = _FAULTS.get(number or 0) or (_URL if 300 <= status < 400 else _STATUSES.get(status))
    if fault is not None:
        return _configuration(fault)
    if number == _ENDED:
        return _ended()
    if status in (408, 409, 412, 425, 429) or status >= 500:
        return _transient(status, what, retry_after_seconds)
    if status == HTTPStatus.NOT_FOUND and number is None:
        return _not_found(body, is_about_conversation=is_about_conversation)
    message = f"The Messaging APIs refuse a call ({what})."
    return PermanentFailure(message, code="messaging_refused")


def _not_found(body: bytes, *, is_about_conversation: bool) -> HandoffError:
    """404 without a code. Whether a conversation has ended is not guessed: what ends it ends the session, too.

    Only a problem of the APIs' own (RFC 7807) about a conversation is taken for its end; a gateway's page is not.
    """
    data = _json(body)
    texts = " ".join(str(value) for _, value in _leaves(data)).lower()
    if not is_about_conversation or _NO_ROUTE in texts.replace(" ", ""):
        return _configuration(_URL)
    if isinstance(data, dict) and "conversation" in texts:
        return _ended()
    message = "The Messaging APIs answered HTTP 404 without saying what is missing."
    return TransientFailure(message, code="messaging_bad_answer", system=MESSAGING, is_unclear=False)


def _transient(status: int, what: str, retry_after_seconds: float | None) -> TransientFailure:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransientFailure(
            "The Messaging APIs ask to be called less often (HTTP 429).",
            code="messaging_throttled",
            system=MESSAGING,
            kind="throttled",
            retry_after_seconds=retry_after_seconds,
            is_unclear=False,
        )
    return TransientFailure(
        f"The Messaging APIs failed ({what}).",
        code="messaging_server_error",
        system=MESSAGING,
        kind="unavailable" if status in (408, 502, 503, 504) else "server_error",
        retry_after_seconds=retry_after_seconds,
        is_unclear=status >= 500,
    )


def _ended() -> ConversationEnded:
    message = "Dynamics 365 knows no active conversation of that id (30013)."
    return ConversationEnded(message, code="messaging_conversation_ended")


def _configuration(fault: _Fault) -> ConfigurationFault:
    return ConfigurationFault(fault.message, code=fault.code, system=MESSAGING, fix=fault.fix)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _leaves(data: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every plain value, with the name it stands under in lower case."""
    if depth > _DEEPEST:
        return
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, str(key).lower(), depth + 1)
    elif isinstance(data, list):
        for value in data[:50]:
            yield from _leaves(value, name, depth + 1)
    elif data is not None:
        yield name, data
