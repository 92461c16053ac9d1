"""Every rule that is taken out of the relay must turn a judge red."""

from collections.abc import Sequence

from tests.faults import relay_mutations
from tests.faults.mutations import Mutation
from tests.faults.parts import relay, relay_cases, relay_random
from tests.faults.parts.mutants import Judge, run_all
from tests.faults.report import Result
from tests.faults.talks import REP, SALESFORCE
from tests.faults.world import World


def unclear(world: World) -> Result:
    """A death after a send, or a lost answer."""
    kinds = ("killed after", "lost")
    return relay.run(world, talks=[(SALESFORCE, REP)], kinds=kinds, often=1, at="/send", until_found=True)


def deaths(world: World) -> Result:
    """A death in a lane's look, when its successor should stand."""
    return relay_cases.resumes(world, begins_at=relay_cases.UNTIL_SUCCESSOR, until_found=True)


def two(world: World) -> Result:
    """Both instances get every wake-up."""
    return relay_random.two_at_once(world, times=1)


MUTANTS: dict[str, tuple[Mutation, Judge]] = {
    "no claim before a send": (relay_mutations.no_claim, unclear),
    "no look after an unclear send": (relay_mutations.no_look, unclear),
    "cursor without an overlap": (relay_mutations.no_overlap, relay_cases.late_entries),
    "last write wins on a conversation": (relay_mutations.last_write_wins, two),
    "a lane's successor after its look": (relay_mutations.successor_late, deaths),
    "opened over what is there": (relay_mutations.opened_over, relay_cases.opened_again),
}


def run(world: World, *, names: Sequence[str] = tuple(MUTANTS)) -> Result:
    """Each mutant of the relay."""
    return run_all(world, "relay: mutants", {name: MUTANTS[name] for name in names})
