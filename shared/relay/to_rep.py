"""From the customer to the rep: what was written after the handoff, in order, each message once."""

from collections.abc import Sequence
from datetime import timedelta

from shared import events
from shared.errors import TransientFailure
from shared.relay import cursor, transcript
from shared.relay.held import Held
from shared.relay.model import TO_REP, CustomerMessage, CustomerSide, RepSide

PEEKS = (timedelta(seconds=2), timedelta(seconds=5), timedelta(seconds=15))
"""When to look again after a webhook whose message is not in the history yet."""


class ToRep:
    """One direction of one step.

    Args:
        poll: how long until the history is read again, when nobody says that something was written.
    """

    def __init__(self, held: Held, *, side: RepSide, customer: CustomerSide, poll: timedelta) -> None:
        self._held = held
        self._side = side
        self._customer = customer
        self._poll = poll
        self._messages: Sequence[CustomerMessage] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the history is to be read now."""
        look = self._held.now.contact_poll_at
        return look is None or look <= self._held.time()

    def settle(self) -> None:
        """Find out whether the message of an old claim has arrived. Raises ConversationEnded."""
        held = self._held
        claim = held.now.claim
        if claim is None or claim.direction != TO_REP:
            return
        message = next((each for each in self._read() if each.id == claim.message_id), None)
        if message is not None and self._side.has_sent(held.now, message, since=claim.at, deadline=held.deadline()):
            self._sent(message)
        held.set(claim=None)

    def carry(self) -> None:
        """Carry what is new. Raises ConversationEnded, TransientFailure, ConfigurationFault: the rest waits."""
        held = self._held
        if self._messages is None and not self.is_due:
            return
        peeks = held.now.peeks
        try:
            new = [each for each in self._read() if self._is_new(each)]
        except TransientFailure:
            if peeks:  # somebody has written: it is not left to the next poll
                raise
            # Nobody says so: a busy OpenCX is asked again when it is due, not ever sooner by all conversations.
            held.set(contact_poll_at=held.time() + self._poll)
            return
        for message in new:
            self._send(message)
        if peeks and not new and peeks <= len(PEEKS):
            held.set(contact_poll_at=held.time() + PEEKS[peeks - 1], peeks=peeks + 1)
        else:
            held.set(contact_poll_at=held.time() + self._poll, peeks=0)

    def _read(self) -> Sequence[CustomerMessage]:
        if self._messages is None:
            held = self._held
            asked = cursor.since(held.now.contact_cursor or held.now.opened_at, held.now.contact_seen)
            found = self._customer.messages(held.now, since=asked, deadline=held.deadline())
            # Sorted out before anything is settled: that moves the cursor, and with it old ids are forgotten.
            self._messages = [each for each in found if self._is_new(each)]
        return self._messages

    def _send(self, message: CustomerMessage) -> None:
        held = self._held

        def send() -> None:
            self._side.send(held.now, message, deadline=held.deadline())

        if held.send(TO_REP, message.id, send):
            self._sent(message)
        else:
            self._see(message)

    def _sent(self, message: CustomerMessage) -> None:
        held = self._held
        now = held.time()
        held.set(to_rep=held.now.to_rep + 1, active_at=now, claim=None)
        self._see(message)
        seconds = round((now - message.at).total_seconds(), 3)
        events.emit(events.RELAY_SENT, entry_id=message.id, seconds=seconds, files=len(message.files))

    def _see(self, message: CustomerMessage) -> None:
        held = self._held
        handled = [(message.id, message.at)]
        contact_cursor, seen = cursor.passed(held.now.contact_cursor, held.now.contact_seen, handled, now=held.time())
        held.set(contact_cursor=contact_cursor, contact_seen=seen)

    def _is_new(self, message: CustomerMessage) -> bool:
        """Whether it was written after what the handoff's transcript holds, and not carried yet."""
        if cursor.is_seen(self._held.now.contact_seen, message.id):
            return False
        return transcript.is_after(self._held.now.details, message)
