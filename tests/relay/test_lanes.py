"""A lane is kept going by one message at a time, whoever dies, and rests when nothing is open."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from shared.errors import TransientFailure
from shared.handoff.model import Contact, Handoff, Outcome, Turn
from shared.relay.lanes import Lanes
from shared.relay.model import OVER, Conversation, RepEntry, lane_of
from shared.relay.relay import Relay
from tests.relay.doubles import START, Closings, Faults, Killed, World
from tests.relay.test_carrier import carrier

LANE = lane_of("s1")


@dataclass
class Message:
    """A message in the queue."""

    what: tuple[object, ...]
    visible_at: datetime


@dataclass
class Queue:
    """The queue, and how often it was asked. Implements `shared.relay.store.Wake`."""

    world: World
    messages: list[Message] = field(default_factory=list)
    puts: int = 0
    is_down: bool = False

    def handoff(self, key: str) -> None:
        self._put(("handoff", key), 0)

    def conversation(self, key: str) -> None:
        self._put(("conversation", key), 0)

    def lane(self, name: str, sequence: int, *, delay_seconds: float) -> Message:
        return self._put(("lane", name, sequence), delay_seconds)

    def sooner(self, handle: Message, *, delay_seconds: float) -> None:
        handle.visible_at = self.world.clock.now() + timedelta(seconds=delay_seconds)

    def _put(self, what: tuple[object, ...], delay_seconds: float) -> Message:
        if self.is_down:
            raise TransientFailure("Down.", code="queue_unavailable", system="queue")
        self.puts += 1
        message = Message(what, self.world.clock.now() + timedelta(seconds=delay_seconds))
        self.messages.append(message)
        return message


class Engine:
    """The platform: gives each message to a worker when it is visible."""

    def __init__(self, *, polls: bool = True, **options: object) -> None:
        self._options = options
        self.world = World.make(polls=polls)
        self.queue = Queue(self.world)
        self.lanes = self.worker()
        self.relay = Relay(
            conversations=self.world.memory,
            closings=Closings(),
            lanes=self.lanes,
            wake=self.queue,
            clock=self.world.clock,
        )
        self.runs = 0

    def worker(self) -> Lanes:
        """A worker of an instance of its own."""
        pool = ThreadPoolExecutor(2)
        return Lanes(
            conversations=self.world.memory,
            carrier=carrier(self.world, **self._options),
            wake=self.queue,
            clock=self.world.clock,
            executor=lambda: pool,
        )

    def open(self) -> Conversation:
        """A handoff becomes a conversation."""
        handoff = Handoff("h1", "s1", "sms", Contact(), (Turn("customer", "Hi", START),))
        outcome = Outcome("salesforce", "messaging_conversation", "sms", "c1")
        return self.relay.open(handoff, outcome, accepted_at=START)

    def run(self, seconds: float) -> None:
        """Let time pass, a tenth of a second at a time."""
        for _ in range(int(seconds * 10)):
            self.world.clock.sleep(0.1)
            for message in [one for one in self.queue.messages if one.visible_at <= self.world.clock.now()]:
                self.queue.messages.remove(message)
                self.runs += 1
                if message.what[0] == "lane":
                    self.lanes.run(str(message.what[1]), int(str(message.what[2])))
                else:
                    self.lanes.step(str(message.what[1]))


def test_quick_while_people_write() -> None:
    """A reply is carried within the lane's pace, and nothing runs any more when the conversation is over."""
    engine = Engine()
    engine.open()
    engine.run(3)
    for number in range(5):
        engine.world.rep.says(f"reply {number}")
        engine.run(1.2)
        assert len(engine.world.opencx.heard) == number + 1
    engine.world.rep.says("", kind=OVER)
    engine.run(5)
    assert engine.queue.messages == []
    assert engine.world.memory.lane(LANE).at is None


def test_a_few_conversations_are_polled_as_often_as_is_wished() -> None:
    """OpenCX is polled more rarely only when many are open; one in a lane is one, not one in each lane."""
    engine = Engine(contact_poll=timedelta(seconds=5))
    engine.open()
    engine.run(20)
    before = engine.world.faults.calls.count("opencx.messages")
    engine.run(60)
    assert 9 <= engine.world.faults.calls.count("opencx.messages") - before <= 12


def test_slow_when_nothing_happens() -> None:
    """An hour of silence costs a look every 15 s at most."""
    engine = Engine()
    engine.open()
    engine.run(60 * 35)
    engine.runs = 0
    engine.run(600)
    assert 35 <= engine.runs <= 45


def test_pushed_conversations_rest() -> None:
    """A system that pushes costs one look a minute; what it pushes is carried at once."""
    engine = Engine(polls=False)
    conversation = engine.open()
    engine.run(60)
    engine.runs = 0
    engine.run(600)
    assert engine.runs <= 12
    engine.relay.pushed(conversation, [engine.world.rep.says("hello")])
    engine.run(0.1)
    assert [entry.text for entry in engine.world.opencx.heard] == ["hello"]


def test_webhook_brings_the_customers_message_at_once() -> None:
    """``contact_wrote`` reads OpenCX's history now, not at its slow poll."""
    engine = Engine()
    engine.open()
    engine.run(5)
    engine.world.opencx.writes("still there?")
    assert engine.relay.contact_wrote("s1") == 1
    engine.run(0.2)
    assert [message.text for message in engine.world.rep.shown] == ["still there?"]
    assert engine.relay.contact_wrote("unknown") == 0


def test_customer_leaves() -> None:
    """``closed`` ends the rep's conversation."""
    engine = Engine()
    engine.open()
    engine.run(3)
    engine.relay.closed("s1")
    engine.run(1)
    assert engine.world.rep.is_over
    assert not engine.world.memory.rows


@pytest.mark.parametrize("at", range(6))
def test_worker_dies(at: int) -> None:
    """A worker that dies in a look is followed by the next one within 15 s, or the length of a claim."""
    engine = Engine()
    engine.open()
    engine.run(3)
    engine.world.rep.says("one")
    engine.world.rep.says("two")
    faults = Faults(at, "after:killed")
    engine.world.faults.at, engine.world.faults.kind = len(engine.world.faults.calls) + at, "after:killed"
    assert faults.kind
    engine.run(1.5)
    engine.lanes = engine.worker()
    engine.run(40)
    assert [entry.text for entry in engine.world.opencx.heard] == ["one", "two"]


def test_timer_finds_a_lost_message() -> None:
    """A lane whose message is gone, or was never put in, is woken by the timer."""
    engine = Engine()
    engine.queue.is_down = True
    engine.open()
    engine.queue.is_down = False
    assert engine.queue.messages == []
    engine.world.clock.sleep(30)
    assert engine.lanes.watch() == 1
    engine.run(1)
    assert len(engine.queue.messages) == 1
    assert engine.lanes.watch() == 0
    engine.queue.messages.clear()
    engine.world.clock.sleep(40)
    assert engine.lanes.watch() == 1
    engine.world.rep.says("found")
    engine.run(2)
    assert [entry.text for entry in engine.world.opencx.heard] == ["found"]


def test_timer_wakes_a_resting_lane_in_which_something_is_open() -> None:
    """A worker that died between storing a conversation and waking its lane is made good."""
    engine = Engine()
    engine.world.conversation()
    assert engine.lanes.watch() == 1
    engine.run(1)
    assert len(engine.queue.messages) == 1


def test_doubled_message_stops() -> None:
    """The platform may give a message twice: the second is stale, and the lane goes on once."""
    engine = Engine()
    engine.open()
    engine.run(3)
    engine.queue.messages += [replace(message) for message in engine.queue.messages]
    engine.run(5)
    assert len(engine.queue.messages) == 1


def test_two_lanes_workers_are_harmless() -> None:
    """Two instances at one lane carry each message once."""
    engine = Engine()
    engine.open()
    engine.run(3)
    engine.world.rep.says("one")
    sequence = engine.world.memory.lane(LANE).sequence
    other = engine.worker()
    engine.lanes.run(LANE, sequence)
    assert other.run(LANE, sequence) is None
    engine.lanes.nudge_now(LANE)
    engine.run(3)
    assert [entry.text for entry in engine.world.opencx.heard] == ["one"]
    assert len(engine.queue.messages) == 1


def test_looks_keep_their_context() -> None:
    """The platform drops log lines without the invocation that wrote them: a look must run in its lane's context."""
    invocation: ContextVar[str] = ContextVar("invocation", default="-")
    engine = Engine()
    engine.open()
    seen: list[str] = []
    entries = engine.world.rep.entries

    def look(conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        seen.append(invocation.get())
        return entries(conversation, since=since, deadline=deadline)

    engine.world.rep.entries = look  # type: ignore[method-assign]
    invocation.set("call-1")
    engine.run(2)
    assert seen
    assert set(seen) == {"call-1"}


def test_crash_is_no_storm() -> None:
    """A conversation whose look crashes is left alone for a while, and does not hold up its lane."""
    engine = Engine()
    engine.open()
    engine.world.rep.listed.append(None)  # type: ignore[arg-type]
    engine.run(20)
    assert engine.world.faults.calls.count("rep.entries") <= 3
    engine.world.rep.listed.clear()
    engine.world.rep.says("mended")
    engine.run(20)
    assert [entry.text for entry in engine.world.opencx.heard] == ["mended"]


def test_killed_is_not_an_exception() -> None:
    """The doubles' kill reaches the future as it would end a worker: nothing after it is done."""
    assert not issubclass(Killed, Exception)


def test_our_own_closing_is_not_the_customers() -> None:
    """Closing OpenCX's session comes back as a webhook at once: the rep has ended it all the same."""
    engine = Engine()
    engine.open()
    engine.run(3)
    close = engine.world.opencx.close

    def close_and_tell(conversation: Conversation, *, deadline: float) -> None:
        close(conversation, deadline=deadline)
        engine.relay.closed("s1")

    engine.world.opencx.close = close_and_tell  # type: ignore[method-assign]
    engine.world.rep.says("", kind=OVER)
    engine.run(5)
    assert [ended.ending for ended in engine.world.memory.ended.values()] == ["rep"]


def test_wrong_times_do_not_mute_the_customer() -> None:
    """A transcript whose times lie ahead ends when the handoff was asked for: better a message twice than unheard."""
    engine = Engine()
    handoff = Handoff("h1", "s1", "sms", Contact(), (Turn("customer", "Hi", START + timedelta(hours=2)),))
    outcome = Outcome("salesforce", "messaging_conversation", "sms", "c1")
    engine.relay.open(handoff, outcome, accepted_at=START)
    engine.run(1)
    engine.world.opencx.writes("are you there?")
    engine.relay.contact_wrote("s1")
    engine.run(3)
    assert [message.text for message in engine.world.rep.shown] == ["are you there?"]


def test_what_was_written_while_it_landed() -> None:
    """Without a transcript the rep is shown what the customer wrote since the handoff was asked for."""
    engine = Engine()
    engine.world.clock.sleep(120)
    engine.world.opencx.writes("I am still here")
    engine.world.clock.sleep(120)
    outcome = Outcome("salesforce", "messaging_conversation", "sms", "c1")
    engine.relay.open(Handoff("h1", "s1", "sms"), outcome, accepted_at=START + timedelta(seconds=100))
    engine.run(3)
    assert [message.text for message in engine.world.rep.shown] == ["I am still here"]


def test_late_closing_is_not_the_next_conversations() -> None:
    """A closing that is told late ends no conversation that was opened after it."""
    engine = Engine()
    engine.open()
    engine.run(3)
    engine.relay.closed("s1", START - timedelta(minutes=1))
    engine.run(3)
    assert not engine.world.rep.is_over
    engine.relay.closed("s1", engine.world.clock.now())
    engine.run(3)
    assert engine.world.rep.is_over


def test_slow_look_is_looked_after_soon() -> None:
    """A conversation that is still being looked at keeps its lane quick, whatever its idle neighbours want."""
    engine = Engine()
    engine.open()
    engine.run(3)
    (conversation,) = engine.world.memory.rows.values()
    engine.lanes._busy.add(conversation.key)
    engine.run(1.2)
    (message,) = engine.queue.messages
    assert message.visible_at - engine.world.clock.now() <= timedelta(seconds=2)
