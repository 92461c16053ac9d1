"""How long the calls of this thread may take: Azure's SDKs know time-outs of one read, but no end of the whole.

`shared.config.transport` heeds it, wherever in an SDK a call is made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left: ContextVar[Callable[[], float] | None] = ContextVar("left", default=None)


@contextmanager
def until(deadline: float, monotonic: Callable[[], float]) -> Iterator[None]:
    """Let the SDKs' calls inside take no longer.

    Args:
        deadline: the monotonic time, in seconds, by which they must be over.
        monotonic: seconds that only grow.
    """
    token = _left.set(lambda: deadline - monotonic())
    try:
        yield
    finally:
        _left.reset(token)


def seconds_left() -> float | None:
    """What is left of the time, below zero when it is over; None where there is no end."""
    left = _left.get()
    return None if left is None else left()
