"""One call to Salesforce's messaging service: pooled, timed out, logged; its answer is judged elsewhere."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from shared import events, http
from shared.errors import TransientFailure
from shared.handoff.text import parse_json
from shared.salesforce import SYSTEM

ROOT = "/iamessage/api/v2"
LEAST_SECONDS = 0.5
"""With less than this left of the budget no call is begun."""

_HEADERS = {"Accept": "application/json", "User-Agent": "opencx-handoff/1.0"}


@dataclass(frozen=True)
class Reply:
    """An answer; ``headers`` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body as an object; empty when it is none."""
        try:
            data = parse_json(self.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def is_foreign(self) -> bool:
        """Whether something on the way has answered with a page of its own: neither JSON nor nothing."""
        try:
            return bool(self.body.strip()) and not isinstance(parse_json(self.body.decode("utf-8-sig")), dict)
        except (ValueError, RecursionError):
            return True

    @property
    def is_own_error(self) -> bool:
        """Whether it is an error in Salesforce's own form, and no page of a gateway: JSON that says what is wrong."""
        data = self.json()
        return any(isinstance(data.get(name), str) and data[name] for name in ("message", "errorCode", "code"))

    def says(self) -> str:
        """What an error answer says, in lower case: JSON with ``message`` and a code, or plain text."""
        data = self.json()
        told = " ".join(str(data[name]) for name in ("message", "errorCode", "code") if data.get(name))
        return (told or self.body[:2000].decode("utf-8", "replace")).lower()


class Wire:
    """Calls one origin.

    Args:
        origin: scheme and host of the messaging service.
        monotonic: seconds that only grow, which deadlines are counted in.
        now: the time of day, for a ``Retry-After`` that is a date.
    """

    def __init__(
        self,
        origin: str,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        session: requests.Session | None = None,
    ) -> None:
        self._origin = origin
        self._monotonic = monotonic
        self.now = now
        self._session = session or http.session(origin)

    def call(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        deadline: float,
        token: str | None = None,
        json_body: object = None,
        body: tuple[bytes, str] | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            method: HTTP method.
            path: what comes after ``/iamessage/api/v2``, quoted already.
            operation: its name in the log; the path holds ids.
            deadline: the monotonic time, in seconds, by which it must be over.
            token: the bearer token.
            json_body: sent as JSON.
            body: instead, what goes over the wire and its media type.

        Raises:
            TransientFailure: no answer, or no time left for one.
        """
        headers = dict(_HEADERS)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data: bytes | None = None
        if body is not None:
            data, headers["Content-Type"] = body
        elif json_body is not None:
            data = json.dumps(json_body, ensure_ascii=False).encode("utf-8")
            headers["Content-Type"] = "application/json; charset=utf-8"
        left = self._left(deadline)
        started = self._monotonic()
        try:
            url = f"{self._origin}{ROOT}{path}"
            response = http.send(self._session, method, url, body=data, headers=headers, timeout=http.timeouts(left))
        except requests.RequestException as error:
            self._emit(operation, started, error=type(error).__name__)
            raise _unanswered(error) from None
        self._emit(operation, started, status=response.status_code)
        return Reply(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.content,
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _emit(self, operation: str, started: float, *, status: int | None = None, error: str | None = None) -> None:
        seconds = round(self._monotonic() - started, 4)
        events.emit(events.SALESFORCE_CALL, operation=operation, status=status, seconds=seconds, error=error)

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left < LEAST_SECONDS:
            message = "The time for this attempt was used up before Salesforce was called."
            raise TransientFailure(message, code="budget_used_up", system="handoff", is_unclear=False)
        return left


def _unanswered(error: requests.RequestException) -> TransientFailure:
    is_late = isinstance(error, requests.ReadTimeout)
    return TransientFailure(
        f"Salesforce did not answer ({type(error).__name__}).",
        code="salesforce_timeout" if is_late else "salesforce_unreachable",
        system=SYSTEM,
        kind="unreachable",
        is_unclear=not _is_refused(error),
    )


def _is_refused(error: requests.RequestException) -> bool:
    """Whether there was no connection at all, so that nothing can have arrived."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)
