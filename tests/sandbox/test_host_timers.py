"""Timers of the local host run by NCRONTAB and never overlap themselves."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.protos import TypedData
from sandbox.host.timers import Schedule, Timer, timer_input
from sandbox.host.worker import AppLoadError, Function, InvocationError
from tests.sandbox.hello import Hello

START = datetime(2026, 3, 31, 23, 59, 58, tzinfo=UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * * *", "2026-04-01 00:00:00"),
        ("0 * * * * *", "2026-04-01 00:00:00"),
        ("59 * * * * *", "2026-03-31 23:59:59"),
        ("0 */5 * * * *", "2026-04-01 00:00:00"),
        ("0 30 9 * * 1-5", "2026-04-01 09:30:00"),
        ("0 0 0 1 * *", "2026-04-01 00:00:00"),
        ("0 0 12 13 * FRI", "2026-11-13 12:00:00"),  # both must match: Friday the 13th
        ("0 0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 9-17 * Jan Mon", "2027-01-04 09:00:00"),
        ("*/5 * * * *", "2026-04-01 00:00:00"),  # five fields: second 0
    ],
)
def test_a_schedule_reads_as_ncrontab(expression: str, expected: str) -> None:
    """Seconds come first, times are UTC, day and day of week must both match."""
    assert f"{Schedule(expression).after(START):%Y-%m-%d %H:%M:%S}" == expected


@pytest.mark.parametrize("expression", ["", "often", "60 * * * * *", "* * * *", "00:00:05", "0 0 0 0 0 0 0"])
def test_a_schedule_that_is_none_is_refused(expression: str) -> None:
    """What is not NCRONTAB is named in the error; the Consumption plans take no time span either."""
    with pytest.raises(AppLoadError, match="no NCRONTAB expression"):
        Schedule(expression)


def test_the_input_has_the_shape_of_the_extension() -> None:
    """Schedule, ScheduleStatus with Last, Next and LastUpdated, and IsPastDue."""
    content = json.loads(timer_input(last=None, following=START).value)
    assert content["Schedule"] == {"AdjustForDST": True}
    assert content["ScheduleStatus"] == {
        "Last": "0001-01-01T00:00:00+00:00",
        "Next": "2026-03-31T23:59:58+00:00",
        "LastUpdated": "0001-01-01T00:00:00+00:00",
    }
    assert content["IsPastDue"] is False
    assert json.loads(timer_input(last=None, following=None).value)["ScheduleStatus"] is None


def test_a_failing_run_is_followed_by_the_next() -> None:
    """A timer goes on after a run that raised; a run on start-up comes before its first occurrence."""
    trigger = {"type": "timerTrigger", "name": "t", "schedule": "* * * * * *", "runOnStartup": True}
    moments: list[datetime] = []
    enough = threading.Event()

    def fire(_function: Function, _data: TypedData, _reason: str) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(InvocationError("it failed", ""))
        moments.append(datetime.now(UTC))
        if len(moments) == 3:
            enough.set()
        return future

    timer = Timer(Function("t", "1", [trigger]), Schedule("* * * * * *"), fire)
    timer.start()
    assert enough.wait(10)
    timer.stop()
    assert timedelta(seconds=0.8) < moments[2] - moments[1] < timedelta(seconds=1.5)


def test_timers_fire_in_the_real_host(tmp_path: Path) -> None:
    """A run that takes longer than its interval ends before the next begins: a timer never overlaps itself."""
    host = Hello(tmp_path, HELLO_SCHEDULE="*/1 * * * * *", HELLO_TICK_SECONDS="1.2").start()
    host.wait_for_note("tick end")
    pause = threading.Event()
    until = datetime.now(UTC) + timedelta(seconds=10)
    while host.notes.count("tick end") < 2 and datetime.now(UTC) < until:
        pause.wait(0.05)
    host.stop()
    begins, ends = host.notes[0::2], host.notes[1::2]
    assert len(ends) >= 2
    assert set(begins) == {"tick begin False True"}
    assert set(ends) == {"tick end"}
