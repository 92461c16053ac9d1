"""The Messaging stand-in on a port, with a webhook's receiver, an organisation, and a caller that has a token."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Self

import requests

from sandbox.dataverse.seed import ORGANIZATION_ID
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging import CHANNEL_ID, DynamicsMessaging, audience
from sandbox.server import Request, Response, Server
from sandbox.tokens import Tokens
from tests.sandbox.conftest import Clock

TENANT = "11111111-2222-4333-8444-555555555555"
CLIENT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
AUDIENCE = audience(ORGANIZATION_ID)
START = 1_800_000_000.0
ROOT = "/api/v1.0/consumer"


class Receiver:
    """Stands where the product stands: takes activities, answers as told.

    Attributes:
        statuses: what to answer next; 200 when there is nothing left.
        gate: cleared, it lets no request be answered.
        seen: path, headers and body of each request.
    """

    name = "receiver"

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.seen: list[Request] = []
        self._came = threading.Condition()

    def handle(self, request: Request) -> Response:
        """Keeps the request."""
        with self._came:
            self.seen.append(request)
            self._came.notify_all()
        self.gate.wait(5)
        status = self.statuses.pop(0) if self.statuses else 200
        return Response(status, {"Location": "/elsewhere"} if 300 <= status < 400 else {}, b"ignored")

    def wait_for(self, count: int) -> None:
        """Waits until so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.seen) >= count, timeout=5)

    def reset(self) -> None:
        """Nothing was seen."""
        self.seen, self.statuses = [], []


class World:
    """Everything, on loopback ports."""

    def __init__(self, **options: Any) -> None:
        clock = Clock(START)
        self.clock = clock
        self.tokens = Tokens(clock=clock)
        self.dataverse = DataverseStandIn(
            tokens=self.tokens,
            base_url_audience="https://org.crm.dynamics.com",
            clock=clock,
            application_id=CLIENT,
        )
        self.receiver = Receiver()
        self.receiving = Server(self.receiver, tls=None)
        self.standin = DynamicsMessaging(
            tokens=self.tokens,
            tenant_id=TENANT,
            client_id=CLIENT,
            audience=AUDIENCE,
            dataverse=self.dataverse,
            clock=clock,
            **{"webhook": f"{self.receiving.url}/api", **options},
        )
        self._quick()
        self.server = Server(self.standin, tls=None)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        for server in (self.receiving, self.server):
            self._running.enter_context(server)
        return self

    def fresh(self) -> Self:
        """Everything as at the start, without new ports."""
        self.receiver.gate.set()
        self.clock.now = START
        self.standin.reset()
        self.dataverse.reset()
        assert self.standin.wait_idle()
        self.receiver.reset()
        self._quick()
        return self

    def _quick(self) -> None:
        """No pauses where a test need not wait."""
        self.standin.switch(create_seconds=0.0, webhook_retry_delay_seconds=0.0)

    @cached_property
    def organisation(self) -> Server:
        """The organisation's server, for the tests that want it over HTTP."""
        return self._running.enter_context(Server(self.dataverse, tls=None))

    def __exit__(self, *_: object) -> None:
        self.receiver.gate.set()
        self.standin.reset()
        self._running.close()

    def token(self, resource: str = AUDIENCE, *, client: str = CLIENT, tenant: str = TENANT) -> str:
        """A caller's token."""
        return self.tokens.issue(tenant, client, resource)

    def headers(self, **changes: str | None) -> dict[str, str]:
        """What every call needs; None takes a header away."""
        wanted: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token()}",
            "channel-id": CHANNEL_ID,
            "organization-id": ORGANIZATION_ID,
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """One call of the API, below its root."""
        sent = self.headers() if headers is None else headers
        return requests.request(method, f"{self.server.url}{ROOT}{path}", json=body, headers=sent, timeout=5, **options)

    def create(self, **fields: Any) -> dict[str, Any]:
        """A conversation; the answer."""
        answered = self("POST", "/conversation/create", {"customercontext": {"customerid": "opencx:1"}, **fields})
        assert answered.status_code == 200, answered.text
        made: dict[str, Any] = answered.json()
        return made

    def open(self, **fields: Any) -> str:
        """A conversation; its id."""
        return str(self.create(**fields)["conversationId"])

    def activity(self, conversation_id: str, **fields: Any) -> dict[str, Any]:
        """A body for `send`: a message unless told otherwise."""
        return {
            "type": "message",
            "channelId": CHANNEL_ID,
            "conversation": {"id": conversation_id},
            **fields,
        }

    def send(self, conversation_id: str, **fields: Any) -> requests.Response:
        """Sends an activity."""
        return self("POST", f"/conversation/{conversation_id}", self.activity(conversation_id, **fields))

    def door(self, method: str, path: str, body: Any = None) -> requests.Response:
        """One call of the control door."""
        return requests.request(method, f"{self.server.url}/_sandbox/{path}", json=body, timeout=5)

    def act(self, conversation_id: str, action: str, **fields: Any) -> dict[str, Any]:
        """The representative does something, by the door."""
        answered = self.door("POST", f"rep/{conversation_id}/{action}", fields)
        assert answered.status_code == 200, answered.text
        done: dict[str, Any] = answered.json()
        return done

    def rows(self, set_name: str) -> list[dict[str, Any]]:
        """What Dataverse has, some seconds later."""
        self.clock.now += 5
        return self.dataverse.rows(set_name)


def refused(answer: requests.Response, status: int, code: int | None = None) -> None:
    """The answer is a refusal of this status and code, with a correlation id."""
    assert answer.status_code == status, answer.text
    assert answer.headers["x-ms-correlation-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    if code is None:
        assert "300" not in body["detail"]
    else:
        assert body["detail"].startswith(f"{code}: ")


def bodies(world: World) -> list[dict[str, Any]]:
    """What the webhook has been sent so far, in order of arrival."""
    assert world.standin.wait_idle()
    return [json.loads(request.body) for request in world.receiver.seen]


def texts(world: World) -> list[str]:
    """The texts of it."""
    return [str(body.get("text")) for body in bodies(world)]


def accepted(world: World) -> str:
    """A conversation that a representative has, its event delivered."""
    made = world.open()
    world.act(made, "accept")
    assert world.standin.wait_idle()
    world.receiver.reset()
    return made


def context(count: int, value: str = "v") -> dict[str, Any]:
    """This many context variables."""
    return {f"k{n}": {"isDisplayable": True, "value": value} for n in range(count)}
