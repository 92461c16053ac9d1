"""What can go wrong, sorted by what happens next.

The tree::

    HandoffError                 has a code, a sentence, an HTTP status, and says whether trying again can help
    ├── InvalidRequest           400  the caller must change the request (every wrong field is listed)
    ├── PayloadTooLarge          413
    ├── UnsupportedMediaType     415
    ├── NotFound                 404  no such record
    ├── TransientFailure         503  try again: inline while the budget lasts, then by the timer
    ├── ConfigurationFault       503  an administrator must act; the whole system is paused, no attempt is used up
    ├── RefusedPart              502  an optional part was refused: leave it out and go on (never leaves the delivery)
    ├── PermanentFailure         502  the target refuses this handoff for good; replay after the fix
    ├── ConversationEnded        502  the rep's side says that the conversation is over (never leaves the relay)
    ├── Unauthorized             401  a signature or token is missing or wrong
    └── LedgerUnavailable        503  Table Storage cannot be reached

Messages are read by callers, operators and logs: they never hold a secret, a token or a customer's text.
Every code has a row in docs/errors.md.
"""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request: its dotted path and what is wrong with it."""

    field: str
    message: str


class HandoffError(Exception):
    """Base of all errors of this service.

    Attributes:
        code: stable, machine-readable name, such as ``invalid_request``.
        message: one sentence, safe to show and to log.
        http_status: the status that the HTTP door answers with.
        retryable: whether the same call can succeed later.
    """

    http_status = HTTPStatus.INTERNAL_SERVER_ERROR
    retryable = False

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class InvalidRequest(HandoffError):
    """The request is wrong; ``details`` lists every wrong field."""

    http_status = HTTPStatus.BAD_REQUEST

    def __init__(self, message: str, *, details: tuple[FieldError, ...] = (), code: str = "invalid_request") -> None:
        super().__init__(message, code=code)
        self.details = details


class PayloadTooLarge(HandoffError):
    """The body is larger than ``MAX_BODY_BYTES``."""

    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(
            f"The body is larger than {limit_bytes} bytes (setting MAX_BODY_BYTES).", code="body_too_large"
        )


class UnsupportedMediaType(HandoffError):
    """The body is not declared as JSON."""

    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    def __init__(self) -> None:
        super().__init__("Send the body as content-type application/json.", code="unsupported_media_type")


class NotFound(HandoffError):
    """There is no record of that id."""

    http_status = HTTPStatus.NOT_FOUND

    def __init__(self, message: str, *, code: str = "handoff_not_found") -> None:
        super().__init__(message, code=code)


class TransientFailure(HandoffError):
    """A system did not answer, or asked to be left alone for a while.

    Attributes:
        system: the system that failed, such as ``dynamics365``.
        kind: ``unreachable``, ``unavailable`` (it says so itself), ``throttled``, or ``server_error`` (which may be
            about this handoff alone).
        is_unclear: the call may have been done all the same: no answer, a cut-off one, or a 5xx; never after a refused
            connection, 401, 408, 409, 425 or 429.
        retry_after_seconds: how long the system asked to wait; a floor for the next try.
    """

    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str,
        system: str,
        kind: str = "server_error",
        retry_after_seconds: float | None = None,
        is_unclear: bool = True,
    ) -> None:
        super().__init__(message, code=code)
        self.system = system
        self.kind = kind
        self.is_unclear = is_unclear
        self.retry_after_seconds = retry_after_seconds


class ConfigurationFault(HandoffError):
    """A system cannot work until an administrator changes something.

    Attributes:
        system: the system that is paused, such as ``dynamics365``.
        fix: what the administrator has to do, in words.
    """

    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True

    def __init__(self, message: str, *, code: str, system: str, fix: str) -> None:
        super().__init__(message, code=code)
        self.system = system
        self.fix = fix


class RefusedPart(HandoffError):
    """The target refused an optional part, such as one extra property.

    Attributes:
        column: the column, navigation property or row the target named, if it named one.
    """

    http_status = HTTPStatus.BAD_GATEWAY

    def __init__(self, message: str, *, code: str, column: str | None) -> None:
        super().__init__(message, code=code)
        self.column = column


class PermanentFailure(HandoffError):
    """The target refuses the handoff, and nothing is left to leave out."""

    http_status = HTTPStatus.BAD_GATEWAY


class ConversationEnded(HandoffError):
    """The rep's side says that the conversation is over, or knows it no more.

    Attributes:
        is_shut_out: it may go on, but the service can no longer take part: nobody has ended it.
    """

    http_status = HTTPStatus.BAD_GATEWAY

    def __init__(self, message: str, *, code: str, is_shut_out: bool = False) -> None:
        super().__init__(message, code=code)
        self.is_shut_out = is_shut_out


class Unauthorized(HandoffError):
    """A signature or token is missing or wrong. What exactly is said to the log only."""

    http_status = HTTPStatus.UNAUTHORIZED


class LedgerUnavailable(HandoffError):
    """Table Storage cannot be reached or refuses us."""

    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True

    def __init__(self, message: str, *, code: str = "ledger_unavailable") -> None:
        super().__init__(message, code=code)
