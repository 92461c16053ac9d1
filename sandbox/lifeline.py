"""Ends a process when the process that started it ends, however that one ended.

The starter keeps the write end of a pipe that is the child's standard input; when it dies, the child reads
the end. Unlike a signal this also works after `kill -9`, and on Windows.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable


def wait_for_stop(*, lifeline: bool) -> None:
    """Return after SIGINT, SIGTERM or, with a lifeline, the end of the starter. Only in the main thread."""
    stop = threading.Event()
    on_stop(stop.set, lifeline=lifeline)
    while not stop.wait(0.5):  # in slices: on Windows a signal does not end a longer wait
        pass


def on_stop(call: Callable[[], object], *, lifeline: bool) -> None:
    """Run `call` at the end of the starter, and at SIGINT and SIGTERM. Only in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: call())
    if lifeline:
        threading.Thread(target=_read_to_end, args=(call,), name="lifeline", daemon=True).start()


def _read_to_end(call: Callable[[], object]) -> None:
    # Not through sys.stdin: a thread that waits in its buffer breaks the interpreter's way out.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    call()
