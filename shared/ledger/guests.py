"""Guests' tokens: a guest's conversation can only be gone on with by its token, so that must outlive the worker.

It lets its bearer into that one conversation, is deleted with it, and is worthless after three days at most.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shared.ledger.dated import purge_dated
from shared.ledger.table import Conflict, Table
from shared.relay.model import digest

_PARTITION = "g"
LONGEST_LIFE = timedelta(days=4)
"""A guest's token lasts 4,320 minutes at most (Salesforce: anonymousUserJwtExpirationTime)."""


class GuestTokens:
    """Keeps one token a subject. Implements `shared.salesforce.token.GuestTokens`."""

    def __init__(self, table: Table, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._table = table
        self._now = now

    def get(self, key: str) -> str | None:
        """The token kept under that key."""
        row = self._table.get(_PARTITION, digest(key))
        return str(row["Token"]) if row is not None else None

    def put(self, key: str, token: str) -> str:
        """Keep a token, unless another worker was quicker; the one that is kept."""
        row = {"PartitionKey": _PARTITION, "RowKey": digest(key), "Token": token, "At": self._now().isoformat()}
        try:
            self._table.put(row, version="")
        except Conflict:
            return self.get(key) or token
        return token

    def delete(self, key: str) -> None:
        """Forget it."""
        self._table.delete(_PARTITION, digest(key))

    def purge(self, now: datetime) -> int:
        """Forget what no longer opens anything; returns how many."""
        return purge_dated(self._table, _PARTITION, before=now - LONGEST_LIFE)
