"""One conversation: its state, what was said both ways, and how it looks to a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

Json = dict[str, Any]


class State(Enum):
    """Status reasons of msdyn_ocliveworkitem, each with its `statuscode` and `statecode`."""

    OPEN = ("Open", 1, 0)
    ACTIVE = ("Active", 2, 0)
    WAITING = ("Waiting", 3, 0)
    CLOSED = ("Closed", 4, 1)
    WRAP_UP = ("Wrap-up", 5, 4)

    @property
    def label(self) -> str:
        """The label of the status reason."""
        return str(self.value[0])

    @property
    def statuscode(self) -> int:
        """The status reason."""
        return int(self.value[1])

    @property
    def statecode(self) -> int:
        """The state that the status reason belongs to."""
        return int(self.value[2])


OVER = (State.WRAP_UP, State.CLOSED)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One activity, whichever way it went.

    Attributes:
        at: seconds since the epoch.
        way: `in` from the customer's side, `out` to it.
        by: who is behind it.
        kind: message, typing, event or endOfConversation.
        name: of an event.
        text: of a message.
        attachments: of a message.
        sender: `from`, as it was given or sent.
        channel_data: as it was given.
        message_id: 13 digits; empty for what is no message.
        listed: GET messages shows it.
    """

    at: float
    way: Literal["in", "out"]
    by: Literal["customer", "rep", "automated", "start", "service"]
    kind: str
    name: str = ""
    text: str = ""
    attachments: tuple[Json, ...] = ()
    sender: Json = field(default_factory=dict)
    channel_data: Json = field(default_factory=dict)
    message_id: str = ""
    listed: bool = False

    @property
    def stamp(self) -> datetime:
        """When the message was, to the millisecond; no two of a conversation have the same."""
        return datetime.fromtimestamp(int(self.message_id) / 1000, UTC)


@dataclass(frozen=True)
class Variable:
    """A context variable. `visible_at` is when GET context shows it, in seconds since the epoch."""

    value: Any
    is_displayable: bool
    visible_at: float


@dataclass
class Conversation:
    """A work item. Changed only under the lock of the organisation that holds it.

    Attributes:
        id: GUID, also the row's `activityid`.
        channel_id: the channel it came by.
        created_at: seconds since the epoch.
        customer: the customer context that it was made with.
        request_id: its `conversationrequestid`.
        start_message: as it was taken; None when there was none.
        is_bot_skipped: `skipdeflectionbot`.
        contact: table and id of the record that was found for the customer.
        contact_name: the name of that record, which wins over the request's.
        rep: who has it.
        queue_id: where it was put by a representative.
        read_up_to: the id of the last message that the customer has read.
    """

    id: str
    channel_id: str
    created_at: float
    customer: dict[str, str]
    request_id: str = ""
    start_message: Json | None = None
    is_bot_skipped: bool = False
    contact: tuple[str, str] | None = None
    contact_name: str = ""
    state: State = State.OPEN
    context: dict[str, Variable] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    rep: str = ""
    queue_id: str = ""
    read_up_to: str = ""
    last_id: int = 0

    @property
    def customer_id(self) -> str:
        """The `customerid` of the create call, or nothing."""
        return self.customer.get("customerid", "")

    @property
    def customer_name(self) -> str:
        """What the representative sees as the customer's name."""
        given = f"{self.customer.get('firstname', '')} {self.customer.get('lastname', '')}".strip()
        return self.contact_name or self.customer.get("preferredname") or given or "Visitor"

    def next_id(self, now: float) -> str:
        """The next message id: epoch milliseconds, rising whatever the clock does."""
        self.last_id = max(int(now * 1000), self.last_id + 1)
        return f"{self.last_id:013d}"

    def listed(self) -> list[Entry]:
        """The messages that GET messages knows, oldest first."""
        return [entry for entry in self.entries if entry.listed]

    def outline(self) -> Json:
        """What a list of conversations needs."""
        return {
            "id": self.id,
            "channel_id": self.channel_id,
            "customer_id": self.customer_id,
            "state": self.state.label,
            "statuscode": self.state.statuscode,
            "created_at": self.created_at,
            "rep": self.rep,
        }

    def as_json(self) -> Json:
        """Everything, for a test that judges the outcome."""
        return {
            **self.outline(),
            "customer": dict(self.customer),
            "customer_name": self.customer_name,
            "contact": None if self.contact is None else {"table": self.contact[0], "id": self.contact[1]},
            "request_id": self.request_id,
            "is_bot_skipped": self.is_bot_skipped,
            "start_message": self.start_message,
            "queue_id": self.queue_id,
            "read_up_to": self.read_up_to,
            "context": {
                name: {"value": one.value, "isDisplayable": one.is_displayable} for name, one in self.context.items()
            },
            "activities": [_entry(entry) for entry in self.entries],
            "rep_sees": [self._line(entry) for entry in self.entries if entry.kind == "message"],
        }

    def _line(self, entry: Entry) -> Json:
        """A line of the representative's chat panel."""
        name = {"customer": self.customer_name, "start": str((self.start_message or {}).get("displayname") or "")}
        return {
            "from": name.get(entry.by) or str(entry.sender.get("name") or ""),
            "by": entry.by,
            "text": entry.text,
            "attachments": [one.get("name") for one in entry.attachments],
        }


def _entry(entry: Entry) -> Json:
    return {
        "at": entry.at,
        "way": entry.way,
        "by": entry.by,
        "type": entry.kind,
        "name": entry.name,
        "text": entry.text,
        "attachments": list(entry.attachments),
        "from": entry.sender,
        "channelData": entry.channel_data,
        "message_id": entry.message_id,
    }
