"""Where open conversations are kept, and what wakes their lanes, as the relay sees both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.relay.model import Conversation, RepEntry


@dataclass(frozen=True)
class Lane:
    """What keeps one lane going: one queue message at a time, which puts in its successor.

    Attributes:
        name: two hexadecimal digits.
        sequence: the number of the message that may go on; one with another number is stale.
        at: when that message is due; None: the lane rests, for no conversation is open in it.
        version: the store's own (an ETag); empty when it was never written.
    """

    name: str
    sequence: int = 0
    at: datetime | None = None
    version: str = ""


class Closings(Protocol):
    """Sessions that were closed before their handoff had landed. Every method may raise LedgerUnavailable."""

    def note(self, session_id: str, at: datetime) -> None:
        """The session was closed then."""

    def find(self, session_id: str) -> datetime | None:
        """When it was closed; None: nothing was noted."""


class Conversations(Protocol):
    """The ledger of conversations. Every method may raise LedgerUnavailable."""

    def open(self, conversation: Conversation) -> Conversation:
        """Store a new conversation; or find the one of that handoff, open or ended."""

    def get(self, key: str) -> Conversation | None:
        """An open conversation."""

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """The conversation of a handoff, open or ended; of an ended one only counts and times are left."""

    def of_session(self, session_id: str) -> list[Conversation]:
        """The open conversations of a session."""

    def of_lane(self, name: str, *, most: int = 20_000) -> list[Conversation]:
        """The open conversations of a lane."""

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """The open conversation with that id of the system's."""

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """Whether a conversation with that id of the system's was there, and has ended."""

    def change(self, conversation: Conversation) -> Conversation | None:
        """Write it if it is still at its version; None when somebody else was first, or it has ended."""

    def end(self, conversation: Conversation) -> bool:
        """It has ended: keep counts and times, forget the rest. False when somebody else was first."""

    def push(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """Put what the system has pushed into the conversation's inbox, durably."""

    def inbox(self, conversation: Conversation) -> list[RepEntry]:
        """What waits there, in the order in which it arrived."""

    def drop(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """Remove from the inbox what was handled."""

    def lanes(self) -> list[Lane]:
        """All lanes that were ever written."""

    def lane(self, name: str) -> Lane:
        """A lane as it stands."""

    def write_lane(self, lane: Lane) -> Lane | None:
        """Write it if it is still at its version; None when somebody else was first."""

    def purge(self, *, before: datetime, limit: int) -> int:
        """Delete what ended before that time; returns how many."""


type Handle = Any
"""A message that was put into the queue and is not visible yet, as the queue's client names it."""


class Wake(Protocol):
    """The queues that wake: a message holds ids only. May raise TransientFailure: the timer wakes what is overdue."""

    def handoff(self, key: str) -> None:
        """Go on with a handoff now."""

    def conversation(self, key: str) -> None:
        """Look at a conversation now."""

    def lane(self, name: str, sequence: int, *, delay_seconds: float) -> Handle:
        """Look at a lane after a while."""

    def sooner(self, handle: Handle, *, delay_seconds: float) -> None:
        """Change the while of a lane's message; nothing happens when it is gone."""
