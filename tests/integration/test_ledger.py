"""The ledger on a real table service: conditional writes, markers, payloads, lists, purge."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.handoff.model import LinkedContact, Notice, Outcome
from shared.handoff.record import COMPLETED, FAILED, PENDING, RETRYING, LastError, Record, SystemState
from shared.ledger import keys
from shared.ledger.ledger import TableLedger
from shared.ledger.table import Table, connect
from tests.conftest import World

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
OUTCOME = Outcome(
    system="dynamics365",
    kind="incident",
    channel="phone",
    record_id="r",
    ticket_number="CAS-1",
    url="https://x.example",
    contact=LinkedContact("c", linked=True, created=False),
    warnings=(Notice("code", "message"),),
)


@pytest.fixture
def ledger(world: World) -> Iterator[TableLedger]:
    """A ledger on Azurite; nothing that a test left waiting is there for the next one."""
    made = world.application().ledger
    yield made
    for due in made.due(now=datetime(2200, 1, 1, tzinfo=UTC), limit=1000):
        waiting = made.read(due.key)
        assert waiting is not None
        made.change(replace(waiting, state=COMPLETED, due_at=None))


@pytest.fixture
def table(world: World) -> Table:
    """The table below it, for a look at the rows."""
    application = world.application()
    return Table(lambda: connect(application.settings), monotonic=application.clock.monotonic)


def record(handoff_id: str, *, now: datetime = NOW, **more: object) -> Record:
    """A new record that is being tried."""
    made = Record(
        handoff_id=handoff_id,
        session_id=handoff_id,
        state=PENDING,
        target="dynamics365",
        channel="phone",
        attempts=1,
        created_at=now,
        updated_at=now,
        due_at=now + timedelta(seconds=55),
        token="t",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def rows_of(table: Table, handoff_id: str) -> list[str]:
    """The row keys of one handoff, without its digest."""
    key = keys.digest(handoff_id)
    found = table.query(keys.shard(key), after="", before="~", most=100_000)
    return sorted(str(row["RowKey"]).replace(key, "*") for row in found if key in str(row["RowKey"]))


def test_a_record_comes_back_as_it_was_stored(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """Every field survives the table, and the payload with it."""
    handoff_id = new_id()
    stored, is_new = ledger.open(record(handoff_id), b'{"a": 1}')
    assert is_new
    assert ledger.get(handoff_id) == stored
    assert ledger.payload(stored) == b'{"a": 1}'
    done = replace(
        stored, state=COMPLETED, outcome=OUTCOME, due_at=None, completed_at=NOW, last_error=LastError("c", "m", "f")
    )
    assert ledger.change(done) is not None
    read = ledger.get(handoff_id)
    assert read is not None
    assert (read.outcome, read.last_error, read.completed_at, read.due_at) == (OUTCOME, done.last_error, NOW, None)


def test_opening_twice_finds_the_first(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """The second caller gets the record that is there, and the first payload stays."""
    handoff_id = new_id()
    ledger.open(record(handoff_id), b"first")
    found, is_new = ledger.open(record(handoff_id, token="other"), b"second")
    assert (is_new, found.token, ledger.payload(found)) == (False, "t", b"first")


def test_a_stale_version_changes_nothing(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """Of two that read the same version one writes; the other is told so."""
    stored, _ = ledger.open(record(new_id()), b"x")
    assert ledger.change(replace(stored, token="one")) is not None
    assert ledger.change(replace(stored, token="two")) is None
    read = ledger.get(stored.handoff_id)
    assert read is not None
    assert read.token == "one"


def test_record_and_marker_cannot_disagree(ledger: TableLedger, table: Table, new_id: Callable[[], str]) -> None:
    """Through all its states a handoff has one record row and exactly one marker, of its state's kind."""
    handoff_id = new_id()
    current, _ = ledger.open(record(handoff_id), b"x")
    kinds = []
    for state, due_at in (
        (RETRYING, NOW + timedelta(hours=1)),
        (PENDING, NOW),
        (FAILED, None),
        (PENDING, NOW),
        (COMPLETED, None),
    ):
        changed = ledger.change(replace(current, state=state, due_at=due_at))
        assert changed is not None
        current = changed
        rows = rows_of(table, handoff_id)
        assert rows[-1] == "h:*"
        assert len(rows) == 2
        kinds.append(rows[0][0])
    assert kinds == ["d", "d", "f", "d", "c"]


@pytest.mark.parametrize("size", [10, 700_000, 1_500_000, 4_000_000])
def test_a_payload_of_any_allowed_size_fits(
    ledger: TableLedger, table: Table, new_id: Callable[[], str], size: int
) -> None:
    """Even what cannot be compressed, up to the body limit; completion leaves nothing of it in the table."""
    handoff_id, payload = new_id(), os.urandom(size)
    stored, _ = ledger.open(record(handoff_id), payload)
    assert ledger.payload(stored) == payload
    assert ledger.change(replace(stored, state=COMPLETED, due_at=None)) is not None
    assert [row[0] for row in rows_of(table, handoff_id)] == ["c", "h"]
    key = keys.digest(handoff_id)
    row = table.get(keys.shard(key), keys.record_row(key))
    assert row is not None
    assert not [name for name in row if name.startswith("P0")]


def test_a_new_payload_replaces_a_longer_one(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """A failed handoff that is posted anew is tried with what was posted last."""
    stored, _ = ledger.open(record(new_id()), os.urandom(1_500_000))
    changed = ledger.change(replace(stored, token="n"), payload=b"short")
    assert changed is not None
    assert ledger.payload(changed) == b"short"


def test_due_is_what_is_due_oldest_first(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """Waiting handoffs whose time has come, in the order of their times, over all shards."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    ids = [new_id() for _ in range(20)]
    for n, handoff_id in enumerate(ids):
        ledger.open(record(handoff_id, state=RETRYING, due_at=start + timedelta(seconds=n)), b"x")
    found = ledger.due(now=start + timedelta(seconds=9, milliseconds=500), limit=100)
    assert [due.key for due in found] == [keys.digest(handoff_id) for handoff_id in ids[:10]]
    assert len(ledger.due(now=start + timedelta(hours=1), limit=7)) == 7


def test_waiting_handoffs_are_listed_newest_first(ledger: TableLedger, new_id: Callable[[], str]) -> None:
    """Also the list of what waits is by time of creation, and paged."""
    start = datetime(2090, 1, 1, tzinfo=UTC)
    ids = [new_id() for _ in range(5)]
    for n, handoff_id in enumerate(ids):
        created = start + timedelta(seconds=n)
        ledger.open(record(handoff_id, now=created, state=RETRYING, due_at=start - timedelta(seconds=n)), b"x")
    first = ledger.page(state=RETRYING, limit=3, cursor=None)
    second = ledger.page(state=RETRYING, limit=2, cursor=first.cursor)
    assert [each.handoff_id for each in (*first.records, *second.records)] == ids[::-1]


def test_purge_takes_only_what_is_old_and_ended(ledger: TableLedger, table: Table, new_id: Callable[[], str]) -> None:
    """Completed and failed handoffs beyond the retention go with all their rows; waiting ones stay."""
    old = datetime(2000, 1, 1, tzinfo=UTC)
    ids = {state: new_id() for state in (COMPLETED, FAILED, RETRYING)}
    young = new_id()
    for state, handoff_id in ids.items():
        stored, _ = ledger.open(record(handoff_id, now=old), os.urandom(800_000))
        assert ledger.change(replace(stored, state=state, due_at=old if state == RETRYING else None)) is not None
    stored, _ = ledger.open(record(young), b"x")
    assert ledger.change(replace(stored, state=FAILED, due_at=None)) is not None
    assert ledger.purge(before=old + timedelta(days=1), limit=100) == 2
    assert rows_of(table, ids[COMPLETED]) == rows_of(table, ids[FAILED]) == []
    assert ledger.get(ids[RETRYING]) is not None
    assert ledger.get(young) is not None


def test_a_systems_state_is_written_by_one(ledger: TableLedger) -> None:
    """Two instances that close a gate at once: one write counts, the other reads it."""
    name = "system-under-test"
    ledger.forget_system(name)
    nothing = ledger.read_system(name)
    closed = replace(nothing, closed=True, reason="down", error=LastError("c", "m", None), probe_at=NOW, since=NOW)
    first = ledger.write_system(closed)
    assert first is not None
    assert ledger.write_system(replace(closed, reason="throttled")) is None
    assert ledger.read_system(name) == first
    assert ledger.write_system(SystemState(system=name, version=first.version)) is not None
