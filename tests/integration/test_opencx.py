"""What is read from OpenCX, with which key, and what it says of who the customer is."""

import json
from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest

from handoff_http import door
from sandbox.faults import Fault
from shared import events
from shared.app import Application
from shared.handoff import request
from shared.handoff.record import FAILED, Record
from tests.clock import ManualClock
from tests.conftest import World

pytestmark = pytest.mark.integration

KEY = "OPENCX_API_KEY"
CONTACT = {"name": "Jo Doe", "email": "jo@example.com"}


def accept(application: Application, **body: Any) -> Record:
    """Hand over, as the door does; the record."""
    raw = json.dumps(body).encode()
    parsed = request.parse(request.parse_body(raw), channel_may_be_read=application.may_read_opencx)
    return application.desk.accept(parsed, raw).record


def post(application: Application, **body: Any) -> tuple[int, dict[str, Any]]:
    """Hand over through the door: status and body."""
    made = func.HttpRequest(
        method="POST",
        url="http://localhost/api/handoff",
        headers={"content-type": "application/json"},
        params={},
        route_params={},
        body=json.dumps(body).encode(),
    )
    got = door.post(application, made)
    return got.status_code, json.loads(got.get_body())


def codes(record: Record) -> list[str]:
    """The codes of the notices of a handoff that landed."""
    assert record.outcome is not None, record.last_error
    return [notice.code for notice in record.outcome.warnings]


def session(world: World, session_id: str, **more: Any) -> str:
    """A session at OpenCX with one message."""
    message = {"type": "message", "sender": {"type": "contact"}, "content": {"type": "text", "text": "Hello there"}}
    world.opencx.add_session({"id": session_id, "channel": "phone_voice", "history": [{"event": message}], **more})
    return session_id


def vault_calls(world: World) -> int:
    """How often the vault was asked for OpenCX's key (a challenge is no question)."""
    entries = world.standins.key_vault.journal.entries()
    return sum("opencx-api-key" in entry.path and entry.status != 401 for entry in entries)


@pytest.fixture
def keyless(world: World) -> World:
    """A vault that has no key for OpenCX."""
    del world.key_vault._secrets["opencx-api-key"]
    return world


def test_a_rotated_key_is_fetched_and_the_call_repeated(
    world: World, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCX refuses the key that is known: the vault's new one is used within the same attempt."""
    clock = ManualClock()
    application = world.application(clock)
    accept(application, session_id=session(world, new_id()))
    monkeypatch.setattr(world.opencx, "_api_key", "a-new-key")
    world.key_vault.put("opencx-api-key", "a-new-key")
    clock.advance(61)
    before = len(world.standins.opencx.journal)
    record = accept(application, session_id=session(world, new_id()))
    assert codes(record) == []
    statuses = [entry.status for entry in world.standins.opencx.journal.entries(after=before)]
    assert statuses == [401, 200, 200]


def test_a_key_that_stays_wrong_is_tried_twice(
    world: World, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No new key in the vault: a second look in case it was a moment's, and the notice says that it is refused."""
    application = world.application()
    monkeypatch.setattr(world.opencx, "_api_key", "a-new-key")
    before = len(world.standins.opencx.journal)
    record = accept(application, session_id=session(world, new_id()), channel="phone")
    assert codes(record) == ["transcript_unavailable"]
    assert events.TRANSCRIPT_UNAVAILABLE in caplog.text
    assert len(world.standins.opencx.journal) - before == 2
    waiting = accept(application, session_id=session(world, new_id()))
    assert waiting.last_error is not None
    assert waiting.last_error.code == "opencx_key_refused"


def test_a_vault_without_the_key_is_asked_once(keyless: World, new_id: Callable[[], str]) -> None:
    """Handoffs that lack something land without it, and cost no call to the vault for ten minutes."""
    clock = ManualClock()
    application = keyless.application(clock)
    told = {"channel": "phone", "contact": CONTACT}
    for _ in range(5):
        assert codes(accept(application, session_id=new_id(), **told)) in (
            ["transcript_unavailable"],
            ["transcript_missing"],
        )
    assert vault_calls(keyless) == 1
    keyless.key_vault.put("opencx-api-key", "ocx_sandbox_key")
    clock.advance(601)
    assert codes(accept(application, session_id=session(keyless, new_id()), **told)) == []


def test_without_a_key_a_channel_is_the_callers_to_bring(keyless: World, new_id: Callable[[], str]) -> None:
    """400, from the first request of a process on, and the vault is asked once; nothing is stored."""
    application = keyless.application()
    for _ in range(3):
        session_id = new_id()
        status, body = post(application, session_id=session_id, transcript=[])
        assert (status, [detail["field"] for detail in body["details"]]) == (400, ["channel"])
        assert application.ledger.get(session_id) is None
    assert vault_calls(keyless) == 1


def test_a_request_with_a_channel_does_not_ask_the_vault(world: World, new_id: Callable[[], str]) -> None:
    """Whether something could be read matters only to a request that lacks its channel."""
    status, _ = post(
        world.application(), session_id=new_id(), channel="phone", summary="s", contact=CONTACT, transcript=[]
    )
    assert (status, vault_calls(world)) == (201, 0)


def test_an_outage_of_the_vault_refuses_nobody(world: World, new_id: Callable[[], str]) -> None:
    """Nobody knows whether there is a key: the handoff is stored, and waits."""
    world.standins.key_vault.faults.add(Fault(status=503, times=0))
    status, body = post(world.application(HANDOFF_BUDGET_SECONDS="3"), session_id=session(world, new_id()))
    assert (status, body["status"]) == (202, "accepted")


def test_an_address_that_nobody_has_verified_is_told_to_the_rep(world: World, new_id: Callable[[], str]) -> None:
    """The case says so; what the request itself says of the customer wins."""

    def description(**body: Any) -> str:
        session_id = session(world, new_id(), contact={"name": "Jo", "non_verified_email": "jo@example.com"})
        record = accept(world.application(), session_id=session_id, **body)
        assert record.state != FAILED
        assert record.outcome is not None
        (row,) = [row for row in world.rows("incidents") if row["incidentid"] == record.outcome.record_id]
        return str(row["description"])

    assert "Identity: not verified" in description()
    assert "Identity: not verified" in description(contact={"email": "Jo@Example.com"})
    assert "Identity: verified" in description(contact={"verified": True})
    assert "Identity" not in description(contact={"email": "another@example.com"})


def test_a_key_that_hangs_leaves_time_to_land(world: World, new_id: Callable[[], str]) -> None:
    """The vault may take half of what is left, and never the whole attempt."""
    application = world.application(HANDOFF_BUDGET_SECONDS="4")
    accept(application, session_id=new_id(), channel="phone", summary="s", contact=CONTACT, transcript=[])
    world.standins.key_vault.faults.add(Fault(path="opencx-api-key", delay_seconds=6, status=503, times=0))
    record = accept(application, session_id=new_id(), channel="phone", contact=CONTACT, transcript=[])
    assert codes(record) == []
