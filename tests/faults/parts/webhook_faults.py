"""What webhooks do wrong: Dynamics' come twice, swapped, late or never; OpenCX's come twice, late or never.

What a lost webhook would have brought comes by a slower way, and may then be behind what was written after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from tests.faults import talk_oracle
from tests.faults.oracle import WRONG, Finding
from tests.faults.report import Result
from tests.faults.talks import CUSTOMER, DYNAMICS, REP, SALESFORCE, Talk
from tests.faults.world import World

SWAPPED = "out of order"
SLOW_SECONDS = 90.0


@dataclass(frozen=True)
class Case:
    """One webhook that goes wrong.

    Attributes:
        may_swap: whether what it brings may come behind what was written later.
        may_lose: messages; of a conversation that is over Dynamics lists nothing, and nothing was pushed.
    """

    name: str
    system: str
    ending: str = REP
    fault: WebhookFault | None = None
    opencx: str = ""
    losing: str = ""
    may_swap: bool = False
    may_lose: int = 0


def _dynamics() -> list[Case]:
    cases = []
    activities = [("message", skip) for skip in range(5)] + [("AgentClosed", 0), ("ConversationClosed", 0)]
    for activity, skip in activities:
        for kind in ("duplicate", "swap", "late", "delay", "lose"):
            seconds = SLOW_SECONDS if kind == "delay" else 0.0
            fault = WebhookFault(fault=kind, activity=activity, skip=skip, seconds=seconds)
            cases.append(Case(f"{kind} {activity} {skip + 1}", DYNAMICS, fault=fault, may_swap=kind != "duplicate"))
    lost = WebhookFault(fault="lose", times=0)
    return [*cases, Case("lose all", DYNAMICS, fault=lost, may_lose=1)]


def _opencx() -> list[Case]:
    cases = []
    for system in (SALESFORCE, DYNAMICS):
        for ending in (REP, CUSTOMER):
            kinds = ("duplicate", "wrong_signature", "old_timestamp", "altered_body", "lost_answer")
            cases += [Case(f"OpenCX {kind}", system, ending, opencx=kind) for kind in kinds]
            cases.append(Case("OpenCX loses contact_response", system, ending, losing="conversation.contact_response"))
    return cases


CASES = (*_dynamics(), *_opencx())


def run(world: World, *, cases: Sequence[Case] = CASES) -> Result:
    """One conversation a case; the note counts those in which something came behind what was written later."""
    result = Result("webhooks: twice, swapped, late, lost")
    swapped = []
    for case in cases:
        world.reset()
        talk = Talk(world, case.system, case.ending)
        talk.begin()
        if case.fault is not None:
            world.messaging.webhook_faults.add(case.fault)
        if case.opencx:
            world.opencx.webhooks.fail_next(case.opencx, times=3)
        if case.losing:
            world.doors.losing.add(case.losing)
        talk.go()
        found = talk_oracle.judge(talk, may_lose=case.may_lose) + talk_oracle.judge_world(talk)
        if case.may_swap and any(is_swap(one) for one in found):
            swapped.append(case.name)
            found = [one for one in found if not is_swap(one)]
        result.add(f"{case.system}, ended by the {case.ending}: {case.name}", found)
    return result.done(f"out of order in {len(swapped)}: {', '.join(swapped) or '-'}")


def is_swap(finding: Finding) -> bool:
    """Whether all is there, and not in order."""
    return finding.kind == WRONG and finding.text.startswith(SWAPPED)
