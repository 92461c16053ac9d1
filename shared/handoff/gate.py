"""The gate before each system: closed while the system is known not to work, opened by one probe.

While it is closed a handoff is stored and answered at once, and costs the system nothing. When ``probe_at`` comes,
one handoff (whoever wins the conditional write) is let through: it is the probe. Success opens the gate for all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared import events
from shared.errors import ConfigurationFault, LedgerUnavailable, TransientFailure
from shared.handoff.record import LastError, Systems, SystemState

CONFIGURATION, DOWN, THROTTLED = "configuration", "down", "throttled"
SERVER_ERROR, UNREACHABLE = "server_error", "unreachable"

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(seconds=60)
PROBE_TAKES = timedelta(seconds=40)
SAID_AGAIN = timedelta(days=1)
TRUST_OPEN_SECONDS = 5.0
TRUST_CLOSED_SECONDS = 1.0
SERVER_ERRORS_UNTIL_DOWN = 3
"""Attempts in a row that end with a server error, before a system counts as down (one bad handoff is not enough)."""


@dataclass(frozen=True)
class Admission:
    """Whether a handoff may be tried now; if not, until when to wait and why.

    ``may_probe``: it is closed, but the next one to pass is the probe.
    """

    is_open: bool
    may_probe: bool = False
    until: datetime | None = None
    reason: str | None = None
    error: LastError | None = None


class Gate:
    """What this process knows of every system's state; the shared truth is in the table.

    When the table cannot be reached the gate goes on with what it knows.
    """

    def __init__(self, systems: Systems, *, now: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._systems = systems
        self._now = now
        self._monotonic = monotonic
        self._known: dict[str, tuple[SystemState, float]] = {}
        self._errors_in_a_row: dict[str, int] = {}
        self._probing: set[str] = set()

    def look(self, system: str) -> Admission:
        """What `admit` would say, without taking the probe."""
        return self._seen(self._state(system))

    def admit(self, system: str) -> Admission:
        """Ask to try a handoff to this system now. May make the caller the probe: it must `release` it in the end."""
        state = self._state(system)
        seen = self._seen(state)
        if seen.is_open or not seen.may_probe:
            return seen
        now = self._now()
        taken = self._write(replace(state, probe_at=now + PROBE_TAKES))
        if taken is not None:
            self._probing.add(system)
            return Admission(is_open=True)
        return replace(self._seen(self._state(system, fresh=True)), may_probe=False)

    def release(self, system: str) -> None:
        """Give the probe back if it told nothing about the system, so that the next handoff can be it."""
        if system not in self._probing:
            return
        self._probing.discard(system)
        state = self._state(system, fresh=True)
        if state.closed:
            self._write(replace(state, probe_at=self._now()))

    def is_closed(self, system: str) -> bool:
        """Whether this process knows the system to be closed: an attempt that goes on now is a probe."""
        return system in self._known and self._known[system][0].closed

    def succeeded(self, system: str) -> None:
        """A handoff has landed: open the gate if it was closed."""
        self._errors_in_a_row.pop(system, None)
        self._probing.discard(system)
        state = self._known[system][0] if system in self._known else None
        if state is None or not state.closed:
            return
        if self._write(SystemState(system=system, version=state.version)) is not None:
            events.emit(events.SYSTEM_OPENED, system=system, reason=state.reason)

    def failed(self, system: str, failure: TransientFailure | ConfigurationFault) -> datetime | None:
        """An attempt has failed: close the gate if that says something about the whole system.

        Returns:
            When the system is probed next, or None while the gate stays open.
        """
        now = self._now()
        if isinstance(failure, ConfigurationFault):
            return self._close(system, CONFIGURATION, LastError(failure.code, failure.message, failure.fix), now)
        error = LastError(failure.code, failure.message)
        if failure.kind == THROTTLED:
            wait = timedelta(seconds=failure.retry_after_seconds or FIRST_WAIT.total_seconds())
            return self._close(system, THROTTLED, error, now, wait=wait)
        count = self._errors_in_a_row.get(system, 0) + 1
        self._errors_in_a_row[system] = count
        if failure.kind == UNREACHABLE or count >= SERVER_ERRORS_UNTIL_DOWN:
            return self._close(system, DOWN, error, now)
        return None

    def _close(
        self, system: str, reason: str, error: LastError, now: datetime, *, wait: timedelta | None = None
    ) -> datetime:
        state = self._state(system, fresh=True)
        goes_on = state.closed and state.reason == reason
        if goes_on and state.probe_at and state.probe_at > now and system not in self._probing:
            return state.probe_at  # it was closed while this attempt was under way
        self._probing.discard(system)
        step = state.step if goes_on else 0
        wait = wait or min(FIRST_WAIT * 2**step, LONGEST_WAIT)
        # Said again once a day: alerts look back a while only.
        is_said = not goes_on or state.said_at is None or now - state.said_at >= SAID_AGAIN
        closed = SystemState(
            system=system,
            closed=True,
            reason=reason,
            error=error,
            step=min(step + 1, 10),
            probe_at=now + wait,
            since=state.since if goes_on else now,
            said_at=now if is_said else state.said_at,
            version=state.version,
        )
        if self._write(closed) is not None and is_said:
            events.emit(events.SYSTEM_CLOSED, system=system, reason=reason, code=error.code)
        return now + wait

    def _seen(self, state: SystemState) -> Admission:
        if not state.closed or state.probe_at is None:
            return Admission(is_open=True)
        may_probe = self._now() >= state.probe_at
        return Admission(False, may_probe, until=state.probe_at, reason=state.reason, error=state.error)

    def _state(self, system: str, *, fresh: bool = False) -> SystemState:
        known = self._known.get(system)
        if known and not fresh:
            state, read_at = known
            trusted = TRUST_CLOSED_SECONDS if state.closed else TRUST_OPEN_SECONDS
            if self._monotonic() - read_at < trusted:
                return state
        try:
            state = self._systems.read_system(system)
        except LedgerUnavailable:
            state = known[0] if known else SystemState(system=system)
        self._known[system] = (state, self._monotonic())
        return state

    def _write(self, state: SystemState) -> SystemState | None:
        try:
            stored = self._systems.write_system(state)
        except LedgerUnavailable:
            stored = state  # this process still knows; others find out by themselves
        if stored is not None:
            self._known[state.system] = (stored, self._monotonic())
        return stored
