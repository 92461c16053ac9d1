"""Simulated time: sleeping moves it at once, and what was planned for a moment happens when it is passed."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

STUCK_SECONDS = 0.2
"""Real time without any work, after which those at work count as waiting for a sleeper."""


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
        self._turn = threading.Condition()
        self._running = 0
        self._asleep: list[float] = []
        self._asked = 0

    def time(self) -> float:
        """Seconds since the epoch."""
        self._asked += 1
        return self._seconds

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self.time()

    def sleep(self, seconds: float) -> None:
        """Move on by that many seconds, and do what was planned for the time in between."""
        until = self._seconds + max(0.0, seconds)
        if getattr(self._local, "takes_part", False):
            self._sleep_beside_others(until)
        else:
            self.advance_to(until)

    def together(self, threads: int) -> None:
        """So many threads will take part: while one of them is at work, time stands still for those who wait."""
        with self._turn:
            self._running = threads

    @contextmanager
    def taking_part(self) -> Iterator[None]:
        """This thread is one of those."""
        self._local.takes_part = True
        try:
            yield
        finally:
            self._local.takes_part = False
            with self._turn:
                self._running -= 1
                self._turn.notify_all()

    def _sleep_beside_others(self, until: float) -> None:
        """Wait until nobody is at work and this is the next moment at which somebody wants to go on."""
        with self._turn:
            self._running -= 1
            self._asleep.append(until)
            self._turn.notify_all()
            asked = -1
            while self._running > 0 or until > min(self._asleep):
                is_stuck = not self._turn.wait(STUCK_SECONDS) and asked == self._asked
                if is_stuck and until == min(self._asleep):
                    break  # whoever is at work waits for a lock that a sleeper holds
                asked = self._asked
            self._asleep.remove(until)
            self._running += 1
            self.advance_to(until)

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
