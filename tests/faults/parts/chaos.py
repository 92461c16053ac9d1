"""Random faults at every call, with the same handoff posted several times at once and two timers at work."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from shared.app import Application
from shared.errors import HandoffError
from shared.handoff.desk import Answer, HandoffDesk
from shared.handoff.record import Due
from tests.faults import case, faults, oracle
from tests.faults.oracle import LOST, WRONG, Expected, Finding
from tests.faults.report import Result
from tests.faults.stories import BOTH, EMAIL, PHONE, Story
from tests.faults.wire import Call, Fault, Killed
from tests.faults.world import World, post

WAVE = 60
THREADS = 4
ROUNDS = 6
PAUSE_SECONDS = 12.0
"""Between two handoffs, at most: a closed gate lets a probe through after 5 s and more."""
PROBABILITY = 0.3
OF_THE_TIMER = 0.03
"""For calls that serve no single handoff: a range query that fails ends a whole run of the timer."""
TOLD = (
    Story("web", "web", EMAIL),
    Story("web known", "web", EMAIL, is_known=True),
    Story("sms", "sms", PHONE),
    Story("whatsapp", "whatsapp", BOTH, turns=30, size=300),
    Story("phone", "phone", PHONE),
    Story("phone long", "phone", PHONE, turns=30, size=300),
    Story("email", "email", EMAIL),
    Story("email known", "email", EMAIL, is_known=True),
    Story("phone read", "phone", EMAIL, turns=20, is_read=True),
)


class Dice:
    """A plan: the fault of a call follows from the seed, the handoff and the call's number."""

    def __init__(self, seed: int, *, probability: float = PROBABILITY) -> None:
        self._seed, self._probability = seed, probability
        self._kinds = list(faults.KINDS.values())
        self.faults = 0
        self.calls = 0

    def __call__(self, call: Call) -> Fault | None:
        """A fault for about three of ten calls that serve a handoff."""
        self.calls += 1
        number = roll(self._seed, call.scope, call.ordinal)
        limit = self._probability if call.scope else OF_THE_TIMER
        if number >= limit:
            return None
        self.faults += 1
        return self._kinds[int(number / limit * len(self._kinds))]


def roll(seed: int, *what: object) -> float:
    """A number from 0 to 1 that follows from its arguments."""
    text = ":".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / 256**7


@dataclass
class Wave:
    """Some handoffs in one world.

    Attributes:
        accepted: the handoffs for which somebody got a 202.
        done: those for which somebody got a 201 or 200.
    """

    world: World
    dice: Dice
    accepted: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    apps: list[Application] = field(default_factory=list)

    def post(self, story: Story, handoff_id: str, number: int, instance: int) -> None:
        """One of the calls for a handoff, on one of the instances."""
        self.world.clock.sleep(PAUSE_SECONDS * roll(0, handoff_id, instance))
        with self.world.wire.scope(handoff_id):
            try:
                self.note(handoff_id, post(self.apps[instance], story.body(handoff_id, number)))
            except Killed:
                self.apps[instance] = self.world.application()
            except HandoffError:
                return  # a 503: the caller knows that nothing was accepted

    def note(self, handoff_id: str, answer: Answer) -> None:
        """What the caller was told."""
        record = answer.record
        with self.lock:
            if record.state == "completed":
                self.done.add(handoff_id)
                if record.outcome is None or not self.world.stands(record.outcome.record_id):
                    self.findings.append(Finding(WRONG, handoff_id, "the answer names a record that does not exist"))
            elif record.state in ("pending", "retrying"):
                self.accepted.add(handoff_id)

    def tick(self, instance: int) -> None:
        """One run of a timer."""
        try:
            self.apps[instance].reconciler.run()
        except Killed:
            self.apps[instance] = self.world.application()


def run(world: World, *, seed: int, handoffs: int, probability: float = PROBABILITY) -> Result:
    """So many handoffs, in waves; the seed and the handoff's id reproduce a finding as far as threads allow."""
    result = Result("random faults")
    calls = met = replays = 0
    for first in range(0, handoffs, WAVE):
        wave, replayed = _wave(world, seed, range(first, min(handoffs, first + WAVE)), probability)
        for finding in wave.findings:
            result.findings.append((f"--part random --seed {seed}, handoff {finding.handoff_id}", finding))
        result.cases += min(handoffs, first + WAVE) - first
        calls, met, replays = calls + wave.dice.calls, met + wave.dice.faults, replays + replayed
    note = f"seed {seed}, {calls:,} calls, {met / max(1, calls):.0%} with a fault, {replays} used up all attempts"
    return result.done(note)


def _wave(world: World, seed: int, numbers: Sequence[int], probability: float) -> tuple[Wave, int]:
    world.reset()
    wave = Wave(world, Dice(seed, probability=probability))
    wave.apps = [world.application(), world.application()]
    told = {f"random-{seed}-{number}": (_story(seed, number), number // 3) for number in numbers}
    known: set[tuple[str, int]] = set()
    for handoff_id, (story, customer) in told.items():
        is_first = (story.contact["name"] + str(sorted(story.contact)), customer) not in known
        known.add((story.contact["name"] + str(sorted(story.contact)), customer))
        if story.is_read or (story.is_known and is_first):
            story.prepare(world, handoff_id, customer)
    world.wire.begin(wave.dice)
    with _scoped(world), ThreadPoolExecutor(THREADS) as pool:
        jobs: list[Callable[[], None]] = []
        for handoff_id, (story, customer) in told.items():
            copies = 1 + int(roll(seed, handoff_id, "copies") * 3)
            jobs += [_job(wave, story, handoff_id, customer, copy % 2) for copy in range(copies)]
        for done in [pool.submit(job) for job in jobs]:
            done.result()
        for _ in range(ROUNDS):
            world.clock.sleep(45)
            for ticked in [pool.submit(wave.tick, instance) for instance in (0, 1)]:
                ticked.result()
    world.wire.clear()
    case.settle(world)
    failed = [str(row["HandoffId"]) for row in world.rows() if row.get("State") == "failed" and "HandoffId" in row]
    for handoff_id in failed:
        wave.note(handoff_id, world.application().desk.replay(handoff_id))
    case.settle(world)
    wave.findings += _judge(wave, told)
    return wave, len(failed)


def _judge(wave: Wave, told: dict[str, tuple[Story, int]]) -> list[Finding]:
    ledger = {str(row["HandoffId"]) for row in wave.world.rows() if row["RowKey"].startswith("h:")}
    found = []
    expected = []
    for handoff_id, (story, _) in told.items():
        if handoff_id in wave.accepted and handoff_id not in ledger:
            found.append(Finding(LOST, handoff_id, "accepted, but not in the ledger"))
        one = Expected(
            handoff_id,
            story,
            must_have_record=handoff_id in wave.accepted,
            may_lack_transcript=story.is_read,
            may_not_exist=handoff_id not in wave.accepted | wave.done,
        )
        expected.append(one)
    return found + oracle.judge(wave.world, expected)


def _job(wave: Wave, story: Story, handoff_id: str, customer: int, instance: int) -> Callable[[], None]:
    return lambda: wave.post(story, handoff_id, customer, instance)


def _story(seed: int, number: int) -> Story:
    return TOLD[int(roll(seed, number, "story") * len(TOLD))]


@contextmanager
def _scoped(world: World) -> Iterator[None]:
    """Let the timer's calls for a handoff belong to it."""
    original = HandoffDesk.resume

    def resume(desk: HandoffDesk, due: Due) -> Answer | None:
        with world.wire.scope(due.key):
            return original(desk, due)

    with patch.object(HandoffDesk, "resume", resume):
        yield
