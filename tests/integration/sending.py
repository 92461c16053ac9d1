"""Handoffs that the tests send, and what a rep reads of them."""

import html
import json
from typing import Any

from shared.app import Application
from shared.handoff import answer, request
from shared.handoff.record import FAILED
from tests.conftest import World

LONG = [{"role": ("user", "ai")[n % 2], "text": f"turn {n} <b>&{'x' * 60}"} for n in range(40)]
NOBODY = "0a9b1c2d-0000-4000-8000-0000000000ff"


def post(application: Application, body: dict[str, Any]) -> dict[str, Any]:
    """Hand over, as the door does; the answer's body with the HTTP status in it."""
    raw = json.dumps(body).encode()
    handoff = request.parse(request.parse_body(raw), channel_may_be_read=application.reads_opencx)
    given = application.desk.accept(handoff, raw)
    if given.record.state == FAILED:
        return answer.failure_body(given.record) | {"http": 502}
    return answer.handoff_body(given) | {"http": int(answer.status_of(given)), "record": given.record}


def phone(session: str, **more: Any) -> dict[str, Any]:
    """A phone call by somebody who is known by a number."""
    contact = {"name": "Jo Doe", "phone_number": "+12025550100"}
    return {
        "session_id": session,
        "channel": "phone",
        "summary": "Wants help",
        "contact": contact,
        "transcript": LONG,
    } | more


def web(session: str, **more: Any) -> dict[str, Any]:
    """A web chat by somebody with an e-mail address."""
    contact = {"name": "Jo Doe", "email": "jo@example.com"}
    return {
        "session_id": session,
        "channel": "web",
        "summary": "Wants help",
        "contact": contact,
        "transcript": LONG,
    } | more


def transcript_of(world: World, record_id: str, description: str) -> str:
    """All that a rep can read of a record: its description and its notes in order."""
    notes = [row for row in world.rows("annotations") if row["_objectid_value"] == record_id]
    notes.sort(key=lambda row: int(row["subject"].split()[1]) if " " in row["subject"] else 1)
    return "\n".join([description, *[html.unescape(row["notetext"]) for row in notes]])
