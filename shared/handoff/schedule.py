"""When a failed handoff is tried again."""

from datetime import timedelta

MINUTE, HOUR = 60, 3600

STEPS_SECONDS = (5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR)
"""The wait after the first, second, … failed attempt. A customer is waiting: the early steps are dense."""

QUICK_SECONDS = (0.2, 1.0, 5.0)
"""The waits between tries inside one attempt, as long as its budget lasts."""

JITTER = 0.2


def next_delay(attempts: int, *, random: float, at_least_seconds: float | None = None) -> timedelta | None:
    """The wait before the next attempt, or None when the last one has been made.

    Args:
        attempts: how many attempts have been made, from 1.
        random: a number from 0 to 1, for the jitter of ±20 %.
        at_least_seconds: what the target asked for (``Retry-After``); a floor.
    """
    if attempts > len(STEPS_SECONDS):
        return None
    seconds = STEPS_SECONDS[max(0, attempts - 1)] * (1 + JITTER * (2 * random - 1))
    return timedelta(seconds=max(seconds, at_least_seconds or 0.0))


def quick_delay(tries: int, *, at_least_seconds: float | None = None) -> float | None:
    """Seconds before the next try inside an attempt, or None when the quick tries are used up."""
    if tries > len(QUICK_SECONDS):
        return None
    return max(QUICK_SECONDS[tries - 1], at_least_seconds or 0.0)
