"""Sessions that were closed while their handoff was still on its way, in Table Storage.

One row a session in partition ``x``. It is read when the handoff lands, which the customer waits for no more.
"""

from datetime import datetime, timedelta

from shared.ledger.dated import purge_dated
from shared.ledger.table import Table
from shared.relay.model import digest

_PARTITION = "x"
KEPT = timedelta(days=30)
"""Longer than a handoff is tried."""


class TableClosings:
    """Implements `shared.relay.store.Closings`. Every method may raise LedgerUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note(self, session_id: str, at: datetime) -> None:
        """The session was closed then."""
        self._table.upsert({"PartitionKey": _PARTITION, "RowKey": digest(session_id), "At": at.isoformat()})

    def find(self, session_id: str) -> datetime | None:
        """When it was closed; None: nothing was noted."""
        row = self._table.get(_PARTITION, digest(session_id))
        return datetime.fromisoformat(row["At"]) if row is not None else None

    def purge(self, now: datetime) -> int:
        """Forget what no handoff waits for any more; returns how many."""
        return purge_dated(self._table, _PARTITION, before=now - KEPT)
