"""The record of a handoff, as the ledger keeps it: ids, times and counts, no text of the customer's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.handoff.model import Outcome

PENDING, RETRYING, COMPLETED, FAILED = "pending", "retrying", "completed", "failed"
STATES = (PENDING, RETRYING, COMPLETED, FAILED)


@dataclass(frozen=True)
class LastError:
    """Why the last attempt did not land."""

    code: str
    message: str
    fix: str | None = None


@dataclass(frozen=True)
class Record:
    """One handoff in the ledger.

    Attributes:
        attempts: how many attempts were started; waiting for an administrator does not count.
        due_at: when the timer looks at it next: the end of the lease, or the next attempt. None when terminal.
        token: names the attempt that holds the lease; ``version`` is the store's own (an ETag).
    """

    handoff_id: str
    session_id: str
    state: str
    target: str
    channel: str | None
    attempts: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    completed_at: datetime | None = None
    outcome: Outcome | None = None
    last_error: LastError | None = None
    token: str = ""
    version: str = ""
    marker: str = ""
    payload_rows: int = 0
    payload_key: str = ""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in (COMPLETED, FAILED)

    def is_leased(self, now: datetime) -> bool:
        """Whether an attempt holds it now."""
        return self.state == PENDING and self.due_at is not None and self.due_at > now


@dataclass(frozen=True)
class Due:
    """One row of the waiting list: enough to decide whether to take the handoff, without reading it."""

    key: str
    target: str
    due_at: datetime


@dataclass(frozen=True)
class Page:
    """Records of one state, newest first, and where the next page begins."""

    records: tuple[Record, ...]
    cursor: str | None


class Ledger(Protocol):
    """Where handoffs are kept. Every change is conditional; every method may raise LedgerUnavailable."""

    def open(self, record: Record, payload: bytes) -> tuple[Record, bool]:
        """Store a new handoff. Returns what is stored, and whether it was stored now (else: was there before)."""

    def get(self, handoff_id: str) -> Record | None:
        """The record of that id."""

    def read(self, key: str) -> Record | None:
        """The record that a row of the waiting list stands for."""

    def payload(self, record: Record) -> bytes:
        """The request that was stored with the record."""

    def change(self, record: Record, *, payload: bytes | None = None) -> Record | None:
        """Write the record if it is still at its version; None when somebody else was first."""

    def due(self, *, now: datetime, limit: int, without: frozenset[str] = frozenset()) -> list[Due]:
        """What is due, oldest first; nothing that goes to a target in ``without``."""

    def page(self, *, state: str, limit: int, cursor: str | None) -> Page:
        """Records of one state, newest first."""

    def purge(self, *, before: datetime, limit: int) -> int:
        """Delete terminal records last changed before that time; returns how many."""


@dataclass(frozen=True)
class SystemState:
    """What all instances must agree on about one system: open, or closed until its next probe.

    ``reason`` is ``configuration``, ``down`` or ``throttled`` while closed. ``said_at`` is when the log was told last.
    """

    system: str
    closed: bool = False
    reason: str | None = None
    error: LastError | None = None
    step: int = 0
    probe_at: datetime | None = None
    since: datetime | None = None
    said_at: datetime | None = None
    version: str = ""


class Systems(Protocol):
    """Where the state of each system is kept; may raise LedgerUnavailable."""

    def read_system(self, system: str) -> SystemState:
        """The stored state; open when nothing is stored."""

    def write_system(self, state: SystemState) -> SystemState | None:
        """Write it if it is still at its version; None when somebody else was first."""
