"""P1 and P3: our handoff against the bare minimum of the same calls, and against Microsoft's own SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.app import Application
from tests.bench import work
from tests.bench.floor import Call, Floor, recorded
from tests.bench.measure import Row, ratios
from tests.bench.sdk import Official
from tests.bench.world import World

DELAY_SECONDS = 0.04
_WARM_UP = 5


def against_floor(world: World, *, pairs: int, delay_seconds: float, goal: float) -> Iterator[Row]:
    """P1: a delivery, then a whole handoff with its ledger, against `http.client` sending the same bytes."""
    label = f"at {delay_seconds * 1000:.0f} ms a call / http.client"
    with world.application() as app:
        for number in range(_WARM_UP):
            work.perform(app, work.body(f"warm-{number}"))
        deliveries = [work.parsed(work.body(f"delivery-{number}")) for number in range(pairs)]
        wholes = [work.body(f"whole-{number}") for number in range(pairs)]
        recordings = [_recorded(world, app, f"floor-{number}") for number in range(2 * (pairs + _WARM_UP))]
        world.forget()
        to_dataverse = [[call for call in calls if call.origin == world.dataverse_url] for calls in recordings[::2]]
        with_ledger = recordings[1::2]
        with world.delayed(delay_seconds), _floor(world, to_dataverse) as floor:
            values = ratios(
                lambda number: work.deliver(app, deliveries[number]),
                lambda number: floor.send(to_dataverse[number]),
                pairs=pairs,
            )
        yield Row(f"P1 delivery {label}", goal, values)
        with world.delayed(delay_seconds), _floor(world, with_ledger) as floor:
            values = ratios(
                lambda number: work.perform(app, wholes[number]),
                lambda number: floor.send(with_ledger[number]),
                pairs=pairs,
            )
        yield Row(f"P1 whole handoff, ledger {label}", goal, values)


@contextmanager
def _floor(world: World, recordings: list[list[Call]]) -> Iterator[Floor]:
    """Fresh connections (an idle one is closed by the emulator after 5 s), warmed by the last of the recordings."""
    with Floor(world.settings["REQUESTS_CA_BUNDLE"]) as floor:
        for calls in recordings[-_WARM_UP:]:
            floor.send(calls)
        yield floor


def against_sdk(world: World, *, pairs: int, goal: float) -> Iterator[Row]:
    """P3: the same against the official SDK, at 40 ms a call. The SDK keeps no ledger."""
    label = f"at {DELAY_SECONDS * 1000:.0f} ms a call / official SDK"
    with world.application() as app, Official(world.settings) as official:
        for number in range(_WARM_UP):
            work.perform(app, work.body(f"sdk-warm-{number}"))
            official.perform(work.parsed(work.body(f"sdk-theirs-warm-{number}")))
        theirs = [work.parsed(work.body(f"sdk-theirs-{number}")) for number in range(2 * pairs)]
        deliveries = [work.parsed(work.body(f"sdk-delivery-{number}")) for number in range(pairs)]
        wholes = [work.body(f"sdk-whole-{number}") for number in range(pairs)]
        with world.delayed(DELAY_SECONDS):
            values = ratios(
                lambda number: work.deliver(app, deliveries[number]),
                lambda number: official.perform(theirs[number]),
                pairs=pairs,
            )
            yield Row(f"P3 delivery {label}", goal, values)
            values = ratios(
                lambda number: work.perform(app, wholes[number]),
                lambda number: official.perform(theirs[pairs + number]),
                pairs=pairs,
            )
            yield Row(f"P3 whole handoff, ledger {label}", goal, values)


def _recorded(world: World, app: Application, name: str) -> list[Call]:
    """What one whole handoff sends, without the reads of the gate's state, which are for many handoffs."""
    payload = work.body(name)
    with recorded() as calls:
        work.perform(app, payload)
    return [call for call in calls if call.origin == world.dataverse_url or call.method != "GET"]
