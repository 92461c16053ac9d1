"""A clock that only moves when it is told to, or slept on."""

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Implements `shared.config.clock.Clock`; sleeping moves it at once."""

    def __init__(self, start: datetime = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The time of day."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Move on by that many seconds."""
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move on by that many seconds."""
        with self._lock:
            self._elapsed += seconds
