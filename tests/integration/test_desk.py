"""The use case under trouble: what waits, what is tried again, and what must never be stuck."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.app import Application
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff import request
from shared.handoff.desk import Answer
from shared.handoff.model import Handoff, Notice, Outcome
from shared.handoff.record import COMPLETED, FAILED, PENDING, RETRYING, Record
from shared.ledger import keys
from tests.clock import ManualClock
from tests.conftest import World

pytestmark = pytest.mark.integration


class Script:
    """A destination that does what it is told: an exception to raise, or nothing for success."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self.always: Callable[[Handoff], Exception | None] = lambda _: None
        self.seen: list[str] = []
        self.notices: tuple[Notice, ...] = ()

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Raise what is next, else land."""
        self.seen.append(handoff.handoff_id)
        error = self.errors.pop(0) if self.errors else self.always(handoff)
        if error is not None:
            raise error
        return Outcome(
            "dynamics365", "incident", handoff.channel or "", f"row-{handoff.handoff_id}", warnings=self.notices
        )


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock(datetime(2027, 1, 1, tzinfo=UTC))


@pytest.fixture
def script() -> Script:
    """What Dynamics does."""
    return Script()


@pytest.fixture
def application(world: World, clock: ManualClock, script: Script) -> Application:
    """A service whose only destination is scripted."""
    return scripted(world, clock, script)


def scripted(world: World, clock: ManualClock, script: Script, **settings: str) -> Application:
    """A service of its own on the same table."""
    made = world.application(clock, **settings)
    known = made.destination

    def destination(target: str) -> object:
        return script if target == "dynamics365" else known(target)

    made.__dict__["destination"] = destination
    made.ledger.forget_system("nowhere")
    return made


def post(application: Application, handoff_id: str, **more: object) -> Answer:
    """Hand over."""
    body = {"session_id": handoff_id, "channel": "phone", "summary": "s", "contact": {"name": "n"}, "transcript": []}
    raw = json.dumps(body | more).encode()
    return application.desk.accept(request.parse(request.parse_body(raw)), raw)


def fault(system: str = "dynamics365") -> ConfigurationFault:
    """A missing role, say."""
    return ConfigurationFault("m", code="c", system=system, fix="f")


def failure(kind: str = "server_error", retry_after: float | None = None) -> TransientFailure:
    """A failure that may pass."""
    return TransientFailure("m", code="c", system="dynamics365", kind=kind, retry_after_seconds=retry_after)


def test_a_corrected_route_rescues_what_waits(
    world: World, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """The fix that the error names helps those that wait already: routes are read at every attempt."""
    wrong = scripted(world, clock, script, HANDOFF_ROUTES='{"phone": "nowhere"}')
    handoff_id = new_id()
    assert post(wrong, handoff_id).record.state == RETRYING
    clock.advance(120)
    right = scripted(world, clock, script)
    assert right.desk.replay(handoff_id).record.state == COMPLETED
    other = new_id()
    post(wrong, other)
    clock.advance(120)
    scripted(world, clock, script).reconciler.run()
    assert right.desk.look(other).state == COMPLETED


def test_what_is_held_back_does_not_hide_what_could_land(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """However many handoffs wait for a closed system, one for an open system lands in the same tick."""
    for _ in range(70):
        post(application, new_id(), target="salesforce")
    clock.advance(1)
    script.errors = [failure()] * 4
    handoff_id = new_id()
    assert post(application, handoff_id).record.state == RETRYING
    clock.advance(30)
    application.reconciler.run()
    assert application.desk.look(handoff_id).state == COMPLETED


def test_a_poison_handoff_ends(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """A handoff that alone gets 500 uses its attempts up, though it closes the gate again and again."""
    poison = new_id()
    script.always = lambda handoff: failure() if handoff.handoff_id == poison else None
    post(application, poison)
    for _ in range(60):
        clock.advance(3 * 3600)
        application.reconciler.run()
        if application.desk.look(poison).state == FAILED:
            break
    record = application.desk.look(poison)
    assert (record.state, record.attempts) == (FAILED, 10)


def test_an_outage_uses_up_no_attempts(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """While the system itself is away, probes say nothing about the handoffs that they are."""
    handoff_id = new_id()
    script.always = lambda _: failure("unreachable")
    post(application, handoff_id)
    for _ in range(50):
        clock.advance(3600)
        application.reconciler.run()
    script.always = lambda _: None
    clock.advance(3600)
    application.reconciler.run()
    record = application.desk.look(handoff_id)
    assert (record.state, record.attempts <= 2) == (COMPLETED, True)


def test_posting_again_does_not_take_the_probe_away(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """Repeats of completed handoffs while the gate is closed never delay its reopening."""
    done, waiting = new_id(), new_id()
    post(application, done)
    script.errors = [fault()]
    post(application, waiting)
    clock.advance(10)
    for _ in range(5):
        assert post(application, done).replayed
    application.reconciler.run()
    assert application.desk.look(waiting).state == COMPLETED


def test_a_probe_that_is_refused_for_good_is_given_back(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """The next handoff is the probe at once, not forty seconds later."""
    script.errors = [fault(), PermanentFailure("m", code="c")]
    post(application, new_id())
    clock.advance(10)
    assert post(application, new_id()).record.state == FAILED
    assert post(application, new_id()).record.state == COMPLETED


def test_a_damaged_request_costs_one_handoff_not_the_tick(
    application: Application, clock: ManualClock, new_id: Callable[[], str]
) -> None:
    """What cannot be read is failed with its reason; the others land."""
    now = clock.now()
    for n, handoff_id in enumerate(ids := [new_id(), new_id()]):
        record = Record(
            handoff_id,
            handoff_id,
            RETRYING,
            "dynamics365",
            "phone",
            1,
            now,
            now,
            due_at=now + timedelta(seconds=n),
            token="0" * 32,
        )
        stored, _ = application.ledger.open(
            record,
            b'{"session_id": "x", "channel": "phone", "summary": "s", "contact": {"name": "n"}, "transcript": []}',
        )
        if n == 0:
            key = keys.digest(handoff_id)
            row = {"PartitionKey": keys.shard(key), "RowKey": keys.record_row(key), "P00": b"\x1f\x8b\x08\x00broken"}
            application.ledger._table.transact([("update", row, {"mode": "merge"})])
        assert stored.state == RETRYING
    clock.advance(60)
    application.reconciler.run()
    first, second = (application.desk.look(handoff_id) for handoff_id in ids)
    assert (first.state, second.state) == (FAILED, COMPLETED)
    assert first.last_error is not None
    assert first.last_error.code == "payload_unreadable"


def test_posting_a_large_handoff_again_leaves_nothing_behind(
    application: Application, script: Script, new_id: Callable[[], str]
) -> None:
    """The second post's text is gone when its answer is given, and never mixed into the first's."""
    handoff_id = new_id()
    key = keys.digest(handoff_id)

    def further_rows() -> int:
        prefix = keys.payload_rows(key)
        return len(application.ledger._table.query(keys.shard(key), after=prefix, before=f"{prefix}~", most=99))

    big = os.urandom(1_200_000).hex()
    script.errors = [fault()]
    assert post(application, handoff_id, unknown=big).record.state == RETRYING
    rows = further_rows()
    assert rows > 0
    stored = application.ledger.payload(application.desk.look(handoff_id))
    post(application, handoff_id, unknown=os.urandom(1_300_000).hex())
    assert further_rows() == rows
    assert application.ledger.payload(application.desk.look(handoff_id)) == stored
    assert application.desk.replay(handoff_id).record.state == COMPLETED
    post(application, handoff_id, unknown=big)
    assert further_rows() == 0


def test_a_throttled_handoff_is_stored_before_it_waits(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """A worker that is killed while it sits out a Retry-After loses nothing."""
    script.errors = [failure("throttled", 8)] * 4
    post(application, new_id())
    handoff_id = new_id()
    stored_while_waiting: list[bool] = []
    original = clock.sleep

    def sleep(seconds: float) -> None:
        stored_while_waiting.append(application.ledger.get(handoff_id) is not None)
        original(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]
    script.errors = []
    assert post(application, handoff_id).record.state == COMPLETED
    assert stored_while_waiting == [True]


def test_posting_again_does_not_bring_the_end_nearer(
    application: Application, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """An impatient caller gets extra tries; the schedule's attempts are the timer's."""
    handoff_id = new_id()
    script.always = lambda handoff: failure() if handoff.handoff_id == handoff_id else None
    for _ in range(15):
        assert post(application, handoff_id).record.state == RETRYING
        post(application, new_id())
        clock.advance(7)
    assert application.desk.look(handoff_id).attempts == 1
    script.always = lambda _: None
    assert post(application, handoff_id).record.state == COMPLETED


def test_warnings_never_outgrow_a_record(application: Application, script: Script, new_id: Callable[[], str]) -> None:
    """However many and long they are, the record can be written."""
    script.notices = tuple(Notice("code", f"{n} " + "x" * 2000) for n in range(300))
    record = post(application, new_id()).record
    assert record.state == COMPLETED
    assert record.outcome is not None
    assert (len(record.outcome.warnings), record.outcome.warnings[-1].code) == (21, "more_warnings")
    assert application.desk.look(record.handoff_id).state == COMPLETED


def test_chats_that_wait_for_their_table_are_asked_ever_less(
    world: World, clock: ManualClock, script: Script, new_id: Callable[[], str]
) -> None:
    """A fault of chats alone pauses no incidents, and each waiting chat is tried less and less often."""
    application = scripted(world, clock, script)
    script.always = lambda handoff: fault("dynamics365.live_work_item") if handoff.channel == "web" else None
    chat = new_id()
    assert post(application, chat, channel="web").record.state == RETRYING
    assert post(application, new_id()).record.state == COMPLETED
    script.seen.clear()
    for _ in range(120):
        clock.advance(60)
        application.reconciler.run()
    assert 10 < script.seen.count(chat) < 45
    assert application.desk.look(chat).attempts == 0


def test_a_killed_worker_is_followed_by_the_timer(
    application: Application, clock: ManualClock, new_id: Callable[[], str]
) -> None:
    """A lease runs out; the timer goes on from the stored request."""
    handoff_id = new_id()
    stopped = post(application, handoff_id).record
    pending = replace(stopped, state=PENDING, outcome=None, due_at=clock.now() + timedelta(seconds=55))
    other = new_id()
    key = {"handoff_id": other, "session_id": other, "marker": "", "version": "", "payload_rows": 0}
    body = b'{"session_id": "x", "channel": "phone", "summary": "s", "contact": {"name": "n"}, "transcript": []}'
    application.ledger.open(replace(pending, **key), body)  # type: ignore[arg-type]
    clock.advance(30)
    application.reconciler.run()
    assert application.desk.look(other).state == PENDING
    clock.advance(30)
    application.reconciler.run()
    assert application.desk.look(other).state == COMPLETED


def test_a_repeat_waits_for_the_one_that_works(
    world: World, application: Application, clock: ManualClock, new_id: Callable[[], str]
) -> None:
    """A second caller of a handoff that another worker holds polls until its budget is used up, then gets 202."""
    handoff_id = new_id()
    now = clock.now()
    record = Record(
        handoff_id,
        handoff_id,
        PENDING,
        "dynamics365",
        "phone",
        1,
        now,
        now,
        due_at=now + timedelta(seconds=55),
        token="0" * 32,
    )
    application.ledger.open(record, b"{}")
    started = clock.monotonic()
    assert post(application, handoff_id).record.state == PENDING
    assert 20 < clock.monotonic() - started < 25
    assert world.standins.dataverse.journal.entries() == []
