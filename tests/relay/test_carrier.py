"""One conversation's messages arrive in order, each once, whatever call fails and however."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ConversationEnded, PermanentFailure, TransientFailure
from shared.relay.carrier import CUSTOMER, Carrier, Options
from shared.relay.model import JOINED, OVER, TO_CUSTOMER, Claim, Conversation, RepEntry
from shared.relay.to_customer import REP
from tests.relay.doubles import Faults, Killed, World

KINDS = ["before:refused", "before:lost", "after:lost", "before:killed", "after:killed"]


def carrier(world: World, **options: object) -> Carrier:
    """A worker."""
    return Carrier(
        conversations=world.memory,
        sides=lambda _: world.rep,
        customer=lambda: world.opencx,
        options=Options(**options),  # type: ignore[arg-type]
        clock=world.clock,
    )


def step(world: World, **options: object) -> Conversation | None:
    """One look by a new worker; a killed one leaves what it has written."""
    conversation = next(iter(world.memory.rows.values()), None)
    if conversation is None:
        return None
    try:
        return carrier(world, **options).step(conversation)
    except (Killed, Exception) as error:
        if type(error).__name__ not in ("Killed", "LedgerUnavailable"):
            raise
        return conversation


def story(world: World) -> None:
    """A rep and a customer write, equal texts among them; the rep ends it. Between, workers look."""
    world.conversation()
    world.rep.says("", kind=JOINED)
    for round_ in range(3):
        world.rep.says("ok")
        world.rep.says("ok")
        world.rep.says(f"answer {round_}")
        world.opencx.writes("yes")
        world.opencx.writes(f"question {round_}")
        world.clock.sleep(1)
        touch(world)
        step(world)
        world.clock.sleep(1)
    settle(world)
    world.rep.says("bye")
    world.rep.says("", kind=OVER)
    settle(world)


def touch(world: World) -> None:
    """A webhook says that the customer wrote."""
    for key, row in world.memory.rows.items():
        world.memory.rows[key] = replace(row, contact_poll_at=world.clock.now())


def settle(world: World) -> None:
    """Workers look until nothing is left to do."""
    for _ in range(12):
        world.clock.sleep(11)
        touch(world)
        step(world)


def expect_all(world: World) -> None:
    """Everything has arrived once, in order, and it is over."""
    assert [entry.text for entry in world.opencx.heard] == [
        entry.text for entry in world.rep.listed if entry.kind == "message"
    ]
    assert [message.id for message in world.rep.shown] == [message.id for message in world.opencx.written]
    assert not world.memory.rows
    (ended,) = world.memory.ended.values()
    assert (ended.ending, ended.undelivered, ended.claim) == (REP, 0, None)
    assert ended.to_customer == len(world.opencx.heard)
    assert ended.to_rep == len(world.rep.shown)


def calls_of_story() -> list[str]:
    """The outside calls of a story without faults."""
    world = World.make()
    story(world)
    expect_all(world)
    return world.faults.calls


CALLS = calls_of_story()


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_any_call(kind: str) -> None:
    """A fault of any kind at any one call neither loses, doubles nor reorders a message."""
    for at in range(len(CALLS)):
        world = World.make(Faults(at, kind))
        story(world)
        expect_all(world)


def test_a_blind_carrier_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without the look at OpenCX after an unclear send, the same faults double messages."""
    monkeypatch.setattr("tests.relay.doubles.OpenCX.count_said", lambda *_args, **_options: 0)
    doubled = 0
    for at in range(len(CALLS)):
        world = World.make(Faults(at, "after:lost"))
        story(world)
        heard = Counter(entry.id for entry in world.opencx.heard)
        doubled += any(times > 1 for times in heard.values())
    assert doubled >= CALLS.count("opencx.say")


def test_two_workers_at_once() -> None:
    """A worker whose claim is young is left alone; one whose write is overtaken sends nothing more."""
    world = World.make()
    conversation = world.conversation()
    world.rep.says("one")
    world.rep.says("two")
    second = carrier(world)
    say = world.opencx.say

    def say_while_another_looks(held: Conversation, entry: RepEntry, *, deadline: float) -> None:
        assert second.step(world.memory.rows[conversation.key]) is None
        say(held, entry, deadline=deadline)

    world.opencx.say = say_while_another_looks  # type: ignore[assignment,method-assign]
    carrier(world).step(conversation)
    assert second.step(conversation) is None  # it knows the conversation as it was
    assert [entry.text for entry in world.opencx.heard] == ["one", "two"]


def test_refused_message_does_not_block() -> None:
    """A message that OpenCX refuses for good is counted; what comes after it arrives."""
    world = World.make()
    world.conversation()
    world.rep.says("too long")
    world.rep.says("fine")
    say = world.opencx.say

    def refuse(held: Conversation, entry: RepEntry, *, deadline: float) -> None:
        if entry.text == "too long":
            raise PermanentFailure("No.", code="opencx_refused")
        say(held, entry, deadline=deadline)

    world.opencx.say = refuse  # type: ignore[assignment,method-assign]
    after = step(world)
    assert after is not None
    assert (after.undelivered, after.to_customer, after.error_code) == (1, 1, "opencx_refused")
    assert [entry.text for entry in world.opencx.heard] == ["fine"]


@pytest.mark.parametrize("place", ["entries", "send"])
def test_shut_out_is_not_the_end(place: str) -> None:
    """A guest's token has run out: the relay stops, but the session is not closed as resolved, for nobody ended it."""
    world = World.make()
    world.conversation()
    world.opencx.writes("still there?")

    def shut_out(*_: object, **__: object) -> list[RepEntry]:
        raise ConversationEnded("Too late.", code="salesforce_guest_expired", is_shut_out=True)

    setattr(world.rep, place, shut_out)
    step(world)
    assert [(ended.ending, ended.error_code) for ended in world.memory.ended.values()] == [
        ("shutout", "salesforce_guest_expired")
    ]
    assert world.opencx.closed == 0


def test_session_that_opencx_does_not_know() -> None:
    """A refused look is no crash: it is made again ever less often, and what comes from the rep goes on."""
    world = World.make()
    world.conversation()
    world.rep.says("hello")

    def missing(held: Conversation, *, since: object, deadline: float) -> list[object]:
        raise PermanentFailure("No such session.", code="opencx_session_missing")

    world.opencx.messages = missing  # type: ignore[assignment,method-assign]
    after = step(world)
    assert after is not None
    assert (after.failures, after.error_code) == (1, "opencx_session_missing")
    assert after.next_at is not None
    assert after.next_at - world.clock.now() >= timedelta(seconds=30)
    assert [entry.text for entry in world.opencx.heard] == ["hello"]


def test_customer_leaves() -> None:
    """OpenCX's session is closed: what was written before reaches the rep, then the rep's conversation is ended."""
    world = World.make()
    conversation = world.conversation()
    world.opencx.writes("last words")
    world.memory.rows[conversation.key] = replace(conversation, ending=CUSTOMER)
    step(world)
    assert [message.text for message in world.rep.shown] == ["last words"]
    assert world.rep.is_over
    assert world.opencx.closed == 0
    assert [ended.ending for ended in world.memory.ended.values()] == [CUSTOMER]


@pytest.mark.parametrize(("closes", "times"), [(True, 1), (False, 0)])
def test_rep_ends(closes: bool, times: int) -> None:
    """The rep ends it: OpenCX's session is closed by setting, after the last message."""
    world = World.make()
    world.conversation()
    world.rep.says("bye")
    world.rep.says("", kind=OVER)
    step(world, closes_session=closes)
    assert world.memory.rows  # it waits for last words
    world.clock.sleep(4)
    step(world, closes_session=closes)
    assert [entry.text for entry in world.opencx.heard] == ["bye"]
    assert world.opencx.closed == times
    assert not world.memory.rows


def test_transcript_is_not_repeated() -> None:
    """What the customer wrote before the handoff's transcript ends is in it, and is not carried again."""
    world = World.make()
    world.opencx.writes("in the transcript")
    conversation = world.conversation()
    details = {"transcript_end": world.clock.now().isoformat()}
    world.memory.rows[conversation.key] = replace(conversation, details=details)
    world.clock.sleep(0.5)
    world.opencx.writes("while it was handed over")
    step(world)
    assert [message.text for message in world.rep.shown] == ["while it was handed over"]


def test_automated_messages_by_setting() -> None:
    """What the rep's system writes by itself stays there, unless the setting says otherwise."""
    for relays, heard in ((False, []), (True, ["An agent will be with you."])):
        world = World.make()
        world.conversation()
        entry = world.rep.says("An agent will be with you.")
        world.rep.listed[0] = replace(entry, is_automated=True)
        step(world, relays_automated=relays)
        assert [entry.text for entry in world.opencx.heard] == heard


def test_pushed_messages_and_the_sweep() -> None:
    """Pushed entries are carried and leave the inbox; the sweep brings only what no push has brought."""
    world = World.make(polls=False)
    conversation = world.conversation()
    for text in ("ok", "ok"):
        world.memory.push(conversation, [world.rep.says(text)])
    world.clock.sleep(1)
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["ok", "ok"]
    assert world.memory.inbox(conversation) == []
    world.rep.listed = [replace(entry, id=f"listed-{entry.id}") for entry in world.rep.listed]
    world.rep.says("lost by the push")
    world.clock.sleep(timedelta(minutes=3).total_seconds())
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["ok", "ok", "lost by the push"]


def test_equal_words_pushed_twice_are_two_messages() -> None:
    """A system without ids of its own gives equal words equal ids: what its side lets pass is carried, each once."""
    world = World.make(polls=False)
    conversation = world.conversation()
    for _ in range(2):
        world.memory.push(conversation, [world.rep.says("ok", entry_id="hash-of-ok")])
        world.clock.sleep(1)
        step(world)
    assert [entry.text for entry in world.opencx.heard] == ["ok", "ok"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_any_call_with_pushes(kind: str) -> None:
    """The same for a system that pushes: no fault loses or doubles what lies in the inbox."""

    def run(faults: Faults) -> World:
        world = World.make(faults, polls=False)
        conversation = world.conversation()
        for text in ("one", "ok", "ok", "two"):
            world.memory.push(conversation, [world.rep.says(text)])
            step(world)
            world.clock.sleep(1)
        settle(world)
        return world

    calls = len(run(Faults()).faults.calls)
    for at in range(calls):
        world = run(Faults(at, kind))
        assert [entry.text for entry in world.opencx.heard] == ["one", "ok", "ok", "two"], (at, kind)
        assert not any(world.memory.pushed.values())


def test_webhook_during_a_send_costs_nothing() -> None:
    """The customer writes while a reply is being sent: the touch is merged, and nobody waits for a claim to run out."""
    world = World.make()
    conversation = world.conversation()
    world.rep.says("one")
    world.rep.says("two")
    say = world.opencx.say

    def say_while_touched(held: Conversation, entry: RepEntry, *, deadline: float) -> None:
        say(held, entry, deadline=deadline)
        touched = world.memory.rows[conversation.key]
        world.memory.change(replace(touched, contact_poll_at=world.clock.now(), next_at=world.clock.now(), peeks=1))

    world.opencx.say = say_while_touched  # type: ignore[assignment,method-assign]
    after = step(world)
    assert [entry.text for entry in world.opencx.heard] == ["one", "two"]
    assert after is not None
    assert after.claim is None


def test_poison_message_blocks_neither_way_for_ever() -> None:
    """One that always fails with an answer is given up after hours, and counted; the other way goes on meanwhile."""
    world = World.make()
    world.conversation()
    world.rep.says("poison")
    world.rep.says("fine")
    world.opencx.writes("hello?")
    say = world.opencx.say

    def fail(held: Conversation, entry: RepEntry, *, deadline: float) -> None:
        if entry.text == "poison":
            raise TransientFailure("500", code="opencx_unavailable", system="opencx")
        say(held, entry, deadline=deadline)

    world.opencx.say = fail  # type: ignore[assignment,method-assign]
    for _ in range(10):
        step(world)
        world.clock.sleep(10)
    assert [message.text for message in world.rep.shown] == ["hello?"]
    assert world.opencx.heard == []  # an outage of ten minutes costs no message
    for _ in range(200):
        step(world)
        world.clock.sleep(60)
    assert [entry.text for entry in world.opencx.heard] == ["fine"]
    (row,) = world.memory.rows.values()
    assert (row.undelivered, row.error_code) == (1, "message_given_up")


def test_what_a_rep_wrote_before_the_relay_opened() -> None:
    """A rep may greet while the handoff is still being retried: the greeting is carried."""
    world = World.make()
    world.rep.says("Hello, I am Sara")
    world.clock.sleep(600)
    conversation = world.conversation()
    accepted_at = world.clock.now() - timedelta(seconds=620)
    world.memory.rows[conversation.key] = replace(conversation, accepted_at=accepted_at)
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["Hello, I am Sara"]


def test_equal_words_of_somebody_else_are_not_ours() -> None:
    """An agent said the same an hour ago: a send that failed is not taken for delivered."""
    world = World.make()
    world.conversation()
    world.opencx.heard.append(world.rep.says("Hello, how can I help?"))
    world.opencx.times.append(world.clock.now())
    world.rep.listed.clear()
    world.clock.sleep(3600)
    world.rep.says("Hello, how can I help?")
    world.faults.at = len(world.faults.calls) + CALLS.index("opencx.say") - CALLS.index("rep.entries")
    world.faults.kind = "before:lost"
    settle(world)
    assert len(world.opencx.heard) == 2


def test_last_words_overtaken_by_the_end() -> None:
    """A push may come after the end that it was written before: the end waits for it."""
    world = World.make(polls=False)
    conversation = world.conversation()
    last = world.rep.says("bye")
    world.memory.push(conversation, [world.rep.says("", kind=OVER)])
    step(world)
    world.clock.sleep(5)
    world.memory.push(conversation, [last])
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["bye"]
    assert world.opencx.closed == 0
    world.clock.sleep(15)
    step(world)
    assert world.opencx.closed == 1
    assert world.rep.forgotten == 1


def test_webhook_that_is_quicker_than_the_history() -> None:
    """The message is not listed yet: it is looked again after 2, 5 and 15 s, not after minutes."""
    world = World.make()
    conversation = world.conversation()
    step(world)
    touched = world.memory.rows[conversation.key]
    world.memory.change(replace(touched, contact_poll_at=world.clock.now(), peeks=1))
    step(world)
    world.opencx.writes("late in the list")
    world.clock.sleep(2)
    step(world)
    assert [message.text for message in world.rep.shown] == ["late in the list"]


def test_slow_table_gives_the_claim_back() -> None:
    """A claim whose writing took too long would not cover the send: nothing is sent under it."""
    world = World.make()
    world.conversation()
    world.rep.says("one")
    change = world.memory.change

    def slow(conversation: Conversation) -> Conversation | None:
        stored = change(conversation)
        world.clock.sleep(25 if conversation.claim and not world.opencx.heard else 0)
        return stored

    world.memory.change = slow  # type: ignore[method-assign]
    step(world)
    assert world.opencx.heard == []
    world.memory.change = change  # type: ignore[method-assign]
    settle(world)
    assert [entry.text for entry in world.opencx.heard] == ["one"]


def test_nothing_is_sent_into_what_is_over() -> None:
    """The rep has ended it, and closing fails: what the customer writes then rings no other rep."""
    world = World.make()
    world.conversation()
    world.rep.says("", kind=OVER)
    step(world)
    world.opencx.writes("thanks!")
    touch(world)
    world.clock.sleep(1)
    step(world)
    assert world.rep.shown == []


def test_hopeless_conversations_are_given_up() -> None:
    """A session that OpenCX does not know, or an end that cannot be told, is not looked at for ever."""
    world = World.make()
    world.conversation()

    def missing(held: Conversation, *, since: object, deadline: float) -> list[object]:
        raise PermanentFailure("No such session.", code="opencx_session_missing")

    world.opencx.messages = missing  # type: ignore[assignment,method-assign]
    for _ in range(60):
        step(world)
        world.clock.sleep(61)
        touch(world)
    assert [ended.ending for ended in world.memory.ended.values()] == ["shutout"]
    assert world.opencx.closed == 0


def test_what_was_pushed_is_said_though_the_system_is_gone() -> None:
    """A sweep that finds the conversation gone must not cost the words that were pushed before."""
    world = World.make(polls=False)
    conversation = world.conversation()
    world.memory.push(conversation, [world.rep.says("one"), world.rep.says("two")])
    old = Claim(TO_CUSTOMER, "another", "t", world.clock.now(), world.clock.now())
    world.memory.change(replace(conversation, claim=old))

    def gone(*_: object, **__: object) -> list[RepEntry]:
        raise ConversationEnded("Gone.", code="messaging_conversation_ended")

    world.rep.entries = gone  # type: ignore[method-assign]
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["one", "two"]


def test_last_words_whose_push_was_lost() -> None:
    """After the end the system is asked once for what no push has brought."""
    world = World.make(polls=False)
    conversation = world.conversation()
    step(world)
    world.clock.sleep(5)
    world.rep.says("lost by the push")
    world.memory.push(conversation, [world.rep.says("", kind=OVER)])
    for _ in range(4):
        step(world)
        world.clock.sleep(6)
    assert [entry.text for entry in world.opencx.heard] == ["lost by the push"]
    assert world.opencx.closed == 1
