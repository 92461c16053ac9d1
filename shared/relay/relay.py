"""The relay as the doors and the handoff see it: a conversation opens, somebody writes, somebody closes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import TransientFailure
from shared.handoff.model import Handoff, Outcome
from shared.relay import pace, transcript
from shared.relay.carrier import CUSTOMER
from shared.relay.lanes import Lanes
from shared.relay.model import ENDED, KEEPS_SESSION, Conversation, RepEntry, lane_of
from shared.relay.store import Closings, Conversations, Wake

CLOCKS_DIFFER = timedelta(seconds=5)
"""How far OpenCX's clock may be behind ours, when it says when a session was closed."""


class Relay:
    """Opens conversations, and wakes them when something has come for them."""

    def __init__(
        self, *, conversations: Conversations, closings: Closings, lanes: Lanes, wake: Wake, clock: Clock
    ) -> None:
        self._conversations = conversations
        self._closings = closings
        self._lanes = lanes
        self._wake = wake
        self._clock = clock

    def open(self, handoff: Handoff, outcome: Outcome, *, accepted_at: datetime) -> Conversation:
        """A handoff has become a conversation: from now on its messages are carried. Safe to repeat.

        Args:
            handoff: with the transcript that the rep was given.
            outcome: where the conversation is.
            accepted_at: when the handoff was asked for; a transcript without times ends then.

        Raises:
            LedgerUnavailable: it could not be stored.
        """
        now = self._clock.now()
        times = [turn.at for turn in handoff.transcript or () if turn.at is not None]
        details = dict(outcome.relay)
        # What the customer wrote after the transcript is carried, also what came before this moment. A transcript that
        # ends in the future has wrong times: better a message twice than a customer who is not heard.
        newest = max(times, default=accepted_at)
        transcript_end = (newest if newest <= now else accepted_at) if handoff.transcript else None
        if transcript_end:
            details |= transcript.details(handoff.transcript or (), transcript_end)
        conversation = self._conversations.open(
            Conversation(
                handoff_id=handoff.handoff_id,
                session_id=handoff.session_id,
                system=outcome.system,
                conversation_id=outcome.record_id,
                channel=outcome.channel,
                opened_at=now,
                details=details,
                accepted_at=min(accepted_at, now),
                contact_cursor=transcript_end or accepted_at,
                next_at=now,
                contact_poll_at=now,
            )
        )
        closed_at = self._closings.find(handoff.session_id)
        if closed_at is not None and closed_at > accepted_at - CLOCKS_DIFFER:  # while the handoff was on its way
            self.closed(handoff.session_id)
        if not conversation.ending:
            events.emit(events.RELAY_OPENED, system=conversation.system, conversation_id=conversation.conversation_id)
            self._lanes.nudge(lane_of(handoff.session_id), by=now + pace.WAITING)
        return conversation

    def contact_wrote(self, session_id: str) -> int:
        """The customer has written: look now. Returns how many conversations go on; one that is ending does not."""
        now = self._clock.now()
        found = self._touch(session_id, lambda known: replace(known, contact_poll_at=now, next_at=now, peeks=1))
        return sum(not one.ending for one in found)

    def superseded(self, session_id: str) -> None:
        """A further handoff of the session is on its way: what is ending must not close the session."""

        def keep(known: Conversation) -> Conversation:
            if not known.ending or KEEPS_SESSION in known.details:
                return known
            return replace(known, details={**known.details, KEEPS_SESSION: "true"})

        self._touch(session_id, keep)

    def closed(self, session_id: str, at: datetime | None = None) -> int:
        """OpenCX's session was closed: carry what is left, and end the rep's conversation.

        A conversation that was opened after ``at``, the time of the closing, is not meant: the event came late.
        """
        now = self._clock.now()

        def end(known: Conversation) -> Conversation:
            if known.ending or (at is not None and at < known.opened_at - CLOCKS_DIFFER):
                return known  # our own closing comes back; or another conversation's, late
            return replace(known, ending=CUSTOMER, contact_poll_at=now, next_at=now)

        return len(self._touch(session_id, end))

    def closed_early(self, session_id: str, at: datetime | None) -> None:
        """The session was closed while its handoff was on its way: what that becomes is ended at once."""
        self._closings.note(session_id, at or self._clock.now())
        self.closed(session_id, at)  # it may have been opened in between

    def pushed(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """The rep's system has pushed something: it is stored when this returns."""
        self._conversations.push(conversation, entries)
        self._awake(conversation.key)

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """The open conversation with that id of the system's."""
        return self._conversations.find(system, conversation_id)

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """Whether there was a conversation with that id of the system's, which has ended."""
        return self._conversations.has_ended(system, conversation_id)

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """The conversation of a handoff, open or ended."""
        return self._conversations.of_handoff(session_id, handoff_id)

    def has_ended_of(self, session_id: str, handoff_id: str) -> bool:
        """Whether the conversation of a handoff is over; one that is not known is not."""
        known = self.of_handoff(session_id, handoff_id)
        return known is not None and known.state == ENDED

    def _touch(self, session_id: str, change: Callable[[Conversation], Conversation]) -> list[Conversation]:
        found = self._conversations.of_session(session_id)
        for conversation in found:
            known: Conversation | None = conversation
            while known is not None and (changed := change(known)) is not known:
                if self._conversations.change(changed) is not None:
                    self._awake(conversation.key)
                    break
                known = self._conversations.get(known.key)  # a step was quicker; None: it has ended
        return found

    def _awake(self, key: str) -> None:
        try:
            self._wake.conversation(key)
        except TransientFailure as failure:  # it is stored: the lane or the timer finds it
            events.emit(events.WAKE_LOST, code=failure.code)
