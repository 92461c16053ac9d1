"""Small partitions whose rows bear a date: what is too old is forgotten."""

from datetime import datetime

from shared.ledger.table import Table

MOST_ROWS = 100_000


def purge_dated(table: Table, partition: str, *, before: datetime) -> int:
    """Delete the rows of a partition whose ``At`` is older; returns how many. Raises LedgerUnavailable."""
    rows = table.query(partition, after="", before="~", most=MOST_ROWS)
    old = [row for row in rows if datetime.fromisoformat(row["At"]) < before]
    for row in old:
        table.delete(partition, str(row["RowKey"]))
    return len(old)
