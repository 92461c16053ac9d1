"""Work that is done after we have given up waiting for it, and after we have looked whether it was done.

No system here takes a key that makes a send safe to repeat. So an answer that says nothing is waited out, then the
other side is asked; what is done later still is done twice. This part counts exactly when.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.relay import held
from tests.faults import faults, talk_oracle
from tests.faults.case import AtOne
from tests.faults.oracle import DUPLICATE, WRONG, Finding
from tests.faults.parts.relay import trace
from tests.faults.report import Result, table
from tests.faults.talks import DYNAMICS, REP, SALESFORCE, Talk
from tests.faults.wire import Fault
from tests.faults.world import World

SENDS = {
    "rep to OpenCX": (SALESFORCE, "opencx POST /chat/sessions/*/send"),
    "customer to Salesforce": (SALESFORCE, "salesforce POST conversation/*/message"),
    "customer to Dynamics": (DYNAMICS, "messaging POST conversation/*"),
}
LATE_SECONDS = (0.5, 2.0, 5.0, 9.0, 15.0, 60.0)
LINGERS_SECONDS = 15.0
"""So that what is late is done while the conversation is still open."""
FAILURES: dict[str, tuple[Fault, float]] = {
    "time-out": (faults.timeout_before, held.ENDS_AFTER.total_seconds()),
    "broken connection": (faults.broken, held.ENDS_AFTER.total_seconds()),
    "503": (faults.KINDS["503"], held.SETTLES_AFTER.total_seconds()),
}
"""What the caller sees, and how long the relay waits after it before it looks."""


@dataclass(frozen=True)
class Row:
    """What became of one send whose work was done late."""

    send: str
    failure: str
    late_seconds: float
    doubled: int
    lost: int

    def cells(self) -> list[str]:
        """A line of the table."""
        return [self.send, self.failure, f"{self.late_seconds:g}", str(self.doubled), str(self.lost)]


def run(
    world: World,
    *,
    late_seconds: Sequence[float] = LATE_SECONDS,
    sends: Sequence[str] = tuple(SENDS),
    failures: Sequence[str] = tuple(FAILURES),
) -> Result:
    """Each send by each failure; a doubling is right only where the work was done after the look."""
    result = Result("work that is done late")
    rows = []
    for name in sends:
        system, call = SENDS[name]
        place = trace(world, system, REP).index(call)
        for failure in failures:
            fault, wait = FAILURES[failure]
            for late in late_seconds:
                world.reset()
                talk = Talk(world, system)
                talk.begin()
                talk.go(AtOne(place, faults.late(late, fault)), lingers_seconds=late + LINGERS_SECONDS)
                found = talk_oracle.judge(talk) + talk_oracle.judge_world(talk)
                doubled = sum(one.kind == DUPLICATE for one in found)
                rows.append(Row(name, failure, late, doubled, len(found) - doubled))
                found = [one for one in found if one.kind != DUPLICATE]
                if doubled != (late > wait):
                    text = f"doubled {doubled} times, with a look after {wait:g} s"
                    found.append(Finding(WRONG, talk.session_id, text))
                result.add(f"{name}: {failure}, done {late:g} s later", found)
    lines = table([["send", "failure", "done later by s", "doubled", "lost"], *(row.cells() for row in rows)])
    return result.done(f"{sum(row.doubled for row in rows)} doubled, all of them done after the look\n{lines}")
