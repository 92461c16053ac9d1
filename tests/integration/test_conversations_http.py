"""Conversations both ways through the Functions host: HTTP doors, real queue, real table, stand-ins over TLS."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from sandbox.dynamics_messaging import DynamicsMessaging
from sandbox.host.app import Host
from sandbox.host.http import serve
from sandbox.host.keys import Keys
from sandbox.salesforce import Salesforce
from sandbox.standins import OPENCX_WEBHOOK_SECRET, WEBHOOK_LOCK
from shared import app
from shared.app import application
from tests.conftest import ROOT, World

pytestmark = pytest.mark.integration

KEY = "test-function-key"
WITHIN_SECONDS = 20.0


class Service:
    """The running host with its queue triggers, and what is on both sides of it."""

    def __init__(self, url: str, world: World) -> None:
        self.url = url
        self.world = world
        self.salesforce: Salesforce = world.standins.salesforce.standin  # type: ignore[assignment]
        self.messaging: DynamicsMessaging = world.standins.dynamics_messaging.standin  # type: ignore[assignment]

    def post(self, body: dict[str, Any], *, status: int = 201) -> dict[str, Any]:
        """One handoff; its answer."""
        response = requests.post(f"{self.url}/api/handoff", json=body, headers={"x-functions-key": KEY}, timeout=60)
        assert response.status_code == status, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def record(self, handoff_id: str) -> dict[str, Any]:
        """The record of a handoff."""
        response = requests.get(f"{self.url}/api/handoff/{handoff_id}", headers={"x-functions-key": KEY}, timeout=60)
        found: dict[str, Any] = response.json()
        return found

    def heard(self, session_id: str) -> list[str]:
        """What reps have said, as the customer sees it."""
        items = self.world.opencx.history(session_id)
        return [
            str(one["event"]["content"]["text"]) for one in items if one["event"]["sender"]["type"] == "human_agent"
        ]


@pytest.fixture
def service(world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A host with queues and timer; OpenCX and Dynamics know its address. Further settings: ``request.param``."""
    settings = {**world.environ, "RECONCILE_SCHEDULE": "*/30 * * * * *", **getattr(request, "param", {})}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    application.cache_clear()
    with Host(ROOT, keys=Keys(function=KEY, master="test-master-key")) as host, serve(host, 0, triggers=True) as server:
        world.opencx.webhooks.point(f"{server.url}/api/opencx/events", OPENCX_WEBHOOK_SECRET)
        made = Service(server.url, world)
        made.messaging.set_channel(webhook_url=f"{server.url}/api/dynamics/{WEBHOOK_LOCK}")
        yield made
    app.application().close()
    application.cache_clear()


def until(condition: Callable[[], Any], *, seconds: float = WITHIN_SECONDS) -> Any:
    """Look until it holds: what happens on the other side gives no event to wait for."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = condition()
        if found or time.monotonic() > deadline:
            assert found
            return found
        pause.wait(0.05)


def sms(session_id: str, **more: Any) -> dict[str, Any]:
    """An SMS conversation with an AI."""
    turns = [{"role": ("user", "ai")[n % 2], "text": f"turn {n}", "at": f"2026-01-31T09:30:{n:02d}Z"} for n in range(6)]
    contact = {"name": "Jo Doe", "phone_number": "+12025550100"}
    body = {"session_id": session_id, "channel": "sms", "contact": contact, "summary": "Help", "transcript": turns}
    return body | more


def test_sms_to_salesforce_and_back(service: Service, new_id: Callable[[], str]) -> None:
    """An SMS conversation goes to a Salesforce rep, both write, the rep ends it, and OpenCX's session is closed."""
    session_id = new_id()
    service.world.opencx.add_session({"id": session_id, "channel": "sms"})
    answer = service.post(sms(session_id, target="salesforce"))
    conversation_id = answer["salesforce_conversation_id"]
    assert (answer["kind"], answer["system"]) == ("messaging_conversation", "salesforce")
    whole = service.salesforce.conversation(conversation_id)
    assert whole["sessions"][0]["routingAttributes"]["OpencxSessionId"] == session_id
    assert "turn 5" in str(whole["received"])
    service.salesforce.rep_accepts(conversation_id)
    service.salesforce.rep_says(conversation_id, "Hello, this is Sara.")
    until(lambda: service.heard(session_id) == ["Hello, this is Sara."])
    service.world.opencx.contact_says(session_id, "I was charged twice.")
    until(lambda: "I was charged twice." in str(service.salesforce.conversation(conversation_id)["received"]))
    service.salesforce.rep_ends(conversation_id)
    until(lambda: service.world.opencx.session(session_id)["status"] == "closed_resolved")
    found = until(lambda: (known := service.record(session_id)["conversation"])["state"] == "ended" and known)
    assert (found["to_customer"], found["to_rep"], found["ended_by"], found["undelivered"]) == (1, 1, "rep", 0)
    assert service.world.opencx.session(session_id)["custom_data"] == {"salesforce_conversation_id": conversation_id}
    again = service.post(sms(session_id, target="salesforce"), status=200)
    assert (again["replayed"], again["salesforce_conversation_id"]) == (True, conversation_id)
    assert [warning["code"] for warning in again["warnings"]] == ["handoff_over"]
    assert "who will" not in again["message"]
    further = service.post(sms(session_id, target="salesforce", handoff_id=f"{session_id}-2"))
    assert further["salesforce_conversation_id"] != conversation_id
    assert further["warnings"] == []


@pytest.mark.parametrize("service", [{"LIVE_WORK_ITEM_PRESET": "messaging"}], indirect=True)
def test_whatsapp_rings_in_dynamics_and_is_answered(service: Service, new_id: Callable[[], str]) -> None:
    """A WhatsApp conversation rings at a rep's desk; the answer is pushed, and reaches the customer as plain text."""
    session_id = new_id()
    service.world.opencx.add_session({"id": session_id, "channel": "whatsapp"})
    answer = service.post(sms(session_id, channel="whatsapp"))
    conversation_id = answer["dynamics365_chat_id"]
    assert (answer["kind"], answer["system"]) == ("messaging_conversation", "dynamics365")
    service.messaging.rep.accept(conversation_id)
    service.messaging.rep.say(conversation_id, "Hello, **this** is Sara.")
    until(lambda: service.heard(session_id) == ["Hello, this is Sara."])
    service.world.opencx.contact_says(session_id, "I was charged twice.")
    until(lambda: "I was charged twice." in str(service.messaging.conversation(conversation_id)))
    service.world.opencx.close(session_id)
    until(
        lambda: service.messaging.conversation(conversation_id)["state"] in ("wrap-up", "closed", "Wrap-up", "Closed")
    )
    found = until(lambda: (known := service.record(session_id)["conversation"])["state"] == "ended" and known)
    assert (found["to_customer"], found["to_rep"], found["ended_by"]) == (1, 1, "customer")


def test_a_webhook_starts_a_handoff_at_once(service: Service, new_id: Callable[[], str]) -> None:
    """``conversation.handoff_to_human`` is stored, answered, and performed by the queue function, not by the timer."""
    session_id = new_id()
    service.world.opencx.add_session(
        {
            "id": session_id,
            "channel": "phone_voice",
            "contact": {"name": "Jo Doe", "phone_number": "+12025550100"},
            "handoff": {"summary": "Wants a refund.", "sentiment": "angry"},
        }
    )
    service.world.opencx.says(session_id, "I was charged twice.")
    service.world.opencx.hand_off(session_id)
    found = until(lambda: (known := service.record(session_id)).get("state") == "completed" and known)
    (row,) = [one for one in service.world.rows("incidents") if one["incidentid"] == found["dynamics365_incident_id"]]
    assert "I was charged twice." in row["description"]


def test_every_system_is_checked(service: Service) -> None:
    """``/api/connections`` has rows for the queue, Salesforce, the Messaging APIs and the webhook, all of them good."""
    response = requests.get(f"{service.url}/api/connections", headers={"x-functions-key": KEY}, timeout=60)
    got = response.json()
    rows = {row["name"]: row["status"] for row in got["checks"]}
    assert got["status"] == "active", got
    for name in ("queue_storage", "salesforce.token", "dynamics365.messaging.token", "opencx.webhook"):
        assert rows[name] == "ok", got
    assert os.environ["SALESFORCE_ORG_ID"] not in str(got["checks"][0])
