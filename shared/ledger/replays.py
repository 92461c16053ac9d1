"""Which webhooks were handled already, in Table Storage.

Two rows a delivery in partition ``w``, made in one entity group transaction:

=====================  ==================================================
``k:<key>``            it was handled; holds what it said, as a digest
``u:<until>:<key>``    when it may be forgotten: what is old is a range
=====================  ==================================================
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.ledger import keys
from shared.ledger.table import Conflict, Table

PARTITION = "w"
_AT_ONCE = 50
"""Deliveries whose rows one transaction deletes: it may hold 100 operations."""


class TableReplays:
    """Implements `shared.opencx.events.Replays`. Every method may raise LedgerUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, key: str) -> str | None:
        """The digest of the body that was handled under this key; None: nothing was."""
        row = self._table.get(PARTITION, f"k:{key}", select=("Body",))
        return str(row["Body"]) if row is not None else None

    def seen_before(self, key: str, until: datetime, *, body_digest: str) -> bool:
        """Remember that it was handled; whether that was known before."""
        until_row = f"u:{keys.oldest_first(until)}:{key}"
        row: Mapping[str, Any] = {
            "PartitionKey": PARTITION,
            "RowKey": f"k:{key}",
            "Body": body_digest,
            "Until": until.astimezone(UTC).isoformat(),
        }
        try:
            self._table.transact([("create", row), ("create", {"PartitionKey": PARTITION, "RowKey": until_row})])
        except Conflict:
            return True  # or it is the echo of our own first try: it is remembered, one way or the other
        return False

    def purge(self, before: datetime, *, limit: int = 1000) -> int:
        """Forget what had to be remembered until before that time; returns how many."""
        rows = self._table.query(PARTITION, after="u:", before=f"u:{keys.oldest_first(before)}", most=limit)
        names = [str(row["RowKey"]) for row in rows]
        for start in range(0, len(names), _AT_ONCE):
            self._delete(names[start : start + _AT_ONCE])
        return len(names)

    def _delete(self, names: list[str]) -> None:
        rows = [row for name in names for row in (f"k:{name.rpartition(':')[2]}", name)]
        try:
            self._table.transact([("delete", {"PartitionKey": PARTITION, "RowKey": row}) for row in rows])
        except Conflict:  # another worker deletes the same
            for row in rows:
                self._table.delete(PARTITION, row)
