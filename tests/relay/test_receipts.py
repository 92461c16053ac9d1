"""Receipts: the rep is shown what OpenCX has taken, and nothing depends on it."""

from __future__ import annotations

import pytest

from shared import events
from tests.relay.doubles import World
from tests.relay.test_carrier import step
from tests.relay.test_pauses import lost, once


def test_a_rep_is_shown_what_has_arrived() -> None:
    """Once for each message, in one call a look, and when it is written down that it has arrived."""
    world = World.make()
    world.conversation()
    wanted = [world.rep.says(text).id for text in ("hello", "ok", "ok")]
    step(world)
    assert world.rep.receipts == wanted
    assert world.faults.calls.count("rep.delivered") == 1
    assert world.faults.calls[-1] == "rep.delivered"
    step(world)
    assert world.rep.receipts == wanted


def test_what_is_found_to_have_arrived_is_shown_too() -> None:
    """An unclear send gives no receipt; the look that finds the message does."""
    world = World.make()
    world.conversation()
    wanted = world.rep.says("hello").id
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    assert world.rep.receipts == []
    world.clock.sleep(30)
    step(world)
    assert world.rep.receipts == [wanted]


def test_a_receipt_that_fails_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is said in the log, and not tried again."""
    world = World.make()
    world.conversation()
    world.rep.says("hello")
    once(world.rep, "delivered", lost(), is_done=False)
    kept = step(world)
    assert kept is not None
    assert (kept.failures, kept.to_customer) == (0, 1)
    assert events.RELAY_RECEIPT_FAILED in caplog.text
    step(world)
    assert [entry.text for entry in world.opencx.heard] == ["hello"]
    assert world.rep.receipts == []
