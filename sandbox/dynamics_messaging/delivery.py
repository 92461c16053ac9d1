"""One activity on its way to the webhook."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from sandbox.dynamics_messaging.channel import Channel

Json = dict[str, Any]

Post = Callable[[str, Mapping[str, str], bytes], int]
"""Takes URL, headers and body; returns the status. Raises requests.RequestException or OSError."""


@dataclass
class Delivery:
    """An activity and what became of it. Changed only by the thread of its conversation, after it was queued.

    Attributes:
        n: 1 for the first since the start or the last reset.
        channel: which one's webhook, as it was when the activity was queued.
        conversation_id: in the path.
        activity: the body.
        queued_at: seconds since the epoch.
        url: where to.
        flaw: what is wrong with its token.
        faults: what else goes wrong.
        delay_seconds: to wait before the first attempt.
        after: only if this one was delivered, and after it.
        state: queued, held, delivered, dropped, lost, or no_webhook.
        attempts: each with status (None without an answer), error and seconds.
        seconds: from queueing to the last attempt's end.
        started: when it was queued, by the performance counter.
    """

    n: int
    channel: Channel
    conversation_id: str
    activity: Json
    queued_at: float
    url: str = ""
    flaw: str = ""
    faults: tuple[str, ...] = ()
    delay_seconds: float = 0.0
    after: Delivery | None = None
    state: str = "queued"
    attempts: list[Json] = field(default_factory=list)
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def as_json(self) -> Json:
        """For the control door."""
        return {
            "n": self.n,
            "conversation_id": self.conversation_id,
            "activity": self.activity,
            "url": self.url,
            "state": self.state,
            "faults": [*self.faults, *([self.flaw] if self.flaw else [])],
            "attempts": list(self.attempts),
            "status": self.attempts[-1]["status"] if self.attempts else None,
            "queued_at": self.queued_at,
            "seconds": self.seconds,
        }


class Line:
    """HTTP to the webhook, kept open while a conversation has something to send."""

    def __init__(self, *, ca_file: str | None, post: Post | None) -> None:
        """`ca_file` holds the authorities to trust; `post`, when given, is called instead of HTTP."""
        self._post = post
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy, or a .netrc, would not be Microsoft's
        self._session.verify = ca_file or True

    def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> int:
        """The status of one attempt. Raises requests.RequestException or OSError."""
        if self._post is not None:
            return self._post(url, headers, body)
        answered = self._session.post(
            url, data=body, headers=dict(headers), timeout=timeout_seconds, allow_redirects=False
        )
        return answered.status_code

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()
