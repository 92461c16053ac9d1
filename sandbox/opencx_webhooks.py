"""OpenCX's webhooks: signed as Standard Webhooks, sent in the background, tried again until they are taken.

OpenCX documents neither signature nor schedule; this is the usual scheme (www.standardwebhooks.com), with short waits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

DUPLICATE, WRONG_SIGNATURE, OLD_TIMESTAMP = "duplicate", "wrong_signature", "old_timestamp"
ALTERED_BODY, LOST_ANSWER = "altered_body", "lost_answer"
FAULTS = frozenset({DUPLICATE, WRONG_SIGNATURE, OLD_TIMESTAMP, ALTERED_BODY, LOST_ANSWER})
"""Of one delivery's first attempt: sent twice; signed with another secret; signed ten minutes ago; changed after it was
signed; its answer counted as lost, so that it is sent again."""

_TIMEOUT_SECONDS = 15.0
_OLD_SECONDS = 600

Json = dict[str, Any]
Post = Callable[[str, dict[str, str], bytes], int]


@dataclass
class Delivery:
    """One event on its way.

    Attributes:
        id: the same at every attempt.
        state: `pending`, `delivered` or `failed`.
        attempts: what each attempt was answered: `status`, or what went wrong as `error`, and its `fault`.
    """

    id: str
    event: str
    session_id: str
    body: bytes
    state: str = "pending"
    attempts: list[Json] = field(default_factory=list)

    def as_json(self) -> Json:
        """It as a plain object."""
        return {
            "id": self.id,
            "event": self.event,
            "session_id": self.session_id,
            "state": self.state,
            "attempts": list(self.attempts),
            "body": json.loads(self.body),
        }


class Webhooks:
    """Sends events to one address; nothing is sent while none is known.

    Attributes:
        retry_seconds: the waits between the attempts, in seconds; after the last one it has failed.
        post: sends one request, and returns the status; HTTP by default.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        secret: str = "",
        organization_id: str,
        retry_seconds: Sequence[float] = (0.2, 1.0, 5.0, 15.0),
        clock: Callable[[], float],
        post: Post | None = None,
    ) -> None:
        """`clock` returns seconds since the epoch. Several secrets, with blanks between them, sign side by side."""
        self._seed = (url, secret)
        self._organization_id = organization_id
        self._clock = clock
        self.retry_seconds = tuple(retry_seconds)
        self.post = post or _post
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Forgets everything but the first address; what is under way ends quietly."""
        with self._changed:
            self._stopping.set()
            self._stopping = threading.Event()
            self._url, self._secret = self._seed
            self._deliveries: list[Delivery] = []
            self._faults: deque[str] = deque()
            self._changed.notify_all()

    def point(self, url: str | None, secret: str) -> None:
        """From now on events go there, signed with that. None: nowhere."""
        with self._changed:
            self._url, self._secret = url, secret

    def fail_next(self, fault: str, times: int = 1) -> None:
        """The first attempts of the next deliveries go wrong. Raises ValueError for an unknown fault."""
        if fault not in FAULTS:
            raise ValueError(f"fault {fault!r} is unknown; use one of {', '.join(sorted(FAULTS))}")
        with self._changed:
            self._faults.extend([fault] * times)

    def send(self, event: str, session_id: str, data: object) -> None:
        """Queues one event."""
        envelope = {"event": event, "organization_id": self._organization_id, "data": data}
        body = json.dumps(envelope, ensure_ascii=False).encode()
        with self._changed:
            if self._url is None:
                return
            delivery = Delivery(f"msg_{uuid.uuid4().hex}", event, session_id, body)
            self._deliveries.append(delivery)
            fault = self._faults.popleft() if self._faults else ""
            stopping = self._stopping
        threading.Thread(
            target=self._deliver, args=(delivery, fault, stopping), name="opencx-webhook", daemon=True
        ).start()

    def deliveries(self) -> list[Json]:
        """All of them, in the order in which they were queued."""
        with self._changed:
            return [delivery.as_json() for delivery in self._deliveries]

    def wait_idle(self, timeout_seconds: float = 10.0) -> bool:
        """Waits until every delivery is over. False after the timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(delivery.state != "pending" for delivery in self._deliveries), timeout_seconds
            )

    def headers(self, delivery_id: str, body: bytes, *, at: float, secret: str) -> dict[str, str]:
        """The signature of one attempt; `at` in seconds since the epoch."""
        signed = b".".join([delivery_id.encode(), str(int(at)).encode(), body])
        signatures = []
        for one in secret.split():
            text = one.removeprefix("whsec_")
            key = base64.b64decode(text + "=" * (-len(text) % 4))
            made = hmac.new(key, signed, hashlib.sha256).digest()
            signatures.append(f"v1,{base64.b64encode(made).decode()}")
        return {
            "content-type": "application/json",
            "webhook-id": delivery_id,
            "webhook-timestamp": str(int(at)),
            "webhook-signature": " ".join(signatures),
        }

    def _deliver(self, delivery: Delivery, fault: str, stopping: threading.Event) -> None:
        for wait in (0.0, *self.retry_seconds):
            if stopping.wait(wait):
                return
            taken = self._attempt(delivery, fault)
            fault = ""
            if taken:
                return
        self._set(delivery, state="failed")

    def _attempt(self, delivery: Delivery, fault: str) -> bool:
        with self._changed:
            url, secret = self._url, self._secret
        if url is None:
            return False
        at, body = self._clock(), delivery.body
        if fault == OLD_TIMESTAMP:
            at -= _OLD_SECONDS
        if fault == WRONG_SIGNATURE:
            secret = "whsec_" + base64.b64encode(b"the secret of somebody else").decode()
        headers = self.headers(delivery.id, body, at=at, secret=secret)
        if fault == ALTERED_BODY:
            body = body.replace(b"{", b'{"altered": true, ', 1)
        result: Json = {"fault": fault} if fault else {}
        status = 0
        for number in range(2 if fault == DUPLICATE else 1):
            try:
                status = self.post(url, headers, body)
                result["status" if number == 0 else "status_again"] = status
            except requests.RequestException as error:
                result["error"] = type(error).__name__
        taken = 200 <= status < 300 and fault != LOST_ANSWER
        self._set(delivery, state="delivered" if taken else "pending", attempt=result)
        return taken

    def _set(self, delivery: Delivery, *, state: str, attempt: Json | None = None) -> None:
        with self._changed:
            delivery.state = state
            if attempt is not None:
                delivery.attempts.append(attempt)
            self._changed.notify_all()


def _post(url: str, headers: dict[str, str], body: bytes) -> int:
    return requests.post(url, data=body, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False).status_code
