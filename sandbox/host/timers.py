"""Timer triggers by NCRONTAB (reference: Azure Functions, "Timer trigger"; azure-webjobs-sdk-extensions)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from croniter import croniter
from croniter.croniter import CroniterError

from sandbox.host.protos import TypedData
from sandbox.host.worker import AppLoadError, Function, InvocationError

logger = logging.getLogger(__name__)

Fire = Callable[[Function, TypedData, str], "Future[Any]"]


def utc_now() -> datetime:
    """The time in UTC: schedules know no other zone, as on the Flex Consumption plan."""
    return datetime.now(UTC)


class Schedule:
    """An NCRONTAB expression: `{second} {minute} {hour} {day} {month} {day of week}`, in UTC.

    Five fields have no second and mean second 0. Day and day of week must both match, unlike in Vixie cron.
    """

    def __init__(self, expression: str) -> None:
        """Raises AppLoadError."""
        self.expression = expression
        fields = len(expression.split())
        self._whole = expression if fields == 6 else f"0 {expression}"
        try:
            if fields not in {5, 6}:
                raise ValueError(f"it has {fields} fields")  # noqa: TRY301 - one message for both
            self.after(utc_now())
        except (CroniterError, ValueError) as error:
            raise AppLoadError(
                f"timer schedule {expression!r} is no NCRONTAB expression of six fields: {error}"
            ) from error

    def after(self, moment: datetime) -> datetime:
        """The first occurrence after a moment."""
        found: datetime = croniter(self._whole, moment, second_at_beginning=True, day_or=False).get_next(datetime)
        return found


def timer_input(*, last: datetime | None, following: datetime | None, past_due: bool = False) -> TypedData:
    """What a timer function gets, as the timer extension shapes it; no status without `following`."""
    status = None
    if following is not None:
        at = (last or datetime.min.replace(tzinfo=UTC)).isoformat()
        status = {"Last": at, "Next": following.isoformat(), "LastUpdated": at}
    content = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return TypedData(json=json.dumps(content))


class Timer:
    """Calls one function on its schedule, from a thread of its own.

    A run is waited for before the next is looked at: a timer never overlaps itself. An admin call can
    overlap it, as in Azure, where the lease covers the listener only.
    """

    def __init__(
        self, function: Function, schedule: Schedule, fire: Fire, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        trigger: Mapping[str, Any] = function.trigger
        self._function = function
        self._schedule = schedule
        self._fire = fire
        self._clock = clock
        self._at_start = bool(trigger.get("runOnStartup", False))
        self._monitor = bool(trigger.get("useMonitor", True))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"timer-{function.name}", daemon=True)

    def start(self) -> None:
        """Begin to wait for the first occurrence."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for a run that is going on, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        last: datetime | None = None
        if self._at_start:
            last = self._clock()
            self._call(last=None, following=self._schedule.after(last))
        while True:
            due = self._schedule.after(self._clock())
            while (wait := (due - self._clock()).total_seconds()) > 0:
                if self._stopping.wait(min(wait, 3600)):
                    return
            self._call(last=last, following=due)
            last = due
            if self._stopping.is_set():
                return

    def _call(self, *, last: datetime | None, following: datetime) -> None:
        data = timer_input(last=last, following=following if self._monitor else None)
        try:
            self._fire(self._function, data, "Timer fired").result()
        except InvocationError as error:
            logger.warning("timer %s failed and runs again on schedule: %s", self._function.name, error)
