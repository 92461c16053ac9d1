"""Server-sent events: one buffer a subject, replayed from `Last-Event-Id` on.

The sandbox's server answers whole bodies, so a connection gets what is buffered and one ping, and then ends as
if it had dropped; a client reconnects.
"""

from __future__ import annotations

import json
from collections import deque

from sandbox.salesforce.model import Entry
from sandbox.salesforce.payloads import EVENTS

_FIRST = 2_147_867_834
_KEPT = 1000


class Stream:
    """All buffers of an org. Not safe for threads by itself: the desk's lock guards it."""

    def __init__(self, *, channel_id: str) -> None:
        self._channel_id = channel_id
        self._number = _FIRST
        self._buffers: dict[str, deque[tuple[int, str, Entry]]] = {}

    @property
    def last_event_id(self) -> str:
        """The number of the latest event of the whole org."""
        return str(self._number)

    def clear(self) -> None:
        """Forget all events; the numbers go on."""
        self._buffers.clear()

    def add(self, subject: str, conversation_id: str, entry: Entry) -> None:
        """Buffer an event for a subject; the oldest of more than 1,000 falls out."""
        self._number += 1
        self._buffers.setdefault(subject, deque(maxlen=_KEPT)).append((self._number, conversation_id, entry))

    def since(self, subject: str, last_event_id: int) -> bytes:
        """The events of a subject after a number, as they go over the wire, and a ping."""
        frames = [
            f"id:{number}\nevent:{EVENTS[entry.kind]}\ndata:{self._data(conversation_id, entry)}\n\n"
            for number, conversation_id, entry in self._buffers.get(subject, ())
            if number > last_event_id
        ]
        return "".join([*frames, "event:ping\ndata:0\n\n"]).encode()

    def _data(self, conversation_id: str, entry: Entry) -> str:
        shown = {
            "senderDisplayName": entry.sender.name,
            "identifier": entry.identifier,
            "entryType": entry.kind,
            "entryPayload": json.dumps(entry.payload, ensure_ascii=False),  # a string here, an object in /entries
            "sender": entry.sender.as_json(),
            "contextParamMap": {},
            "visibilityStrategy": "All",
            "transcriptedTimestamp": entry.at_ms,
            "relatedRecords": [entry.session_id],
            "clientTimestamp": entry.client_ms,
            "clientDuration": 0,
        }
        envelope = {
            "channelPlatformKey": self._channel_id,
            "channelType": "embedded_messaging",
            "channelAddressIdentifier": self._channel_id,
            "conversationId": conversation_id,
            "conversationEntry": shown,
        }
        return json.dumps(envelope, ensure_ascii=False)
