"""The log events of the service: their names and dimensions in one place, one line of JSON each.

Dimensions are ids, codes and numbers. A customer's text, a secret or a token is never one.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

type Dimension = str | float | bool | None

DATAVERSE_CALL = "dataverse.call"
SALESFORCE_CALL = "salesforce.call"
DYNAMICS_MESSAGING_CALL = "dynamics_messaging.call"
DYNAMICS_MESSAGING_COMPLETED = "dynamics_messaging.completed"
DYNAMICS_MESSAGING_IGNORED = "dynamics_messaging.ignored"
DYNAMICS_MESSAGING_DUPLICATE = "dynamics_messaging.duplicate"
DYNAMICS_MESSAGING_UNCLEAR = "dynamics_messaging.unclear"
DYNAMICS_WEBHOOK_REFUSED = "dynamics_webhook.refused"
HANDOFF_STORED = "handoff.stored"
HANDOFF_COMPLETED = "handoff.completed"
HANDOFF_REPLAYED = "handoff.replayed"
HANDOFF_RETRYING = "handoff.retrying"
HANDOFF_WAITING = "handoff.waiting"
HANDOFF_FAILED = "handoff.failed"
HANDOFF_UNRECORDED = "handoff.unrecorded"
HANDOFF_CRASHED = "handoff.crashed"
LEDGER_UNAVAILABLE = "ledger.unavailable"
SYSTEM_CLOSED = "system.closed"
SYSTEM_OPENED = "system.opened"
RECONCILE_DONE = "reconcile.done"
PART_LEFT_OUT = "part.left_out"
SECRET_STALE = "secret.stale"  # noqa: S105 - the name of an event
REQUEST_REFUSED = "request.refused"
RELAY_OPENED = "relay.opened"
RELAY_SAID = "relay.said"
RELAY_SENT = "relay.sent"
RELAY_WAITING = "relay.waiting"
RELAY_UNANSWERED = "relay.unanswered"
RELAY_REFUSED = "relay.refused"
RELAY_CRASHED = "relay.crashed"
RELAY_ROW_UNREADABLE = "relay.row_unreadable"
HANDOFF_OVER = "handoff.over"
TRANSCRIPT_UNAVAILABLE = "transcript.unavailable"
RELAY_TOKEN_KEPT = "relay.token_kept"  # noqa: S105 - the name of an event
RELAY_RECEIPT_FAILED = "relay.receipt_failed"
RELAY_ENDED = "relay.ended"
RELAY_LANE = "relay.lane"
WAKE_LOST = "wake.lost"
WEBHOOK_HANDLED = "webhook.handled"
WEBHOOK_REPEATED = "webhook.repeated"
WEBHOOK_IGNORED = "webhook.ignored"
WRITE_BACK_FAILED = "write_back.failed"
ATTACHMENT_REFUSED = "attachment.refused"

_LEVELS = {
    HANDOFF_RETRYING: logging.WARNING,
    HANDOFF_WAITING: logging.WARNING,
    HANDOFF_UNRECORDED: logging.WARNING,
    LEDGER_UNAVAILABLE: logging.WARNING,
    PART_LEFT_OUT: logging.WARNING,
    SECRET_STALE: logging.WARNING,
    RELAY_WAITING: logging.WARNING,
    DYNAMICS_MESSAGING_UNCLEAR: logging.WARNING,
    DYNAMICS_WEBHOOK_REFUSED: logging.WARNING,
    RELAY_UNANSWERED: logging.WARNING,
    RELAY_RECEIPT_FAILED: logging.WARNING,
    RELAY_TOKEN_KEPT: logging.WARNING,
    HANDOFF_OVER: logging.WARNING,
    TRANSCRIPT_UNAVAILABLE: logging.WARNING,
    WAKE_LOST: logging.WARNING,
    WEBHOOK_IGNORED: logging.WARNING,
    WRITE_BACK_FAILED: logging.WARNING,
    ATTACHMENT_REFUSED: logging.WARNING,
    RELAY_REFUSED: logging.ERROR,
    RELAY_CRASHED: logging.ERROR,
    RELAY_ROW_UNREADABLE: logging.ERROR,
    SYSTEM_CLOSED: logging.ERROR,
    HANDOFF_FAILED: logging.ERROR,
    HANDOFF_CRASHED: logging.ERROR,
}

_log = logging.getLogger("opencx_handoff")
_scope: ContextVar[Mapping[str, Dimension]] = ContextVar("scope", default=MappingProxyType({}))


def quiet_libraries() -> None:
    """Keep libraries from logging what may hold a token, an address or a row key.

    MSAL logs a token answer that it cannot read, whole; azure-core logs every address.
    """
    for name in ("msal", "azure"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def scope(**dimensions: Dimension) -> Iterator[None]:
    """Add these dimensions to every event of this thread while inside, whoever emits it."""
    token = _scope.set({**_scope.get(), **dimensions})
    try:
        yield
    finally:
        _scope.reset(token)


def in_scope(name: str) -> Dimension:
    """A dimension of the scope, such as ``attempt_id``; None outside."""
    return _scope.get().get(name)


def emit(event: str, *, exc_info: bool = False, **dimensions: Dimension) -> None:
    """Write one event to the log; dimensions that are None are left out.

    With ``exc_info`` the traceback's places are added, without the exception's own text, which may quote anything.
    """
    level = _LEVELS.get(event, logging.INFO)
    if not _log.isEnabledFor(level):
        return
    known = {**_scope.get(), **dimensions}
    fields = {name: value for name, value in known.items() if value is not None}
    if exc_info:
        fields["where"] = _where()
    _log.log(level, "%s", json.dumps({"event": event, **fields}))


def _where() -> str:
    import sys  # noqa: PLC0415 - only on the way of a crash
    import traceback  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    frames = traceback.extract_tb(sys.exc_info()[2])[-6:]
    return " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
