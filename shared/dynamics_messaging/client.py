"""The Messaging APIs of Dynamics 365 as a few safe calls.

Facts: Microsoft's pages "Messaging APIs" (create a conversation, send an activity, get conversations, get messages) and
"Configure a custom messaging channel" (headers, token). Keys are read without regard to case, for the pages differ.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from shared import events, http
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import MESSAGING, refusal
from shared.dynamics_messaging.organization import Organization
from shared.errors import ConfigurationFault, TransientFailure

ROOT = "/api/v1.0/consumer/"
LEAST_SECONDS = 0.5
"""With less than this left of the budget no call is begun."""
PAGE = 100
MOST_PAGES = 200
CORRELATION = "x-ms-correlation-id"


@dataclass(frozen=True)
class Created:
    """The answer to a create.

    Attributes:
        conversation_id: the work item's id, in lower case.
        is_new: False: an active conversation of this customer id was found, and nothing of the call was taken.
        has_start: whether the answer says that the start message was taken.
    """

    conversation_id: str
    is_new: bool
    has_start: bool


class MessagingClient:
    """Calls one organization's Messaging APIs.

    Args:
        origin: scheme and host.
        organization: gives the organization's id.
        tokens: gives the bearer token, which is another one than Dataverse's.
        monotonic: seconds that only grow, which deadlines are counted in.
        now: the time of day, for a ``Retry-After`` that is a date.
    """

    def __init__(
        self,
        origin: str,
        *,
        organization: Organization,
        tokens: TokenSource,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        session: requests.Session | None = None,
    ) -> None:
        self.origin = origin
        self._organization = organization
        self._tokens = tokens
        self._monotonic = monotonic
        self._now = now
        self._session = session or http.session(origin)

    def sign_in(self, *, deadline: float) -> None:
        """Make sure that there is a token. Raises ConfigurationFault or TransientFailure."""
        self._organization.id(deadline=deadline)
        self._token(deadline)

    def create(self, body: Mapping[str, Any], *, channel_id: str, deadline: float) -> Created:
        """Start a conversation, or find the active one of its ``customerid``. Safe to repeat with the same body.

        Raises:
            TransientFailure: with ``is_unclear`` it may stand all the same.
            ConfigurationFault, PermanentFailure: see `shared.dynamics_messaging.refusal`.
        """
        answer = self._call("POST", "create", "conversation/create", channel_id, body=body, deadline=deadline)
        conversation_id = answer.get("conversationid")
        if not isinstance(conversation_id, str) or not conversation_id:
            message = "The Messaging APIs gave no conversation id."
            raise TransientFailure(message, code="messaging_bad_answer", system=MESSAGING)
        return Created(
            conversation_id.lower(),
            is_new=answer.get("isnew") is True,
            has_start=bool(answer.get("messageid")),
        )

    def send(self, conversation_id: str, activity: Mapping[str, Any], *, channel_id: str, deadline: float) -> None:
        """Send one activity: a message, typing, or endOfConversation. Never deduplicated by Dynamics.

        Raises:
            TransientFailure: with ``is_unclear`` it may have arrived all the same.
            ConversationEnded: there is no active conversation of that id.
            ConfigurationFault, PermanentFailure: see `shared.dynamics_messaging.refusal`.
        """
        whole = {**activity, "channelId": channel_id, "conversation": {"id": conversation_id}}
        operation = str(activity.get("type", "send"))
        self._call("POST", operation, f"conversation/{conversation_id}", channel_id, body=whole, deadline=deadline)

    def messages(
        self, conversation_id: str, *, channel_id: str, deadline: float, since: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The messages of an active conversation, both ways, oldest first, with their keys in lower case.

        Raises:
            ConversationEnded: there is no active conversation of that id.
            TransientFailure, ConfigurationFault, PermanentFailure: see `shared.dynamics_messaging.refusal`.
        """
        path = f"conversation/{conversation_id}/messages"
        start = {"StartTimeStamp": since.astimezone(UTC).isoformat(timespec="milliseconds")} if since else {}
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        for page in self._pages(path, channel_id, start, deadline):
            for message in page:
                known = str(message.get("messageid") or "")
                if not known or known not in seen:
                    found.append(message)
                    seen.add(known)
        return found

    def ping(self, *, channel_id: str, deadline: float) -> None:
        """Ask for one active conversation, to see whether token, channel and organization are taken."""
        self._call("GET", "conversations", "conversations?PageSize=1", channel_id, deadline=deadline)

    def close(self) -> None:
        """Close the connections."""
        self._tokens.close()
        self._session.close()

    def _pages(
        self, path: str, channel_id: str, start: Mapping[str, str], deadline: float
    ) -> Iterator[list[dict[str, Any]]]:
        token = ""
        tokens: set[str] = set()
        while len(tokens) < MOST_PAGES:
            query = {**start, "PageSize": str(PAGE), **({"ContinuationToken": token} if token else {})}
            answer = self._call("GET", "messages", f"{path}?{urlencode(query)}", channel_id, deadline=deadline)
            given = answer.get("messages")
            page = [_lowered(each) for each in given if isinstance(each, dict)] if isinstance(given, list) else []
            yield page
            token = str(answer.get("continuationtoken") or "")
            if not page or not token:
                return
            if token in tokens:
                break
            tokens.add(token)
        message = "The messages of a conversation do not end."
        raise TransientFailure(message, code="messaging_bad_answer", system=MESSAGING)

    def _call(
        self,
        method: str,
        operation: str,
        path: str,
        channel_id: str,
        *,
        body: Mapping[str, Any] | None = None,
        deadline: float,
    ) -> dict[str, Any]:
        self._left(deadline)
        sent = json.dumps(body).encode() if body is not None else None
        organization_id = self._organization.id(deadline=deadline - LEAST_SECONDS)
        for is_last in (False, True):
            token = self._token(deadline - LEAST_SECONDS)
            headers = {
                "Authorization": f"Bearer {token}",
                "channel-id": channel_id,
                "organization-id": organization_id,
                "Accept": "application/json",
                "User-Agent": "opencx-handoff/1.0",
                **({"Content-Type": "application/json"} if sent is not None else {}),
            }
            response = self._send(method, operation, path, body=sent, headers=headers, deadline=deadline)
            if response.status_code == 401:
                self._tokens.refuse(token, deadline=deadline)
                if not is_last:
                    continue  # the token may have expired on the way, or the secret have been rotated
            break
        if 200 <= response.status_code < 300:
            return _read(response, is_needed=method == "GET" or operation == "create")
        raise refusal.failure(
            response.status_code,
            response.content,
            retry_after_seconds=http.retry_after_seconds(response.headers, now=self._now()),
            is_about_conversation=path.startswith("conversation/") and operation != "create",
        )

    def _send(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: float,
    ) -> requests.Response:
        left = self._left(deadline)
        started = self._monotonic()
        try:
            url = f"{self.origin}{ROOT}{path}"
            response = http.send(self._session, method, url, body=body, headers=headers, timeout=http.timeouts(left))
        except requests.RequestException as error:
            events.emit(
                events.DYNAMICS_MESSAGING_CALL,
                operation=operation,
                seconds=round(self._monotonic() - started, 4),
                error=type(error).__name__,
            )
            is_slow = isinstance(error, requests.Timeout)
            raise TransientFailure(
                f"The Messaging APIs did not answer ({type(error).__name__}).",
                code="messaging_timeout" if is_slow else "messaging_unreachable",
                system=MESSAGING,
                kind="unreachable",
                is_unclear=not _never_left(error),
            ) from None
        events.emit(
            events.DYNAMICS_MESSAGING_CALL,
            operation=operation,
            status=response.status_code,
            seconds=round(self._monotonic() - started, 4),
            correlation_id=response.headers.get(CORRELATION),
        )
        return response

    def _token(self, deadline: float) -> str:
        try:
            return self._tokens.get(deadline=deadline)
        except ConfigurationFault as fault:
            if fault.code != "dynamics_url_unknown":
                raise
            raise ConfigurationFault(
                "Entra does not know what the tokens of the Messaging APIs are for.",
                code="messaging_scope_unknown",
                system=MESSAGING,
                fix="Set DYNAMICS_MESSAGING_SCOPE to https://<organization id without dashes>-c.<zone>.dynamics.com"
                "/.default, and check DYNAMICS_ORGANIZATION_ID.",
            ) from None

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left < LEAST_SECONDS:
            message = "The time for this attempt was used up before the Messaging APIs were called."
            raise TransientFailure(message, code="budget_used_up", system="handoff", is_unclear=False)
        return left


def _never_left(error: requests.RequestException) -> bool:
    """Whether nothing of the request can have arrived: there was no connection."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _read(response: requests.Response, *, is_needed: bool) -> dict[str, Any]:
    """The answer's object, with its keys in lower case.

    Of a send nothing is needed but its status, unless a page says that something else has answered.
    """
    is_json = True
    try:
        data = json.loads(response.content)
    except (ValueError, RecursionError):
        data, is_json = None, not response.content.strip()
    if isinstance(data, dict):
        return _lowered(data)
    if is_json and not is_needed:
        return {}
    message = "The Messaging APIs sent an answer that is not a JSON object."
    raise TransientFailure(message, code="messaging_bad_answer", system=MESSAGING)


def _lowered(data: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in data.items()}
