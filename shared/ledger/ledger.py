"""The ledger: `shared.handoff.record.Ledger` and `Systems` on Table Storage.

Every write carries a ``Write`` token of its own. After a conflict or a lost answer the row is read: if it holds our
token, the write was done, and what came back was its echo.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.errors import LedgerUnavailable
from shared.handoff.record import (
    COMPLETED,
    FAILED,
    Due,
    LastError,
    Page,
    Record,
    SystemState,
)
from shared.ledger import entity as entities
from shared.ledger import keys
from shared.ledger.conversations import TableConversations
from shared.ledger.payload import PayloadRows
from shared.ledger.table import Conflict, Table

_SYSTEMS = "sys"
_MOST_WAITING = 10_000
_CONVERSATION = "messaging_conversation"
"""The kind of outcome that `shared.ledger.conversations` has rows of."""
_LOOKS = 2
"""Records that one purge looks at, for each that it may delete: what has to stay must not hide what may go."""
_TRANSACTION_BYTES = 2_500_000
"""Payload that one transaction carries; its body may hold 4 MiB, and binary grows by a third in it."""


class TableLedger:
    """Keeps the records of handoffs, and the state of systems, in one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._payloads = PayloadRows(table)
        self._conversations = TableConversations(table)
        self._left_off: dict[str, str] = {}

    def open(self, record: Record, payload: bytes) -> tuple[Record, bool]:
        """Store a new handoff with its payload; or find the one that is there."""
        key = keys.digest(record.handoff_id)
        partition = keys.shard(key)
        chunks = entities.payload_chunks(payload)
        write = uuid.uuid4().hex
        record = replace(
            record, marker=keys.marker(record), payload_rows=len(chunks) - 1, payload_key=write if chunks[1:] else ""
        )
        parts = self._payloads.parts(key, record.payload_key, chunks)
        operations: list[tuple[Any, ...]] = [
            ("create", self._row(record, key, write) | chunks[0]),
            ("create", self._marker(record, partition)),
        ]
        if len(chunks) * entities.CHUNK_BYTES * entities.CHUNKS_A_ROW > _TRANSACTION_BYTES:
            for part in parts:  # too large for one transaction: the record comes last, and makes them count
                self._table.transact([part])
        else:
            operations += parts
        for is_last in (False, True):
            try:
                result = self._table.transact(operations)
                return replace(record, version=str(result[0]["etag"])), True
            except Conflict:
                current = self._current(key)
                if current is None:
                    continue  # purged between the two
                found, token = current
                if token != write:
                    self._payloads.drop(key, keep=found.payload_key)
                return found, token == write
            except LedgerUnavailable:
                current = self._current(key)
                if current is not None:
                    return current[0], current[1] == write
                if is_last:
                    raise
        raise LedgerUnavailable("The record could not be written.")

    def get(self, handoff_id: str) -> Record | None:
        """The record of that id."""
        current = self._current(keys.digest(handoff_id))
        return current[0] if current else None

    def read(self, key: str) -> Record | None:
        """The record of a digest."""
        current = self._current(key)
        return current[0] if current else None

    def payload(self, record: Record) -> bytes:
        """The stored request. Raises InvalidRequest when it is gone or damaged."""
        return self._payloads.read(record)

    def change(self, record: Record, *, payload: bytes | None = None) -> Record | None:
        """Write the record if it is still at its version; completed records lose their payload."""
        key = keys.digest(record.handoff_id)
        partition = keys.shard(key)
        write = uuid.uuid4().hex
        old = record
        record = replace(record, marker=keys.marker(record))
        extra: dict[str, bytes] = {}
        if record.state == COMPLETED:
            record = replace(record, payload_rows=0, payload_key="")
        elif payload is not None:
            chunks = entities.payload_chunks(payload)
            extra = {name: chunks[0].get(name, b"") for name in entities.PAYLOAD_FIELDS}
            record = replace(record, payload_rows=len(chunks) - 1, payload_key=write if chunks[1:] else "")
            for part in self._payloads.parts(key, record.payload_key, chunks):
                self._table.transact([part])
        mode = "replace" if record.state == COMPLETED else "merge"
        condition = {"mode": mode, "etag": record.version, "match_condition": _if_not_modified()}
        operations: list[tuple[Any, ...]] = [("update", self._row(record, key, write) | extra, condition)]
        if old.marker != record.marker:
            operations.append(("delete", {"PartitionKey": partition, "RowKey": old.marker}))
        operations.append(("upsert", self._marker(record, partition)))
        stored = self._write(record, key, write, operations)
        if old.payload_key and stored is not None and stored.payload_key != old.payload_key:
            self._payloads.drop(key, keep=stored.payload_key)
        elif stored is None and payload is not None and record.payload_key:
            self._payloads.drop(key, keep=old.payload_key)
        return stored

    def due(self, *, now: datetime, limit: int, without: frozenset[str] = frozenset()) -> list[Due]:
        """What is due in all shards, oldest first: one range query a shard."""
        before = f"{keys.WAITING}:{keys.oldest_first(now)}:~"
        found: list[tuple[str, Due]] = []
        for partition in keys.SHARDS:
            rows = self._table.query(
                partition, after=f"{keys.WAITING}:", before=before, most=limit, unlike={"Target": sorted(without)}
            )
            for row in rows:
                _, moment, key = str(row["RowKey"]).split(":")
                due_at = datetime.fromtimestamp(int(moment) / 1_000_000, UTC)
                found.append((moment, Due(key, str(row["Target"]), due_at)))
        return [due for _, due in sorted(found, key=lambda pair: pair[0])[:limit]]

    def page(self, *, state: str, limit: int, cursor: str | None) -> Page:
        """Records of one state, newest first."""
        if state in (COMPLETED, FAILED):
            listed = keys.COMPLETED_LIST if state == COMPLETED else keys.FAILED_LIST
            rows = self._merge(f"{listed}:{cursor or ''}", f"{listed};", limit + 1)
            ordered = sorted(str(row["RowKey"]).partition(":")[2] for row in rows)
        else:
            rows = self._merge(f"{keys.WAITING}:", f"{keys.WAITING};", _MOST_WAITING)
            ordered = sorted(
                f"{keys.newest_first(datetime.fromisoformat(row['CreatedAt']))}:{str(row['RowKey']).split(':')[2]}"
                for row in rows
                if row["State"] == state
            )
            ordered = [name for name in ordered if name > (cursor or "")]
        names = ordered[:limit]
        records = tuple(record for name in names if (record := self.read(name.partition(":")[2])) is not None)
        return Page(records, names[-1] if len(ordered) > limit else None)

    def purge(self, *, before: datetime, limit: int) -> int:
        """Delete terminal records last changed before a time, with their markers and payloads; returns how many.

        The record of a conversation stays while that is known, open or ended: without it a new handoff of the same id
        would be delivered, find the old conversation, and not be carried. What stays is passed over, within a bound;
        the next purge of this process goes on behind it, and begins anew when it has come to the end.
        """
        purged, looks = 0, _LOOKS * limit
        for listed in (keys.COMPLETED_LIST, keys.FAILED_LIST):
            if purged == limit or not looks:
                break
            after = max(f"{listed}:{keys.newest_first(before)}:~", self._left_off.pop(listed, ""))
            for row in self._pages(after, f"{listed};", limit):
                if purged == limit or not looks:
                    self._left_off[listed] = after
                    break
                after = str(row["RowKey"])
                looks -= 1
                purged += self._delete(str(row["PartitionKey"]), after)
        return purged

    def read_system(self, system: str) -> SystemState:
        """What all instances know of a system."""
        row = self._table.get(_SYSTEMS, system)
        if row is None:
            return SystemState(system=system)
        error = LastError(row["ErrorCode"], row["ErrorMessage"], row["ErrorFix"] or None)
        return SystemState(
            system=system,
            closed=bool(row["Closed"]),
            reason=row["Reason"] or None,
            error=error if error.code else None,
            step=int(row["Step"]),
            probe_at=datetime.fromisoformat(row["ProbeAt"]) if row["ProbeAt"] else None,
            since=datetime.fromisoformat(row["Since"]) if row["Since"] else None,
            said_at=datetime.fromisoformat(row["SaidAt"]) if row.get("SaidAt") else None,
            version=_etag(row),
        )

    def write_system(self, state: SystemState) -> SystemState | None:
        """Write it if it is still at its version."""
        write = uuid.uuid4().hex
        error = state.error
        row = {
            "PartitionKey": _SYSTEMS,
            "RowKey": state.system,
            "Closed": state.closed,
            "Reason": state.reason or "",
            "ErrorCode": error.code if error else "",
            "ErrorMessage": error.message if error else "",
            "ErrorFix": (error.fix or "") if error else "",
            "Step": state.step,
            "ProbeAt": state.probe_at.isoformat() if state.probe_at else "",
            "Since": state.since.isoformat() if state.since else "",
            "SaidAt": state.said_at.isoformat() if state.said_at else "",
            "Write": write,
        }
        try:
            return replace(state, version=str(self._table.put(row, version=state.version)["etag"]))
        except Conflict:
            current = self._table.get(_SYSTEMS, state.system)
            if current is not None and current.get("Write") == write:
                return replace(state, version=_etag(current))
            return None

    def forget_system(self, system: str) -> None:
        """Open a system's gate by hand."""
        self._table.delete(_SYSTEMS, system)

    def close(self) -> None:
        """Close the connections."""
        self._table.close()

    def _write(self, record: Record, key: str, write: str, operations: list[tuple[Any, ...]]) -> Record | None:
        for is_last in (False, True):
            try:
                result = self._table.transact(operations)
                return replace(record, version=str(result[0]["etag"]))
            except Conflict:
                current = self._current(key)
                return current[0] if current and current[1] == write else None
            except LedgerUnavailable:
                current = self._current(key)
                if current and current[1] == write:
                    return current[0]
                if is_last:
                    raise
        raise LedgerUnavailable("The record could not be written.")

    def _current(self, key: str) -> tuple[Record, str] | None:
        """The stored record and the token of its last write."""
        row = self._table.get(keys.shard(key), keys.record_row(key), select=entities.FIELDS)
        if row is None:
            return None
        return entities.from_entity(row, version=_etag(row)), str(row["Write"])

    def _delete(self, partition: str, marker: str) -> int:
        key = marker.rpartition(":")[2]
        current = self._current(key)
        if current is None or current[0].marker != marker:
            return 0
        record = current[0]
        if self._is_needed(record):
            return 0
        operations: list[tuple[Any, ...]] = [
            (
                "delete",
                {"PartitionKey": partition, "RowKey": keys.record_row(key)},
                {"etag": record.version, "match_condition": _if_not_modified()},
            ),
            ("delete", {"PartitionKey": partition, "RowKey": marker}),
        ]
        try:
            self._table.transact(operations)
        except Conflict:
            return 0  # it was replayed in this moment
        self._payloads.drop(key, keep="")
        return 1

    def _is_needed(self, record: Record) -> bool:
        """Whether a conversation is known by this record: one question to the table, two when it is not."""
        is_conversation = record.outcome is not None and record.outcome.kind == _CONVERSATION
        return is_conversation and self._conversations.is_known(record.session_id, record.handoff_id)

    def _pages(self, after: str, before: str, size: int) -> Iterator[Mapping[str, Any]]:
        """The rows of a range over all shards, in key order, read page by page as far as they are wanted."""
        while rows := self._merge(after, before, size):
            yield from rows
            if len(rows) < size:
                return
            after = str(rows[-1]["RowKey"])

    def _merge(self, after: str, before: str, most: int) -> list[Mapping[str, Any]]:
        """The first rows of a range over all shards, in key order."""
        if most <= 0:
            return []
        rows: Iterable[Mapping[str, Any]] = (
            row
            for partition in keys.SHARDS
            for row in self._table.query(partition, after=after, before=before, most=most)
        )
        return sorted(rows, key=lambda row: str(row["RowKey"]))[:most]

    def _row(self, record: Record, key: str, write: str) -> dict[str, Any]:
        identity = {"PartitionKey": keys.shard(key), "RowKey": keys.record_row(key)}
        return identity | entities.to_entity(record) | {"Write": write, "Marker": record.marker}

    def _marker(self, record: Record, partition: str) -> dict[str, Any]:
        return {
            "PartitionKey": partition,
            "RowKey": record.marker,
            "State": record.state,
            "Target": record.target,
            "CreatedAt": record.created_at.isoformat(),
        }


def _etag(row: Mapping[str, Any]) -> str:
    return str(getattr(row, "metadata", {}).get("etag", ""))


def _if_not_modified() -> Any:
    from azure.core import MatchConditions  # noqa: PLC0415 - Azure's SDKs are loaded when a handoff needs them

    return MatchConditions.IfNotModified
