"""The rep's side: what a person at the Service Console does, as methods for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.salesforce import payloads
from sandbox.salesforce.desk import JOINED, LEFT, SYSTEM, Desk
from sandbox.salesforce.inbox import Inbox
from sandbox.salesforce.model import Conversation, Json, Participant
from sandbox.salesforce.refusal import Refused

DEFAULT_NAME = "Sara"


class Rep:
    """Whoever works in the org.

    Every method raises Refused: 404 for an unknown conversation, 409 for what a rep cannot do now.
    """

    desk: Desk
    inbox: Inbox

    def rep_accepts(self, conversation_id: str, *, name: str = DEFAULT_NAME) -> None:
        """A rep takes a conversation that waits, or one that another rep has transferred."""
        with self.desk.at(conversation_id) as conversation:
            if conversation.rep is not None or conversation.session.status not in {"Waiting", "Active"}:
                raise Refused(409, "the conversation does not wait for a rep")
            self.desk.join(conversation, name)
            if conversation.session.status == "Waiting":
                self.desk.turn(conversation, "Active")
            if self.desk.switches.automated_responses:
                self.desk.respond(conversation, JOINED)

    def rep_says(self, conversation_id: str, text: str, *, name: str = "", seconds_ago: float = 0.0) -> str:
        """A rep writes; the entry's identifier. An entry of `seconds_ago` turns up late, at its own time."""
        return self._write(conversation_id, payloads.text(payloads.new_id(), text), name, seconds_ago=seconds_ago)

    def rep_offers(self, conversation_id: str, choices: Sequence[str], *, text: str = "", name: str = "") -> str:
        """A rep sends buttons; the entry's identifier."""
        return self._write(conversation_id, payloads.choices(payloads.new_id(), text, choices), name)

    def rep_links(self, conversation_id: str, url: str, *, title: str = "", name: str = "") -> str:
        """A rep sends a link preview; the entry's identifier."""
        return self._write(conversation_id, payloads.link(payloads.new_id(), url, title or url), name)

    def rep_sends_file(
        self,
        conversation_id: str,
        file_name: str,
        content: bytes,
        *,
        mime_type: str = "",
        text: str = "",
        name: str = "",
    ) -> str:
        """A rep sends a file, which its URL serves from then on; the entry's identifier."""
        with self._present(conversation_id, name) as (conversation, rep):
            stored = self.inbox.store(conversation, file_name, content, sender=rep, mime_type=mime_type)
            payload = payloads.attachments(payloads.new_id(), text or None, [stored])
            return self.desk.write(conversation, payload, rep).identifier

    def rep_types(self, conversation_id: str, *, on: bool = True) -> None:
        """A rep starts or stops to type: an event on the stream, never an entry."""
        with self._present(conversation_id) as (conversation, rep):
            kind = "TypingStartedIndicator" if on else "TypingStoppedIndicator"
            self.desk.write(conversation, payloads.signal(kind, timestamp=self.desk.now_ms()), rep)

    def rep_transfers(self, conversation_id: str, *, to: str = "", gap_seconds: float | None = None) -> None:
        """A rep hands over. Until another accepts (or `to` does, after `gap_seconds`) there is nobody."""
        with self._present(conversation_id) as (conversation, _):
            self.desk.leave(conversation)
            conversation.routing = "TRANSFER"
            payload = payloads.routing_result(conversation.session.id, kind="Transfer")
            self.desk.write(conversation, payload, SYSTEM)
            if gap_seconds is not None:
                at_ms = self.desk.now_ms() + int(gap_seconds * 1000)
                session = conversation.session

                def arrive() -> None:
                    if conversation.session is session and conversation.routing == "TRANSFER":
                        self.desk.join(conversation, to or DEFAULT_NAME, at_ms=at_ms)

                conversation.later(at_ms, arrive)
                self.desk.catch_up(conversation)

    def rep_ends(self, conversation_id: str, *, told_after_seconds: float = 0.0) -> None:
        """A rep ends the session. The conversation stays; its status is told `told_after_seconds` later."""
        with self._open(conversation_id) as conversation:
            told = self.desk.now_ms() + int(told_after_seconds * 1000) if told_after_seconds else None
            self.desk.end_session(conversation, "Agent", told_at_ms=told)
            if self.desk.switches.automated_responses:
                self.desk.respond(conversation, LEFT)

    def rep_closes_tab(self, conversation_id: str) -> None:
        """A rep closes the tab: the session becomes inactive, as it does when the customer is silent."""
        with self._open(conversation_id) as conversation:
            if conversation.session.status != "Active":
                raise Refused(409, "the session is not active")
            self.desk.inactivate(conversation)

    def routing_fails(
        self, conversation_id: str, *, failure: str = "RoutingError", reason: str = "Agents are not available"
    ) -> None:
        """Omni-Channel gives up on a session that waits."""
        with self._open(conversation_id) as conversation:
            if conversation.rep is not None:
                raise Refused(409, "a rep has the conversation")
            self.desk.fail_routing(conversation, failure=failure, reason=reason)

    def automation_says(self, conversation_id: str, text: str) -> str:
        """The org answers by itself; the entry's identifier."""
        with self.desk.at(conversation_id) as conversation:
            return self.desk.respond(conversation, text)

    @contextmanager
    def _open(self, conversation_id: str) -> Iterator[Conversation]:
        with self.desk.at(conversation_id) as conversation:
            if not conversation.has_session:
                raise Refused(409, "the session has ended")
            yield conversation

    @contextmanager
    def _present(self, conversation_id: str, name: str = "") -> Iterator[tuple[Conversation, Participant]]:
        with self._open(conversation_id) as conversation:
            rep = conversation.rep
            if rep is None:
                raise Refused(409, "no rep has accepted the conversation")
            if name and name != rep.name:
                rep = Participant(rep.role, rep.app_type, rep.subject, name, rep.client_id)
            yield conversation, rep

    def _write(self, conversation_id: str, payload: Json, name: str, *, seconds_ago: float = 0.0) -> str:
        with self._present(conversation_id, name) as (conversation, rep):
            at_ms = self.desk.now_ms() - int(seconds_ago * 1000)
            return self.desk.write(conversation, payload, rep, at_ms=at_ms).identifier
