"""The stored request of a handoff: in the record's own row, and in rows beside it when that one cannot hold it."""

import contextlib
import zlib
from typing import Any

from shared.errors import InvalidRequest, LedgerUnavailable
from shared.handoff.record import Record
from shared.ledger import entity as entities
from shared.ledger import keys
from shared.ledger.table import Table


class PayloadRows:
    """Reads, writes and deletes them in one table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read(self, record: Record) -> bytes:
        """The request. Raises InvalidRequest when it is gone or damaged."""
        key = keys.digest(record.handoff_id)
        names = [keys.record_row(key)]
        names += [keys.payload_row(key, record.payload_key, number) for number in range(1, record.payload_rows + 1)]
        rows = [self._table.get(keys.shard(key), name, select=entities.PAYLOAD_FIELDS) for name in names]
        try:
            return entities.payload_bytes([row for row in rows if row is not None])
        except (OSError, EOFError, zlib.error):
            raise InvalidRequest("it is damaged.", code="payload_unreadable") from None

    def parts(self, key: str, payload_key: str, chunks: list[dict[str, bytes]]) -> list[tuple[Any, ...]]:
        """The writes of what the record's own row cannot hold."""
        partition = keys.shard(key)
        return [
            ("upsert", {"PartitionKey": partition, "RowKey": keys.payload_row(key, payload_key, number), **chunk})
            for number, chunk in enumerate(chunks[1:], start=1)
        ]

    def drop(self, key: str, *, keep: str) -> None:
        """Delete a handoff's further rows, but those of one payload."""
        prefix, partition = keys.payload_rows(key), keys.shard(key)
        with contextlib.suppress(LedgerUnavailable):  # what is left is of no record, and the purge takes it
            for row in self._table.query(partition, after=prefix, before=f"{prefix}~", most=1000):
                name = str(row["RowKey"])
                if not keep or not name.startswith(f"{prefix}{keep}:"):
                    self._table.delete(partition, name)
