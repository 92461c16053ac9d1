"""What an org keeps: conversations, their sessions, entries and files."""

from __future__ import annotations

import json
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]

Status = Literal["New", "Waiting", "Active", "Inactive", "Ended"]
Routing = Literal["INITIAL", "NEEDS_ROUTING", "ROUTED", "TRANSFER"]


@dataclass(frozen=True, slots=True)
class Participant:
    """Who speaks: a customer, a rep, or the system."""

    role: str
    app_type: str
    subject: str
    name: str
    client_id: str = ""

    def as_json(self) -> Json:
        """As `sender`, `participant` or `recipient` show it."""
        return {
            "role": self.role,
            "appType": self.app_type,
            "subject": self.subject,
            "clientIdentifier": self.client_id,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One conversation entry.

    Attributes:
        at_ms: when it was transcribed, in milliseconds since the epoch.
        client_ms: when its sender says that it was written.
        session_id: the messaging session (prefix `0Mw`) in which it fell.
        listed: its JSON text in `GET …/entries`, made once.
    """

    identifier: str
    kind: str
    payload: Json
    sender: Participant
    at_ms: int
    client_ms: int
    session_id: str
    listed: str

    @classmethod
    def make(
        cls, *, kind: str, payload: Json, sender: Participant, at_ms: int, client_ms: int, session_id: str
    ) -> Entry:
        """An entry whose identifier is the payload's id."""
        shown = {
            "entryType": kind,
            "identifier": payload["id"],
            "senderDisplayName": sender.name,
            "sender": sender.as_json(),
            "transcriptedTimestamp": at_ms,
            "clientTimestamp": client_ms,
            "entryPayload": payload,
        }
        listed = json.dumps(shown, ensure_ascii=False)
        return cls(payload["id"], kind, payload, sender, at_ms, client_ms, session_id, listed)


@dataclass(slots=True)
class Session:
    """One messaging session.

    Attributes:
        id: record id, prefix `0Mw`.
        attributes: the routing attributes that reached the record.
        since_ms: when it took its present status, in milliseconds since the epoch.
    """

    id: str
    attributes: Mapping[str, str]
    language: str
    started_ms: int
    status: Status = "New"
    since_ms: int = 0
    ended_ms: int = 0
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file; `role` is who sent it, `url` is where it is served."""

    id: str
    name: str
    mime_type: str
    content: bytes = field(repr=False)
    role: str
    url: str
    owner: str


@dataclass(frozen=True, slots=True)
class Received:
    """One message or file as the customer's client sent it, before any splitting."""

    id: str
    text: str
    at_ms: int
    session_id: str
    file_id: str = ""


@dataclass(slots=True)
class Conversation:
    """One conversation.

    Attributes:
        customer: whose conversation it is.
        verified: whether the customer came with a verified identity.
        dropped: names of routing attributes that vanished.
        entries: all listable entries, by time; `times` are their `at_ms`.
        received: what the customer's client sent, in order of arrival.
        arrivals: seconds at which messages came in, for the limit.
        due: what is to happen by itself: (milliseconds since the epoch, order, what).
    """

    id: str
    customer: Participant
    verified: bool
    created_ms: int
    routing: Routing = "INITIAL"
    closed_ms: int = 0
    rep: Participant | None = None
    sessions: list[Session] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set)
    received: list[Received] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {"Delivery": set(), "Read": set()})
    customer_types: bool = False
    arrivals: deque[float] = field(default_factory=deque)
    due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        """The latest session; there is always one."""
        return self.sessions[-1]

    @property
    def has_session(self) -> bool:
        """Whether the latest session is still open."""
        return self.sessions[-1].status != "Ended"

    def insert(self, entry: Entry) -> None:
        """Put an entry in its place by time; after those of the same millisecond."""
        self.identifiers.add(entry.identifier)
        if not self.times or entry.at_ms >= self.times[-1]:
            self.times.append(entry.at_ms)
            self.entries.append(entry)
            return
        place = bisect_right(self.times, entry.at_ms)
        self.times.insert(place, entry.at_ms)
        self.entries.insert(place, entry)

    def later(self, at_ms: int, act: Callable[[], None]) -> None:
        """Have something happen by itself once the clock has come to `at_ms`."""
        insort(self.due, (at_ms, len(self.due), act), key=lambda one: one[:2])
