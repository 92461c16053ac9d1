"""What the relay speaks of: an open conversation, what reps do in it, what customers write. Free of any system."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

OPEN, ENDED = "open", "ended"

MESSAGE, JOINED, LEFT, OVER, UNANSWERED = "message", "joined", "left", "over", "unanswered"
"""Kinds of `RepEntry`: words for the customer; a rep came; a rep went (transfer or end, not known yet); the
conversation is over; nobody can take it (routing failed, out of hours)."""

KEEPS_SESSION = "keeps_session"
"""In ``Conversation.details``: a further handoff of the session is on its way; this one's end does not close it."""

HOME = "home"
"""In ``Conversation.details``: the organization that it stands in."""

TO_CUSTOMER, TO_REP = "to_customer", "to_rep"


@dataclass(frozen=True)
class File:
    """A file in a message.

    Attributes:
        name: the file's name, as its sender gave it.
        url: where it can be fetched.
        content_type: its media type, if it is known.
    """

    name: str | None
    url: str | None
    content_type: str | None = None


@dataclass(frozen=True)
class RepEntry:
    """One thing that happened on the rep's side.

    Attributes:
        id: the same for every delivery of the same thing.
        at: the system's time, in UTC; it orders entries, and moves the cursor.
        kind: one of the kinds above.
        text: plain text for the customer; links, choices and markup are flattened already.
        author: the rep's display name.
        files: files for the customer.
        is_automated: the system wrote it, not a person.
        key: where it waits in the inbox; empty when it was read from the system.
    """

    id: str
    at: datetime
    kind: str = MESSAGE
    text: str = ""
    author: str | None = None
    files: tuple[File, ...] = ()
    is_automated: bool = False
    key: str = ""

    @property
    def delivery(self) -> str:
        """Names this very delivery: equal words that were pushed twice are two, whatever their id."""
        return self.key or self.id


@dataclass(frozen=True)
class CustomerMessage:
    """One message that the customer wrote after the handoff.

    Attributes:
        id: OpenCX's id of the history item.
        at: OpenCX's time, in UTC.
    """

    id: str
    at: datetime
    text: str = ""
    name: str | None = None
    files: tuple[File, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A message that is being sent: written before the send, so that a worker that dies leaves a trace.

    Attributes:
        direction: `TO_CUSTOMER` or `TO_REP`.
        message_id: `RepEntry.id` or `CustomerMessage.id`.
        token: the worker's; another one leaves the conversation alone until then.
        at: when the send began.
        until: when it is over for sure, and another worker may look whether the message has arrived.
    """

    direction: str
    message_id: str
    token: str
    at: datetime
    until: datetime


@dataclass(frozen=True)
class Conversation:
    """One open conversation between a customer on OpenCX and a rep in Salesforce or Dynamics 365.

    It lives in the ledger and outlives workers, tokens and deployments. It holds no text.

    Attributes:
        system: ``salesforce`` or ``dynamics365``.
        conversation_id: the system's id.
        opened_at, accepted_at: when the conversation was stored, and when its handoff was asked for.
        details: what the system's side needs to go on, such as a subject and routing attributes.
        rep_cursor: the time of the newest entry that was handled.
        rep_seen: handled entries not long before the cursor, as (short digest, milliseconds since 1970).
        said: how often each text was sent to the customer, by short digest, where pushes are swept after.
        recent: what was sent within the last minutes, as (short digest of the text, milliseconds since 1970): what a
            look at OpenCX is compared with.
        contact_cursor, contact_seen: the same for the customer's messages.
        next_at: when the relay looks at it next, without being woken.
        contact_poll_at: when OpenCX's history is read next, without being woken.
        peeks: how often it was looked since a webhook said that the customer wrote, plus one; 0: nobody said so.
        active_at: when a message last went either way.
        swept_at: when what no push had brought was looked for last.
        has_rep: whether a rep is in it.
        failures: how many steps have failed in a row.
        stuck_id, stuck_tries, stuck_at: the message whose sends fail with an answer, how often, since when.
        undelivered: messages that the other side refused for good.
        ending: who has ended it, while what is left is carried, and for good; over_at: when that was seen.
        version: the store's own (an ETag).
    """

    handoff_id: str
    session_id: str
    system: str
    conversation_id: str
    channel: str
    opened_at: datetime
    accepted_at: datetime | None = None
    state: str = OPEN
    details: Mapping[str, str] = field(default_factory=dict)
    rep_cursor: datetime | None = None
    rep_seen: tuple[tuple[str, int], ...] = ()
    said: Mapping[str, int] = field(default_factory=dict)
    recent: tuple[tuple[str, int], ...] = ()
    contact_cursor: datetime | None = None
    contact_seen: tuple[tuple[str, int], ...] = ()
    claim: Claim | None = None
    next_at: datetime | None = None
    contact_poll_at: datetime | None = None
    peeks: int = 0
    active_at: datetime | None = None
    swept_at: datetime | None = None
    has_rep: bool = False
    failures: int = 0
    to_customer: int = 0
    to_rep: int = 0
    undelivered: int = 0
    error_code: str = ""
    stuck_id: str = ""
    stuck_tries: int = 0
    stuck_at: datetime | None = None
    ending: str = ""
    over_at: datetime | None = None
    ended_at: datetime | None = None
    version: str = ""

    @property
    def key(self) -> str:
        """Names it in the ledger and in wake-ups: ``<lane>:<session>:<handoff>``, digests all."""
        return key_of(self.session_id, self.handoff_id)


LANES = 16
"""Conversations are spread over so many lanes by their session; a lane is looked after by one worker at a time."""


def lane_of(session_id: str) -> str:
    """The lane of a session's conversations, two hexadecimal digits."""
    return f"{int(digest(session_id)[:2], 16) % LANES:02x}"


def key_of(session_id: str, handoff_id: str) -> str:
    """The key of a conversation."""
    return f"{session_key(session_id)}:{digest(handoff_id)[:24]}"


def session_key(session_id: str) -> str:
    """What the keys of all conversations of a session begin with."""
    return f"{lane_of(session_id)}:{digest(session_id)[:24]}"


def digest(text: str) -> str:
    """A text as a key: ids may hold characters that keys must not."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class RepSide(Protocol):
    """The system in which the rep works. Every method may raise TransientFailure and ConfigurationFault.

    ``deadline`` is the monotonic time, in seconds, by which a call must be over.
    """

    polls: bool
    """Whether entries must be fetched; else they are pushed into the inbox, and `entries` is a slow safety net."""
    home: str
    """Which organization it is; the same as `HOME` of the conversations that it has."""

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        """What happened since that time, oldest first; it may repeat what is known, and holds no echo of our own.

        Raises:
            ConversationEnded: the system says that it is over, or knows it no more.
        """

    def arrange(self, conversation: Conversation, pushed: Sequence[RepEntry], *, deadline: float) -> Sequence[RepEntry]:
        """What waits in the inbox, in the order in which it was written, without what was delivered twice.

        An entry that is left out of the answer is dropped from the inbox as a duplicate. ``rep_seen`` holds the ids of
        what was carried within the last minutes.
        """

    def send(self, conversation: Conversation, message: CustomerMessage, *, deadline: float) -> None:
        """Show the customer's message to the rep.

        Raises:
            TransientFailure: with ``is_unclear`` it may have arrived all the same; `has_sent` tells.
            ConversationEnded: it is over; the message did not arrive.
            PermanentFailure: this message is refused for good.
        """

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        """Whether a message whose send was unclear has arrived; ``since``: when its send began."""

    def end(self, conversation: Conversation, *, deadline: float) -> None:
        """The customer has left: end it. Harmless when it has ended."""

    def delivered(self, conversation: Conversation, entry_ids: Sequence[str], *, deadline: float) -> None:
        """Tell the rep which of their messages OpenCX has taken, by `RepEntry.id`; nothing without such receipts."""

    def forget(self, conversation: Conversation) -> None:
        """It has ended for good: forget what was kept for it."""


class CustomerSide(Protocol):
    """OpenCX. Every method may raise TransientFailure, ConfigurationFault and PermanentFailure."""

    def say(self, conversation: Conversation, entry: RepEntry, *, deadline: float) -> None:
        """Send what a rep wrote to the customer. TransientFailure ``is_unclear``: it may have arrived all the same."""

    def count_said(self, conversation: Conversation, entry: RepEntry, *, since: datetime, deadline: float) -> int:
        """How many of a rep's messages with this very text and files the session's history holds since that time."""

    def messages(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        """What the customer wrote since that time, oldest first; it may repeat what is known."""

    def close(self, conversation: Conversation, *, deadline: float) -> None:
        """Close the session. Harmless when it is closed."""
