"""What a wake-up leads to: its message, read, and the one function that it stands for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared import events

if TYPE_CHECKING:
    from shared.app import Application


def start_handoff(app: Application, body: bytes) -> None:
    """``{"handoff": key}``: go on with a stored handoff.

    Raises:
        LedgerUnavailable: the platform gives the message again; after five times the timer has it.
    """
    key = _read(body).get("handoff")
    if isinstance(key, str):
        app.desk.wake(key)


def relay_messages(app: Application, body: bytes) -> None:
    """``{"lane": name, "sequence": number}`` or ``{"conversation": key}``.

    Raises:
        LedgerUnavailable, TransientFailure: the platform gives the message again; after five times the timer has it.
    """
    message = _read(body)
    lane, sequence, key = message.get("lane"), message.get("sequence"), message.get("conversation")
    if isinstance(lane, str) and isinstance(sequence, int):
        app.lanes.run(lane, sequence)
    elif isinstance(key, str):
        app.lanes.step(key)


def _read(body: bytes) -> dict[str, Any]:
    """The message; one that is not ours is left out, for reading it again would not mend it."""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        events.emit(events.WAKE_LOST, code="wake_unreadable")
        return {}
    return data
