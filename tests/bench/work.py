"""The handoffs that are measured, and the ways in which the service performs one."""

from __future__ import annotations

import json
import time
from typing import Any

from shared.app import Application
from shared.handoff import answer, request
from shared.handoff.model import Handoff, Outcome
from shared.handoff.record import COMPLETED

KNOWN_EMAIL = "known@example.com"
BUDGET_SECONDS = 25.0

_TURNS = [
    {
        "role": "user" if number % 2 else "ai",
        "text": f"Message {number}: the parcel of last week has not come, and the tracking page says nothing new.",
        "at": f"2026-01-31T09:{number:02d}:00Z",
    }
    for number in range(24)
]


class BenchError(Exception):
    """What was measured did not do its work; the text says what came instead."""


def body(name: str, *, channel: str = "phone", email: str | None = "") -> bytes:
    """A request of 24 messages, which is more than a description holds: a case gets a note.

    Args:
        name: the session, and so the handoff.
        channel: where the conversation was.
        email: of the customer; by default one that nobody else has, None for none at all.
    """
    contact = {"name": "Jo Doe", "email": f"{name}@example.com" if email == "" else email}
    handoff: dict[str, Any] = {
        "session_id": name,
        "channel": channel,
        "summary": "Wants the parcel or the money back",
        "classification": "Delivery",
        "sentiment": "negative",
        "contact": contact,
        "transcript": _TURNS,
    }
    return json.dumps(handoff).encode()


def parsed(payload: bytes) -> Handoff:
    """The handoff of a request."""
    return request.parse(request.parse_body(payload))


def deliver(app: Application, handoff: Handoff) -> Outcome:
    """One delivery to Dataverse, without ledger. Raises HandoffError."""
    return app.dynamics.deliver(handoff, deadline=time.monotonic() + BUDGET_SECONDS)


def perform(app: Application, payload: bytes) -> dict[str, Any]:
    """One whole handoff: request, ledger, delivery, ledger, answer. Raises BenchError unless it is done."""
    given = app.desk.accept(parsed(payload), payload)
    if given.record.state != COMPLETED or given.replayed:
        raise BenchError(f"handoff {given.record.handoff_id} is {given.record.state}: {given.record.last_error}")
    return answer.handoff_body(given)
