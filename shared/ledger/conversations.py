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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.errors import LedgerUnavailable
from shared.ledger import keys
from shared.ledger.conversation_entity import (
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
        return from_trace(trace) if trace is not None else None

    def of_session(self, session_id: str) -> list[Conversation]:
        """The open conversations of a session."""
        _, row = _address(session_key(session_id))
        return self._range(lane_of(session_id), f"o:{row}:", f"o:{row}:~", 100)

    def of_lane(self, name: str, *, most: int = 20_000) -> list[Conversation]:
        """The open conversations of a lane."""
        return self._range(name, "o:", "o:~", most)

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """The open conversation with that id of the system's."""
        row = self._table.get(_INDEX, _index(system, conversation_id))
        return self.get(str(row["Key"])) if row is not None else None

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """Whether a conversation with that id of the system's was there, and has ended."""
        row = self._table.get(_INDEX, _index(system, conversation_id))
        return row is not None and self._current(str(row["Key"])) is None

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
            if trace is None or trace["ended_at"] != text_of(ended.ended_at):
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
                name = str(row["RowKey"])
                key = name.split(":", 2)[2]
                trace = self._table.get(partition, f"t:{key}")
                if trace is not None:
                    self._table.delete(_INDEX, _index(trace["system"], trace["conversation_id"]))
                self._table.delete_range(partition, after=f"i:{key}:", before=f"i:{key}:~")  # a push that was late
                self._table.delete(partition, f"t:{key}")
                self._table.delete(partition, name)
                purged += 1
            if purged >= limit:
                break
        return purged

    def _range(self, lane: str, after: str, before: str, most: int) -> list[Conversation]:
        return [from_entity(row) for row in self._table.query(f"r{lane}", after=after, before=before, most=most)]

    def _current(self, key: str) -> tuple[Conversation, str] | None:
        partition, row = _address(key)
        found = self._table.get(partition, f"o:{row}")
        return (from_entity(found), str(found["Write"])) if found is not None else None


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
