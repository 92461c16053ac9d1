"""Service protection limits: requests, execution time and concurrency in a sliding window.

Reference: Microsoft's page "Service protection API limits". A batch is one request. Refused requests
are not counted (the page does not say).
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.dataverse.errors import DataverseError

# Microsoft documents no fixed value for a concurrency refusal; the window is empty as soon as others end.
_CONCURRENT_RETRY_S = 1


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The limits in force.

    Attributes:
        requests: how many in a window.
        window_seconds: length of the sliding window.
        concurrent: how many at once.
        execution_seconds: combined execution time in a window.
        seconds_per_request: execution time to charge on top of what a request really took.
    """

    requests: int = 6000
    window_seconds: float = 300.0
    concurrent: int = 52
    execution_seconds: float = 1200.0
    seconds_per_request: float = 0.0


class Limits:
    """Counts what the one application user does. Safe for threads."""

    def __init__(self, clock: Callable[[], float], allowance: Allowance | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.allowance = allowance or Allowance()
        self._starts: deque[float] = deque()
        self._spent: deque[tuple[float, float]] = deque()
        self._spent_seconds = 0.0
        self._running = 0

    def set(self, allowance: Allowance) -> None:
        """Replaces the limits and forgets what was counted."""
        with self._lock:
            self.allowance = allowance
            self._starts.clear()
            self._spent.clear()
            self._spent_seconds = 0.0

    def enter(self) -> None:
        """Counts a request that begins. Raises DataverseError 429 with Retry-After in seconds."""
        with self._lock:
            now = self._clock()
            self._forget(now - self.allowance.window_seconds)
            allowed = self.allowance
            if self._running >= allowed.concurrent:
                text = f"Number of concurrent requests exceeded the limit of {allowed.concurrent}."
                raise _refusal("0x80072326", text, _CONCURRENT_RETRY_S)
            if len(self._starts) >= allowed.requests:
                text = (
                    f"Number of requests exceeded the limit of {allowed.requests} over time window of "
                    f"{allowed.window_seconds:g} seconds."
                )
                oldest = self._starts[0] if self._starts else now
                raise _refusal("0x80072322", text, oldest + allowed.window_seconds - now)
            if self._spent_seconds >= allowed.execution_seconds:
                text = (
                    "Combined execution time of incoming requests exceeded limit of "
                    f"{allowed.execution_seconds * 1000:,.0f} milliseconds over time window of "
                    f"{allowed.window_seconds:g} seconds. Decrease number of concurrent requests or reduce "
                    "the duration of requests and try again later."
                )
                oldest = self._spent[0][0] if self._spent else now
                raise _refusal("0x80072321", text, oldest + allowed.window_seconds - now)
            self._starts.append(now)
            self._running += 1

    def leave(self, seconds: float) -> None:
        """Ends a request that `enter` let in, after so many seconds of work."""
        with self._lock:
            self._running -= 1
            charged = seconds + self.allowance.seconds_per_request
            self._spent.append((self._clock(), charged))
            self._spent_seconds += charged

    def headers(self) -> dict[str, str]:
        """The debug headers: what is left of the window."""
        with self._lock:
            left = max(0, self.allowance.requests - len(self._starts))
            time_left = max(0.0, self.allowance.execution_seconds - self._spent_seconds)
        return {
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(left),
            "x-ms-ratelimit-time-remaining-xrm-requests": f"{time_left:,.2f}",
        }

    def _forget(self, before: float) -> None:
        while self._starts and self._starts[0] <= before:
            self._starts.popleft()
        while self._spent and self._spent[0][0] <= before:
            self._spent_seconds -= self._spent.popleft()[1]
        if not self._spent:
            self._spent_seconds = 0.0


def _refusal(code: str, message: str, seconds: float) -> DataverseError:
    wait = max(1, math.ceil(seconds))
    return DataverseError(429, code, message, headers={"Retry-After": str(wait)})
