"""The control client under the same faults: the harness must see its duplicates, or it is blind."""

from tests.faults import faults, oracle
from tests.faults.case import HANDOFF, AtOne
from tests.faults.control import NaiveClient
from tests.faults.oracle import Expected
from tests.faults.report import Result
from tests.faults.stories import story
from tests.faults.world import World


def run(world: World) -> Result:
    """Each of its boundaries by every kind of fault that a process survives."""
    result = Result("control: POST and retry", must_find=True)
    told = story("email new")
    kinds = faults.TRANSIENT | faults.CONFIGURATION | faults.CONFLICT
    for ordinal in range(3):
        for kind, fault in kinds.items():
            world.reset()
            told.prepare(world, HANDOFF)
            world.wire.begin(AtOne(ordinal, fault))
            NaiveClient(world).hand_off(told, HANDOFF)
            world.wire.clear()
            expected = Expected(HANDOFF, told, must_have_record=False, may_lack_queue=True)
            result.add(f"{kind} at {ordinal}", oracle.judge(world, [expected]))
    return result.done("duplicates are wanted here")
