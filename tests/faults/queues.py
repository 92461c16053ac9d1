"""Storage queues on simulated time: the part of the service that we call, and what the Functions host does with it.

Facts: Microsoft's pages on Put Message and Update Message (XML, pop receipts, visibility), and the queue extension's
rules: a message that is being worked on is invisible for ten minutes, one whose function raises is visible again at
once, and after five times it is put aside.
"""

import base64
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import requests
from requests.adapters import HTTPAdapter

from tests.faults.clock import SimClock
from tests.faults.wire import answer

HIDDEN_SECONDS = 600.0
MOST_TIMES = 5
_XML = {"Content-Type": "application/xml"}


@dataclass
class Message:
    """One message.

    Attributes:
        visible_at: seconds since the epoch.
        times: how often it was given to a function.
    """

    id: str
    queue: str
    body: bytes
    visible_at: float
    receipt: str
    times: int = 0


@dataclass
class Queues:
    """All queues of one account.

    Attributes:
        aside: messages that were given up after five times.
    """

    clock: SimClock
    messages: dict[str, Message] = field(default_factory=dict)
    aside: list[Message] = field(default_factory=list)
    _made: set[str] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def reset(self) -> None:
        """No queues, no messages."""
        self.messages.clear()
        self.aside.clear()
        self._made.clear()

    def next_at(self) -> float | None:
        """When the next message is visible."""
        return min((each.visible_at for each in self.messages.values()), default=None)

    def take(self) -> Message:
        """The next visible message, as the host takes it: nobody else sees it for ten minutes."""
        message = min(self.messages.values(), key=lambda each: (each.visible_at, each.id))
        message.times += 1
        message.visible_at, message.receipt = self.clock.time() + HIDDEN_SECONDS, self._name("taken")
        return message

    def settle(self, message: Message, *, went_well: bool | None) -> None:
        """What the host does when the function is over; None: the worker died, and nobody does anything."""
        if went_well is None:
            return
        if went_well:
            self.messages.pop(message.id, None)
        elif message.times >= MOST_TIMES:
            self.aside.append(self.messages.pop(message.id))
        else:
            message.visible_at = self.clock.time()

    def handle(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        """Answer one call of the SDK's."""
        status, body, headers = self._answer(request)
        return answer(adapter, request, status, body, headers)

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(str(request.url))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        queue, _, rest = parts.path.partition("devstoreaccount1/")[2].partition("/")
        if request.method == "PUT" and not rest:
            status = 204 if queue in self._made else 201
            self._made.add(queue)
            return status, b"", {}
        if queue not in self._made:
            return self._error(404, "QueueNotFound")
        hidden = float(query.get("visibilitytimeout", 0))
        if request.method == "POST":
            return self._put(queue, request.body, hidden)
        return self._update(rest.rpartition("/")[2], query.get("popreceipt", ""), hidden)

    def _put(self, queue: str, body: Any, hidden: float) -> tuple[int, bytes, dict[str, str]]:
        text = ElementTree.fromstring(body).findtext("MessageText") or ""
        made = Message(
            self._name("message"),
            queue,
            base64.b64decode(text),
            self.clock.time() + hidden,
            self._name("put"),
        )
        self.messages[made.id] = made
        told = {
            "MessageId": made.id,
            "InsertionTime": self._date(self.clock.time()),
            "ExpirationTime": "Fri, 31 Dec 9999 23:59:59 GMT",
            "PopReceipt": made.receipt,
            "TimeNextVisible": self._date(made.visible_at),
        }
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in told.items())
        answered = f"<QueueMessagesList><QueueMessage>{inner}</QueueMessage></QueueMessagesList>"
        return 201, answered.encode(), _XML

    def _update(self, message_id: str, receipt: str, hidden: float) -> tuple[int, bytes, dict[str, str]]:
        message = self.messages.get(message_id)
        if message is None:
            return self._error(404, "MessageNotFound")
        if message.receipt != receipt:
            return self._error(400, "PopReceiptMismatch")
        message.visible_at, message.receipt = self.clock.time() + hidden, self._name("updated")
        told = {"x-ms-popreceipt": message.receipt, "x-ms-time-next-visible": self._date(message.visible_at)}
        return 204, b"", told

    def _error(self, status: int, code: str) -> tuple[int, bytes, dict[str, str]]:
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
        return status, body.encode(), {**_XML, "x-ms-error-code": code}

    def _name(self, what: str) -> str:
        return f"{what}-{next(self._numbers):06d}"

    @staticmethod
    def _date(seconds: float) -> str:
        return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
