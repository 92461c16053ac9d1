"""Many conversations with random faults, carried by two instances side by side; and every wake-up given twice."""

from collections.abc import Callable

from tests.faults import faults, talk_oracle
from tests.faults.crowd import Crowd
from tests.faults.engine import Engine
from tests.faults.oracle import WRONG, Finding
from tests.faults.parts.chaos import roll
from tests.faults.parts.relay import applies
from tests.faults.queues import HIDDEN_SECONDS
from tests.faults.report import Result
from tests.faults.talks import CUSTOMER, DYNAMICS, REP, SALESFORCE, SETTINGS, Talk
from tests.faults.wire import Call, Fault
from tests.faults.world import World

PROBABILITY = 0.2
OF_THE_TIMER = 0.03
"""For calls that serve no single message: a range query that fails ends a whole run of the timer."""
PATIENCE_SECONDS = 4 * 3600.0
CONVERSATIONS, MESSAGES = 24, 6
WAVE = 12
"""Conversations at a time."""
REPS, CUSTOMERS = ("ok", "ok", "and number {}"), ("yes", "yes", "question {}")
BOTH = {**SETTINGS[SALESFORCE], **SETTINGS[DYNAMICS]}


class Dice:
    """A plan: the fault of a call follows from the seed, the message that it serves, and its number."""

    def __init__(self, seed: int, *, probability: float = PROBABILITY) -> None:
        self._seed, self._probability = seed, probability
        self.faults = 0
        self.calls = 0

    def __call__(self, call: Call) -> Fault | None:
        """A fault for about two of ten calls that serve a message."""
        self.calls += 1
        number = roll(self._seed, call.scope, call.ordinal)
        limit = self._probability if call.scope else min(OF_THE_TIMER, self._probability)
        if number >= limit:
            return None
        kinds = [fault for name, fault in faults.KINDS.items() if _can_be_waited_out(call, name)]
        self.faults += 1
        return kinds[int(number / limit * len(kinds))]


def _can_be_waited_out(call: Call, kind: str) -> bool:
    """Whether an answer says neither that the conversation is over, nor that a message is refused for good."""
    if not applies(kind, call.name):
        return False
    if call.system == "salesforce" and "conversation/" in call.name:
        return kind != "403"
    return not (call.system == "messaging" and kind in ("412", "412 done"))


def run(
    world: World,
    *,
    seed: int,
    conversations: int = CONVERSATIONS,
    messages: int = MESSAGES,
    probability: float = PROBABILITY,
    side_by_side: bool = True,
) -> Result:
    """So many conversations with so many messages each way, in waves; half of them in each system.

    Without ``side_by_side`` one thing happens after the other, and the seed reproduces every finding.
    """
    result = Result(f"relay: random faults, {'side by side' if side_by_side else 'one by one'}")
    calls = met = deaths = 0
    for first in range(0, conversations, WAVE):
        dice = Dice(seed + first, probability=probability)
        numbers = range(first, min(conversations, first + WAVE))
        name = f"--part relay-random --seed {seed}"
        crowd = _wave(world, result, numbers, messages, dice, name=name, side_by_side=side_by_side)
        calls, met, deaths = calls + dice.calls, met + dice.faults, deaths + crowd.deaths
    note = f"seed {seed}, {messages} messages each way, {calls:,} calls, {met / max(1, calls):.0%} with a fault"
    return result.done(f"{note}, {deaths} instances died")


def two_at_once(world: World, *, times: int = 3, messages: int = MESSAGES) -> Result:
    """Both instances get every message of the queue at the same time: no message is carried twice."""
    result = Result("relay: two at once")
    for number in range(times):
        numbers = range(number * 4, number * 4 + 4)
        _wave(world, result, numbers, messages, Dice(0, probability=0.0), name="two at once", doubled=True)
    return result.done("each wake-up given to both instances")


def _wave(
    world: World,
    result: Result,
    numbers: range,
    messages: int,
    dice: Dice,
    *,
    name: str,
    doubled: bool = False,
    side_by_side: bool = True,
) -> Engine:
    world.reset()
    world.opencx.requests_per_minute = 1_000_000
    world.salesforce.switches.token_requests_per_minute = 1_000_000
    crowd = Crowd(world, doubled=doubled, **BOTH) if side_by_side else Engine(world, names_work=True, **BOTH)
    talks = [_talk(world, crowd, number) for number in numbers]
    crowd.renew()
    world.wire.begin(dice)
    for number in range(messages):
        for talk in talks:
            talk.say(REPS[number % len(REPS)].format(number))
            crowd.run(0.1)
            talk.ask(CUSTOMERS[number % len(CUSTOMERS)].format(number))
        crowd.run(3.0)
    crowd.run(PATIENCE_SECONDS, until=_all(talks, lambda talk: talk.has_arrived))
    for talk in talks:
        if talk.ending == REP:
            talk.rep.ends()
        else:
            world.opencx.close(talk.session_id)
    crowd.run(PATIENCE_SECONDS, until=_all(talks, lambda talk: talk.row is None))
    world.wire.clear()
    crowd.run(HIDDEN_SECONDS + 100.0)  # the host gives back what a worker died with
    for talk in talks:
        found = talk_oracle.judge(talk)
        if talk.system == DYNAMICS:  # a webhook that failed three times is behind
            found = [
                one for one in found if one != Finding(WRONG, talk.session_id, one.text) or "out of" not in one.text
            ]
        result.add(f"{name}, {talk.session_id} ({talk.system}, ended by the {talk.ending})", found)
    result.findings += [(name, finding) for finding in talk_oracle.judge_world(talks[0])]
    return crowd


def _talk(world: World, crowd: Engine, number: int) -> Talk:
    talk = Talk(
        world, (SALESFORCE, DYNAMICS)[number % 2], (REP, CUSTOMER)[number // 2 % 2], session_id=f"talk-{number}"
    )
    talk.begin(crowd)
    return talk


def _all(talks: list[Talk], holds: Callable[[Talk], bool]) -> Callable[[], bool]:
    waiting = list(talks)

    def check() -> bool:
        while waiting and holds(waiting[-1]):
            waiting.pop()
        return not waiting

    return check
