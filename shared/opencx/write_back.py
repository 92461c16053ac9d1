"""Tells OpenCX where a handoff has landed that landed after its caller had been answered.

Facts: docs.open.cx: session data (flat) is written only together with a message of ``POST …/send``, and read with the
session; whether the message may be left out is not stated. So `SILENT` is undocumented, and nobody's default.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shared import events
from shared.config.settings import Settings
from shared.errors import HandoffError
from shared.handoff import answer
from shared.handoff.record import COMPLETED, Record
from shared.opencx import SYSTEM
from shared.opencx.client import OpenCXClient

OFF, REPLIES, MESSAGE, SILENT = "off", "replies", "message", "silent"
"""Ids are written: never; with a rep's first reply; with a sentence to the customer; by themselves."""

IDS = (
    "dynamics365_incident_id",
    "dynamics365_ticket_number",
    "dynamics365_chat_id",
    "salesforce_conversation_id",
    "salesforce_case_id",
)


def mode(settings: Settings) -> str:
    """OPENCX_WRITE_BACK. Raises ConfigurationFault when it is no such word."""
    return settings.choice("OPENCX_WRITE_BACK", REPLIES, (OFF, REPLIES, MESSAGE, SILENT), system=SYSTEM)


def sender(settings: Settings) -> str:
    """OPENCX_AGENT_SENDER: what an agent is called in ``sender``."""
    return settings.text("OPENCX_AGENT_SENDER") or "agent"


class WriteBack:
    """Writes the ids of what has landed to the session.

    Args:
        client: OpenCX's API; None while there is no key. It may raise ConfigurationFault.
        settings: OPENCX_WRITE_BACK and OPENCX_AGENT_SENDER.
    """

    def __init__(self, client: Callable[[], OpenCXClient | None], settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def write_back(self, record: Record, sentence: str, *, deadline: float) -> bool:
        """Write them once, as far as that can be: a session that holds them already is left alone.

        Between looking and writing another worker may write the same, and an answer that is lost is looked up at the
        next call only; nothing here is tried again by itself.

        Args:
            record: a handoff that was completed after its caller had been answered.
            sentence: what the customer may be told.
            deadline: the monotonic time, in seconds, by which it must be over.

        Returns:
            Whether the session holds the ids now. A failure is logged, and never the handoff's.
        """
        ids = ids_of(record)
        try:
            how = mode(self._settings)
            client = self._client() if how in (MESSAGE, SILENT) and ids else None
            if client is None:
                return False
            if _holds(client.session(record.session_id, deadline=deadline), ids):
                return True
            body: dict[str, Any] = {"sender": sender(self._settings), "custom_data": ids}
            if how == MESSAGE:
                body["message"] = {"type": "text", "text": sentence}
            client.send(record.session_id, body, deadline=deadline)
        except HandoffError as failure:
            events.emit(
                events.WRITE_BACK_FAILED,
                code=failure.code,
                handoff_id=record.handoff_id,
                session_id=record.session_id,
            )
            return False
        return True


def ids_of(record: Record) -> dict[str, str]:
    """What stands at the target, under the names that OpenCX's documentation uses for session data."""
    if record.state != COMPLETED or record.outcome is None:
        return {}
    body = answer.record_body(record)
    return {name: str(body[name]) for name in IDS if body.get(name)}


def _holds(session: Mapping[str, Any], ids: Mapping[str, str]) -> bool:
    known = session.get("custom_data")
    return isinstance(known, Mapping) and all(str(known.get(name)) == value for name, value in ids.items())
