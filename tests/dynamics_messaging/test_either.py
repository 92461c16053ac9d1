"""Out of hours a chat may become an incident; whatever happens to an answer, it never becomes both."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.faults import Fault
from shared.handoff import request
from tests.conftest import World

pytestmark = pytest.mark.integration


def deliver(world: World, session_id: str) -> Any:
    """One WhatsApp handoff by a new process."""
    app = world.application(LIVE_WORK_ITEM_PRESET="messaging", DYNAMICS_AVAILABILITY="incident")
    body = {"session_id": session_id, "channel": "whatsapp", "summary": "Help", "transcript": []}
    handoff = request.parse(request.parse_body(json.dumps(body).encode()))
    return app.destination("dynamics365").deliver(handoff, deadline=app.clock.monotonic() + 20)


def test_out_of_hours_becomes_an_incident(world: World, new_id: Callable[[], str]) -> None:
    """Nobody works: an incident and a notice, no conversation; also when the hours begin before a repeat."""
    session_id = new_id()
    world.dataverse.availability.change({"open": False})
    outcome = deliver(world, session_id)
    assert (outcome.kind, outcome.warnings[-1].code) == ("incident", "out_of_hours")
    world.dataverse.availability.change({"open": True})
    again = deliver(world, session_id)
    assert (again.kind, again.record_id) == ("incident", outcome.record_id)
    assert world.standins.dynamics_messaging.standin.conversations() == []  # type: ignore[attr-defined]


def test_within_hours_it_rings(world: World, new_id: Callable[[], str]) -> None:
    """Somebody works: a conversation."""
    assert deliver(world, new_id()).kind == "messaging_conversation"


def test_a_failed_check_stops_nothing(world: World, new_id: Callable[[], str]) -> None:
    """An availability check that fails makes a conversation: a customer waits."""
    world.standins.dataverse.faults.add(Fault.parse({"path": "CCaaS_GetRepresentative", "status": 500, "times": 0}))
    assert deliver(world, new_id()).kind == "messaging_conversation"
