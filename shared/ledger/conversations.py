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

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from shared.errors import LedgerUnavailable
from shared.handoff.text import split
from shared.ledger import keys
from shared.ledger.table import Conflict, Table
from shared.relay.model import ENDED, Claim, Conversation, File, RepEntry, digest, key_of, lane_of, session_key
from shared.relay.store import Lane

_INDEX, _LANES = "rx", "lanes"
_MOST_PUSHED = 1000
_TEXT_UNITS = 30_000
"""A text property holds 32,768 UTF-16 units; a rep's message is shorter, and one that is not is split over several."""


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
                    ("create", {"PartitionKey": partition, "RowKey": f"t:{row}", **_trace(conversation)}),
                    ("create", {"PartitionKey": partition, "RowKey": f"o:{row}", **_entity(conversation, write)}),
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
        return _from_trace(trace) if trace is not None else None

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
        entity = {"PartitionKey": partition, "RowKey": f"o:{row}", **_entity(conversation, write)}
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
                    ("upsert", {"PartitionKey": partition, "RowKey": f"t:{row}", **_trace(ended)}, {"mode": "replace"}),
                    ("upsert", {"PartitionKey": partition, "RowKey": f"e:{moment}:{row}"}),
                ]
            )
        except Conflict:
            trace = self._table.get(partition, f"t:{row}")
            if trace is None or trace["ended_at"] != _text(ended.ended_at):
                return False  # else it is the echo of our own first try
        self._table.delete_range(partition, after=f"i:{row}:", before=f"i:{row}:~")
        return True

    def push(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """Put what the system has pushed into the conversation's inbox, durably."""
        partition, row = _address(conversation.key)
        arrival, write = keys.oldest_first(datetime.now(UTC)), uuid.uuid4().hex[:8]
        self._table.transact(
            [
                (
                    "upsert",
                    {
                        "PartitionKey": partition,
                        "RowKey": f"i:{row}:{arrival}:{write}:{number:02d}",
                        **_entry_entity(entry),
                    },
                )
                for number, entry in enumerate(entries)
            ]
        )

    def inbox(self, conversation: Conversation) -> list[RepEntry]:
        """What waits there, in the order in which it arrived."""
        partition, row = _address(conversation.key)
        found = self._table.query(partition, after=f"i:{row}:", before=f"i:{row}:~", most=_MOST_PUSHED)
        return [_entry(entity) for entity in found]

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
            "At": _text(lane.at),
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
        return [_conversation(row) for row in self._table.query(f"r{lane}", after=after, before=before, most=most)]

    def _current(self, key: str) -> tuple[Conversation, str] | None:
        partition, row = _address(key)
        found = self._table.get(partition, f"o:{row}")
        return (_conversation(found), str(found["Write"])) if found is not None else None


_TIMES = (
    "opened_at",
    "accepted_at",
    "stuck_at",
    "over_at",
    "rep_cursor",
    "contact_cursor",
    "next_at",
    "contact_poll_at",
    "active_at",
    "swept_at",
    "ended_at",
)
_PLAIN = (
    "handoff_id",
    "session_id",
    "system",
    "conversation_id",
    "channel",
    "state",
    "has_rep",
    "failures",
    "to_customer",
    "to_rep",
    "undelivered",
    "error_code",
    "ending",
    "peeks",
    "stuck_id",
    "stuck_tries",
)
_LISTS = ("details", "rep_seen", "said", "recent", "contact_seen")
_KEPT = (
    "handoff_id",
    "session_id",
    "system",
    "conversation_id",
    "channel",
    "state",
    "to_customer",
    "to_rep",
    "undelivered",
    "error_code",
    "ending",
)


def _entity(conversation: Conversation, write: str) -> dict[str, Any]:
    claim = conversation.claim
    row: dict[str, Any] = {name: getattr(conversation, name) for name in _PLAIN}
    row |= {name: _text(getattr(conversation, name)) for name in _TIMES}
    row |= {name: _packed(getattr(conversation, name)) for name in _LISTS}
    row["claim"] = ""
    if claim is not None:
        row["claim"] = json.dumps({**asdict(claim), "at": _text(claim.at), "until": _text(claim.until)})
    return {**row, "Write": write}


def _conversation(row: Mapping[str, Any]) -> Conversation:
    times: dict[str, Any] = {name: _time(row[name]) for name in _TIMES}
    claim: Claim | None = None
    if row["claim"]:
        held = json.loads(row["claim"])
        claim = Claim(
            **{**held, "at": datetime.fromisoformat(held["at"]), "until": datetime.fromisoformat(held["until"])}
        )
    return Conversation(
        **{name: row[name] for name in _PLAIN},
        **times,
        details=json.loads(row["details"]),
        said=json.loads(row["said"]),
        rep_seen=tuple((name, at) for name, at in json.loads(row["rep_seen"])),
        recent=tuple((name, at) for name, at in json.loads(row["recent"])),
        contact_seen=tuple((name, at) for name, at in json.loads(row["contact_seen"])),
        claim=claim,
        version=_etag(row),
    )


def _trace(conversation: Conversation) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(conversation, name) for name in _KEPT}
    return {**row, "opened_at": _text(conversation.opened_at), "ended_at": _text(conversation.ended_at)}


def _from_trace(row: Mapping[str, Any]) -> Conversation:
    opened_at = _time(row["opened_at"])
    assert opened_at is not None
    return Conversation(**{name: row[name] for name in _KEPT}, opened_at=opened_at, ended_at=_time(row["ended_at"]))


def _entry_entity(entry: RepEntry) -> dict[str, Any]:
    texts = split(entry.text, _TEXT_UNITS)
    return {
        "id": entry.id,
        "at": _text(entry.at),
        "kind": entry.kind,
        "author": entry.author or "",
        "files": _packed([asdict(file) for file in entry.files]),
        "is_automated": entry.is_automated,
        **{f"text{number}": text for number, text in enumerate(texts)},
    }


def _entry(row: Mapping[str, Any]) -> RepEntry:
    at = _time(row["at"])
    assert at is not None
    texts = [str(row[f"text{number}"]) for number in range(20) if f"text{number}" in row]
    return RepEntry(
        id=row["id"],
        at=at,
        kind=row["kind"],
        text="".join(texts),
        author=row["author"] or None,
        files=tuple(File(**file) for file in json.loads(row["files"])),
        is_automated=row["is_automated"],
        key=str(row["RowKey"]),
    )


def _lane(row: Mapping[str, Any]) -> Lane:
    return Lane(str(row["RowKey"]), int(row["Sequence"]), _time(row["At"]), _etag(row))


def _address(key: str) -> tuple[str, str]:
    """Partition and row of a key."""
    lane, _, row = key.partition(":")
    return f"r{lane}", row


def _index(system: str, conversation_id: str) -> str:
    return f"{system}:{digest(conversation_id)}"


def _packed(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)


def _text(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else ""


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _etag(row: Mapping[str, Any]) -> str:
    return str(getattr(row, "metadata", {}).get("etag", ""))


def _if_not_modified() -> Any:
    from azure.core import MatchConditions  # noqa: PLC0415 - Azure's SDKs are loaded when they are needed

    return MatchConditions.IfNotModified
