"""Simulated time: sleeping moves it at once, and what was planned for a moment happens when it is passed."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


class SimClock:
    """Implements `shared.config.clock.Clock`. All threads share one time; each sleep adds to it.

    Args:
        start: seconds since the epoch.
    """

    def __init__(self, start: float = 1_900_000_000.0) -> None:
        self._seconds = start
        self._lock = threading.RLock()
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._local = threading.local()
        self._together = 0
        self._latest = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._seconds + self._own

    @contextmanager
    def together(self) -> Iterator[None]:
        """Threads that wait in here wait side by side: each has a time of its own, and in the end it is the latest.

        Without it a thread's time-out would make another one's call last as long, which nobody waits for.
        """
        with self._lock:
            self._together, self._latest = next(self._numbers) + 1, 0.0
        try:
            yield
        finally:
            self._together = 0
            self.advance_to(self._seconds + self._latest)

    @property
    def _own(self) -> float:
        """How far this thread is ahead of the others."""
        if not self._together or getattr(self._local, "together", 0) != self._together:
            return 0.0
        return float(self._local.seconds)

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self.time()

    def sleep(self, seconds: float) -> None:
        """Move on by that many seconds, and do what was planned for the time in between."""
        if not self._together:
            self.advance_to(self._seconds + max(0.0, seconds))
            return
        self._local.seconds = self._own + max(0.0, seconds)
        self._local.together = self._together
        with self._lock:
            self._latest = max(self._latest, self._local.seconds)

    def advance_to(self, moment: float) -> None:
        """Move on to a moment in seconds since the epoch; never back."""
        while (planned := self._take(moment)) is not None:
            planned()
        with self._lock:
            self._seconds = max(self._seconds, moment)

    def plan(self, moment: float, call: Callable[[], None]) -> None:
        """Have ``call`` made by whoever passes that moment."""
        with self._lock:
            heapq.heappush(self._planned, (moment, next(self._numbers), call))

    def forget(self) -> None:
        """Drop everything that is planned."""
        with self._lock:
            self._planned.clear()

    def _take(self, until: float) -> Callable[[], None] | None:
        with self._lock:
            if not self._planned or self._planned[0][0] > until:
                return None
            moment, _, call = heapq.heappop(self._planned)
            self._seconds = max(self._seconds, moment)
            return call
