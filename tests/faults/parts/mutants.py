"""Every rule that is taken out of the service must turn a judge red."""

from collections.abc import Callable, Mapping, Sequence

from tests.faults import mutations
from tests.faults.mutations import Mutation
from tests.faults.oracle import WRONG, Finding
from tests.faults.parts import configuration, matrix, people
from tests.faults.report import Result
from tests.faults.stories import story
from tests.faults.world import World

type Judge = Callable[[World], Result]


def edits(world: World) -> Result:
    """A rep's work, under lost answers."""
    return people.edits_stay(world, told=["phone new"])


def late(world: World) -> Result:
    """A worker that comes late."""
    return people.late_workers(world, told=["web known"])


def at_once(world: World) -> Result:
    """The same handoff several times at once."""
    return people.at_once(world, times=1)


def deaths(world: World) -> Result:
    """A kill or a lost answer at each boundary."""
    kinds = ("killed before", "killed after", "lost", "403")
    return matrix.run(world, stories=[story("phone new")], kinds=kinds, until_found=True)


def administrator(world: World) -> Result:
    """A secret that is rotated."""
    return configuration.run(world, names=["secret rotated"])


MUTANTS: dict[str, tuple[Mutation, Judge]] = {
    "creates without If-None-Match": (mutations.no_if_none_match, edits),
    "random ids": (mutations.random_ids, deaths),
    "last write wins in the ledger": (mutations.last_write_wins, late),
    "stored after the first outside call": (mutations.stored_late, deaths),
    "payload kept on completion": (mutations.payload_kept, deaths),
    "lease ignored": (mutations.lease_ignored, at_once),
    "no due marker": (mutations.no_marker, deaths),
    "gate never opens": (mutations.no_probe, administrator),
    "every handoff is a probe": (mutations.every_handoff_probes, administrator),
    "waiting uses up attempts": (mutations.attempts_counted, administrator),
    "only the first note": (mutations.transcript_cut, deaths),
}


def run(world: World, *, names: Sequence[str] = tuple(MUTANTS)) -> Result:
    """Each mutant of the service."""
    return run_all(world, "mutants", {name: MUTANTS[name] for name in names})


def run_all(world: World, title: str, mutants: Mapping[str, tuple[Mutation, Judge]]) -> Result:
    """Each of these; the lines of the note say who has caught it, and with what."""
    result = Result(title)
    lines = []
    for name, (mutation, judge) in mutants.items():
        with mutation():
            seen = judge(world)
        if seen.is_right:
            result.add(name, [Finding(WRONG, "-", f"survived {judge.__name__}")])
            continue
        result.add(name, [])
        case, first = seen.findings[0]
        lines.append(f"  {name:<36} caught by {judge.__name__}: {first} [{case}]")
    result.done(f"{len(lines)} of {len(mutants)} caught")
    result.note += "\n" + "\n".join(lines)
    return result
