"""The rows: tables of dictionaries with indexes, one lock, and transactions that roll back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

Row = dict[str, Any]


class Ref(NamedTuple):
    """What a lookup holds."""

    table: str
    id: str


def index_key(value: object) -> object:
    """What an index compares: text without case, as Dataverse does; a lookup by its id."""
    if isinstance(value, str):
        return value.casefold()
    if isinstance(value, Ref):
        return value.id
    return value


class Store:
    """Rows by table and id. A stored row is never changed in place: an update puts a new one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._tables: dict[str, dict[str, Row]] = {}
        self._indexes: dict[str, dict[str, dict[object, dict[str, None]]]] = {}
        self._undo: list[tuple[str, str, Row | None]] | None = None
        self.version = 1_000_000

    def clear(self) -> None:
        """Drops every row; indexes are built again when asked for."""
        with self.lock:
            self._tables.clear()
            self._indexes.clear()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Holds the lock; an exception puts every row back. An inner transaction joins the outer one."""
        with self.lock:
            if self._undo is not None:
                yield
                return
            self._undo = []
            try:
                yield
            except BaseException:
                undo, self._undo = self._undo, None
                for table, row_id, row in reversed(undo):
                    self._replace(table, row_id, row)
                raise
            finally:
                self._undo = None

    def get(self, table: str, row_id: str) -> Row | None:
        """One row, or None. Waits for a running transaction: nobody reads what may be rolled back."""
        with self.lock:
            return self._tables.get(table, {}).get(row_id)

    def put(self, table: str, row_id: str, row: Row) -> None:
        """Stores a row and gives it the next version."""
        with self.lock:
            self.version += 1
            row["versionnumber"] = self.version
            self._remember(table, row_id)
            self._replace(table, row_id, row)

    def remove(self, table: str, row_id: str) -> None:
        """Deletes a row that is there."""
        with self.lock:
            self._remember(table, row_id)
            self._replace(table, row_id, None)

    def all(self, table: str) -> list[tuple[str, Row]]:
        """Every row with its id, in the order of creation."""
        with self.lock:
            return list(self._tables.get(table, {}).items())

    def where(self, table: str, column: str, value: object) -> list[tuple[str, Row]]:
        """The rows whose column equals the value, by an index that the first call builds."""
        with self.lock:
            rows = self._tables.get(table, {})
            return [(row_id, rows[row_id]) for row_id in self._bucket(table, column, value)]

    def narrow(self, table: str, equalities: list[tuple[str, object]]) -> list[tuple[str, Row]]:
        """The rows that satisfy the most selective of some (column, value) equalities."""
        with self.lock:
            rows = self._tables.get(table, {})
            smallest = min((self._bucket(table, *equality) for equality in equalities), key=len)
            return [(row_id, rows[row_id]) for row_id in smallest]

    def _bucket(self, table: str, column: str, value: object) -> Collection[str]:
        index = self._indexes.setdefault(table, {}).get(column)
        if index is None:
            index = {}
            for row_id, row in self._tables.get(table, {}).items():
                index.setdefault(index_key(row.get(column)), {})[row_id] = None
            self._indexes[table][column] = index
        return index.get(index_key(value), {})

    def _remember(self, table: str, row_id: str) -> None:
        if self._undo is not None:
            self._undo.append((table, row_id, self.get(table, row_id)))

    def _replace(self, table: str, row_id: str, row: Row | None) -> None:
        rows = self._tables.setdefault(table, {})
        old = rows.get(row_id)
        for column, index in self._indexes.get(table, {}).items():
            before = index_key(old.get(column)) if old is not None else _ABSENT
            after = index_key(row.get(column)) if row is not None else _ABSENT
            if before == after:
                continue
            if before is not _ABSENT:
                index[before].pop(row_id, None)
                if not index[before]:
                    del index[before]
            if after is not _ABSENT:
                index.setdefault(after, {})[row_id] = None
        if row is None:
            rows.pop(row_id, None)
        else:
            rows[row_id] = row


_ABSENT = object()
