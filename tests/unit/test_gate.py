"""The gate: closed by what concerns a whole system, opened by one probe, the same for all instances."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import events
from shared.errors import ConfigurationFault, LedgerUnavailable, TransientFailure
from shared.handoff.gate import Gate
from shared.handoff.record import SystemState
from tests.clock import ManualClock

SYSTEM = "dynamics365"


class SharedStates:
    """States that several gates share, with versions, as the table keeps them."""

    def __init__(self) -> None:
        self.states: dict[str, SystemState] = {}
        self.is_down = False
        self.reads = 0

    def read_system(self, system: str) -> SystemState:
        """The stored state."""
        if self.is_down:
            raise LedgerUnavailable("down")
        self.reads += 1
        return self.states.get(system, SystemState(system=system))

    def write_system(self, state: SystemState) -> SystemState | None:
        """Conditional on the version."""
        if self.is_down:
            raise LedgerUnavailable("down")
        current = self.states.get(state.system, SystemState(system=state.system))
        if current.version != state.version:
            return None
        self.states[state.system] = replace(state, version=f"{int(current.version or 0) + 1}")
        return self.states[state.system]


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
def states() -> SharedStates:
    """What the table would hold."""
    return SharedStates()


def gate(states: SharedStates, clock: ManualClock) -> Gate:
    """One instance's gate."""
    return Gate(states, now=clock.now, monotonic=clock.monotonic)


def fault() -> ConfigurationFault:
    """A missing role, say."""
    return ConfigurationFault("m", code="c", system=SYSTEM, fix="f")


def failure(kind: str, retry_after: float | None = None) -> TransientFailure:
    """A failure of one kind."""
    return TransientFailure("m", code="c", system=SYSTEM, kind=kind, retry_after_seconds=retry_after)


def test_an_open_gate_costs_one_read_in_five_seconds(states: SharedStates, clock: ManualClock) -> None:
    """A clean handoff does not read the table for the gate."""
    one = gate(states, clock)
    assert all(one.admit(SYSTEM).is_open for _ in range(100))
    assert states.reads == 1
    clock.advance(5.1)
    one.admit(SYSTEM)
    assert states.reads == 2


def test_a_configuration_fault_closes_it_for_all_instances(states: SharedStates, clock: ManualClock) -> None:
    """The other instance sees it, with the reason, as soon as its knowledge is five seconds old."""
    one, two = gate(states, clock), gate(states, clock)
    one.failed(SYSTEM, fault())
    admission = two.admit(SYSTEM)
    assert (admission.is_open, admission.reason) == (False, "configuration")
    assert admission.error is not None
    assert admission.error.fix == "f"


def test_one_probe_a_step(states: SharedStates, clock: ManualClock) -> None:
    """When the wait is over one caller of all instances is let through; the waits grow to a minute."""
    one, two = gate(states, clock), gate(states, clock)
    until = one.failed(SYSTEM, fault())
    waits = []
    for _ in range(6):
        assert until is not None
        waits.append((until - clock.now()).total_seconds())
        clock.advance(waits[-1] + 0.01)
        admitted = [each.admit(SYSTEM).is_open for each in (one, two, one, two)]
        assert admitted.count(True) == 1
        until = one.failed(SYSTEM, fault())
    assert waits == [5, 10, 20, 40, 60, 60]


def test_success_opens_it_for_all(states: SharedStates, clock: ManualClock) -> None:
    """The probe's success is everybody's; the other instance knows within a second."""
    one, two = gate(states, clock), gate(states, clock)
    one.failed(SYSTEM, fault())
    assert not two.admit(SYSTEM).is_open
    clock.advance(6)
    assert one.admit(SYSTEM).is_open
    one.succeeded(SYSTEM)
    clock.advance(1.1)
    assert two.admit(SYSTEM).is_open
    assert not states.states[SYSTEM].closed


def test_a_probe_that_dies_is_followed_by_another(states: SharedStates, clock: ManualClock) -> None:
    """The claim of a probe runs out like a lease."""
    one, two = gate(states, clock), gate(states, clock)
    one.failed(SYSTEM, fault())
    clock.advance(6)
    assert one.admit(SYSTEM).is_open
    assert not two.admit(SYSTEM).is_open
    clock.advance(41)
    assert two.admit(SYSTEM).is_open


def test_what_closes_it_is_said_again_when_it_changes_and_every_day(
    states: SharedStates, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Alerts look back a while only: a system that stays closed is said to be so once a day, each reason at once."""
    one = gate(states, clock)

    def said() -> list[str]:
        told = [json.loads(record.getMessage()) for record in caplog.records]
        caplog.clear()
        return [each["reason"] for each in told if each["event"] == events.SYSTEM_CLOSED]

    one.failed(SYSTEM, failure("unreachable"))
    assert said() == ["down"]
    clock.advance(61)
    one.admit(SYSTEM)
    one.failed(SYSTEM, fault())
    assert said() == ["configuration"]
    for _ in range(3 * 24 * 60 - 10):
        clock.advance(61)
        one.admit(SYSTEM)
        one.failed(SYSTEM, fault())
    assert said() == ["configuration"] * 3


def test_one_bad_handoff_does_not_close_it(states: SharedStates, clock: ManualClock) -> None:
    """Server errors close the gate only three in a row; a success in between starts anew."""
    one = gate(states, clock)
    assert one.failed(SYSTEM, failure("server_error")) is None
    assert one.failed(SYSTEM, failure("server_error")) is None
    one.succeeded(SYSTEM)
    assert one.failed(SYSTEM, failure("server_error")) is None
    assert one.failed(SYSTEM, failure("server_error")) is None
    assert one.failed(SYSTEM, failure("server_error")) is not None
    assert not one.admit(SYSTEM).is_open


def test_throttling_waits_as_long_as_it_is_asked_to(states: SharedStates, clock: ManualClock) -> None:
    """Retry-After is the wait, for every instance."""
    one, two = gate(states, clock), gate(states, clock)
    assert one.failed(SYSTEM, failure("throttled", 90)) == clock.now() + timedelta(seconds=90)
    assert two.admit(SYSTEM).until == clock.now() + timedelta(seconds=90)


def test_without_the_table_each_instance_goes_on_with_what_it_knows(states: SharedStates, clock: ManualClock) -> None:
    """Table Storage down: an unknown system is open, and a fault still closes the gate in this process."""
    states.is_down = True
    one = gate(states, clock)
    assert one.admit(SYSTEM).is_open
    one.failed(SYSTEM, fault())
    assert not one.admit(SYSTEM).is_open
