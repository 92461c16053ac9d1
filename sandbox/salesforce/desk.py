"""The org's conversations: their sessions, who takes part, and the entries that both sides see."""

from __future__ import annotations

import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.salesforce import payloads
from sandbox.salesforce.model import Conversation, Entry, Json, Participant, Session, Status, StoredFile
from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.stream import Stream
from sandbox.salesforce.switches import Switches

SYSTEM = Participant("System", "conversation", "automatedProcess", "Automated Process")
JOINED = "A representative has joined the conversation."
LEFT = "The representative has ended the conversation."


class Desk:
    """What customers and reps work on. Everything but the constructor wants the lock, which `at` takes.

    Attributes:
        base_url: where the stand-in is served, for the URLs of files.
    """

    def __init__(self, *, switches: Switches, clock: Callable[[], float]) -> None:
        self.switches = switches
        self.lock = threading.RLock()
        self.base_url = "https://salesforce.invalid"
        self.channel_id = str(uuid.uuid4())
        self.stream = Stream(channel_id=self.channel_id)
        self.conversations: dict[str, Conversation] = {}
        self.files: dict[str, StoredFile] = {}
        self._clock = clock
        self._sessions = 0

    def clear(self) -> None:
        """Forget every conversation; record ids go on."""
        with self.lock:
            self.conversations.clear()
            self.files.clear()
            self.stream.clear()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    @contextmanager
    def at(self, conversation_id: str) -> Iterator[Conversation]:
        """A conversation, for as long as the lock is held. Raises Refused (404)."""
        with self.lock:
            conversation = self.conversations.get(conversation_id)
            if conversation is None:
                raise Refused(404, "The conversation doesn't exist")
            self.catch_up(conversation)
            yield conversation

    def catch_up(self, conversation: Conversation) -> None:
        """Do what was to happen by itself until now."""
        while conversation.due and conversation.due[0][0] <= self.now_ms():
            _, _, act = conversation.due.pop(0)
            act()

    def write(
        self,
        conversation: Conversation,
        payload: Json,
        sender: Participant,
        *,
        at_ms: int | None = None,
        session: Session | None = None,
    ) -> Entry:
        """Add an entry, at `at_ms` or now, and tell the customer's stream. Only some kinds are listed."""
        at = self.now_ms() if at_ms is None else at_ms
        entry = Entry.make(
            kind=payload["entryType"],
            payload=payload,
            sender=sender,
            at_ms=at,
            client_ms=at,
            session_id=(session or conversation.session).id,
        )
        if entry.kind in payloads.LISTED:
            conversation.insert(entry)
        self.stream.add(conversation.customer.subject, conversation.id, entry)
        return entry

    def start_session(self, conversation: Conversation, attributes: dict[str, str], language: str) -> None:
        """Open a session and route it at once."""
        self._sessions += 1
        now = self.now_ms()
        record = f"0Mwxx{self._sessions:010}AAA"
        conversation.sessions.append(Session(record, attributes, language, started_ms=now, since_ms=now))
        self.route(conversation)
        self.turn(conversation, "Waiting")

    def route(self, conversation: Conversation) -> None:
        """Look for a rep."""
        conversation.routing = "INITIAL"
        if self.switches.routing_fails:
            self.fail_routing(conversation, failure="RoutingError", reason="Agents are not available")
        else:
            self.write(conversation, payloads.routing_result(conversation.session.id), SYSTEM)

    def fail_routing(self, conversation: Conversation, *, failure: str, reason: str) -> None:
        """Routing comes to nothing; the session waits on."""
        conversation.routing = "NEEDS_ROUTING"
        payload = payloads.routing_result(conversation.session.id, failure=failure, reason=reason)
        self.write(conversation, payload, SYSTEM)

    def turn(self, conversation: Conversation, status: Status, *, told_at_ms: int | None = None) -> None:
        """Give the session another status; the entry that tells it is written at `told_at_ms` or now."""
        session = conversation.session
        before = session.status
        session.status, session.since_ms = status, self.now_ms()
        payload = payloads.session_status(conversation.id, self.channel_id, session, before)
        if told_at_ms is None or told_at_ms <= self.now_ms():
            self.write(conversation, payload, SYSTEM, at_ms=told_at_ms)
        else:

            def tell() -> None:
                self.write(conversation, payload, SYSTEM, at_ms=told_at_ms, session=session)

            conversation.later(told_at_ms, tell)

    def join(self, conversation: Conversation, name: str, *, at_ms: int | None = None) -> None:
        """A rep takes the conversation."""
        subject = f"005xx{zlib.crc32(name.encode()):010}AAA"
        conversation.rep = Participant("Agent", "agent", subject, name, str(uuid.uuid4()))
        conversation.routing = "ROUTED"
        self.write(conversation, payloads.signal("RoutingWorkResult", workType="Accepted"), SYSTEM, at_ms=at_ms)
        self.write(conversation, payloads.participant_changed("add", conversation.rep), SYSTEM, at_ms=at_ms)

    def leave(self, conversation: Conversation, *, at_ms: int | None = None) -> None:
        """The rep, if there is one, takes part no longer."""
        if conversation.rep is not None:
            self.write(conversation, payloads.participant_changed("remove", conversation.rep), SYSTEM, at_ms=at_ms)
            conversation.rep = None

    def end_session(
        self, conversation: Conversation, role: str, *, at_ms: int | None = None, told_at_ms: int | None = None
    ) -> None:
        """End the open session; the conversation stays. `role` is who ended it."""
        self.leave(conversation, at_ms=at_ms)
        conversation.routing = "NEEDS_ROUTING"
        session = conversation.session
        session.ended_ms = self.now_ms() if at_ms is None else at_ms
        session.ended_by = role
        self.turn(conversation, "Ended", told_at_ms=at_ms if told_at_ms is None else told_at_ms)

    def inactivate(self, conversation: Conversation) -> None:
        """Pause the open session; it ends by itself when the customer stays silent for long."""
        if self.switches.inactive_removes_rep:
            self.leave(conversation)
            conversation.routing = "NEEDS_ROUTING"
        self.turn(conversation, "Inactive")
        session, since = conversation.session, conversation.session.since_ms
        ends_ms = since + int(self.switches.inactive_ends_seconds * 1000)

        def end() -> None:
            if (conversation.session, session.status, session.since_ms) == (session, "Inactive", since):
                self.end_session(conversation, "System", at_ms=ends_ms)

        conversation.later(ends_ms, end)

    def respond(self, conversation: Conversation, words: str) -> str:
        """Write an automated response; its identifier."""
        payload = payloads.text(payloads.new_id(), words, reason="AutomatedResponse")
        return self.write(conversation, payload, SYSTEM).identifier

    def close(self, conversation: Conversation) -> None:
        """Close the conversation for good, as only the customer's side can."""
        if conversation.has_session:
            self.end_session(conversation, "EndUser")
        conversation.closed_ms = self.now_ms()
        payload = payloads.signal("CloseConversation", conversationIdentifier=conversation.id)
        self.write(conversation, payload, conversation.customer)
