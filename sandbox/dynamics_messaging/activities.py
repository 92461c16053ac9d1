"""The activities that the webhook sends, exactly as Microsoft's samples show them.

Reference: "Webhook" of the Messaging APIs. Its table says that events are of type `event`; its samples show
type `message` with a name and a text. A switch says which.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_PEOPLE = uuid.UUID("6c1f0f10-4f7e-4b2e-8c3f-0c1ff2b1d001")
# Microsoft's samples of these have no `from`.
_NAMELESS = {"AgentAccepted"}


def person(name: str) -> Json:
    """The `from` of a representative: an id that is fixed for the name."""
    return {"id": str(uuid.uuid5(_PEOPLE, name)), "name": name}


def message(
    channel_id: str, conversation_id: str, sender: Json, *, text: str = "", attachments: Sequence[Json] = ()
) -> Json:
    """A representative's text, or file."""
    activity: Json = {
        "type": "message",
        "channelId": channel_id,
        "from": sender,
        "conversation": {"id": conversation_id},
        "textFormat": "markdown",
    }
    if text:
        activity["text"] = text
    if attachments:
        activity["attachments"] = list(attachments)
    return activity


def typing(conversation_id: str, customer_id: str) -> Json:
    """Somebody types: no `from`, and another `channelId`."""
    return {
        "type": "typing",
        "channelId": "MessagingApi",
        "conversation": {"id": conversation_id},
        "recipient": {"id": customer_id},
    }


def event(channel_id: str, conversation_id: str, name: str, *, rep: str = "", kind: str = "message") -> Json:
    """An event. `kind` is the type to send it as."""
    activity: Json = {"type": kind, "channelId": channel_id, "conversation": {"id": conversation_id}, "name": name}
    if name not in _NAMELESS:
        activity["from"] = {"id": person(rep or "system")["id"]}
    if kind == "message":
        activity["text"] = f"EventName: **_{name}_**"
    return activity
