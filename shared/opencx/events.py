"""What OpenCX's webhooks lead to: a handoff is stored, a conversation is woken or ended. Each once, as an effect.

Facts: docs.open.cx, API reference, webhook types: ``{event, organization_id, data}``, where ``data`` is an object in
newer copies and an array in older ones; the fields of ``conversation.contact_response`` are shown nowhere, and are
taken to name the conversation as all others do.

What holds, whatever is delivered how often::

    verify ─▶ known? ─yes─▶ done (401 when it says something else now)
                 │no
                 ▼
              effect: durable, and harmless to repeat ─▶ remember ─▶ done

* A delivery is remembered after its effect. One whose effect could not be written is answered 503, is not remembered,
  and does its work when OpenCX sends it again, with whatever time it is signed then.
* A delivery whose answer was lost, or that somebody has captured and sends again, finds itself remembered: it is
  answered as done, and has no effect. The two cannot be told apart, and need not be.
* With another body, id or time its signature does not hold. The same id, signed by OpenCX itself over another body, is
  refused: whatever it is, it is not the delivery that was handled.
* Between effect and memory a worker may die, and two deliveries of the same thing may come at once. Then the effect is
  had twice, which is why it must be harmless: a handoff's record is created once, and a wake-up is only a look.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared import events
from shared.config.clock import Clock
from shared.errors import FieldError, HandoffError, InvalidRequest, Unauthorized
from shared.handoff import request
from shared.handoff.fields import likely_moment
from shared.handoff.model import Handoff
from shared.handoff.record import Record
from shared.ledger import keys
from shared.opencx.webhook import Webhook
from shared.relay.model import ENDED, Conversation
from shared.relay.pace import LAST_WORDS_PUSHED

HANDED_OFF = "conversation.handoff_to_human"
CONTACT_WROTE = "conversation.contact_response"
CLOSED = "conversation.closed"

SECOND_AFTER = timedelta(minutes=10)
"""A session that is handed off so long after its handoff has ended is handed off a second time."""
CONVERSATION = "messaging_conversation"
"""Where a handoff has become one of these, it is the conversation's end that counts: it landed long before."""
END_TAKES = LAST_WORDS_PUSHED
"""From the end in the rep's system until a conversation is closed here, at most, while all goes well."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""By so much OpenCX's clock may be ahead of ours."""
TAKEN_OVER = "human_agent_decided_to_take_over"
"""The reason that OpenCX gives when a person takes a session over. A rep's first reply may be what has done so."""

_MOST_ITEMS = 1000
_LONGEST_ID = 128
_SAME_NAMES = ("summary", "reason", "language", "channel", "ticket_number", "session_url", "custom_data")


class Desk(Protocol):
    """Where handoffs are stored; `shared.handoff.desk.HandoffDesk`."""

    def store(self, handoff: Handoff, payload: bytes) -> Record:
        """Store it without trying, or find the one that is there. Raises LedgerUnavailable."""

    def is_under_way(self, handoff_id: str) -> bool:
        """Whether it is stored, and neither landed nor given up. Raises LedgerUnavailable."""


class Wake(Protocol):
    """What starts a stored handoff at once; `shared.relay.store.Wake`."""

    def handoff(self, key: str) -> None:
        """Go on with it now. May raise TransientFailure: the timer comes anyway."""


class Relay(Protocol):
    """What carries messages; `shared.relay.relay.Relay`. Every method may raise LedgerUnavailable."""

    def contact_wrote(self, session_id: str) -> int:
        """Look now. Returns how many conversations are open."""

    def closed(self, session_id: str, at: datetime | None) -> int:
        """End the rep's conversation. Returns how many are open.

        ``at``: when the session was closed, in UTC; one that was opened later goes on. None: that is not known.
        """

    def superseded(self, session_id: str) -> None:
        """A further handoff of the session is on its way: what is ending must not close the session."""

    def closed_early(self, session_id: str, at: datetime | None) -> None:
        """The session was closed while its handoff was on its way: what that becomes is ended at once."""

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """The conversation of a handoff, open or ended; None: there is none, or none is known any more."""


class Replays(Protocol):
    """What was handled already; `shared.ledger.replays.TableReplays`. Both may raise LedgerUnavailable."""

    def find(self, key: str) -> str | None:
        """The digest of the body that was handled under this key; None: nothing was."""

    def seen_before(self, key: str, until: datetime, *, body_digest: str) -> bool:
        """Remember that it was handled; whether that was known before."""


@dataclass(frozen=True)
class Fact:
    """One thing that an event says.

    Attributes:
        place: where it stands in the body, for error messages.
    """

    event: str
    session_id: str
    data: Mapping[str, Any]
    organization_id: str | None
    place: str


class OpenCXEvents:
    """Takes deliveries. ``relay`` is a function, for most events do not need it."""

    def __init__(
        self, *, webhook: Webhook, replays: Replays, desk: Desk, wake: Wake, relay: Callable[[], Relay], clock: Clock
    ) -> None:
        self._webhook = webhook
        self._replays = replays
        self._desk = desk
        self._wake = wake
        self._relay = relay
        self._clock = clock

    def check(self) -> None:
        """Raise ConfigurationFault or TransientFailure while deliveries cannot be verified."""
        self._webhook.check()

    def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Do what one delivery says; when this returns it is done, or stored durably.

        Raises:
            Unauthorized: it is not OpenCX's, not whole, not recent, or not what was handled under its id.
            InvalidRequest: it is OpenCX's, and not what its documentation says; the rest of it is done.
            LedgerUnavailable: it could not be stored; OpenCX must send it again.
            ConfigurationFault, TransientFailure: it cannot be verified now.
        """
        delivery = self._webhook.verify(headers, body)
        facts, wrong = _facts(request.parse_body(body))
        if facts:
            handled = self._replays.find(delivery.key)
            if handled is not None:
                if handled != delivery.body_digest:
                    message = "A webhook of this id was handled, and said something else."
                    raise Unauthorized(message, code="webhook_replayed")
                events.emit(events.WEBHOOK_REPEATED, kind=facts[0].event, session_id=facts[0].session_id)
                return
            for fact in facts:
                self._handle(fact)
            if not wrong:
                self._replays.seen_before(delivery.key, delivery.remember_until, body_digest=delivery.body_digest)
        if wrong:
            fields = ", ".join(detail.field for detail in wrong[:8])
            raise InvalidRequest(f"The event cannot be read: {fields}.", details=wrong)

    def _handle(self, fact: Fact) -> None:
        with events.scope(session_id=fact.session_id):
            if fact.event == CONTACT_WROTE:
                count = self._relay().contact_wrote(fact.session_id)
                events.emit(events.WEBHOOK_HANDLED, kind=fact.event, conversations=count)
            elif fact.event == CLOSED:
                at = likely_moment(fact.data.get("timestamp"))
                count = self._relay().closed(fact.session_id, at)
                if not count and self._desk.is_under_way(fact.session_id):
                    self._relay().closed_early(fact.session_id, at)
                events.emit(events.WEBHOOK_HANDLED, kind=fact.event, conversations=count)
            elif fact.data.get("was_handedoff_to_third_party") is True:
                # An integration of OpenCX's own has it: a second record would ring a second rep.
                events.emit(events.WEBHOOK_IGNORED, kind=fact.event, reason="third_party_has_it")
            elif count := self._relay().contact_wrote(fact.session_id):
                # A rep is there already, whatever the handoff's id was: a reason to look, not a second conversation.
                events.emit(events.WEBHOOK_HANDLED, kind=fact.event, conversations=count)
            else:
                self._handed_off(fact)

    def _handed_off(self, fact: Fact) -> None:
        data = payload_of(fact)
        record = self._store(data)
        if self._is_second(fact, record):
            at = likely_moment(fact.data.get("timestamp"))
            assert at is not None  # or it were no second one
            record = self._store({**data, "handoff_id": second_id(fact.session_id, at)})
            self._relay().superseded(fact.session_id)
        events.emit(events.WEBHOOK_HANDLED, kind=fact.event, handoff_id=record.handoff_id, state=record.state)
        if not record.is_terminal:
            try:
                self._wake.handoff(keys.digest(record.handoff_id))
            except HandoffError as failure:  # it is stored: the timer finds it
                events.emit(events.WAKE_LOST, code=failure.code, handoff_id=record.handoff_id)

    def _store(self, data: dict[str, Any]) -> Record:
        handoff, kept = _read(data)
        return self._desk.store(handoff, json.dumps(kept, allow_nan=False).encode())

    def _is_second(self, fact: Fact, record: Record) -> bool:
        """Whether the session had been handed off, that has ended or is about to, and this is a new handoff.

        A rep's reply takes the session over from the AI, which may be told to us as a handoff: that is none. Where the
        handoff has become a conversation, all that was told before its end belongs to it, and all after is new.
        """
        at = likely_moment(fact.data.get("timestamp"))
        if not record.is_terminal or at is None or fact.data.get("reason") == TAKEN_OVER:
            return False
        if record.outcome is not None and record.outcome.kind == CONVERSATION:
            conversation = self._relay().of_handoff(record.session_id, record.handoff_id)
            if conversation is not None:
                return _is_after_its_end(conversation, at)
        return at > (record.completed_at or record.updated_at) + SECOND_AFTER


def _is_after_its_end(conversation: Conversation, at: datetime) -> bool:
    """Whether what was told then was told after a conversation's end, by two clocks.

    A new wish that is taken for an old one leaves a customer waiting for nobody; the opposite rings a second rep.
    """
    if conversation.state != ENDED and not conversation.ending:
        return False
    if at <= conversation.opened_at + CLOCKS_DIFFER:
        return False  # it is what was answered by this conversation
    end = conversation.over_at or (conversation.ended_at and conversation.ended_at - END_TAKES)
    return end is None or at > end - CLOCKS_DIFFER


def payload_of(fact: Fact) -> dict[str, Any]:
    """What an event tells of a handoff, as a body of ``POST /api/handoff``; the rest is read at the attempt."""
    data = fact.data
    body: dict[str, Any] = {name: data[name] for name in _SAME_NAMES if data.get(name) is not None}
    body["session_id"] = fact.session_id
    for name, theirs in (("classification", "contact_reason"), ("sentiment", "user_sentiment")):
        if data.get(theirs) is not None:
            body[name] = data[theirs]
    if fact.organization_id:
        body["organization_id"] = fact.organization_id
    contact = data.get("contact")
    if isinstance(contact, Mapping):
        known = request.contact_of(contact)
        values = {"name": known.name, "email": known.email, "phone_number": known.phone, "verified": known.verified}
        body["contact"] = {name: value for name, value in values.items() if value is not None}
    return body


def second_id(session_id: str, at: datetime) -> str:
    """The id of a further handoff of a session: the same however often, and in whatever spelling, its time is told."""
    suffix = f"#{at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"
    whole = f"{session_id}{suffix}"
    return whole if len(whole) <= _LONGEST_ID else f"{keys.digest(session_id)[:32]}{suffix}"


def _read(data: dict[str, Any]) -> tuple[Handoff, dict[str, Any]]:
    """The handoff, and what is stored of it: what is malformed is left out, for nobody can correct it at OpenCX."""
    try:
        return request.parse(data, channel_may_be_read=True), data
    except InvalidRequest as error:
        wrong = {detail.field.partition(".")[0] for detail in error.details} - {"session_id", "handoff_id"}
        kept = {name: value for name, value in data.items() if name not in wrong}
        if len(kept) == len(data):
            raise
        return request.parse(kept, channel_may_be_read=True), kept


def _facts(body: Mapping[str, Any]) -> tuple[list[Fact], tuple[FieldError, ...]]:
    """What an envelope says that concerns us, and what of it cannot be read; an unknown event says nothing."""
    event = body.get("event")
    if not isinstance(event, str):
        return [], (FieldError("event", "must be text"),)
    if event not in (HANDED_OFF, CONTACT_WROTE, CLOSED):
        return [], ()
    data = body.get("data")
    items = data if isinstance(data, list) else [data]
    if not items:
        return [], (FieldError("data", "is empty"),)
    if len(items) > _MOST_ITEMS:
        return [], (FieldError("data", f"has more than {_MOST_ITEMS} items"),)
    organization = body.get("organization_id")
    facts, wrong = [], []
    for number, item in enumerate(items):
        place = f"data.{number}" if isinstance(data, list) else "data"
        if not isinstance(item, dict):
            wrong.append(FieldError(place, "must be an object"))
            continue
        session_id = _session_id({**body, **item})
        if session_id is None:
            wrong.append(FieldError(f"{place}.conversation_id", "must be 1 to 128 printable characters"))
            continue
        facts.append(Fact(event, session_id, item, organization if isinstance(organization, str) else None, place))
    return facts, tuple(wrong)


def _session_id(item: Mapping[str, Any]) -> str | None:
    for name in ("conversation_id", "session_id"):
        value = item.get(name)
        if isinstance(value, str) and value.strip():
            value = value.strip()
            fits = len(value) <= _LONGEST_ID and value.isprintable() and value not in (".", "..")
            return value if fits else None
    return None
