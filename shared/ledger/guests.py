"""Guests' tokens: a guest's conversation can only be gone on with by its token, so that must outlive the worker.

It lets its bearer into that one conversation, is kept while the conversation is open, and is worthless after hours.
"""

from shared.ledger.table import Table
from shared.relay.model import digest

_PARTITION = "g"


class GuestTokens:
    """Keeps one token a subject."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, key: str) -> str | None:
        """The token kept under that key."""
        row = self._table.get(_PARTITION, digest(key))
        return str(row["Token"]) if row is not None else None

    def put(self, key: str, token: str) -> None:
        """Keep a token."""
        self._table.upsert({"PartitionKey": _PARTITION, "RowKey": digest(key), "Token": token})

    def delete(self, key: str) -> None:
        """Forget it."""
        self._table.delete(_PARTITION, digest(key))
