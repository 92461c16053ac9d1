"""P4, P5 and P6: how many calls a handoff makes, by the journals of those that were called.

`python -m tests.bench.counts HANDOFFS` is the process whose token calls are counted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from sandbox.state import ROOT
from shared.app import Application
from tests.bench import work
from tests.bench.floor import recorded
from tests.bench.measure import Row
from tests.bench.world import World

THREADS = 8


def round_trips(world: World, *, handoffs: int) -> Iterator[Row]:
    """P4: calls to Dataverse, by its own journal."""
    with world.application() as app:
        work.perform(app, work.body("trips-first", email=work.KNOWN_EMAIL))
        kinds: tuple[tuple[str, str, str | None, int], ...] = (
            ("incident in a queue, contact known", "phone", work.KNOWN_EMAIL, 2),
            ("incident in a queue, contact new", "phone", "", 2),
            ("chat with e-mail", "web", "", 2),
            ("chat without e-mail", "sms", None, 1),
        )
        for kind, (name, channel, email, goal) in enumerate(kinds):
            counts = []
            for number in range(handoffs):
                payload = work.body(f"trips-{kind}-{number}", channel=channel, email=email)
                before = len(world.calls("dataverse"))
                work.perform(app, payload)
                counts.append(float(len(world.calls("dataverse", after=before))))
            yield Row(f"P4 round trips: {name}", goal, counts, is_count=True)


def token_calls(world: World, *, handoffs: int) -> Iterator[Row]:
    """P5: calls for a Dataverse token, when 8 threads begin at once in a process that has just started."""
    before = len(world.calls("entra"))
    command = [sys.executable, "-m", "tests.bench.counts", str(handoffs)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **world.settings}, check=True)
    calls = [call for call in world.calls("entra", after=before) if call["path"].endswith("/token")]
    yield Row(f"P5 token calls, {handoffs} handoffs on {THREADS} threads, cold", 1, [float(len(calls))], is_count=True)


def table_writes(world: World, *, handoffs: int) -> Iterator[Row]:
    """P6: writes to Table Storage of a handoff that goes well."""
    with world.application() as app:
        work.perform(app, work.body("writes-first"))
        counts = []
        for number in range(handoffs):
            with recorded() as calls:
                work.perform(app, work.body(f"writes-{number}"))
            writes = [call for call in calls if call.origin == world.tables_url and call.method != "GET"]
            counts.append(float(len(writes)))
        yield Row("P6 table writes a clean handoff", 2, counts, is_count=True)


def main(handoffs: int) -> None:
    """Perform that many handoffs on all threads at once, as the first thing that this process does."""
    start = threading.Barrier(THREADS)
    with contextlib.closing(Application(os.environ)) as app, ThreadPoolExecutor(THREADS) as pool:

        def one_thread(thread: int) -> None:
            start.wait()
            for number in range(thread, handoffs, THREADS):
                work.perform(app, work.body(f"token-{number}"))

        for done in [pool.submit(one_thread, thread) for thread in range(THREADS)]:
            done.result()


if __name__ == "__main__":
    main(int(sys.argv[1]))
