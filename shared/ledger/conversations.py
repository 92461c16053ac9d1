"""Open conversations in Table Storage: `shared.relay.store.Conversations`.

Partition ``r<lane>``, apart from the handoffs. In it, by ``<key>`` = digests of session and handoff:

=====================================  ==================================================================
``o:<key>``                            an open conversation; a lane's look is this range of keys
``t:<key>``                            its trace: written with it, stays until it is purged; counts and times
``i:<key>:<arrival>:<write>:<n>``      the inbox: what was pushed and is not carried yet
``e:<newest first>:<key>``             ended: the range that is old enough to purge
=====================================  ==================================================================

Partition ``rx``: a system's id of a conversation, and its key here. Partition ``lanes``: one row a lane.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared import events
from shared.errors import LedgerUnavailable
from shared.ledger import keys
from shared.ledger.conversation_entity import (
    UnreadableRow,
    entry_from_entity,
    entry_to_entity,
    etag_of,
    from_entity,
    from_trace,
    text_of,
    time_of,
    to_entity,
    to_trace,
)
from shared.ledger.table import Conflict, Table
from shared.relay.model import ENDED, Conversation, RepEntry, digest, key_of, lane_of, session_key
from shared.relay.store import Lane

_INDEX, _LANES = "rx", "lanes"
_MOST_PUSHED = 1000


class TableConversations:
    """Keeps conversations and lanes in the ledger's table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._unreadable: dict[str, str] = {}

    def open(self, conversation: Conversation) -> Conversation:
        """Store a new conversation; or find the one of that handoff, open or ended."""
        key, write = conversation.key, uuid.uuid4().hex
        partition, row = _address(key)
        known = self.of_handoff(conversation.session_id, conversation.handoff_id)
        if known is not None:
            return known
        index = {"PartitionKey": _INDEX, "RowKey": _index(conversation.system, conversation.conversation_id)}
        self._table.upsert({**index, "Key": key})
        try:
            result = self._table.transact(
                [
                    ("create", {"PartitionKey": partition, "RowKey": f"t:{row}", **to_trace(conversation)}),
                    ("create", {"PartitionKey": partition, "RowKey": f"o:{row}", **to_entity(conversation, write)}),
                ]
            )
        except Conflict:
            known = self.of_handoff(conversation.session_id, conversation.handoff_id)
            if known is None:
                raise LedgerUnavailable("The conversation could not be written.") from None
            return known
        return replace(conversation, version=str(result[1]["etag"]))

    def get(self, key: str) -> Conversation | None:
        """An open conversation."""
        found = self._current(key)
        return found[0] if found else None

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """The conversation of a handoff, open or ended; of an ended one only counts and times are left."""
        key = key_of(session_id, handoff_id)
        found = self._current(key)
        if found:
            return found[0]
        partition, row = _address(key)
        trace = self._table.get(partition, f"t:{row}")
        return self._read(trace, from_trace) if trace is not None else None

    def is_known(self, session_id: str, handoff_id: str) -> bool:
        """Whether anything of a handoff's conversation is there, open or ended, readable or not."""
        partition, row = _address(key_of(session_id, handoff_id))
        names = (f"t:{row}", f"o:{row}")  # the trace is there from the first moment: mostly one question is enough
        return any(self._table.get(partition, name, select=("PartitionKey",)) is not None for name in names)

    def of_session(self, session_id: str) -> list[Conversation]:
        """The open conversations of a session; a row that cannot be read is left out, and the log says so."""
        _, row = _address(session_key(session_id))
        return self._range(lane_of(session_id), f"o:{row}:", f"o:{row}:~", 100)

    def of_lane(self, name: str, *, most: int = 20_000) -> list[Conversation]:
        """The open conversations of a lane; a row that cannot be read is left out, and the log says so."""
        return self._range(name, "o:", "o:~", most)

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """The open conversation with that id of the system's."""
        row = self._table.get(_INDEX, _index(system, conversation_id))
        return self.get(str(row["Key"])) if row is not None else None

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """Whether a conversation with that id of the system's was there, and has ended."""
        row = self._table.get(_INDEX, _index(system, conversation_id))
        if row is None:
            return False
        partition, name = _address(str(row["Key"]))
        return self._table.get(partition, f"o:{name}", select=("PartitionKey",)) is None

    def change(self, conversation: Conversation) -> Conversation | None:
        """Write it if it is still at its version; None when somebody else was first, or it has ended."""
        key, write = conversation.key, uuid.uuid4().hex
        partition, row = _address(key)
        entity = {"PartitionKey": partition, "RowKey": f"o:{row}", **to_entity(conversation, write)}
        for is_last in (False, True):
            try:
                return replace(conversation, version=str(self._table.put(entity, version=conversation.version)["etag"]))
            except Conflict:
                current = self._current(key)
                return current[0] if current and current[1] == write else None
            except LedgerUnavailable:
                current = self._current(key)
                if current and current[1] == write:
                    return current[0]
                if is_last:
                    raise
        raise LedgerUnavailable("The conversation could not be written.")

    def end(self, conversation: Conversation) -> bool:
        """It has ended: keep counts and times, forget the rest. False when somebody else was first."""
        ended = replace(conversation, state=ENDED)
        partition, row = _address(ended.key)
        moment = keys.newest_first(ended.ended_at or ended.opened_at)
        condition = {"etag": ended.version, "match_condition": _if_not_modified()}
        try:
            self._table.transact(
                [
                    ("delete", {"PartitionKey": partition, "RowKey": f"o:{row}"}, condition),
                    (
                        "upsert",
                        {"PartitionKey": partition, "RowKey": f"t:{row}", **to_trace(ended)},
                        {"mode": "replace"},
                    ),
                    ("upsert", {"PartitionKey": partition, "RowKey": f"e:{moment}:{row}"}),
                ]
            )
        except Conflict:
            trace = self._table.get(partition, f"t:{row}")
            if trace is None or trace.get("ended_at") != text_of(ended.ended_at):
                return False  # else it is the echo of our own first try
        self._table.delete_range(partition, after=f"i:{row}:", before=f"i:{row}:~")
        return True

    def push(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """Put what the system has pushed into the conversation's inbox, durably."""
        partition, row = _address(conversation.key)
        arrival, write = keys.oldest_first(datetime.now(UTC)), uuid.uuid4().hex[:8]
        rows = [
            {
                "PartitionKey": partition,
                "RowKey": f"i:{row}:{arrival}:{write}:{number:02d}",
                **entry_to_entity(entry),
            }
            for number, entry in enumerate(entries)
        ]
        try:
            self._table.transact([("upsert", each) for each in rows])
        except Conflict:  # nothing here has a condition: it is the table itself that says no
            raise LedgerUnavailable("The inbox could not be written.") from None

    def inbox(self, conversation: Conversation) -> list[RepEntry]:
        """What waits there, in the order in which it arrived."""
        partition, row = _address(conversation.key)
        found = self._table.query(partition, after=f"i:{row}:", before=f"i:{row}:~", most=_MOST_PUSHED)
        return [entry_from_entity(entity) for entity in found]

    def drop(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """Remove from the inbox what was handled."""
        partition, _ = _address(conversation.key)
        for entry in entries:
            self._table.delete(partition, entry.key)

    def lanes(self) -> list[Lane]:
        """All lanes that were ever written."""
        return [_lane(row) for row in self._table.query(_LANES, after="", before="~", most=100)]

    def lane(self, name: str) -> Lane:
        """A lane as it stands."""
        row = self._table.get(_LANES, name)
        return _lane(row) if row is not None else Lane(name)

    def write_lane(self, lane: Lane) -> Lane | None:
        """Write it if it is still at its version; None when somebody else was first."""
        write = uuid.uuid4().hex
        row = {
            "PartitionKey": _LANES,
            "RowKey": lane.name,
            "Sequence": str(lane.sequence),
            "At": text_of(lane.at),
            "Write": write,
        }
        try:
            return replace(lane, version=str(self._table.put(row, version=lane.version)["etag"]))
        except Conflict:
            current = self._table.get(_LANES, lane.name)
            return _lane(current) if current is not None and current["Write"] == write else None

    def purge(self, *, before: datetime, limit: int) -> int:
        """Delete what ended before that time; returns how many."""
        purged = 0
        for shard in keys.SHARDS:
            partition = f"r{shard}"
            after = f"e:{keys.newest_first(before)}:~"
            for row in self._table.query(partition, after=after, before="e;", most=limit - purged):
                self._forget(partition, str(row["RowKey"]))
                purged += 1
            if purged >= limit:
                break
        return purged

    def _range(self, lane: str, after: str, before: str, most: int) -> list[Conversation]:
        rows = self._table.query(f"r{lane}", after=after, before=before, most=most)
        return [read for row in rows if (read := self._read(row, from_entity)) is not None]

    def _current(self, key: str) -> tuple[Conversation, str] | None:
        partition, row = _address(key)
        found = self._table.get(partition, f"o:{row}")
        read = self._read(found, from_entity) if found is not None else None
        return (read, str(found.get("Write", ""))) if found is not None and read is not None else None

    def _read(self, row: Mapping[str, Any], reader: Callable[[Mapping[str, Any]], Conversation]) -> Conversation | None:
        """The conversation of a row; None when it cannot be read: one row must not stop the others of its lane.

        The log says so once a process and version of the row: a lane is looked at every few seconds.
        """
        try:
            return reader(row)
        except UnreadableRow:
            key, version = str(row["RowKey"]), etag_of(row)
            if self._unreadable.get(key) != version:
                self._unreadable[key] = version
                events.emit(events.RELAY_ROW_UNREADABLE, key=key)
            return None

    def _forget(self, partition: str, marker: str) -> None:
        """Delete what is left of an ended conversation; the marker, which finds it, last.

        A marker that an earlier purge has not come to may be older than the trace: then that is of a later one.
        """
        _, moment, key = marker.split(":", 2)
        trace = self._table.get(partition, f"t:{key}")
        known = self._read(trace, from_trace) if trace is not None else None
        if known is None or keys.newest_first(known.ended_at or known.opened_at) == moment:
            if known is not None:
                self._table.delete(_INDEX, _index(known.system, known.conversation_id))
            self._table.delete_range(partition, after=f"i:{key}:", before=f"i:{key}:~")  # a push that was late
            self._table.delete(partition, f"t:{key}")
        self._table.delete(partition, marker)


def _lane(row: Mapping[str, Any]) -> Lane:
    return Lane(str(row["RowKey"]), int(row["Sequence"]), time_of(row["At"]), etag_of(row))


def _address(key: str) -> tuple[str, str]:
    """Partition and row of a key."""
    lane, _, row = key.partition(":")
    return f"r{lane}", row


def _index(system: str, conversation_id: str) -> str:
    return f"{system}:{digest(conversation_id)}"


def _if_not_modified() -> Any:
    from azure.core import MatchConditions  # noqa: PLC0415 - Azure's SDKs are loaded when they are needed

    return MatchConditions.IfNotModified
