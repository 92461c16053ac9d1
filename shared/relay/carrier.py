"""Carries one conversation's messages both ways: in order, each once.

Each send is claimed before it is made, by a conditional write of the conversation::

    claim ─▶ send ─▶ seen (written together with the next claim)

A worker that dies leaves its claim. When the claim is over, the next worker asks the other side whether the message is
there: what is there is seen, what is not is sent again. While a claim is held nobody else sends anything in this
conversation, so the order stands too.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import ConfigurationFault, ConversationEnded, PermanentFailure, TransientFailure
from shared.relay import cursor, pace
from shared.relay.model import (
    JOINED,
    LEFT,
    MESSAGE,
    OVER,
    TO_CUSTOMER,
    TO_REP,
    UNANSWERED,
    Claim,
    Conversation,
    CustomerMessage,
    CustomerSide,
    File,
    RepEntry,
    RepSide,
)
from shared.relay.store import Conversations

SEND_SECONDS = 10.0
CLAIM_LASTS = timedelta(seconds=20)
"""Longer than a send can take: when it is over, nobody is sending any more."""
SETTLES_AFTER = timedelta(seconds=3)
"""After an answer that leaves it open whether a message has arrived, how long to wait before looking."""
ENDS_AFTER = timedelta(seconds=10)
"""The same where there was no answer: the other side may still be at it."""
CONFIGURATION_WAIT_SECONDS = 30.0
CLOSING_TRIES = 10
FORGOTTEN_AFTER = timedelta(days=30)
REP, CUSTOMER, SILENCE, SHUT_OUT = "rep", "customer", "silence", "shut_out"
UNREACHABLE = "unreachable"
REFUSED = "!"
"""Before a text's digest in ``Conversation.said``: how often OpenCX has refused it for good."""


class Taken(Exception):
    """Another worker has the conversation."""


@dataclass(frozen=True)
class Options:
    """How the relay behaves.

    Attributes:
        relays_automated: whether what the rep's system writes by itself is carried to the customer.
        closes_session: whether OpenCX's session is closed when the rep ends the conversation.
        ends_conversation: whether the rep's conversation is ended when OpenCX's session is closed.
        contact_poll: how often OpenCX's history is read without a webhook.
    """

    relays_automated: bool = False
    closes_session: bool = True
    ends_conversation: bool = True
    contact_poll: timedelta = timedelta(minutes=5)


class Carrier:
    """Takes one conversation one step further. Two of them at one conversation are harmless."""

    def __init__(
        self,
        *,
        conversations: Conversations,
        sides: Callable[[str], RepSide],
        customer: Callable[[], CustomerSide],
        options: Options,
        clock: Clock,
    ) -> None:
        self._conversations = conversations
        self._sides = sides
        self._customer = customer
        self._options = options
        self._clock = clock

    def step(self, conversation: Conversation) -> Conversation | None:
        """Carry what there is to carry, and say when to look next.

        Returns:
            The conversation as it is stored now; None when it has ended, or another worker has it.

        Raises:
            LedgerUnavailable: nothing can be written; the timer comes back.
        """
        with events.scope(
            handoff_id=conversation.handoff_id, session_id=conversation.session_id, system=conversation.system
        ):
            try:
                return _Step(self, conversation).run()
            except Taken:
                return None

    def _later(
        self, conversation: Conversation, failure: TransientFailure | ConfigurationFault | PermanentFailure
    ) -> Conversation:
        failures = conversation.failures + 1
        asked = failure.retry_after_seconds if isinstance(failure, TransientFailure) else CONFIGURATION_WAIT_SECONDS
        next_at = self._clock.now() + pace.retry_wait(failures, at_least_seconds=asked)
        if conversation.claim is not None:
            next_at = max(next_at, conversation.claim.until)
        events.emit(events.RELAY_WAITING, code=failure.code, failures=failures)
        return replace(conversation, failures=failures, next_at=next_at, error_code=failure.code)


class _Step:
    """One step: the conversation as it is known so far, and what is stored of it."""

    def __init__(self, carrier: Carrier, conversation: Conversation) -> None:
        self._conversations = carrier._conversations
        self._options = carrier._options
        self._clock = carrier._clock
        self._later = carrier._later
        self._sides, self._make_customer = carrier._sides, carrier._customer
        self._stored = self.now = conversation

    def run(self) -> Conversation | None:
        """See `Carrier.step`."""
        claim = self.now.claim
        if claim is not None and self._clock.now() < claim.until:
            raise Taken
        polls = True
        try:
            side = self._sides(self.now.system)
            polls = side.polls
            self._carry(side, self._make_customer())
            if self.now.failures:
                self.now = replace(self.now, failures=0, error_code="")
        except (TransientFailure, ConfigurationFault, PermanentFailure) as failure:
            self.now = self._later(self.now, failure)
            return self._written()
        if self.now.ending:
            self._end()
            return None
        now = self._clock.now()
        if now - (self.now.active_at or self.now.opened_at) > FORGOTTEN_AFTER:
            self.now = replace(self.now, ending=SILENCE)
            self._end()
            return None
        look = pace.next_look(self.now, polls=polls, now=now)
        if self._stored.next_at is None or look > now or self._stored.next_at > now:
            self.now = replace(self.now, next_at=look)
        return self._written()

    def _carry(self, side: RepSide, customer: CustomerSide) -> None:
        is_over = False
        try:
            pushed, entries = self._entries(side)
        except ConversationEnded as ended:
            pushed, entries, is_over = [], [], True
            if ended.is_shut_out:
                events.emit(events.RELAY_REFUSED, code=ended.code, direction=TO_CUSTOMER)
                self.now = replace(self.now, ending=SHUT_OUT, error_code=ended.code)
                return
        if self.now.claim is not None and self.now.claim.direction == TO_REP:
            is_over = self._to_rep(side, customer) or is_over
        self._to_customer(entries, pushed, customer)
        is_over = is_over or any(entry.kind == OVER for entry in entries)
        if not is_over:
            is_over = self._to_rep(side, customer)
        if is_over and self.now.ending not in (CUSTOMER, SHUT_OUT):
            self.now = replace(self.now, ending=REP)
            self._write()  # closing comes back as a webhook, which must not be taken for the customer's doing
        if self.now.ending == REP and self._options.closes_session:
            self._close(lambda: customer.close(self.now, deadline=self._deadline()))
        elif self.now.ending == CUSTOMER and not is_over and self._options.ends_conversation:
            self._close(lambda: side.end(self.now, deadline=self._deadline()))

    def _entries(self, side: RepSide) -> tuple[list[RepEntry], list[RepEntry]]:
        """What waits in the inbox, and all that is new, in order."""
        pushed = [] if side.polls else self._conversations.inbox(self.now)
        found: list[RepEntry] = []
        if pushed:
            found += side.arrange(self.now, pushed, deadline=self._deadline())
        if side.polls:
            asked = cursor.since(self.now.rep_cursor or self.now.opened_at)
            found += side.entries(self.now, since=asked, deadline=self._deadline())
        elif not pushed and self._sweep_is_due():
            since = cursor.since(self.now.opened_at)
            found += self._missed(side.entries(self.now, since=since, deadline=self._deadline()))
            self.now = replace(self.now, swept_at=self._clock.now())
        fresh: dict[str, RepEntry] = {}
        for entry in found:
            if not cursor.is_seen(self.now.rep_seen, entry.delivery):
                fresh.setdefault(entry.delivery, entry)
        return pushed, list(fresh.values())

    def _sweep_is_due(self) -> bool:
        swept_at = self.now.swept_at
        return swept_at is None or self._clock.now() - swept_at >= pace.SWEEP

    def _missed(self, entries: Sequence[RepEntry]) -> list[RepEntry]:
        """What no push has brought: a pushed message may carry another id than a listed one, so texts are counted."""
        times: dict[str, int] = {}
        missed = []
        for entry in entries:
            if entry.kind == MESSAGE:
                text = cursor.short(entry_text(entry))
                times[text] = times.get(text, 0) + 1
                if times[text] <= self.now.said.get(text, 0) + self.now.said.get(REFUSED + text, 0):
                    continue
            missed.append(entry)
        return missed

    def _to_customer(self, entries: Sequence[RepEntry], pushed: Sequence[RepEntry], customer: CustomerSide) -> None:
        claim = self.now.claim
        if claim is not None and claim.direction == TO_CUSTOMER:
            entry = next((each for each in entries if each.delivery == claim.message_id), None)
            if entry is None:  # it was seen by another way, or is no more: nothing to settle
                self.now = replace(self.now, claim=None)
            else:
                count = customer.count_said(self.now, entry, deadline=self._deadline())
                if count > self.now.said.get(cursor.short(entry_text(entry)), 0):
                    self._said(entry)
                self.now = replace(self.now, claim=None)
        for entry in entries:
            if cursor.is_seen(self.now.rep_seen, entry.delivery):
                continue
            if entry.kind == MESSAGE and (self._options.relays_automated or not entry.is_automated):
                self._say(entry, customer)
            else:
                self._note(entry)
        if pushed:
            self._write()  # what leaves the inbox must be known to be handled
            self._conversations.drop(self.now, pushed)

    def _say(self, entry: RepEntry, customer: CustomerSide) -> None:
        def send() -> None:
            customer.say(self.now, entry, deadline=self._deadline())

        if self._send(TO_CUSTOMER, entry.delivery, send):
            self._said(entry)
        else:
            self.now = replace(self.now, said=_one_more(self.now.said, REFUSED + cursor.short(entry_text(entry))))
            self._see(entry)

    def _said(self, entry: RepEntry) -> None:
        said = _one_more(self.now.said, cursor.short(entry_text(entry)))
        now = self._clock.now()
        self.now = replace(
            self.now, said=said, to_customer=self.now.to_customer + 1, active_at=now, has_rep=True, claim=None
        )
        self._see(entry)
        events.emit(
            events.RELAY_SAID,
            entry_id=entry.id,
            seconds=round((now - entry.at).total_seconds(), 3),
            characters=len(entry.text),
            files=len(entry.files),
        )

    def _note(self, entry: RepEntry) -> None:
        """Something other than a message for the customer."""
        if entry.kind in (JOINED, LEFT):
            self.now = replace(self.now, has_rep=entry.kind == JOINED, active_at=self._clock.now())
        if entry.kind == LEFT:
            self.now = replace(self.now, swept_at=None)  # it may be the end: the system is asked
        if entry.kind == UNANSWERED:
            self.now = replace(self.now, error_code="nobody_can_take_it")
            events.emit(events.RELAY_UNANSWERED, entry_id=entry.id)
        self._see(entry)

    def _see(self, entry: RepEntry) -> None:
        handled = [(name, entry.at) for name in {entry.delivery, entry.id}]
        rep_cursor, seen = cursor.passed(self.now.rep_cursor, self.now.rep_seen, handled)
        self.now = replace(self.now, rep_cursor=rep_cursor, rep_seen=seen)

    def _to_rep(self, side: RepSide, customer: CustomerSide) -> bool:
        """Carry what the customer wrote; whether the rep's side says that the conversation is over."""
        claim = self.now.claim
        now = self._clock.now()
        if claim is None and self.now.contact_poll_at is not None and self.now.contact_poll_at > now:
            return False
        asked = cursor.since(self.now.contact_cursor or self.now.opened_at)
        messages = customer.messages(self.now, since=asked, deadline=self._deadline())
        try:
            if claim is not None:
                self._settle_to_rep(claim, messages, side)
            for message in messages:
                if self._is_new(message):
                    self._send_to_rep(message, side)
        except ConversationEnded as ended:
            events.emit(events.RELAY_REFUSED, code=ended.code, direction=TO_REP)
            self.now = replace(self.now, claim=None, undelivered=self.now.undelivered + 1, error_code=ended.code)
            if ended.is_shut_out:
                self.now = replace(self.now, ending=SHUT_OUT)
            return True
        self.now = replace(self.now, contact_poll_at=now + self._options.contact_poll)
        return False

    def _settle_to_rep(self, claim: Claim, messages: Sequence[CustomerMessage], side: RepSide) -> None:
        message = next((each for each in messages if each.id == claim.message_id), None)
        if message is not None and side.has_sent(self.now, message, since=claim.at, deadline=self._deadline()):
            self._sent(message)
        self.now = replace(self.now, claim=None)

    def _send_to_rep(self, message: CustomerMessage, side: RepSide) -> None:
        def send() -> None:
            side.send(self.now, message, deadline=self._deadline())

        if self._send(TO_REP, message.id, send):
            self._sent(message)
        else:
            self._see_contact(message)

    def _sent(self, message: CustomerMessage) -> None:
        now = self._clock.now()
        self.now = replace(self.now, to_rep=self.now.to_rep + 1, active_at=now, claim=None)
        self._see_contact(message)
        seconds = round((now - message.at).total_seconds(), 3)
        events.emit(events.RELAY_SENT, entry_id=message.id, seconds=seconds, files=len(message.files))

    def _see_contact(self, message: CustomerMessage) -> None:
        contact_cursor, seen = cursor.passed(self.now.contact_cursor, self.now.contact_seen, [(message.id, message.at)])
        self.now = replace(self.now, contact_cursor=contact_cursor, contact_seen=seen)

    def _is_new(self, message: CustomerMessage) -> bool:
        """Whether it was written after what the handoff's transcript holds, and not carried yet."""
        if cursor.is_seen(self.now.contact_seen, message.id):
            return False
        start = self.now.details.get("transcript_end")
        return start is None or message.at > datetime.fromisoformat(start)

    def _send(self, direction: str, message_id: str, send: Callable[[], None]) -> bool:
        """Send one message under a claim; False when it is refused for good.

        Raises:
            TransientFailure: not now. The claim stays when the message may have arrived.
        """
        now = self._clock.now()
        claim = Claim(direction, message_id, token=uuid.uuid4().hex, at=now, until=now + CLAIM_LASTS)
        self.now = replace(self.now, claim=claim, next_at=claim.until)  # should this worker die, that is the time
        self._write()
        try:
            send()
        except TransientFailure as failure:
            settles_at = self._clock.now() + (ENDS_AFTER if failure.kind == UNREACHABLE else SETTLES_AFTER)
            self.now = replace(self.now, claim=replace(claim, until=settles_at) if failure.is_unclear else None)
            raise
        except ConfigurationFault:
            self.now = replace(self.now, claim=None)
            raise
        except PermanentFailure as failure:
            self.now = replace(self.now, claim=None, undelivered=self.now.undelivered + 1, error_code=failure.code)
            events.emit(events.RELAY_REFUSED, code=failure.code, direction=direction)
            return False
        self.now = replace(self.now, claim=None)
        return True

    def _close(self, close: Callable[[], None]) -> None:
        """Tell the other side that it is over; after many failures it is over without that."""
        try:
            close()
        except PermanentFailure as failure:
            events.emit(events.RELAY_REFUSED, code=failure.code, direction="close")
        except (TransientFailure, ConfigurationFault) as failure:
            if self.now.failures < CLOSING_TRIES:
                raise
            events.emit(events.RELAY_REFUSED, code=failure.code, direction="close")

    def _end(self) -> None:
        ended = replace(self.now, ended_at=self._clock.now())
        if not self._conversations.end(ended):
            raise Taken
        events.emit(
            events.RELAY_ENDED,
            ended_by=ended.ending,
            to_customer=ended.to_customer,
            to_rep=ended.to_rep,
            undelivered=ended.undelivered,
        )

    def _written(self) -> Conversation:
        """The conversation after the step, written if there is something to write."""
        if self.now != self._stored:
            self._write()
        return self.now

    def _write(self) -> None:
        if self.now == self._stored:
            return
        stored = self._conversations.change(self.now)
        if stored is None:
            raise Taken
        self._stored = self.now = stored

    def _deadline(self) -> float:
        return self._clock.monotonic() + SEND_SECONDS


def _one_more(counts: Mapping[str, int], name: str) -> dict[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}


def entry_text(entry: RepEntry) -> str:
    """What a message is compared by: its text and the names of its files."""
    return "\n".join([" ".join(entry.text.split()), *(named(file) for file in entry.files)])


def named(file: File) -> str:
    """A file's name, else its address."""
    return file.name or file.url or ""
