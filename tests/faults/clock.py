"""Simulated time: sleeping moves it at once, and what was planned for a moment happens when it is passed."""

import heapq
import itertools
import threading
from collections.abc import Callable
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

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._seconds

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self._seconds, UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._seconds

    def sleep(self, seconds: float) -> None:
        """Move on by that many seconds, and do what was planned for the time in between."""
        self.advance_to(self._seconds + max(0.0, seconds))

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
