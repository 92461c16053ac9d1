"""What is old goes, in an order that leaves no conversation without its record."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.app import Application
from shared.handoff.model import Outcome
from shared.handoff.reconciler import Report
from shared.handoff.record import COMPLETED, FAILED, PENDING, Record
from shared.ledger import keys
from shared.relay.model import Conversation
from tests.clock import ManualClock
from tests.conftest import World

pytestmark = pytest.mark.integration

START = datetime(1980, 1, 1, tzinfo=UTC)
"""Long before what other tests store: what is purged here is ours."""
DAY = timedelta(days=1)
LATER = START + 2 * DAY
CONVERSATION, INCIDENT = "messaging_conversation", "incident"


class Stored:
    """Handoffs that have ended, and their conversations, in the table of one application."""

    def __init__(self, application: Application, new_id: Callable[[], str]) -> None:
        self.application = application
        self.ledger = application.ledger
        self.conversations = application.conversations
        self._new_id = new_id
        self.open: dict[str, Conversation] = {}

    def handoff(self, kind: str = INCIDENT, *, at: datetime = START, state: str = COMPLETED) -> str:
        """The id of a handoff that ended then; what became a conversation is open."""
        handoff_id = self._new_id()
        new = Record(handoff_id, f"of-{handoff_id}", PENDING, "salesforce", "sms", 1, at, at, due_at=at)
        record, _ = self.ledger.open(new, b"{}")
        outcome = Outcome("salesforce", kind, "sms", f"c-{handoff_id}") if state == COMPLETED else None
        assert self.ledger.change(replace(record, state=state, due_at=None, completed_at=at, outcome=outcome))
        if kind == CONVERSATION:
            conversation = Conversation(handoff_id, record.session_id, "salesforce", f"c-{handoff_id}", "sms", at)
            self.open[handoff_id] = self.conversations.open(conversation)
        return handoff_id

    def ends(self, handoff_id: str, at: datetime) -> None:
        """Its conversation is over."""
        assert self.conversations.end(replace(self.open.pop(handoff_id), ended_at=at, ending="rep"))

    def is_there(self, handoff_id: str) -> tuple[bool, bool]:
        """Whether there is its record, and its conversation."""
        known = self.conversations.is_known(f"of-{handoff_id}", handoff_id)
        return self.ledger.get(handoff_id) is not None, known

    def purge(self, *, before: datetime = LATER, limit: int = 100) -> int:
        """Purge records."""
        return self.ledger.purge(before=before, limit=limit)


@pytest.fixture
def stored(world: World, new_id: Callable[[], str]) -> Iterator[Stored]:
    """A table in which nothing is left of the test afterwards."""
    application = world.application(ManualClock(LATER), RECORD_RETENTION_DAYS="1")
    made = Stored(application, new_id)
    yield made
    for handoff_id in list(made.open):
        made.ends(handoff_id, START)
    made.conversations.purge(before=LATER, limit=1000)
    world.application().ledger.purge(before=LATER, limit=1000)


def test_a_record_stays_with_its_conversation(stored: Stored) -> None:
    """While it is open, and as long as its trace is there: else a new handoff of its id would not be carried."""
    handoff_id = stored.handoff(CONVERSATION)
    assert (stored.purge(), stored.is_there(handoff_id)) == (0, (True, True))
    stored.ends(handoff_id, START + DAY)
    assert (stored.purge(), stored.is_there(handoff_id)) == (0, (True, True))
    assert stored.conversations.purge(before=START + DAY - timedelta(hours=1), limit=100) == 0
    assert stored.conversations.purge(before=LATER, limit=100) == 1
    assert (stored.purge(), stored.is_there(handoff_id)) == (1, (False, False))


def test_an_open_conversation_without_a_trace_is_known(stored: Stored) -> None:
    """Either of its two rows keeps the record."""
    handoff_id = stored.handoff(CONVERSATION)
    lane, _, key = stored.open[handoff_id].key.partition(":")
    stored.application.table.delete(f"r{lane}", f"t:{key}")
    assert (stored.purge(), stored.is_there(handoff_id)) == (0, (True, True))


def test_one_tick_takes_the_trace_and_then_the_record(stored: Stored) -> None:
    """What is old enough goes within one tick, what is not stays whole."""
    old, young = stored.handoff(CONVERSATION), stored.handoff(CONVERSATION)
    stored.ends(old, START + DAY / 2)
    stored.ends(young, START + DAY * 3 / 2)
    report = Report()
    stored.application.reconciler._purge(report)
    assert (stored.is_there(old), stored.is_there(young)) == ((False, False), (True, True))
    assert report.purged == 2


def test_a_handoff_after_the_purge_is_carried(stored: Stored) -> None:
    """At no time is there a trace without a record, so a handoff that is new has a conversation that is new."""
    handoff_id = stored.handoff(CONVERSATION)
    ended = stored.open[handoff_id]
    stored.ends(handoff_id, START + DAY / 2)
    for hours in range(0, 48, 6):
        stored.application.reconciler._purged_at = None
        stored.application.clock.advance(hours * 3600)  # type: ignore[attr-defined]
        stored.application.reconciler._purge(Report())
        has_record, has_trace = stored.is_there(handoff_id)
        assert has_record >= has_trace
    assert not has_record
    again = stored.open[handoff_id] = stored.conversations.open(replace(ended, version=""))
    assert (again.state, again.version != "") == ("open", True)


def test_what_stays_does_not_hide_what_may_go(stored: Stored) -> None:
    """A first page full of records that are needed is passed over, also by a failed handoff."""
    older = [stored.handoff(), stored.handoff(state=FAILED)]
    needed = [stored.handoff(CONVERSATION, at=START + timedelta(minutes=number)) for number in range(1, 3)]
    assert stored.purge(limit=2) == 2
    assert [stored.is_there(handoff_id)[0] for handoff_id in older + needed] == [False, False, True, True]


def test_more_than_one_purge_looks_at(stored: Stored) -> None:
    """What stays is looked at within a bound; the next purge goes on behind it, and then begins anew."""
    older = [stored.handoff() for _ in range(2)]
    needed = [stored.handoff(CONVERSATION, at=START + timedelta(minutes=number)) for number in range(1, 6)]
    assert stored.purge(limit=2) == 0
    assert stored.purge(limit=2) == 2
    assert [stored.is_there(handoff_id)[0] for handoff_id in older + needed] == [False, False] + [True] * 5
    for handoff_id in needed:
        stored.ends(handoff_id, START)
    stored.conversations.purge(before=LATER, limit=100)
    assert sum(stored.purge(limit=2) for _ in range(4)) == 5


def test_other_records_cost_nothing_more(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for a conversation's record the table is asked further: once if it stays, twice if it goes."""
    asked: list[str] = []
    table = stored.ledger._table
    get = table.get

    def counted(partition: str, row: str, **more: object) -> object:
        asked.append(row[:1])
        return get(partition, row, **more)  # type: ignore[arg-type]

    stays, goes = stored.handoff(CONVERSATION), stored.handoff(CONVERSATION)
    stored.handoff()
    stored.handoff(state=FAILED)
    stored.ends(goes, START)
    stored.conversations.purge(before=LATER, limit=100)
    monkeypatch.setattr(table, "get", counted)
    assert stored.purge() == 3
    assert sorted(asked) == ["h"] * 4 + ["o"] + ["t"] * 2
    assert stored.is_there(stays) == (True, True)


def test_an_old_marker_does_not_take_a_later_conversation(stored: Stored) -> None:
    """A purge that broke off before the marker's turn leaves one; by then the id may have a conversation again."""
    handoff_id = stored.handoff(CONVERSATION)
    first = stored.open[handoff_id]
    stored.ends(handoff_id, START)
    lane, _, key = first.key.partition(":")
    stored.conversations.purge(before=LATER, limit=100)
    marker = {"PartitionKey": f"r{lane}", "RowKey": f"e:{keys.newest_first(START)}:{key}"}
    stored.application.table.upsert(marker)
    stored.open[handoff_id] = stored.conversations.open(replace(first, opened_at=LATER, version=""))
    assert stored.conversations.purge(before=LATER, limit=100) == 1
    assert stored.application.table.get(f"r{lane}", f"t:{key}") is not None
    assert stored.application.table.get(f"r{lane}", marker["RowKey"]) is None
    assert stored.conversations.find("salesforce", first.conversation_id) is not None
