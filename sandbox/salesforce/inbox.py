"""What the customer's client does: create, write, send files, acknowledge, end and close."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from sandbox.salesforce import bodies, files, payloads
from sandbox.salesforce.bodies import Opening, Sending
from sandbox.salesforce.desk import Desk
from sandbox.salesforce.model import Conversation, Json, Participant, Received, StoredFile
from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.tokens import Holder

_WINDOW_SECONDS = 60.0


class Inbox:
    """The customer's side of a desk. Every method raises Refused."""

    def __init__(self, desk: Desk, *, developer_name: str) -> None:
        self._desk = desk
        self._switches = desk.switches
        self._developer_name = developer_name

    @contextmanager
    def of(self, holder: Holder, conversation_id: str) -> Iterator[Conversation]:
        """A conversation of this customer's. Raises Refused (404, and 403 for another's)."""
        with self._desk.at(conversation_id) as conversation:
            if conversation.customer.subject != holder.subject:
                raise Refused(403, "You aren't a participant of this conversation")
            yield conversation

    def create(self, holder: Holder, body: Json) -> None:
        """Open a conversation and route it at once."""
        identifier, opening = bodies.conversation(
            body,
            developer_name=self._developer_name,
            language_required=self._switches.language_required,
        )
        kept, dropped = self._mapped(opening)
        desk = self._desk
        with desk.lock:
            if identifier in desk.conversations:
                raise Refused(409, "A conversation with this conversationId already exists")
            if self._switches.one_open_conversation and self._holds_open(holder):
                raise Refused(400, "The participant has an open conversation already")
            customer = Participant("EndUser", "iamessage", holder.subject, "Guest", holder.client_id)
            conversation = Conversation(identifier, customer, holder.verified, desk.now_ms(), dropped=dropped)
            desk.conversations[identifier] = conversation
            desk.start_session(conversation, kept, opening.language)

    def message(self, holder: Holder, conversation_id: str, body: Json) -> Json:
        """Take a message; what the 202 says."""
        with self.of(holder, conversation_id) as conversation:
            sending = bodies.message(
                body,
                developer_name=self._developer_name,
                max_chars=self._switches.text_max_chars,
            )
            self._admit(conversation, sending)
            return self._take_text(conversation, sending)

    def file(self, holder: Holder, conversation_id: str, media_type: str, body: bytes) -> Json:
        """Take a file; what the 202 says."""
        with self.of(holder, conversation_id) as conversation:
            form = files.parts(media_type, body)
            if form.keys() != {"messageEntry", "fileData"}:
                raise Refused(400, "The form must have the parts messageEntry and fileData")
            entry = form["messageEntry"]
            given = bodies.parse(entry.media_type, entry.content)
            sending = bodies.file_entry(given, developer_name=self._developer_name)
            name = files.check(form["fileData"], self._switches)
            if sending.file_id in self._desk.files:
                raise Refused(400, "A file with this fileId already exists")
            self._admit(conversation, sending)
            stored = self.store(
                conversation, name, form["fileData"].content, sender=conversation.customer, file_id=sending.file_id
            )
            return self._take_file(conversation, sending, stored)

    def store(
        self,
        conversation: Conversation,
        name: str,
        content: bytes,
        *,
        sender: Participant,
        file_id: str = "",
        mime_type: str = "",
    ) -> StoredFile:
        """Keep a file and give it a URL."""
        identifier = file_id or payloads.new_id()
        stored = StoredFile(
            identifier,
            name,
            mime_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
            content,
            sender.role,
            f"{self._desk.base_url}/files/{identifier}/{quote(name, safe='')}",
            conversation.customer.subject,
        )
        self._desk.files[identifier] = stored
        conversation.files.append(stored)
        return stored

    def typing(self, holder: Holder, conversation_id: str, body: Json) -> None:
        """Show the rep that the customer types, or types no longer."""
        with self.of(holder, conversation_id) as conversation:
            starts = bodies.typing(body)
            self._still_open(conversation)
            conversation.customer_types = starts

    def acknowledge(self, holder: Holder, conversation_id: str, body: Json) -> None:
        """Note which entries the customer has received or read."""
        with self.of(holder, conversation_id) as conversation:
            found = bodies.acknowledgements(body)
            for _, identifier in found:
                if identifier not in conversation.identifiers:
                    raise Refused(400, "acks.conversationEntryId is not an entry of this conversation")
            for kind, identifier in found:
                conversation.acknowledged[kind].add(identifier)

    def end_session(self, holder: Holder, conversation_id: str, developer_name: str) -> None:
        """End the session; a guest's conversation may close with it."""
        with self.of(holder, conversation_id) as conversation:
            self._deployment(developer_name)
            self._still_open(conversation)
            if not conversation.has_session:
                raise Refused(403, "The messaging session is no longer valid")
            if self._switches.guest_end_closes and not conversation.verified:
                self._desk.close(conversation)
            else:
                self._desk.end_session(conversation, "EndUser")

    def close(self, holder: Holder, conversation_id: str, developer_name: str) -> None:
        """Close the conversation: nobody can write into it any more."""
        with self.of(holder, conversation_id) as conversation:
            self._deployment(developer_name)
            self._still_open(conversation)
            self._desk.close(conversation)

    def _deployment(self, developer_name: str) -> None:
        if developer_name != self._developer_name:
            raise Refused(400, bodies.NOT_API)

    def _still_open(self, conversation: Conversation) -> None:
        if conversation.closed_ms:
            raise Refused(403, "The conversation is closed")

    def _holds_open(self, holder: Holder) -> bool:
        return any(
            one.customer.subject == holder.subject and not one.closed_ms for one in self._desk.conversations.values()
        )

    def _mapped(self, opening: Opening) -> tuple[dict[str, str], list[str]]:
        """The attributes that reach the session, and the names of those that vanish."""
        switches = self._switches
        kept = {name: value for name, value in opening.attributes.items() if name in switches.mapped_attributes}
        for name, value in kept.items():
            if len(value) > switches.attribute_max_chars:
                if switches.over_long_attributes == "refuse":
                    raise Refused(400, f"routingAttributes.{name} is longer than {switches.attribute_max_chars}")
                kept[name] = value[: switches.attribute_max_chars]
        return kept, sorted(opening.attributes.keys() - kept.keys())

    def _admit(self, conversation: Conversation, sending: Sending) -> None:
        """Let a message in: the conversation is open, the limit keeps, and there is a session."""
        self._still_open(conversation)
        if self._switches.duplicate_messages == "refuse" and sending.id in conversation.identifiers:
            raise Refused(400, "A message with this id already exists")
        self._limit(conversation)
        opening = sending.opening
        if opening is not None:
            if conversation.has_session and self._switches.new_session_while_open == "ignore":
                return
            kept, dropped = self._mapped(opening)
            if conversation.has_session:
                self._desk.end_session(conversation, "EndUser")
            self._reopen(conversation, kept, dropped, opening.language)
        elif not conversation.has_session:
            if self._switches.prechat_every_session:
                raise Refused(417, "There is no active messaging session, and pre-chat is needed for a new one")
            self._reopen(conversation, {}, [], conversation.session.language)

    def _reopen(self, conversation: Conversation, kept: dict[str, str], dropped: list[str], language: str) -> None:
        conversation.dropped = sorted({*conversation.dropped, *dropped})
        self._desk.start_session(conversation, kept, language)

    def _limit(self, conversation: Conversation) -> None:
        arrivals, now = conversation.arrivals, self._desk.now()
        while arrivals and arrivals[0] <= now - _WINDOW_SECONDS:
            arrivals.popleft()
        if len(arrivals) >= self._switches.messages_per_minute:
            wait = self._switches.retry_after_seconds
            raise Refused(429, "Too many messages in this conversation", retry_after_seconds=wait)
        arrivals.append(now)

    def _take_text(self, conversation: Conversation, sending: Sending) -> Json:
        found = payloads.pieces(sending.text)
        # The text keeps the message's id; without a text it is the link, as something must carry it.
        bearer = next((place for place, (link, _) in enumerate(found) if not link), 0)
        for place, (link, words) in enumerate(found):
            identifier = sending.id if place == bearer else payloads.new_id()
            if link:
                payload = payloads.link(identifier, words, words, reply_to=sending.reply_to)
            else:
                payload = payloads.text(identifier, words, reply_to=sending.reply_to)
            self._desk.write(conversation, payload, conversation.customer)
        return self._taken(conversation, sending)

    def _take_file(self, conversation: Conversation, sending: Sending, stored: StoredFile) -> Json:
        payload = payloads.attachments(sending.id, sending.text or None, [stored])
        self._desk.write(conversation, payload, conversation.customer)
        return self._taken(conversation, sending)

    def _taken(self, conversation: Conversation, sending: Sending) -> Json:
        now = self._desk.now_ms()
        session = conversation.session
        conversation.received.append(Received(sending.id, sending.text, now, session.id, sending.file_id))
        conversation.customer_types = False
        if session.status == "Inactive":
            self._desk.route(conversation)
            self._desk.turn(conversation, "Waiting")
        return {"conversationEntries": [{"id": sending.id, "clientTimestamp": now}]}
