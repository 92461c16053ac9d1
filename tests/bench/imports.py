"""P7: what importing the app costs over importing `azure.functions`, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from sandbox.state import ROOT
from tests.bench.measure import Row

_TIMED = "import time; began = time.perf_counter(); import {0}; print(time.perf_counter() - began)"


def import_time(*, pairs: int, goal: float) -> Iterator[Row]:
    """The import of function_app over that of azure.functions, by the processes' own clocks."""
    names = ("function_app", "azure.functions")
    for name in names:
        _seconds(name)  # so that both find their byte code written
    values = []
    for number in range(pairs):
        took = {name: _seconds(name) for name in (names if number % 2 else reversed(names))}
        values.append(took["function_app"] / took["azure.functions"])
    yield Row("P7 import function_app / azure.functions", goal, values)


def _seconds(module: str) -> float:
    command = [sys.executable, "-c", _TIMED.format(module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)
