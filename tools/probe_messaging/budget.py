"""Bounds of one run: time and calls."""

import threading

from shared.config.clock import Clock

CALLS = 1000
MINUTES = 90.0


class Over(Exception):
    """The run must stop; the text says why."""


class Budget:
    """Counts the calls of one run, from any thread.

    Args:
        clock: its monotonic time counts.
        minutes: the run's, from now.
        calls: to Dynamics and Dataverse, in all.
    """

    def __init__(self, clock: Clock, *, minutes: float = MINUTES, calls: int = CALLS) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + minutes * 60
        self._most = calls
        self._lock = threading.Lock()
        self.calls = 0

    def spend(self) -> None:
        """One more call. Raises Over."""
        self.seconds_left()
        with self._lock:
            if self.calls >= self._most:
                message = f"{self._most} calls were made."
                raise Over(message)
            self.calls += 1

    def more(self, *, minutes: float, calls: int) -> None:
        """Allow so much from now, for what must be done before the end: it ends what is open."""
        with self._lock:
            self._ends = max(self._ends, self._clock.monotonic() + minutes * 60)
            self._most = max(self._most, self.calls + calls)

    def seconds_left(self) -> float:
        """Until the end. Raises Over."""
        left = self._ends - self._clock.monotonic()
        if left <= 0:
            message = "The time is over (--minutes)."
            raise Over(message)
        return left
