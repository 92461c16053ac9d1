"""What one fault in a conversation of ten seconds does not show: late entries, a worker's death, a handoff again."""

from tests.faults import talk_oracle
from tests.faults.case import AtOne
from tests.faults.faults import KINDS
from tests.faults.oracle import STUCK, WRONG, Finding
from tests.faults.parts.webhook_faults import is_swap
from tests.faults.report import Result
from tests.faults.talks import DYNAMICS, REP, SALESFORCE, Talk
from tests.faults.world import World

LATE_SECONDS = (1.0, 10.0, 50.0)
"""How far back an entry may be listed: within `shared.relay.cursor.OVERLAP`."""
FOLLOWED_SECONDS = 45.0
"""A lane's successor looks after 15 s, and a claim is over after 20."""
WOKEN_SECONDS = 90.0
"""A lane that has lost its message is overdue after 20 s, and the timer comes once a minute."""
UNTIL_SUCCESSOR = 4
"""The calls of a look until its successor stands: the lane is read and taken, the message is put."""


def late_entries(world: World) -> Result:
    """Salesforce lists an entry late, at its own time, and entries twice: each is carried once."""
    result = Result("relay: entries listed late and twice")
    for late in LATE_SECONDS:
        for every in (0, 2):
            world.reset()
            talk = Talk(world, SALESFORCE)
            talk.begin()
            world.salesforce.switches.duplicate_every = every
            talk.engine.run(late)
            talk.say("on time")
            talk.engine.run(5)
            talk.said.append(("late", ()))
            conversation_id = world.salesforce.conversations()[0]["conversationId"]
            world.salesforce.rep_says(conversation_id, "late", seconds_ago=late)
            talk.go()
            found = [one for one in talk_oracle.judge(talk) if not is_swap(one)] + talk_oracle.judge_world(talk)
            result.add(f"{late:g} s late, every {every or 'no'} entry twice", found)
    return result.done()


def resumes(world: World, *, begins_at: int = 0, until_found: bool = False) -> Result:
    """A worker dies in a lane's look: the next one is there soon, and says what the rep wrote."""
    result = Result("relay: a look that dies is followed")
    longest = {FOLLOWED_SECONDS: 0.0, WOKEN_SECONDS: 0.0}
    for kind in ("killed before", "killed after"):
        place = begins_at
        while True:
            world.reset()
            talk = Talk(world, SALESFORCE)
            talk.begin()
            plan = AtOne(place, KINDS[kind])
            world.wire.begin(plan)
            talk.say("Hello.")
            began = world.clock.time()
            has_come = talk.engine.run(600, until=lambda talk=talk: bool(talk.told()))  # type: ignore[misc]
            took = world.clock.time() - began
            if plan.met is None:
                break
            limit = WOKEN_SECONDS if place < UNTIL_SUCCESSOR else FOLLOWED_SECONDS
            longest[limit] = max(longest[limit], took)
            found = [] if has_come and took <= limit else [Finding(STUCK, talk.session_id, f"{took:.0f} s")]
            result.add(f"{kind} at {place} {plan.met.name}", found)
            if until_found and found:
                return result.done("ended early")
            place += 1
    early, later = longest[WOKEN_SECONDS], longest[FOLLOWED_SECONDS]
    return result.done(f"after {later:.0f} s at most; {early:.0f} s where the successor did not stand yet")


def opened_again(world: World) -> Result:
    """A handoff's worker dies when the conversation is open, people write, the timer hands over again."""
    result = Result("relay: a handoff that is repeated")
    for system in (SALESFORCE, DYNAMICS):
        world.reset()
        place = _completion(world, system)
        world.reset()
        talk = Talk(world, system, REP)
        talk.begin(dies_at=place)
        talk.go(lingers_seconds=130.0)
        found = talk_oracle.judge(talk) + talk_oracle.judge_world(talk)
        states = [row["State"] for row in world.rows() if row["RowKey"].startswith("h:")]
        if states != ["completed"]:
            found.append(Finding(WRONG, talk.session_id, f"the handoff is {states}"))
        result.add(system, found)
    return result.done()


def _completion(world: World, system: str) -> int:
    """The number of the call that writes down that a handoff is done."""
    talk = Talk(world, system)
    talk.begin(dies_at=10_000)
    names = world.wire.trace
    return max(place for place, name in enumerate(names) if name == "tables POST write")
