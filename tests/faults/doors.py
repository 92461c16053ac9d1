"""The webhooks of OpenCX and of Dynamics on simulated time: whoever drives the world delivers what is due."""

import heapq
import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sandbox import standins
from sandbox.dynamics_messaging import DynamicsMessaging
from sandbox.dynamics_messaging.delivery import Delivery as Activity
from sandbox.dynamics_messaging.delivery import Line
from sandbox.dynamics_messaging.webhook import Webhook
from sandbox.opencx import ORGANIZATION_ID, OpenCX
from sandbox.opencx_webhooks import Delivery, Webhooks
from tests.faults.clock import SimClock

RETRY_SECONDS = (5.0, 30.0, 300.0)
"""OpenCX documents no schedule; Standard Webhooks proposes this one."""
DYNAMICS_RETRY_SECONDS = 1.0

type Take = Callable[[str, Mapping[str, str], bytes], int]
"""Takes address, headers and body of a request, and answers with a status; OSError: nobody answers."""


class Doors:
    """What is on its way to the service.

    Attributes:
        take: where requests end; whoever drives the world sets it.
        losing: events of OpenCX's that nobody delivers, by name.
    """

    def __init__(self, clock: SimClock, *, opencx: OpenCX, messaging: DynamicsMessaging) -> None:
        self.clock = clock
        self.take: Take | None = None
        self.losing: set[str] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        opencx.webhooks = self.opencx = _OpenCX(self)
        self.dynamics = _Dynamics.instead_of(messaging, self)

    def reset(self) -> None:
        """Nothing is on its way, and nobody takes it."""
        self._due.clear()
        self.losing.clear()
        self.take = None

    def next_at(self) -> float | None:
        """When the next delivery is due."""
        return self._due[0][0] if self._due else None

    def deliver(self) -> None:
        """Make the next delivery's next attempt."""
        heapq.heappop(self._due)[2]()

    def plan(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done after so many seconds."""
        heapq.heappush(self._due, (self.clock.time() + seconds, next(self._numbers), act))

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """One request to the service."""
        if self.take is None:
            raise ConnectionRefusedError
        return self.take(url, headers, body)


class _OpenCX(Webhooks):
    """Sends when the doors are told to."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        super().__init__(
            url="https://functions.invalid/api/opencx/events",
            secret=standins.OPENCX_WEBHOOK_SECRET,
            organization_id=ORGANIZATION_ID,
            clock=doors.clock.time,
            post=self._refusable,
        )

    def send(self, event: str, session_id: str, data: object) -> None:
        """Queue one event."""
        if event in self._doors.losing:
            return
        envelope = {"event": event, "organization_id": self._organization_id, "data": data}
        body = json.dumps(envelope, ensure_ascii=False).encode()
        delivery = Delivery(f"msg_{uuid.uuid4().hex}", event, session_id, body)
        self._deliveries.append(delivery)
        fault = self._faults.popleft() if self._faults else ""
        self._doors.plan(0.0, lambda: self._try(delivery, fault, list(RETRY_SECONDS)))

    def _try(self, delivery: Delivery, fault: str, waits: list[float]) -> None:
        if not self._attempt(delivery, fault) and waits:
            self._doors.plan(waits.pop(0), lambda: self._try(delivery, "", waits))

    def _refusable(self, url: str, headers: dict[str, str], body: bytes) -> int:
        try:
            return self._doors.post(url, headers, body)
        except OSError:
            return 0


class _Dynamics(Webhook):
    """Sends when the doors are told to: in order within a conversation, three attempts each."""

    _doors: Doors

    @classmethod
    def instead_of(cls, messaging: DynamicsMessaging, doors: Doors) -> "_Dynamics":
        """Put it where the stand-in's own was."""
        desk = messaging._desk
        made = cls(
            desk.webhook._signer,
            switches=lambda: desk.switches,
            clock=doors.clock.time,
            post=doors.post,
        )
        made._doors = doors
        desk.webhook, messaging.webhook_faults = made, made.faults
        return made

    def _queue(self, lane: Any, delivery: Activity) -> None:
        lane.queue.append(delivery)
        if not lane.is_running:
            lane.is_running = True
            self._doors.plan(delivery.delay_seconds, lambda: self._try(lane, 1))

    def _try(self, lane: Any, attempt: int) -> None:
        delivery = lane.queue[0]
        switches = self._switches()
        is_void = delivery.after is not None and delivery.after.state != "delivered"
        line = Line(ca_file=None, post=self.post)
        try:
            is_taken = not is_void and self._attempt(line, delivery, switches)
        finally:
            line.close()
        if not is_taken and not is_void and attempt < switches.webhook_attempts:
            self._doors.plan(DYNAMICS_RETRY_SECONDS, lambda: self._try(lane, attempt + 1))
            return
        delivery.state = "delivered" if is_taken else "dropped"
        lane.queue.popleft()
        if lane.queue:
            self._doors.plan(lane.queue[0].delay_seconds, lambda: self._try(lane, 1))
        else:
            lane.is_running = False
