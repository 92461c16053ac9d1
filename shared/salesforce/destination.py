"""Salesforce as a destination: one conversation a handoff, with the transcript in it, however often it is tried."""

import json
from collections.abc import Callable
from dataclasses import replace

from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.handoff import document
from shared.handoff.document import Document
from shared.handoff.model import CUSTOMER as SAID_BY_CUSTOMER
from shared.handoff.model import Attachment, Handoff, Notice, Outcome
from shared.handoff.phone import e164
from shared.relay.model import HOME
from shared.salesforce import CONVERSATION, EMAIL, SYSTEM, parts
from shared.salesforce.attributes import attributes, lasting
from shared.salesforce.client import SalesforceClient, Session
from shared.salesforce.delivery import Delivery
from shared.salesforce.files import Fetch, fetch_deadline
from shared.salesforce.ids import derived, digest
from shared.salesforce.parts import Part
from shared.salesforce.settings import CUSTOMER, Access
from shared.salesforce.token import TokenSource

MOST_FILES = 5
MESSAGES_A_MINUTE = 22
"""Into one conversation (reference: limits); files count, as far as is known."""
FILE_SECONDS = 4.0
"""With less than this left of the budget no file is begun: text comes first."""

EMAIL_MAX = 254
"""The longest address (RFC 5321)."""

_KNOWN_BY_PHONE = frozenset({"sms", "whatsapp", "phone"})


class SalesforceDestination:
    """Makes sure that a handoff's conversation stands in one org. Implements `shared.handoff.attempt.Destination`.

    Args:
        client: calls the org.
        tokens: says who the customer is there.
        access: names the deployment and the attributes.
        fetch: fetches what the customer has sent before; None: nothing is fetched.
        monotonic: seconds that only grow, which deadlines are counted in.
    """

    def __init__(
        self,
        client: SalesforceClient,
        *,
        tokens: TokenSource,
        access: Access,
        fetch: Fetch | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._access = access
        self._fetch = fetch
        self._monotonic = monotonic

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Begin the conversation and write the handoff into it, or go on where an earlier try was cut off."""
        channel = handoff.channel or ""
        if channel == "email":
            raise ConfigurationFault(
                "E-mail conversations cannot go to Salesforce: its messaging has no e-mail channel.",
                code="salesforce_email_not_available",
                system=EMAIL,
                fix='Set "email": "dynamics365" in HANDOFF_ROUTES, and send no other target with the request.',
            )
        subject = subject_of(handoff, self._access, channel=channel)
        own_id = derived(self._access.org_id, self._access.developer_name, handoff.handoff_id)
        identity = self._tokens.identity(subject, guest_key=own_id, deadline=deadline)
        token = self._tokens.get(identity, deadline=deadline, begins=True)
        delivery = Delivery(
            client=self._client,
            # A guest with another token is another person, who needs a conversation of their own.
            conversation_id=derived(own_id, digest(token.value)) if identity.is_guest else own_id,
            identity=identity,
            session=Session(
                attributes(handoff, self._access, channel=channel, is_verified=not identity.is_guest),
                self._access.language,
            ),
            deadline=deadline,
            notices=[*self._access.notices],
        )
        if identity.is_guest and (self._access.issuer or self._access.key_id):
            message = "SALESFORCE_PRIVATE_KEY is not set: Salesforce knows the customer as a guest only."
            delivery.notices.append(Notice("salesforce_unverified", message))
        try:
            self._begin(delivery)
            text = document.document(handoff, channel=channel)
            self._write(delivery, text, parts.label(handoff), token.max_file_bytes)
            self._write_files(delivery, handoff, token.max_file_bytes)
        except ConversationEnded as ended:
            _judge_end(delivery, ended)
        return self._outcome(delivery, channel)

    def _begin(self, delivery: Delivery) -> None:
        """Make sure that the conversation is there; attributes that are refused are left out."""
        everything = delivery.session
        session_name = self._access.attributes.get("sessionId", "")
        only = {name: value for name, value in everything.attributes.items() if name == session_name}
        tries = [everything, replace(everything, attributes=only), replace(everything, attributes={})]
        while True:
            session = tries.pop(0)
            try:
                is_new = self._client.create(
                    delivery.conversation_id, session, identity=delivery.identity, deadline=delivery.deadline
                )
                break
            except PermanentFailure:
                if not session.attributes:
                    raise
        if session is not everything:
            message = "Salesforce refused the routing attributes: the conversation goes without them."
            delivery.notices.append(Notice("attributes_refused", message))
            delivery.session = session
        if not is_new:
            delivery.learn(
                self._client.entries(
                    delivery.conversation_id, identity=delivery.identity, kinds="Message", deadline=delivery.deadline
                )
            )

    def _write(self, delivery: Delivery, text: Document, label: str, max_file_bytes: int) -> None:
        """The handoff as messages; one that is too long for the chat as a file, with its newest part as messages."""
        messages = parts.whole(text, label) or self._long(delivery, text, label, max_file_bytes)
        taken = [delivery.send(part) for part in messages]
        if not any(taken):
            message = "Salesforce refuses every message of the handoff."
            raise PermanentFailure(message, code="salesforce_refused")

    def _long(self, delivery: Delivery, text: Document, label: str, max_file_bytes: int) -> list[Part]:
        count = len(text.turns)
        where = f"The transcript has {count} messages and is too long for the chat: only its newest part follows."
        cut = parts.newest(text, label, most=parts.MOST_PARTS, where=where)
        # An earlier try may have found that files are refused, and begun with the messages.
        if not any(delivery.has(part.name) for part in cut) and _upload(delivery, text, max_file_bytes):
            where = (
                f"The whole transcript ({count} messages) is attached as {parts.FILE_NAME}; its newest part follows."
            )
            return parts.newest(text, label, most=parts.NEWEST_PARTS + 1, where=where)
        message = "The transcript is too long for the chat, and files are refused: only its newest part is there."
        delivery.notices.append(Notice("transcript_truncated", message))
        return cut

    def _write_files(self, delivery: Delivery, handoff: Handoff, max_file_bytes: int) -> None:
        """What the customer has sent before, the newest files; a link to each is in the transcript all the same."""
        turns = [turn for turn in handoff.transcript or () if turn.role == SAID_BY_CUSTOMER]
        files = [file for turn in turns for file in turn.attachments if file.url]
        room = max(0, min(MOST_FILES, MESSAGES_A_MINUTE - delivery.sent))
        newest = list(enumerate(files))[max(0, len(files) - room) :]
        written = sum(self._write_file(delivery, file, number, max_file_bytes) for number, file in newest)
        if written < len(files):
            message = f"{len(files) - written} of the customer's {len(files)} files are not attached: links are there."
            delivery.notices.append(Notice("attachments_left_as_links", message))

    def _write_file(self, delivery: Delivery, file: Attachment, number: int, max_file_bytes: int) -> bool:
        slot = f"attachment:{number}:{digest(file.url or '')}"
        if delivery.has(slot):
            return True
        if self._fetch is None or delivery.deadline - self._monotonic() < FILE_SECONDS:
            return False
        try:
            ends = fetch_deadline(self._monotonic(), delivery.deadline)
            fetched = self._fetch(file.url or "", deadline=ends)
            if fetched is None or len(fetched.data) > max_file_bytes:
                return False
            delivery.send_file(slot, name=file.name or fetched.name, content=fetched.data)
        except HandoffError:
            return False  # the text has landed, and the link is in it
        return True

    def _outcome(self, delivery: Delivery, channel: str) -> Outcome:
        kept = lasting(delivery.session.attributes, self._access)
        relay = {
            "subject": delivery.identity.subject,
            "attributes": json.dumps(kept, ensure_ascii=False),
            "language": delivery.session.language,
            HOME: self._access.home,
        }
        if delivery.identity.is_guest:
            relay["guest"] = "true"
        return Outcome(
            system=SYSTEM,
            kind="messaging_conversation",
            channel=channel,
            record_id=delivery.conversation_id,
            warnings=tuple(delivery.notices),
            relay=relay,
        )


def subject_of(handoff: Handoff, access: Access, *, channel: str) -> str:
    """Who the customer is to Salesforce: this session; or, where the setting says so, who they are known to be.

    A phone number is proven by the channel that it comes from; an e-mail address only by a verified contact.
    """
    contact = handoff.contact
    if access.subject == CUSTOMER:
        if channel in _KNOWN_BY_PHONE and contact.phone and e164(contact.phone):
            return contact.phone
        if contact.verified is True and contact.email and len(contact.email) <= EMAIL_MAX:
            return contact.email
    return f"session:{handoff.session_id}"


def _upload(delivery: Delivery, text: Document, max_file_bytes: int) -> bool:
    """The whole text as files; False when the channel refuses them."""
    for number, (name, content) in enumerate(parts.text_files(text, limit_bytes=max_file_bytes), 1):
        try:
            delivery.send_file(f"file:{number}:{digest(content)}", name=name, content=content)
        except PermanentFailure:
            return False
    return True


def _judge_end(delivery: Delivery, ended: ConversationEnded) -> None:
    """The conversation takes no more, while the handoff was written into it.

    Raises:
        TransientFailure: another try can help.
        PermanentFailure: the rep has seen nothing, and never will.
    """
    if ended.code in ("salesforce_guest_expired", "salesforce_conversation_unknown"):
        # The next try is a new guest with a new conversation; or finds that Salesforce was only late.
        raise TransientFailure(
            ended.message, code=ended.code, system=CONVERSATION, kind="unavailable", is_unclear=False
        ) from ended
    if not delivery.has_arrived:
        message = f"Salesforce takes nothing into this handoff's conversation. {ended.message}"
        raise PermanentFailure(message, code="salesforce_conversation_refused") from ended
    message = "The conversation was ended before the whole handoff was in it."
    delivery.notices.append(Notice("transcript_incomplete", message))
