"""Dynamics' webhook: three attempts in all, 10 s each, then the activity is lost.

Order holds within a conversation (Microsoft promises none: `swap` breaks it), and conversations do not wait for
each other.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable

import requests

from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.delivery import Delivery, Json, Line, Post
from sandbox.dynamics_messaging.switches import Switches
from sandbox.dynamics_messaging.webhook_faults import WebhookFault, WebhookFaults
from sandbox.dynamics_messaging.webhook_token import FLAWS, Signer

UNKNOWN_EVENT = "SomethingNobodyHasHeardOf"
_STRANGE = "0badc0de-0000-4000-8000-000000000002"


class _Lane:
    """The deliveries of one conversation."""

    def __init__(self) -> None:
        self.queue: deque[Delivery] = deque()
        self.swapped: list[Delivery] = []
        self.late: list[Delivery] = []
        self.is_running = False


class Webhook:
    """Sends activities, one thread for each conversation that has some.

    Attributes:
        faults: what goes wrong.
        ca_file: PEM file with the authorities to trust; None for the usual ones.
        post: called instead of HTTP when it is not None.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        switches: Callable[[], Switches],
        clock: Callable[[], float],
        ca_file: str | None = None,
        post: Post | None = None,
    ) -> None:
        """`clock` returns seconds since the epoch; `switches` those in force."""
        self.faults = WebhookFaults()
        self.ca_file = ca_file
        self.post = post
        self._signer = signer
        self._switches = switches
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._lanes: dict[str, _Lane] = {}
        self._deliveries: list[Delivery] = []

    def reset(self) -> None:
        """Forgets everything; what is under way ends quietly."""
        with self._changed:
            self._stopping.set()
            self._stopping = threading.Event()
            self._lanes, self._deliveries = {}, []
            self._changed.notify_all()
        self.faults.clear()

    def deliveries(self) -> list[Json]:
        """Every activity since the start, in the order in which they were queued."""
        with self._changed:
            return [delivery.as_json() for delivery in self._deliveries]

    def wait_idle(self, timeout_seconds: float = 10.0) -> bool:
        """Waits until nothing is under way; what is held back does not count. False after the timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(lane.is_running for lane in self._lanes.values()), timeout_seconds
            )

    def send(self, channel: Channel, conversation_id: str, activity: Json) -> None:
        """Queues an activity, with the faults that are in force for it."""
        kind, name = _sort(activity)
        rules = self.faults.pick(conversation_id, kind, name)
        wanted = {rule.fault for rule in rules}
        with self._changed:
            lane = self._lanes.setdefault(conversation_id, _Lane())
            if "unknown_event" in wanted:
                strange = {key: value for key, value in activity.items() if key not in {"attachments", "textFormat"}}
                strange |= {"name": UNKNOWN_EVENT, "text": f"EventName: **_{UNKNOWN_EVENT}_**"}
                self._queue(lane, self._delivery(channel, conversation_id, strange, []))
            if "wrong_conversation" in wanted:
                activity = {**activity, "conversation": {"id": _STRANGE}}
            delivery = self._delivery(channel, conversation_id, activity, rules)
            if not channel.webhook_url and self.post is None:
                delivery.state = "no_webhook"
            elif "lose" in wanted:
                delivery.state = "lost"
            elif "late" in wanted:
                self._hold(lane.late, delivery)
            elif "swap" in wanted:
                self._hold(lane.swapped, delivery)
            else:
                self._queue(lane, delivery)
                if "duplicate" in wanted:
                    again = self._delivery(channel, conversation_id, activity, [])
                    again.after = delivery
                    self._queue(lane, again)
                self._release(lane, lane.swapped)

    def ended(self, conversation_id: str) -> None:
        """Releases what was held back until after the end."""
        with self._changed:
            lane = self._lanes.get(conversation_id)
            if lane is not None:
                self._release(lane, lane.swapped)
                self._release(lane, lane.late)

    def _delivery(self, channel: Channel, conversation_id: str, activity: Json, rules: list[WebhookFault]) -> Delivery:
        delivery = Delivery(
            len(self._deliveries) + 1,
            channel,
            conversation_id,
            activity,
            self._clock(),
            url=f"{channel.webhook_url.rstrip('/')}/v3/conversations/{conversation_id}/activities",
            flaw=next((rule.fault for rule in rules if rule.fault in FLAWS), ""),
            faults=tuple(rule.fault for rule in rules if rule.fault not in FLAWS),
            delay_seconds=sum(rule.seconds for rule in rules if rule.fault == "delay"),
        )
        self._deliveries.append(delivery)
        return delivery

    @staticmethod
    def _hold(held: list[Delivery], delivery: Delivery) -> None:
        delivery.state = "held"
        held.append(delivery)

    def _release(self, lane: _Lane, held: list[Delivery]) -> None:
        for delivery in held:
            delivery.state = "queued"
            self._queue(lane, delivery)
        held.clear()

    def _queue(self, lane: _Lane, delivery: Delivery) -> None:
        lane.queue.append(delivery)
        if not lane.is_running:
            lane.is_running = True
            threading.Thread(
                target=self._run, args=(lane, self._stopping), name="dynamics-webhook", daemon=True
            ).start()

    def _run(self, lane: _Lane, stopping: threading.Event) -> None:
        """Sends what a lane has, then ends."""
        line = Line(ca_file=self.ca_file, post=self.post)
        try:
            while (delivery := self._next(lane, stopping)) is not None:
                self._deliver(line, delivery, stopping)
        except BaseException:
            self._rest(lane)
            raise
        finally:
            line.close()

    def _next(self, lane: _Lane, stopping: threading.Event) -> Delivery | None:
        # One lock for the look and for the rest: whoever queues meanwhile must start a new thread.
        with self._changed:
            if lane.queue and not stopping.is_set():
                return lane.queue.popleft()
            self._rest(lane)
            return None

    def _rest(self, lane: _Lane) -> None:
        with self._changed:
            lane.is_running = False
            self._changed.notify_all()

    def _deliver(self, line: Line, delivery: Delivery, stopping: threading.Event) -> None:
        if delivery.after is not None and delivery.after.state != "delivered":
            delivery.state = "dropped"
            return
        switches = self._switches()
        stopping.wait(delivery.delay_seconds)
        state = "dropped"
        for attempt in range(switches.webhook_attempts):
            if attempt:
                stopping.wait(switches.webhook_retry_delay_seconds)
            if stopping.is_set():
                return
            if self._attempt(line, delivery, switches):
                state = "delivered"
                break
        with self._changed:
            delivery.seconds = time.perf_counter() - delivery.started
            delivery.state = state
            self._changed.notify_all()

    def _attempt(self, line: Line, delivery: Delivery, switches: Switches) -> bool:
        """One attempt; whether it was acknowledged. Anything but 2xx is a failure, and the body is ignored."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        token = self._signer.token(delivery.channel, switches, delivery.flaw)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps(delivery.activity, ensure_ascii=False).encode()
        started = time.perf_counter()
        status: int | None = None
        error = ""
        try:
            status = line.send(delivery.url, headers, body, switches.webhook_timeout_seconds)
        except (requests.RequestException, OSError) as failure:
            error = type(failure).__name__
        seconds = time.perf_counter() - started
        with self._changed:
            delivery.attempts.append({"status": status, "error": error, "seconds": seconds})
        return status is not None and 200 <= status < 300


def _sort(activity: Json) -> tuple[str, str]:
    """What a rule can name: `message`, `typing` or `event`, and the name of an event."""
    name = str(activity.get("name", ""))
    return ("event" if name else str(activity["type"])), name
