"""One handoff through one fault, and what has become of it when the timer has had its time."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import HandoffError
from shared.handoff.desk import Answer
from tests.faults import oracle
from tests.faults.oracle import WRONG, Expected, Finding
from tests.faults.stories import Story
from tests.faults.wire import TABLES, Call, Fault, Killed, Plan
from tests.faults.world import World, post

MOST_ROUNDS = 40
IDLE_ROUNDS = 4
LONGEST_PROBE_SECONDS = 61.0
"""A closed gate lets a probe through after a minute at the latest."""
BUDGET_SECONDS = 25.0
HANDOFF = "session-1"


class AtOne:
    """A plan: one fault at the call of one number, or at that many calls from there on.

    Attributes:
        met: the call that met it.
    """

    def __init__(self, ordinal: int, fault: Fault, *, times: int = 1) -> None:
        self._from, self._to, self._fault = ordinal, ordinal + times, fault
        self.met: Call | None = None

    def __call__(self, call: Call) -> Fault | None:
        """The fault, at its call."""
        if not self._from <= call.ordinal < self._to:
            return None
        self.met = self.met or call
        return self._fault


@dataclass
class Posted:
    """What the caller saw. ``answer`` is None when the process died or refused; ``seconds`` are simulated."""

    answer: Answer | None
    died: bool
    seconds: float
    error: str = ""


def post_under(world: World, body: Mapping[str, Any], plan: Plan | None, **settings: str) -> Posted:
    """Post it to a new process, under a plan of faults."""
    app = world.application(**settings)
    began = world.clock.time()
    world.wire.begin(plan)
    try:
        answer = post(app, body)
    except Killed:
        return Posted(None, died=True, seconds=world.clock.time() - began)
    except HandoffError as error:
        return Posted(None, died=False, seconds=world.clock.time() - began, error=error.code)
    except Exception as error:  # noqa: BLE001 - what the door would answer with 500 is a finding
        world.crashes.append(f"{type(error).__name__} out of the desk: {_last_line(error)}")
        return Posted(None, died=False, seconds=world.clock.time() - began, error="internal_error")
    finally:
        world.wire.clear()
    return Posted(answer, died=False, seconds=world.clock.time() - began)


def settle(world: World, **settings: str) -> int:
    """Let the timer run in new processes until nothing waits; how many runs it took, at most MOST_ROUNDS."""
    seen: list[object] = []
    for number in range(MOST_ROUNDS):
        rows = oracle.waiting(world.rows())
        if not rows:
            return number
        seen.append([(row["RowKey"], row["Attempts"], row["DueAt"]) for row in rows])
        if seen[-IDLE_ROUNDS:].count(seen[-1]) == IDLE_ROUNDS:
            return MOST_ROUNDS  # the timer does not touch it any more
        due = max(_moment(row) for row in rows)
        world.clock.advance_to(max(world.clock.time() + LONGEST_PROBE_SECONDS, due + 1))
        world.application(**settings).reconciler.run()
    return MOST_ROUNDS


def run(world: World, story: Story, plan: AtOne, *, lenient: frozenset[str] = frozenset()) -> list[Finding]:
    """One case from an empty world; what is wrong at its end."""
    world.reset()
    story.prepare(world, HANDOFF)
    body = story.body(HANDOFF)
    posted = post_under(world, body, plan)
    found = check_answer(world, HANDOFF, posted)
    recorded = bool(world.rows())
    if posted.answer is None:
        if posted.died and plan.met is not None and plan.met.system != TABLES and not recorded:
            text = f"not stored before the call {plan.met.name}"
            found.append(Finding(oracle.LOST, HANDOFF, text))
        again = post_under(world, body, None)  # the caller tries again, as a 503 or a broken connection asks for
        if again.answer is None:
            found.append(Finding(WRONG, HANDOFF, f"refused again: {again.error}"))
        recorded = True
    settle(world)
    at_opencx = plan.met is not None and plan.met.system == "opencx"
    expected = Expected(
        HANDOFF,
        story,
        must_have_record=recorded,
        may_lack_transcript=at_opencx and bool(lenient & {"transcript"}),
    )
    return found + oracle.judge(world, [expected])


def check_answer(world: World, handoff_id: str, posted: Posted) -> list[Finding]:
    """A 201 or 200 names records that stand; an answer comes within the budget."""
    found = []
    if posted.seconds > BUDGET_SECONDS + 1:
        found.append(Finding(WRONG, handoff_id, f"the caller waited {posted.seconds:.1f} s"))
    answer = posted.answer
    if answer is not None and answer.record.state == "completed":
        outcome = answer.record.outcome
        if outcome is None or not world.stands(outcome.record_id):
            found.append(Finding(WRONG, handoff_id, "the answer names a record that does not exist"))
    elif answer is not None and not world.rows():
        found.append(Finding(oracle.LOST, handoff_id, "accepted, but not stored"))
    return found


def _moment(row: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(str(row["DueAt"])).timestamp()


def _last_line(error: Exception) -> str:
    """The service's own line that let it through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "shared" in frame.filename]
    return f"{ours[-1].filename.rpartition('shared/')[2]}:{ours[-1].lineno}" if ours else "?"
