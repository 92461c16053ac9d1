"""What operators read of a conversation."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.handoff.attempt import CONVERSATION
from shared.handoff.record import Record
from shared.relay.model import Conversation


def conversation_body(find: Callable[[str, str], Conversation | None], record: Record) -> dict[str, Any]:
    """The relay's part of a handoff's record: counts and times, and the code of the last error."""
    if record.outcome is None or record.outcome.kind != CONVERSATION:
        return {"conversation": None}
    known = find(record.session_id, record.handoff_id)
    if known is None:
        return {"conversation": None}
    return {
        "conversation": {
            "state": known.state,
            "opened_at": _time(known.opened_at),
            "ended_at": _time(known.ended_at),
            "ended_by": known.ending or None,
            "to_customer": known.to_customer,
            "to_rep": known.to_rep,
            "undelivered": known.undelivered,
            "last_error": known.error_code or None,
        }
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
