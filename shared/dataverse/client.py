"""The Dataverse Web API as a few safe calls: authenticated, timed out, and with every failure classed.

Facts: Microsoft's pages "Compose HTTP requests and handle errors" and "Service protection API limits".
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import requests

from shared import events, http
from shared.dataverse import SYSTEM, batch
from shared.dataverse.batch import Operation, Part, Reply
from shared.dataverse.token import TokenSource
from shared.errors import ConfigurationFault, HandoffError, PermanentFailure, TransientFailure

ROOT = "/api/data/v9.2/"
LEAST_SECONDS = 0.5
"""With less than this left of the budget no call is begun."""

_HEADERS = {
    "Accept": "application/json",
    "OData-MaxVersion": "4.0",
    "OData-Version": "4.0",
    "If-None-Match": "null",
    "User-Agent": "opencx-handoff/1.0",
}
_OPERATION = re.compile(r"[$\w]*")
_PRIVILEGE = re.compile(r"missing (prv\w+) privilege")
_NOT_A_MEMBER = frozenset({"0x80072560"})
_NO_ROLES = frozenset({"0x80042f09"})
_NO_SUCH_SEGMENT = "0x8006088a"


class DataverseClient:
    """Calls one environment.

    Args:
        origin: scheme and host of the environment.
        tokens: gives the bearer token.
        monotonic: seconds that only grow, which deadlines are counted in.
        now: the time of day, for a ``Retry-After`` that is a date.
    """

    def __init__(
        self,
        origin: str,
        *,
        tokens: TokenSource,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        session: requests.Session | None = None,
    ) -> None:
        self.origin = origin
        self._tokens = tokens
        self._monotonic = monotonic
        self._now = now
        self._session = session or http.session(origin)

    def sign_in(self, *, deadline: float | None = None) -> None:
        """Make sure that there is a token. Raises ConfigurationFault or TransientFailure."""
        self._tokens.get(deadline=deadline)

    def get(self, path: str, *, deadline: float) -> Reply:
        """Read one thing; 404 comes back as a reply."""
        return self._checked(self._send("GET", path, None, {}, deadline))

    def batch(self, parts: Sequence[Part], *, deadline: float, go_on: bool = False) -> list[list[Reply]]:
        """Send operations in one round trip.

        Without ``go_on`` the server stops at the first failure, and fewer replies come back than were asked.
        The replies are not judged yet: see `classed`.

        Raises:
            TransientFailure: no answer, or a cut-off one.
            ConfigurationFault, PermanentFailure: the batch as a whole was refused.
        """
        content_type, body = batch.encode(parts, root=ROOT)
        headers = {"Content-Type": content_type}
        if go_on:
            headers["Prefer"] = "odata.continue-on-error"
        reply = self._send("POST", "$batch", body, headers, deadline)
        try:
            replies = batch.decode(reply.headers.get("content-type", ""), reply.body)
        except batch.MalformedAnswer as error:
            # Not a multipart answer: the batch as a whole was refused, or a gateway spoke.
            self._checked(reply)
            if reply.status in (409, 412):
                # A condition belongs to an operation, and none is named: this is not our request's fault.
                message = f"Dataverse answered a whole batch with HTTP {reply.status}."
                raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM) from None
            if reply.status >= 400:
                raise _whole_batch_refused(reply) from None
            message = f"Dataverse sent a batch answer that cannot be read ({error})."
            raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM) from None
        if not batch.is_complete(parts, replies):
            message = "Dataverse answered fewer operations than it was sent."
            raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM)
        return replies

    def call(self, operation: Operation, *, deadline: float) -> Reply:
        """Send one operation by itself."""
        body = json.dumps(operation.body).encode() if operation.body is not None else None
        headers = {
            **operation.headers,
            **({"Content-Type": "application/json; charset=utf-8"} if body else {}),
        }
        return self._checked(self._send(operation.method, operation.path, body, headers, deadline))

    def close(self) -> None:
        """Close the connections."""
        self._tokens.close()
        self._session.close()

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float) -> Reply:
        reply = self._send_once(method, path, body, headers, deadline)
        if reply.status == 401:
            reply = self._send_once(method, path, body, headers, deadline)  # with a new token
        return reply

    def _send_once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> Reply:
        self._left(deadline)  # what is over anyway must not look like an outage of Entra
        token = self._tokens.get(deadline=deadline - LEAST_SECONDS)
        left = self._left(deadline)
        sent = {
            **_HEADERS,
            **headers,
            "Authorization": f"Bearer {token}",
            "x-ms-client-request-id": str(uuid.uuid4()),
        }
        attempt_id = events.in_scope("attempt_id")
        if attempt_id:
            sent["x-ms-correlation-request-id"] = str(attempt_id)
        operation = _OPERATION.findall(path)[0]  # never the rest: a filter quotes the customer
        started = self._monotonic()
        try:
            url = f"{self.origin}{ROOT}{path}"
            response = http.send(self._session, method, url, body=body, headers=sent, timeout=http.timeouts(left))
        except requests.RequestException as error:
            events.emit(
                events.DATAVERSE_CALL,
                method=method,
                operation=operation,
                seconds=round(self._monotonic() - started, 4),
                error=type(error).__name__,
            )
            code = "dynamics_timeout" if isinstance(error, requests.Timeout) else "dynamics_unreachable"
            message = f"Dataverse did not answer ({type(error).__name__})."
            raise TransientFailure(message, code=code, system=SYSTEM, kind="unreachable") from None
        reply = Reply(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.content,
        )
        events.emit(
            events.DATAVERSE_CALL,
            method=method,
            operation=operation,
            status=reply.status,
            seconds=round(self._monotonic() - started, 4),
            request_id=reply.headers.get("x-ms-service-request-id"),
        )
        if reply.status == 401:
            self._tokens.refuse(token, deadline=deadline)
        return reply

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left < LEAST_SECONDS:
            message = "The time for this attempt was used up before Dataverse was called."
            raise TransientFailure(message, code="budget_used_up", system="handoff")
        return left

    def _checked(self, reply: Reply) -> Reply:
        """The reply if its sender can judge it; raises for what concerns the connection as a whole."""
        self.classed(reply)
        if reply.is_success and reply.body and not reply.json():
            message = "Dataverse sent an answer that is not JSON."
            raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM)
        return reply

    def classed(self, reply: Reply) -> Reply:
        """The reply, if only its sender can judge it (2xx, 304, 400, 404, 405, 412, 413).

        Raises:
            TransientFailure: 408, 429 and 5xx.
            ConfigurationFault: 401, 403 and redirects.
        """
        status = reply.status
        if status in (408, 429) or status >= 500:
            raise self._transient(reply)
        if status == 401:
            raise ConfigurationFault(
                "Dataverse refuses the service's token (HTTP 401).",
                code="dynamics_unauthorized",
                system=SYSTEM,
                fix="Create the Application User for the client id in the Power Platform admin center.",
            )
        if status == 403:
            raise _forbidden(reply)
        if 300 <= status < 400 and status != 304:
            raise ConfigurationFault(
                f"The environment's address answers with a redirect (HTTP {status}).",
                code="dynamics_url_wrong",
                system=SYSTEM,
                fix="Check DYNAMICS_ENVIRONMENT_URL: https://<org>.crm.dynamics.com and nothing more.",
            )
        return reply

    def _transient(self, reply: Reply) -> TransientFailure:
        after = http.retry_after_seconds({"Retry-After": reply.headers.get("retry-after", "")}, now=self._now())
        code, _ = error_of(reply)
        if reply.status == 429:
            message = f"Dataverse's service protection limit was reached ({code or 'HTTP 429'})."
            return TransientFailure(
                message, code="dynamics_throttled", system=SYSTEM, kind="throttled", retry_after_seconds=after
            )
        message = f"Dataverse answered HTTP {reply.status}{f' ({code})' if code else ''}."
        kind = "unavailable" if reply.status in (408, 502, 503, 504) else "server_error"
        return TransientFailure(
            message, code="dynamics_server_error", system=SYSTEM, kind=kind, retry_after_seconds=after
        )


def error_of(reply: Reply) -> tuple[str, str]:
    """The code (lower case; empty when there is none) and message of an error answer, whatever its shape."""
    data: dict[str, Any] = reply.json()
    error = data.get("error")
    if isinstance(error, dict):
        return str(error.get("code") or "").lower(), str(error.get("message") or "")
    return "", str(data.get("Message") or "")


def is_missing_segment(reply: Reply) -> bool:
    """Whether a table's or function's name in the address does not exist."""
    return reply.status == 404 and error_of(reply)[0] == _NO_SUCH_SEGMENT


def _forbidden(reply: Reply) -> HandoffError:
    code, message = error_of(reply)
    privilege = _PRIVILEGE.search(message)
    if code in _NOT_A_MEMBER:
        return ConfigurationFault(
            "The service is no user of this environment.",
            code="dynamics_user_missing",
            system=SYSTEM,
            fix="Create the Application User for the client id in the Power Platform admin center.",
        )
    if code in _NO_ROLES:
        return ConfigurationFault(
            "The service's Application User has no security role.",
            code="dynamics_role_missing",
            system=SYSTEM,
            fix="Give the Application User the security role for the handoff service.",
        )
    if privilege:
        return ConfigurationFault(
            f"The service lacks the privilege {privilege[1]}.",
            code="dynamics_privilege_missing",
            system=SYSTEM,
            fix=f"Add {privilege[1]} to the Application User's security role.",
        )
    return ConfigurationFault(
        f"Dataverse forbids a call ({code or 'HTTP 403'}).",
        code="dynamics_forbidden",
        system=SYSTEM,
        fix="Compare the Application User's security role with docs; GET /api/connections names what is missing.",
    )


def _whole_batch_refused(reply: Reply) -> HandoffError:
    code, _ = error_of(reply)
    message = f"Dataverse refuses the whole batch (HTTP {reply.status}{f', {code}' if code else ''})."
    return PermanentFailure(message, code="dynamics_batch_refused")
