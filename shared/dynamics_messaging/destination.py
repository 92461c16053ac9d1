"""A chat as a real conversation: rings at a rep's desk through the Messaging APIs, exactly once.

Facts: Microsoft's page "Create conversation" of the Messaging APIs: while a conversation of a ``customerid`` is active,
a second create finds it, and takes nothing else of the call. So a create is repeated with the same body, and what the
first one may have left undone is looked up among the messages.
"""

from collections.abc import Callable
from typing import Any

from shared import events
from shared.dynamics_messaging import SYSTEM, names
from shared.dynamics_messaging.activity import AUTOMATED, OURS
from shared.dynamics_messaging.availability import Availability
from shared.dynamics_messaging.briefing import Briefing, briefing
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.people import HANDOFF_VARIABLE, Known, People
from shared.dynamics_messaging.settings import Messaging
from shared.errors import ConversationEnded, TransientFailure
from shared.handoff import document
from shared.handoff.model import Contact, Handoff, Notice, Outcome
from shared.handoff.text import cut, one_line, size
from shared.relay.model import HOME

KIND = "messaging_conversation"
ASSISTANT = "AI assistant (OpenCX)"
NAME_MAX, ADDRESS_MAX, SENDER_NAME_MAX = 200, 200, 256
VARIABLE_NAME_MAX, VARIABLE_MAX, MOST_VARIABLES = 100, 512, 100
PHONE_CHANNELS = ("sms", "whatsapp")
"""Where the phone number is what the customer writes from, not what somebody has typed."""


class MessagingDestination:
    """Makes sure that a chat's conversation stands, with everything that the rep must know.

    Implements `shared.handoff.attempt.Destination`, for web, SMS and WhatsApp; the caller sends incidents elsewhere.

    Args:
        client: the Messaging APIs.
        people: contacts and earlier conversations in Dataverse.
        settings: gives the channel rows; raises ConfigurationFault while a setting is wrong.
        availability: asked before a conversation is made.
        environment: scheme and host of the Dataverse environment, for ids and the record's address.
        monotonic: seconds that only grow, which deadlines are counted in.
        priority: DEFAULT_PRIORITY.
        notices: what was tolerated in the settings.
    """

    def __init__(
        self,
        client: MessagingClient,
        *,
        people: People,
        settings: Callable[[], Messaging],
        availability: Availability,
        environment: str,
        monotonic: Callable[[], float],
        priority: int | None = None,
        notices: tuple[Notice, ...] = (),
    ) -> None:
        self._client = client
        self._people = people
        self._settings = settings
        self._availability = availability
        self._environment = environment
        self._monotonic = monotonic
        self._priority = priority
        self._notices = notices

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Make the conversation, or find that it stands, and tell the rep what is not told yet. Safe to repeat.

        Raises:
            OutOfHours: DYNAMICS_AVAILABILITY wants an incident instead, and no conversation stands yet.
            TransientFailure, ConfigurationFault, PermanentFailure: see `shared.errors`.
        """
        channel = handoff.channel or ""
        channel_id = self._settings().channel_id(channel)
        known = self._people.find(handoff, deadline=deadline)
        if known.ended_id is not None:
            message = "A rep has ended the conversation of an earlier try already."
            return self._outcome(handoff, known.ended_id, channel_id, known, (Notice("conversation_ended", message),))
        variables, notices = context(handoff, priority=handoff.priority or self._priority)
        text = briefing(document.document(handoff, channel=channel), handoff_id=handoff.handoff_id)
        if known.open_id is not None:  # not created again: whether that finds one that is Waiting is not documented
            conversation_id, is_whole, told = known.open_id, False, None
        else:
            told = self._availability.check(variables, channel_id=channel_id, now=self._monotonic(), deadline=deadline)
            made = self._client.create(self._body(handoff, text, variables), channel_id=channel_id, deadline=deadline)
            conversation_id, is_whole = made.conversation_id, made.is_new and made.has_start
        self._brief(handoff, conversation_id, channel_id, text, is_whole=is_whole, deadline=deadline)
        return self._outcome(handoff, conversation_id, channel_id, known, (*notices, *((told,) if told else ())))

    def _body(self, handoff: Handoff, text: Briefing, variables: dict[str, str]) -> dict[str, Any]:
        """The create call; the same at every repeat of the same handoff."""
        return {
            "customercontext": _customer(handoff, links_by_phone=self._people.links_by_phone),
            "conversationcontext": {name: {"isDisplayable": True, "value": value} for name, value in variables.items()},
            "conversationrequestid": names.request_id(handoff.handoff_id, environment=self._environment),
            "startmessage": {"message": text.start, "displayname": ASSISTANT},
            "skipdeflectionbot": True,
        }

    def _brief(
        self,
        handoff: Handoff,
        conversation_id: str,
        channel_id: str,
        text: Briefing,
        *,
        is_whole: bool,
        deadline: float,
    ) -> None:
        """Send what the rep has not been told: after a first create the older messages, else what is not listed."""
        try:
            missing = list(text.parts)
            if not is_whole:
                listed = self._client.messages(conversation_id, channel_id=channel_id, deadline=deadline)
                missing = text.missing(str(each.get("text") or "") for each in listed)
                if missing:
                    events.emit(
                        events.DYNAMICS_MESSAGING_COMPLETED, conversation_id=conversation_id, parts=len(missing)
                    )
            for part in missing:
                activity = {
                    "type": "message",
                    "from": {"id": names.customer_id(handoff.handoff_id), "name": ASSISTANT},
                    "text": part,
                    "channelData": {OURS: {"type": AUTOMATED}},
                }
                self._client.send(conversation_id, activity, channel_id=channel_id, deadline=deadline)
        except ConversationEnded as ended:
            # It was active a moment ago. The next try finds it among the ended ones, or starts another.
            raise TransientFailure(ended.message, code=ended.code, system="handoff", is_unclear=False) from None

    def _outcome(
        self, handoff: Handoff, conversation_id: str, channel_id: str, known: Known, notices: tuple[Notice, ...]
    ) -> Outcome:
        url = f"{self._environment}/main.aspx?etn=msdyn_ocliveworkitem&pagetype=entityrecord&id={conversation_id}"
        return Outcome(
            system=SYSTEM,
            kind=KIND,
            channel=handoff.channel or "",
            record_id=conversation_id,
            url=url,
            contact=known.contact,
            warnings=(*self._notices, *known.notices, *notices),
            relay={"channel_id": channel_id, "customer_name": _shown_name(handoff.contact), HOME: self._environment},
        )


def context(handoff: Handoff, *, priority: int | None = None) -> tuple[dict[str, str], tuple[Notice, ...]]:
    """The context variables of a handoff, and what was noticed while making them.

    Texts all; ``sessionId`` and ``channel`` first, so that nothing can crowd them out. A name holds 100 characters, a
    value 512 (msdyn_ocliveworkitemcontextitem.msdyn_value), a conversation 100 variables.
    """
    channel = handoff.channel or ""
    known = {
        **document.context(handoff, channel=channel),
        HANDOFF_VARIABLE: handoff.handoff_id,
        **({"priority": str(priority)} if priority else {}),
        **({"summary": cut(one_line(handoff.summary), VARIABLE_MAX)} if handoff.summary else {}),
    }
    for name, value in handoff.custom_data.items():
        plain = str(value).lower() if isinstance(value, bool) else value
        if isinstance(plain, str | int | float) and one_line(str(plain)) and name not in known:
            known[cut(one_line(name), VARIABLE_NAME_MAX)] = one_line(str(plain))
    shortened = [name for name, value in known.items() if size(value) > VARIABLE_MAX]
    notices: tuple[Notice, ...] = ()
    if shortened:
        message = f"Context variables longer than {VARIABLE_MAX} characters were cut: {', '.join(shortened[:10])}."
        notices = (Notice("context_shortened", message),)
    if len(known) > MOST_VARIABLES:
        message = (
            f"A conversation holds {MOST_VARIABLES} context variables; {len(known) - MOST_VARIABLES} are left out."
        )
        notices = (*notices, Notice("context_dropped", message))
    kept = list(known.items())[:MOST_VARIABLES]
    return {name: cut(value, VARIABLE_MAX) for name, value in kept if name}, (*notices, *_homeless(handoff))


def _homeless(handoff: Handoff) -> tuple[Notice, ...]:
    """What a conversation has no place for: its channel row decides the workstream, and routing rules the queue."""
    asked = {
        "owner_id": handoff.owner_id,
        "queue_id": handoff.queue_id,
        "workstream_id": handoff.workstream_id,
        "ticket_properties": handoff.ticket_properties,
    }
    ignored = [name for name, value in asked.items() if value]
    if not ignored:
        return ()
    message = f"A conversation has no place for {', '.join(ignored)}: its channel and routing rules decide."
    return (Notice("not_for_chats", message),)


def _customer(handoff: Handoff, *, links_by_phone: bool) -> dict[str, str]:
    """Who the customer is; only what may link a contact is told as e-mail and phone.

    Dynamics links whom it finds by either, so an address that nobody has verified is in the text alone.
    """
    contact = handoff.contact
    is_trusted = contact.verified is not False
    email = contact.email if is_trusted else None
    is_own = handoff.channel in PHONE_CHANNELS
    phone = contact.phone if is_own or (is_trusted and links_by_phone) else None
    first, last = _names(contact)
    known = {
        "customerid": names.customer_id(handoff.handoff_id),
        "firstname": first,
        "lastname": last,
        "preferredname": _shown_name(contact),
        "email": email if email and size(email) <= ADDRESS_MAX else None,
        "phonenumber": phone if phone and size(phone) <= ADDRESS_MAX else None,
    }
    return {name: value for name, value in known.items() if value}


def _names(contact: Contact) -> tuple[str, str]:
    words = one_line(contact.name or "").split(" ")
    return cut(" ".join(words[:-1]), NAME_MAX), cut(words[-1], NAME_MAX)


def _shown_name(contact: Contact) -> str:
    """What the rep sees as the customer's name."""
    known = one_line(contact.name or contact.email or contact.phone or "")
    return cut(known, NAME_MAX) or "Customer"
