"""`python -m tests.bench [--quick] [--only P1]`: every benchmark, as one table. Exit code 1 when a goal is missed."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench import counts, imports, latency, memory
from tests.bench.measure import Row, table
from tests.bench.world import World


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pairs for the ratios, handoffs for the counts."""

    pairs_without_delay: int = 300
    pairs_with_delay: int = 60
    pairs_against_sdk: int = 40
    pairs_of_imports: int = 15
    handoffs_counted: int = 20
    handoffs_for_tokens: int = 1000
    handoffs_early: int = 1000
    handoffs_late: int = 10_000


QUICK = Sizes(
    pairs_without_delay=100,
    pairs_with_delay=20,
    pairs_against_sdk=15,
    pairs_of_imports=5,
    handoffs_counted=5,
    handoffs_for_tokens=200,
    handoffs_early=500,
    handoffs_late=1500,
)


def rows(sizes: Sizes, *, only: str | None = None) -> Iterator[Row]:
    """Every row, or those of one benchmark such as P1, as soon as it is measured. Raises BenchError or SandboxError."""
    log = logging.getLogger("opencx_handoff")
    log.addHandler(logging.NullHandler())
    log.setLevel(logging.INFO)  # as a host has it: an event costs its line of JSON
    log.propagate = False
    with World() as world:
        for name, part in _parts(world, sizes):
            if only in {None, name}:
                yield from part()
                world.forget()


def _parts(world: World, sizes: Sizes) -> list[tuple[str, Callable[[], Iterator[Row]]]]:
    delay = latency.DELAY_SECONDS
    pairs, slow_pairs = sizes.pairs_without_delay, sizes.pairs_with_delay
    return [
        ("P1", lambda: latency.against_floor(world, pairs=pairs, delay_seconds=0, goal=1.5)),
        ("P1", lambda: latency.against_floor(world, pairs=slow_pairs, delay_seconds=delay, goal=1.05)),
        ("P3", lambda: latency.against_sdk(world, pairs=sizes.pairs_against_sdk, goal=0.7)),
        ("P4", lambda: counts.round_trips(world, handoffs=sizes.handoffs_counted)),
        ("P5", lambda: counts.token_calls(world, handoffs=sizes.handoffs_for_tokens)),
        ("P6", lambda: counts.table_writes(world, handoffs=sizes.handoffs_counted)),
        ("P7", lambda: imports.import_time(pairs=sizes.pairs_of_imports, goal=2)),
        ("P10", lambda: memory.growth(world, early=sizes.handoffs_early, late=sizes.handoffs_late, goal=1.05)),
    ]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Every benchmark, as one table.")
    parser.add_argument("--quick", action="store_true", help="about a minute, and coarser")
    parser.add_argument("--only", metavar="NAME", help="one benchmark, such as P4")
    chosen = parser.parse_args()
    found: list[Row] = []
    try:
        for row in rows(QUICK if chosen.quick else Sizes(), only=chosen.only):
            print(".", end="", file=sys.stderr, flush=True)
            found.append(row)
    finally:
        print(file=sys.stderr)
        print(table(found))
    return 0 if all(row.is_passed for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
