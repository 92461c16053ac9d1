"""A ledger, a rep's system and OpenCX in memory. Every call can fail before it is done, or after."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from shared.errors import ConversationEnded, LedgerUnavailable, TransientFailure
from shared.relay.model import ENDED, MESSAGE, OVER, Conversation, CustomerMessage, RepEntry, lane_of, session_key
from shared.relay.store import Lane
from shared.relay.words import entry_text

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class Killed(BaseException):
    """The worker is gone in the middle of a call."""


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Faults:
    """What goes wrong: at the ``at``-th call of all, ``kind``; a call's place is told before and after its work."""

    at: int = -1
    kind: str = ""
    calls: list[str] = field(default_factory=list)

    def meet(self, name: str, *, is_after: bool) -> None:
        """Called before and after the work of every outside call."""
        if not is_after:
            self.calls.append(name)
        if len(self.calls) - 1 != self.at:
            return
        before, _, what = self.kind.partition(":")
        if (before == "after") is not is_after:
            return
        self.at = -1
        if what == "killed":
            raise Killed
        if name.startswith("ledger"):
            raise LedgerUnavailable("The table is away.")
        if what == "refused":
            raise TransientFailure("Busy.", code="throttled", system="x", kind="throttled", is_unclear=False)
        raise TransientFailure("Lost.", code="lost", system="x", kind="unreachable", is_unclear=True)


class Memory:
    """Conversations and lanes, with versions. Implements `shared.relay.store.Conversations`."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._versions = count(1)
        self._lock = threading.Lock()
        self.rows: dict[str, Conversation] = {}
        self.ended: dict[str, Conversation] = {}
        self.pushed: dict[str, list[RepEntry]] = {}
        self.lane_rows: dict[str, Lane] = {}

    def open(self, conversation: Conversation) -> Conversation:
        known = self.of_handoff(conversation.session_id, conversation.handoff_id)
        if known is None:
            known = self.rows[conversation.key] = replace(conversation, version=str(next(self._versions)))
        return known

    def get(self, key: str) -> Conversation | None:
        return self.rows.get(key)

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        key = f"{session_key(session_id)}:"
        rows = {**self.ended, **self.rows}
        return next((row for name, row in rows.items() if name.startswith(key) and row.handoff_id == handoff_id), None)

    def of_session(self, session_id: str) -> list[Conversation]:
        return [row for name, row in self.rows.items() if name.startswith(f"{session_key(session_id)}:")]

    def of_lane(self, name: str, *, most: int = 20_000) -> list[Conversation]:
        return [row for row in self.rows.values() if lane_of(row.session_id) == name][:most]

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        return next((row for row in self.rows.values() if row.conversation_id == conversation_id), None)

    def has_ended(self, system: str, conversation_id: str) -> bool:
        return any(row.conversation_id == conversation_id for row in self.ended.values())

    def change(self, conversation: Conversation) -> Conversation | None:
        self._faults.meet("ledger.change", is_after=False)
        with self._lock:
            known = self.rows.get(conversation.key)
            if known is None or known.version != conversation.version:
                return None
            stored = self.rows[conversation.key] = replace(conversation, version=str(next(self._versions)))
        self._faults.meet("ledger.change", is_after=True)
        return stored

    def end(self, conversation: Conversation) -> bool:
        self._faults.meet("ledger.end", is_after=False)
        known = self.rows.get(conversation.key)
        if known is None or known.version != conversation.version:
            return False
        self.ended[conversation.key] = replace(conversation, state=ENDED)
        del self.rows[conversation.key]
        self._faults.meet("ledger.end", is_after=True)
        return True

    def push(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        waiting = self.pushed.setdefault(conversation.key, [])
        waiting += [replace(entry, key=f"{entry.id}-{next(self._versions)}") for entry in entries]

    def inbox(self, conversation: Conversation) -> list[RepEntry]:
        return list(self.pushed.get(conversation.key, []))

    def drop(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        self._faults.meet("ledger.drop", is_after=False)
        gone = {entry.key for entry in entries}
        self.pushed[conversation.key] = [one for one in self.pushed[conversation.key] if one.key not in gone]
        self._faults.meet("ledger.drop", is_after=True)

    def lanes(self) -> list[Lane]:
        return list(self.lane_rows.values())

    def lane(self, name: str) -> Lane:
        return self.lane_rows.get(name) or Lane(name)

    def write_lane(self, lane: Lane) -> Lane | None:
        if self.lane(lane.name).version != lane.version:
            return None
        stored = self.lane_rows[lane.name] = replace(lane, version=str(next(self._versions)))
        return stored

    def purge(self, *, before: datetime, limit: int) -> int:
        return 0


class Closings:
    """Sessions that were closed early. Implements `shared.relay.store.Closings`."""

    def __init__(self) -> None:
        self.noted: dict[str, datetime] = {}

    def note(self, session_id: str, at: datetime) -> None:
        self.noted[session_id] = at

    def find(self, session_id: str) -> datetime | None:
        return self.noted.get(session_id)


class RepSystem:
    """Where the rep works. Implements `shared.relay.model.RepSide`."""

    def __init__(self, faults: Faults, clock: Clock, *, polls: bool = True) -> None:
        self.polls = polls
        self.home = "here"
        self._faults = faults
        self._clock = clock
        self.listed: list[RepEntry] = []
        self.shown: list[CustomerMessage] = []
        self.is_over = False
        self.forgotten = 0
        self.receipts: list[str] = []

    def says(self, text: str, *, kind: str = MESSAGE, entry_id: str = "") -> RepEntry:
        """A rep's message, or another entry."""
        entry = RepEntry(entry_id or f"e{len(self.listed)}", self._clock.now(), kind=kind, text=text, author="Sara")
        self.listed.append(entry)
        self.is_over = self.is_over or kind == OVER
        return entry

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        self._faults.meet("rep.entries", is_after=False)
        found = [entry for entry in self.listed if entry.at >= since]
        self._faults.meet("rep.entries", is_after=True)
        return found + found[-1:]  # a system that lists the newest one twice

    def arrange(self, conversation: Conversation, pushed: Sequence[RepEntry], *, deadline: float) -> Sequence[RepEntry]:
        return sorted(pushed, key=lambda entry: entry.at)

    def send(self, conversation: Conversation, message: CustomerMessage, *, deadline: float) -> None:
        self._faults.meet("rep.send", is_after=False)
        if self.is_over:
            raise ConversationEnded("Over.", code="over")
        self.shown.append(message)
        self._faults.meet("rep.send", is_after=True)

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        self._faults.meet("rep.has_sent", is_after=False)
        return any(one.id == message.id for one in self.shown)

    def end(self, conversation: Conversation, *, deadline: float) -> None:
        self._faults.meet("rep.end", is_after=False)
        self.is_over = True
        self._faults.meet("rep.end", is_after=True)

    def delivered(self, conversation: Conversation, entry_ids: Sequence[str], *, deadline: float) -> None:
        self._faults.meet("rep.delivered", is_after=False)
        self.receipts += entry_ids
        self._faults.meet("rep.delivered", is_after=True)

    def forget(self, conversation: Conversation) -> None:
        self.forgotten += 1


class OpenCX:
    """Where the customer is. Implements `shared.relay.model.CustomerSide`."""

    def __init__(self, faults: Faults, clock: Clock) -> None:
        self._faults = faults
        self._clock = clock
        self.heard: list[RepEntry] = []
        self.times: list[datetime] = []
        self.written: list[CustomerMessage] = []
        self.closed = 0

    def writes(self, text: str) -> CustomerMessage:
        """A customer's message."""
        message = CustomerMessage(f"m{len(self.written)}", self._clock.now(), text=text)
        self.written.append(message)
        return message

    def say(self, conversation: Conversation, entry: RepEntry, *, deadline: float) -> None:
        self._faults.meet("opencx.say", is_after=False)
        self.heard.append(entry)
        self.times.append(self._clock.now())
        self._faults.meet("opencx.say", is_after=True)

    def count_said(self, conversation: Conversation, entry: RepEntry, *, since: datetime, deadline: float) -> int:
        self._faults.meet("opencx.count", is_after=False)
        return sum(
            entry_text(one) == entry_text(entry) and at >= since for one, at in zip(self.heard, self.times, strict=True)
        )

    def messages(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        self._faults.meet("opencx.messages", is_after=False)
        found = [message for message in self.written if message.at >= since]
        self._faults.meet("opencx.messages", is_after=True)
        return found

    def close(self, conversation: Conversation, *, deadline: float) -> None:
        self._faults.meet("opencx.close", is_after=False)
        self.closed += 1
        self._faults.meet("opencx.close", is_after=True)


@dataclass
class World:
    """A conversation with its neighbours."""

    faults: Faults
    clock: Clock
    memory: Memory
    rep: RepSystem
    opencx: OpenCX

    @classmethod
    def make(cls, faults: Faults | None = None, *, polls: bool = True) -> World:
        """A world in which nothing has happened yet."""
        faults, clock = faults or Faults(), Clock()
        rep = RepSystem(faults, clock, polls=polls)
        return cls(faults, clock, Memory(faults), rep, OpenCX(faults, clock))

    def conversation(self) -> Conversation:
        """One that was opened now."""
        now = self.clock.now()
        return self.memory.open(
            Conversation(
                handoff_id="h1",
                session_id="s1",
                system="salesforce",
                conversation_id="c1",
                channel="sms",
                opened_at=now,
                contact_cursor=now,
                details={"transcript_end": (now - timedelta(seconds=1)).isoformat()},
                next_at=now,
                contact_poll_at=now,
            )
        )
