"""``python -m tests.faults``: all parts, or those that are named; the exit code says whether all of it holds."""

import argparse
import sys
from collections.abc import Callable, Sequence

from tests.faults.parts import (
    chaos,
    configuration,
    conversations,
    inner,
    kills,
    lasting,
    late_work,
    ledger_cost,
    matrix,
    mutants,
    naive,
    outage,
    people,
    readings,
    relay,
    relay_cases,
    relay_cost,
    relay_mutants,
    relay_random,
    webhook_faults,
)
from tests.faults.report import HEADINGS, Result, details, table
from tests.faults.world import World

KILLS = "kills"
"""The one part that runs in real time, beside the others' world."""


def parts(chosen: argparse.Namespace) -> dict[str, list[Callable[[World], Result]]]:
    """The parts by their names on the command line."""
    return {
        "matrix": [matrix.run],
        "lasting": [lasting.run],
        "inner": [inner.run],
        "people": [people.edits_stay, people.late_workers, people.at_once],
        "naive": [naive.run],
        "random": [lambda world: chaos.run(world, seed=chosen.seed, handoffs=chosen.handoffs)],
        "outage": [
            lambda world: outage.run(world, handoffs=chosen.outage),
            lambda world: outage.run(world, handoffs=min(chosen.outage, 200), kind="503"),
        ],
        "configuration": [configuration.run],
        "mutants": [mutants.run, relay_mutants.run],
        "salesforce": [conversations.salesforce],
        "messaging": [conversations.messaging],
        "at-once": [conversations.at_once],
        "relay-salesforce": [lambda world: relay.run(world, talks=relay.TALKS[:2])],
        "relay-dynamics": [lambda world: relay.run(world, talks=relay.TALKS[2:])],
        "relay-cases": [relay_cases.late_entries, relay_cases.resumes, relay_cases.opened_again],
        "relay-random": [
            lambda world: relay_random.run(world, seed=chosen.seed, conversations=chosen.conversations),
            lambda world: relay_random.run(
                world, seed=chosen.seed, conversations=chosen.conversations, side_by_side=False
            ),
            relay_random.two_at_once,
        ],
        "relay-cost": [relay_cost.run],
        "late": [late_work.run],
        "webhooks": [webhook_faults.run],
        "readings": [readings.run],
        "ledger": [lambda world: ledger_cost.run(world, few=1000, many=chosen.records)],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print. Returns 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the random faults and the kills (default: 1)")
    parser.add_argument("--handoffs", type=int, default=10_000, help="under random faults (default: 10,000)")
    parser.add_argument("--kills", type=int, default=200, help="of the real host (default: 200)")
    parser.add_argument("--outage", type=int, default=10_000, help="handoffs during the outage (default: 10,000)")
    parser.add_argument("--records", type=int, default=100_000, help="completed records (default: 100,000)")
    parser.add_argument("--conversations", type=int, default=40, help="under random faults (default: 40)")
    parser.add_argument("--part", action="append", metavar="NAME", help="only this part; may be repeated")
    chosen = parser.parse_args(arguments)
    known = parts(chosen)
    wanted = chosen.part or [*known, KILLS]
    unknown = sorted(set(wanted) - {*known, KILLS})
    if unknown:
        parser.error(f"there is no part {unknown[0]}; choose from {', '.join([*known, KILLS])}")
    results: list[Result] = []
    if set(wanted) - {KILLS}:
        with World() as world:
            for name in wanted:
                results += [_said(part(world)) for part in known.get(name, [])]
    if KILLS in wanted:
        results.append(_said(kills.run(kills=chosen.kills, seed=chosen.seed)))
    print("\n" + table([HEADINGS, *([*result.cells()[:-1], ""] for result in results)]))
    for result in results:
        print(f"\n{result.name}: {result.note}" if result.note else "", end="")
    print(f"\n{details(results)}")
    return 0 if all(result.is_right for result in results) else 1


def _said(result: Result) -> Result:
    """Say that a part is done, as soon as it is."""
    print(f"{result.name}: {'right' if result.is_right else 'WRONG'} ({result.seconds:.0f} s)", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
