"""The quick part of the fault matrix; ``python dev.py faults`` runs all of it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.config.turns import Turns
from shared.dataverse.rows import Row
from shared.errors import TransientFailure
from tests.faults import faults, mutations
from tests.faults.case import AtOne
from tests.faults.oracle import DUPLICATE
from tests.faults.parts import (
    chaos,
    configuration,
    conversations,
    inner,
    kills,
    lasting,
    late_work,
    ledger_cost,
    matrix,
    mutants,
    naive,
    outage,
    people,
    readings,
    relay,
    relay_cases,
    relay_mutants,
    relay_random,
    webhook_faults,
)
from tests.faults.report import Result, details
from tests.faults.stories import story
from tests.faults.talks import REP, SALESFORCE
from tests.faults.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One world for all parts; each empties it first."""
    with World() as running:
        yield running


def assert_right(result: Result) -> None:
    """No finding; the first ones are shown."""
    assert result.is_right, details([result])
    assert result.cases > 0


@pytest.mark.parametrize("name", ["phone new", "web known"])
def test_one_fault_at_any_boundary_loses_and_doubles_nothing(world: World, name: str) -> None:
    """Whatever call of a handoff fails, in whatever way: one record, one contact, the whole transcript."""
    assert_right(matrix.run(world, stories=[story(name)], kinds=faults.QUICK))


def test_a_fault_in_a_conversation_loses_and_doubles_nothing(world: World) -> None:
    """Whatever call of the relay loses its answer: each message once and in order, both ways, and an end."""
    assert_right(relay.run(world, talks=[(SALESFORCE, REP)], kinds=("lost",), often=1, every=14))


def test_one_conversation_a_handoff_however_often_it_is_posted_at_once(world: World) -> None:
    """Two instances get the same handoff at once: one conversation in Salesforce, one in Dynamics."""
    assert_right(conversations.at_once(world, times=1))


@pytest.mark.parametrize("part", [conversations.salesforce, conversations.messaging])
def test_one_fault_in_a_handoff_makes_no_second_conversation(world: World, part: Callable[..., Result]) -> None:
    """A webhook's handoff to either system: one conversation with all of the transcript, known to the relay."""
    starts = conversations.SALESFORCE_STARTS if part is conversations.salesforce else conversations.MESSAGING_STARTS
    assert_right(part(world, starts=starts[:1], kinds=("lost",), often=1, every=6))


def test_a_target_that_shows_only_on_the_way_is_probed_by_who_waits_for_it(world: World) -> None:
    """The channel is read at the attempt, and its system refuses the service for a moment: the handoff lands later."""
    start, system = conversations.SALESFORCE_STARTS[1], "salesforce"
    assert not start.tells_channel
    place = conversations.trace(world, system, start).index("salesforce POST conversation")
    assert conversations.one(world, system, start, AtOne(place, faults.KINDS["403"]), "403") == []


def test_webhooks_may_come_twice_or_never(world: World) -> None:
    """Of Dynamics' one comes twice and one is lost, of OpenCX's one is lost: each message is carried once."""
    names = ("duplicate message 2", "lose message 1", "OpenCX loses contact_response")
    cases = [next(case for case in webhook_faults.CASES if case.name == name) for name in names]
    assert_right(webhook_faults.run(world, cases=cases))


def test_what_is_done_after_the_look_is_done_twice(world: World) -> None:
    """OpenCX takes no key: work done within the wait is found, work done after the look is seen to double."""
    result = late_work.run(world, late_seconds=(2.0, 15.0), sends=("rep to OpenCX",), failures=("time-out",))
    assert_right(result)
    assert result.note.startswith("1 doubled")


def test_random_faults_in_conversations_lose_and_double_nothing(world: World) -> None:
    """Two of ten calls fail, in four conversations, two in each system; the seed reproduces a finding."""
    assert_right(relay_random.run(world, seed=6, conversations=4, messages=2, side_by_side=False))


def test_two_instances_at_one_conversation_carry_each_message_once(world: World) -> None:
    """Every message of the queue is given to both instances at the same time."""
    assert_right(relay_random.two_at_once(world, times=1, messages=2))


def test_a_repeated_handoff_leaves_an_open_conversation_alone(world: World) -> None:
    """The worker dies when the conversation is open and being written in; the timer's repeat begins nothing anew."""
    assert_right(relay_cases.opened_again(world))


def test_what_is_not_documented_may_be_either_way(world: World) -> None:
    """Some of the readings, as docs/unknowns.md tells them; ``python dev.py faults --part readings`` plays all."""
    wanted = ("how the last page of", "whether a create finds", "whether entries tell")
    assert_right(readings.run(world, unknowns=[one for one in readings.UNKNOWNS if one.name.startswith(wanted)]))


def test_every_reading_is_documented() -> None:
    """Unknown and switches of each row stand in docs/unknowns.md, in their order."""
    lines = readings.PAGE.read_text("utf-8").splitlines()
    told = [line.split(" | ")[:2] for line in lines if line.startswith("| ") and "=" in line]
    wanted = [
        readings.row(unknown, number, "").split(" | ")[:2]
        for unknown in readings.UNKNOWNS
        for number in range(len(unknown.readings))
    ]
    assert told == wanted


@pytest.mark.parametrize("name", ["no claim before a send", "no look after an unclear send"])
def test_a_broken_rule_of_the_relay_is_seen(world: World, name: str) -> None:
    """Taking a rule out of the relay turns the judge red; ``python dev.py faults --part mutants`` tries all."""
    assert_right(relay_mutants.run(world, names=[name]))


def test_a_session_is_read_from_opencx_whatever_fails(world: World) -> None:
    """A transcript that must be read first arrives whole, although a call for it failed."""
    assert_right(matrix.run(world, stories=[story("phone read")], kinds=("lost", "503", "wrong JSON")))


def test_a_system_that_is_down_costs_nobody_their_answer(world: World) -> None:
    """Any one system may be down for a whole attempt: the answer comes within the budget, and the handoff lands."""
    assert_right(lasting.run(world, told=[story("phone new")]))


def test_an_operation_inside_a_batch_may_fail_by_itself(world: World) -> None:
    """A queue that refuses costs a notice, one that is busy is tried again; neither doubles the case."""
    assert_right(inner.run(world))


def test_a_retry_leaves_alone_what_a_rep_has_done(world: World) -> None:
    """A case that a rep has renamed and moved stays so, however often the handoff is repeated."""
    assert_right(people.edits_stay(world, told=["phone new", "web new"]))


def test_a_worker_that_comes_late_changes_nothing(world: World) -> None:
    """A completed handoff stays completed, whatever a worker that lost its lease does afterwards."""
    assert_right(people.late_workers(world, told=["phone new"]))


def test_the_same_handoff_at_once_is_written_once(world: World) -> None:
    """Six calls at once: one write, one answer for all; six sessions of a new customer: one contact."""
    assert_right(people.at_once(world, times=2))


def test_a_client_that_posts_and_retries_is_seen_to_double(world: World) -> None:
    """The same faults give the usual kind of client duplicates; else these tests would be blind."""
    assert naive.run(world).count(DUPLICATE) > 0


def test_random_faults_lose_and_double_nothing(world: World) -> None:
    """Three of ten calls fail, handoffs are posted several times at once, two timers run at once."""
    assert_right(chaos.run(world, seed=7, handoffs=120))


def test_an_outage_is_waited_out(world: World) -> None:
    """While Dynamics is down only probes call it; afterwards all lands in due order, new handoffs without delay."""
    assert_right(outage.run(world, handoffs=60))


def test_an_administrators_mistake_costs_no_handoff(world: World) -> None:
    """Handoffs wait without using up attempts, one probe a step is made, and all land after the fix."""
    assert_right(configuration.run(world))


def test_finding_due_work_does_not_grow_with_what_is_done(world: World) -> None:
    """The timer reads what is due, however many completed handoffs the table holds."""
    assert_right(ledger_cost.run(world, few=100, many=1000))


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_a_broken_rule_is_seen(world: World, name: str) -> None:
    """Taking a rule out of the service turns the judge red."""
    assert_right(mutants.run(world, names=[name]))


def test_a_mutation_ends_with_its_block() -> None:
    """A patched rule is back afterwards: no mutant outlives its test."""
    before = Row.__dict__["create"]
    with mutations.no_if_none_match():
        assert Row.__dict__["create"] is not before
    assert Row.__dict__["create"] is before


@pytest.mark.integration
def test_a_killed_host_loses_nothing() -> None:
    """What a host had accepted when it was killed lands by the next one's timer; nothing lands twice."""
    assert_right(kills.run(kills=2, seed=3))


def test_those_who_waited_share_a_failure() -> None:
    """One time-out is waited for once: who stood in line for the same call fails with it, and asks no more."""
    turns, asked = Turns(), []
    first_is_in, fail, started = threading.Event(), threading.Event(), threading.Semaphore(0)

    def ask() -> None:
        with turns.take("token"):
            asked.append(threading.get_ident())
            first_is_in.set()
            fail.wait(10)
            raise TransientFailure("No answer.", code="entra_unavailable", system="dynamics365")

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(ask)
        assert first_is_in.wait(10)
        line = [pool.submit(_counted(ask, started)) for _ in range(5)]
        for _ in line:
            assert started.acquire(timeout=10)
        threading.Timer(0.2, fail.set).start()  # the last of them has only to take the lock now
        for one in (first, *line):
            with pytest.raises(TransientFailure):
                one.result(timeout=10)
    assert len(asked) == 1
    with pytest.raises(TransientFailure):
        ask()
    assert len(asked) == 2, "who comes afterwards asks again"


def _counted(call: Callable[[], None], started: threading.Semaphore) -> Callable[[], None]:
    def begin() -> None:
        started.release()
        call()

    return begin
