"""Open conversations: every boundary of the relay by every kind of fault, one at a time, both ways, both systems."""

from collections.abc import Iterable, Iterator, Sequence

from tests.faults import faults, talk_oracle
from tests.faults.case import AtOne
from tests.faults.oracle import Finding
from tests.faults.report import Result
from tests.faults.talks import CUSTOMER, DYNAMICS, REP, SALESFORCE, Talk
from tests.faults.wire import Call
from tests.faults.world import World

TALKS = ((SALESFORCE, REP), (SALESFORCE, CUSTOMER), (DYNAMICS, REP), (DYNAMICS, CUSTOMER))
OFTEN = 1
"""How many of the boundaries that look alike, by their neighbours, are tried unless all are wanted."""


def trace(world: World, system: str, ending: str) -> list[str]:
    """The calls of one clean conversation, from the rep's coming until everything rests."""
    world.reset()
    talk = Talk(world, system, ending)
    talk.run()
    return world.wire.trace[: talk.calls]


def chosen(names: Sequence[str], *, often: int) -> Iterator[int]:
    """The boundaries to try: of those with the same neighbours the first few, and the last one. 0: all."""
    padded = ["", *names, ""]
    places: dict[tuple[str, ...], list[int]] = {}
    for place in range(len(names)):
        places.setdefault(tuple(padded[place : place + 3]), []).append(place)
    for place in range(len(names)):
        alike = places[tuple(padded[place : place + 3])]
        if not often or place in alike[:often] or place == alike[-1]:
            yield place


def run(
    world: World,
    *,
    talks: Iterable[tuple[str, str]] = TALKS,
    kinds: Sequence[str] = tuple(faults.KINDS),
    often: int = OFTEN,
    every: int = 1,
    at: str = "",
    until_found: bool = False,
) -> Result:
    """The matrix, or a part of it.

    Args:
        world: where.
        talks: system, and who ends it.
        kinds: of faults.
        often: see `chosen`.
        every: every n-th boundary only.
        at: only boundaries that are named so, in part.
        until_found: end with the first finding.
    """
    result = Result("relay: single faults")
    tried = 0
    for system, ending in talks:
        names = trace(world, system, ending)
        places = [place for place in chosen(names, often=often) if at in names[place]][::every]
        tried += len(places)
        for place in places:
            for kind in kinds:
                if not applies(kind, names[place]):
                    continue
                plan = AtOne(place, faults.KINDS[kind])
                found = one(world, system, ending, plan, kind)
                result.add(f"{system}, ended by the {ending}: {kind} at {place} {names[place]}", found)
                if until_found and found:
                    return result.done("ended early")
    return result.done(f"{tried} boundaries by {len(kinds)} kinds")


def applies(kind: str, name: str) -> bool:
    """Whether that call can meet that kind of fault.

    412 for what is done is the echo of an earlier try of our own: it takes a condition, which only tables know here.
    """
    return kind != "412 done" or name.startswith("tables")


def one(world: World, system: str, ending: str, plan: AtOne, kind: str) -> list[Finding]:
    """One conversation under a plan, from an empty world; what is wrong at its end."""
    world.reset()
    talk = Talk(world, system, ending)
    talk.run(plan)
    met = plan.met
    found = talk_oracle.judge(talk, may_end_early=_ends(met, kind), may_lose=_refuses(met, kind))
    return found + talk_oracle.judge_world(talk)


def _ends(met: Call | None, kind: str) -> bool:
    """Whether this answer means that the conversation is over."""
    return met is not None and kind == "403" and met.name.startswith("salesforce") and "conversation/*" in met.name


def _refuses(met: Call | None, kind: str) -> int:
    """How many messages this answer refuses for good: one that says that the conversation takes no more."""
    return int(_ends(met, kind) and met is not None and met.name.endswith("/message"))
