"""Every boundary of a clean handoff by every kind of fault, one at a time."""

from collections.abc import Iterable, Sequence

from tests.faults import case, faults
from tests.faults.case import HANDOFF, AtOne
from tests.faults.report import Result
from tests.faults.stories import STORIES, Story
from tests.faults.world import World

REFUSED_BY_OPENCX = frozenset({"401", "403", "409", "412", "412 done"})
"""What OpenCX answers to say that it will not give a transcript: the handoff lands with a notice."""


def boundaries(world: World, story: Story) -> list[str]:
    """The calls of one clean handoff in a new process, in order."""
    world.reset()
    story.prepare(world, HANDOFF)
    case.post_under(world, story.body(HANDOFF), None)
    return list(world.wire.trace)


def run(
    world: World,
    *,
    stories: Iterable[Story] = STORIES,
    kinds: Sequence[str] = tuple(faults.KINDS),
    until_found: bool = False,
) -> Result:
    """The matrix; with ``until_found`` it ends with the first finding."""
    result = Result("single faults")
    calls = 0
    for story in stories:
        names = boundaries(world, story)
        calls = max(calls, len(names))
        for ordinal, name in enumerate(names):
            for kind in kinds:
                lenient = frozenset({"transcript"} if kind in REFUSED_BY_OPENCX else ())
                plan = AtOne(ordinal, faults.KINDS[kind])
                found = case.run(world, story, plan, lenient=lenient)
                result.add(f"{story.name}: {kind} at {ordinal} {name}", found)
                if until_found and found:
                    return result.done("ended early")
    return result.done(f"{calls} boundaries by {len(kinds)} kinds")
