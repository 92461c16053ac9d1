"""A system that is down for the whole of the first attempt, in every way: the answer comes in time, nothing is lost."""

from collections.abc import Sequence
from contextlib import suppress

from tests.faults import case, faults, oracle
from tests.faults.case import HANDOFF
from tests.faults.oracle import LOST, Expected
from tests.faults.report import Result
from tests.faults.stories import Story, story
from tests.faults.wire import DATAVERSE, ENTRA, OPENCX, TABLES, VAULT, Call, Fault
from tests.faults.world import World

KINDS = ("refused", "lost", "timeout before", "timeout after", "429 Retry-After", "503", "503 done", "wrong JSON")
FORBIDDEN = ("401", "403")
SYSTEMS = (DATAVERSE, TABLES, ENTRA, VAULT, OPENCX)


def run(world: World, *, told: Sequence[Story] | None = None) -> Result:
    """Each system by each kind, for a cold process."""
    result = Result("a system is down")
    longest = 0.0
    for each in told or (story("phone new"), story("web read")):
        for systems in [(one,) for one in SYSTEMS] + [(TABLES, DATAVERSE)]:
            for kind in (*KINDS, *FORBIDDEN):
                seconds, found = _one(world, each, systems, kind)
                longest = max(longest, seconds)
                result.add(f"{each.name}: {kind} at {'+'.join(systems)}", found)
    return result.done(f"longest answer {longest:.1f} s (simulated)")


def _one(world: World, each: Story, systems: tuple[str, ...], kind: str) -> tuple[float, list[oracle.Finding]]:
    world.reset()
    each.prepare(world, HANDOFF)

    def plan(call: Call) -> Fault | None:
        return faults.KINDS[kind] if call.system in systems else None

    posted = case.post_under(world, each.body(HANDOFF), plan)
    found = case.check_answer(world, HANDOFF, posted)
    recorded = bool(world.rows())
    if posted.answer is None:
        if systems != (TABLES, DATAVERSE):
            found.append(oracle.Finding(LOST, HANDOFF, f"refused ({posted.error}), although it could be kept"))
        case.post_under(world, each.body(HANDOFF), None)
        recorded = True
    case.settle(world)
    with suppress(StopIteration):  # given up while it lasted: an operator replays it
        failed = next(row for row in world.rows() if row["RowKey"].startswith("h:") and row["State"] == "failed")
        found.append(oracle.Finding(LOST, HANDOFF, f"given up ({failed['ErrorCode']})"))
    expected = Expected(
        HANDOFF, each, must_have_record=recorded, may_lack_transcript=OPENCX in systems and kind in FORBIDDEN
    )
    return posted.seconds, found + oracle.judge(world, [expected])
