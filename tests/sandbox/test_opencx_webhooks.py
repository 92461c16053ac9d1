"""The OpenCX stand-in's webhooks: signed so that the official package takes them, tried until they are taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook, WebhookVerificationError

from sandbox.opencx import OpenCX
from sandbox.server import Request, Response, Server

KEY = "ocx_live_test"
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoaXMgdGVzdCwgbG9uZyBlbm91Z2g="
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhpcyB0ZXN0"


class Receiver:
    """Takes webhooks as the official package verifies them: 204, or 401."""

    name = "receiver"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.requests: list[Request] = []
        self.down = 0

    def handle(self, request: Request) -> Response:
        """One delivery."""
        with self.lock:
            self.requests.append(request)
            self.statuses.append(self._status(request))
            return Response(self.statuses[-1])

    def _status(self, request: Request) -> int:
        if self.down:
            self.down -= 1
            return 503
        try:
            self.taken.append(Webhook(SECRET).verify(request.body, dict(request.headers)))
        except WebhookVerificationError:
            return 401
        return 204

    def reset(self) -> None:
        """Nothing to go back to."""


class World:
    """Stand-in and receiver, each on its port."""

    def __init__(self, standin: OpenCX, api: Server, receiver: Receiver, door: Server) -> None:
        self.standin, self.api, self.receiver, self.door = standin, api, receiver, door

    def control(self, path: str, body: object = None, method: str = "POST") -> requests.Response:
        """A request to the control door."""
        return requests.request(method, f"{self.api.url}/_sandbox/{path}", json=body, timeout=5)

    def settle(self) -> list[dict[str, Any]]:
        """All deliveries, when they are over."""
        assert self.standin.webhooks.wait_idle()
        found: list[dict[str, Any]] = self.control("deliveries", method="GET").json()
        return found

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What the receiver has taken: names and data."""
        self.settle()
        return [(one["event"], one["data"][0]) for one in self.receiver.taken]


@pytest.fixture
def world() -> Iterator[World]:
    """A session, and a receiver that is subscribed."""
    receiver = Receiver()
    standin = OpenCX(api_key=KEY, webhook_retry_seconds=(0.01, 0.01, 0.01))
    with Server(receiver, tls=None) as door, Server(standin, tls=None) as api:
        made = World(standin, api, receiver, door)
        contact = {"id": "c-1", "name": "Jo"}
        made.control("sessions", {"id": "s-1", "channel": "web", "language": "en", "contact": contact})
        assert made.control("webhook", {"url": f"{door.url}/hook", "secret": SECRET}).status_code == 204
        yield made


def api(world: World, method: str, path: str, body: object) -> requests.Response:
    """A request to the API."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return requests.request(method, f"{world.api.url}{path}", headers=headers, json=body, timeout=5)


def test_a_handoff_is_told_with_documented_fields(world: World) -> None:
    """The envelope and the fields of the documentation; facts of the caller win; the session is handed off."""
    world.control("sessions/s-1/hand-off", {"summary": "Wants a refund", "contact_reason": "Billing"})
    ((name, data),) = world.events()
    assert name == "conversation.handoff_to_human"
    assert data.keys() >= {"conversation_id", "timestamp", "customer_id", "reason", "language", "message_count"}
    assert (data["conversation_id"], data["summary"], data["contact_reason"]) == ("s-1", "Wants a refund", "Billing")
    assert world.standin.session("s-1")["ai_closure_type"] == "handed_off"


def test_data_can_be_an_object(world: World) -> None:
    """OpenCX's documentation shows both."""
    world.standin.data_as_array = False
    world.standin.hand_off("s-1")
    world.settle()
    assert world.receiver.taken[0]["data"]["conversation_id"] == "s-1"


def test_messages_and_closing_are_told(world: World) -> None:
    """A contact's message by the control door or the API, and a session that is closed: once."""
    world.control("sessions/s-1/contact-says", {"text": "Hi", "attachments": [{"name": "x.png", "url": "https://x/y"}]})
    assert world.standin.history("s-1")[0]["event"]["attachments"][0]["name"] == "x.png"
    body = {"sender": "contact", "message": {"type": "text", "text": "There?"}}
    api(world, "POST", "/chat/sessions/s-1/send", body)
    for _ in range(2):
        api(world, "PATCH", "/chat/sessions/s-1", {"status": "closed_resolved"})
    world.control("sessions/s-1/close")
    names = sorted(name for name, _ in world.events())
    assert names == ["conversation.closed", "conversation.contact_response", "conversation.contact_response"]


def test_closing_by_the_control_door_is_told(world: World) -> None:
    """As when a person closes it in OpenCX."""
    assert world.control("sessions/s-1/close").status_code == 204
    ((name, data),) = world.events()
    assert (name, data["human_resolution_status"]) == ("conversation.closed", "resolved")


def test_taking_a_session_over_is_told_as_a_handoff(world: World) -> None:
    """The stricter reading: a service that takes its own reply for a handoff would never end."""
    body = {"sender": "agent", "message": {"type": "text", "text": "Hi"}, "should_take_over_session_from_ai": True}
    for _ in range(2):
        api(world, "POST", "/chat/sessions/s-1/send", body)
    ((name, data),) = world.events()
    assert (name, data["reason"]) == ("conversation.handoff_to_human", "human_agent_decided_to_take_over")


def test_a_delivery_is_tried_until_it_is_taken(world: World) -> None:
    """The same id and body; after the last attempt it has failed."""
    world.receiver.down = 2
    world.standin.contact_says("s-1", "Hi")
    (delivery,) = world.settle()
    assert (delivery["state"], [one["status"] for one in delivery["attempts"]]) == ("delivered", [503, 503, 204])
    assert len({request.headers["webhook-id"] for request in world.receiver.requests}) == 1
    assert len({request.body for request in world.receiver.requests}) == 1
    world.receiver.down = 99
    world.standin.contact_says("s-1", "Hi")
    assert world.settle()[-1]["state"] == "failed"


@pytest.mark.parametrize(
    ("fault", "statuses", "taken"),
    [
        ("duplicate", [204, 204], 2),
        ("lost_answer", [204, 204], 2),
        ("wrong_signature", [401, 204], 1),
        ("old_timestamp", [401, 204], 1),
        ("altered_body", [401, 204], 1),
    ],
)
def test_a_delivery_can_go_wrong_once(world: World, fault: str, statuses: list[int], taken: int) -> None:
    """Then it is sent as it should be; the next one is not hit."""
    assert world.control("webhook/faults", {"fault": fault}).status_code == 204
    world.standin.contact_says("s-1", "Hi")
    world.settle()
    assert (world.receiver.statuses, len(world.receiver.taken)) == (statuses, taken)
    if fault == "duplicate":
        first, again = world.receiver.requests
        assert (first.body, first.headers) == (again.body, again.headers)
    world.standin.contact_says("s-1", "Hi")
    world.settle()
    assert world.receiver.statuses[len(statuses) :] == [204]


def test_both_secrets_sign_while_they_are_rotated(world: World) -> None:
    """Several signatures in one header."""
    world.control("webhook", {"url": f"{world.door.url}/hook", "secret": f"{OTHER} {SECRET}"})
    world.standin.contact_says("s-1", "Hi")
    world.settle()
    (request,) = world.receiver.requests
    assert (len(request.headers["webhook-signature"].split()), world.receiver.statuses) == (2, [204])


def test_the_signature_is_the_official_packages(world: World) -> None:
    """Byte for byte what the package would have sent."""
    world.standin.contact_says("s-1", "Grüße")
    world.settle()
    (request,) = world.receiver.requests
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    expected = Webhook(SECRET).sign(request.headers["webhook-id"], at, request.body.decode())
    assert request.headers["webhook-signature"] == expected


def test_without_an_address_nothing_is_sent(world: World) -> None:
    """A reset forgets the address that was set, and all deliveries."""
    world.standin.contact_says("s-1", "Hi")
    world.settle()
    world.standin.reset()
    world.standin.add_session({"id": "s-1"})
    world.standin.hand_off("s-1")
    assert world.settle() == []


def test_what_does_not_exist_is_refused(world: World) -> None:
    """Unknown sessions and faults."""
    assert world.control("sessions/nobody/hand-off").status_code == 404
    assert world.control("webhook/faults", {"fault": "flood"}).status_code == 400
