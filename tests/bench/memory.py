"""P10: whether the service grows. `python -m tests.bench.memory EARLY LATE` is the process that is looked at."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import requests

from sandbox.state import ROOT
from shared.app import Application
from tests.bench import work
from tests.bench.measure import Row
from tests.bench.world import World

_THREADS = 4
_CHUNK = 1000


def growth(world: World, *, early: int, late: int, goal: float) -> Iterator[Row]:
    """Resident memory of a process after `late` whole handoffs over that after `early`."""
    command = [sys.executable, "-m", "tests.bench.memory", str(early), str(late)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **world.settings}, stdout=subprocess.PIPE, check=True)
    sizes = json.loads(done.stdout)
    yield Row(f"P10 memory after {late} handoffs / after {early}", goal, [sizes["late"] / sizes["early"]])


def main(early: int, late: int) -> None:
    """Perform the handoffs, and print the two sizes in bytes as JSON."""
    with contextlib.closing(Application(os.environ)) as app, ThreadPoolExecutor(_THREADS) as pool:

        def run(first: int, last: int) -> int:
            for begin in range(first, last, _CHUNK):
                _reset_dataverse()
                chunk = range(begin, min(begin + _CHUNK, last))
                for _ in pool.map(lambda number: work.perform(app, work.body(f"memory-{number}")), chunk):
                    pass
            gc.collect()
            return psutil.Process().memory_info().rss

        sizes = {"early": run(0, early), "late": run(early, late)}
    print(json.dumps(sizes))


def _reset_dataverse() -> None:
    """Begin a new window of the service protection limit: 6,000 calls in 5 minutes are fewer than are made here."""
    url = f"{os.environ['DYNAMICS_ENVIRONMENT_URL']}/_sandbox/reset"
    requests.post(url, verify=os.environ["REQUESTS_CA_BUNDLE"], timeout=30).raise_for_status()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
