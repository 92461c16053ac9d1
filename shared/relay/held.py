"""A conversation while one worker takes it a step further: what is known, what is stored, and claims on its sends.

A webhook may touch the row at any time (`Relay.contact_wrote`, `Relay.closed`): only a few fields, which are merged
when this worker writes next. Any other change of the row is another worker's step, and this one stops.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.relay.model import Claim, Conversation
from shared.relay.store import Conversations

SEND_SECONDS = 10.0
CLAIM_LASTS = timedelta(seconds=20)
"""Longer than a send can take: when it is over, nobody is sending any more."""
CLAIM_MARGIN_SECONDS = 5.0
LONGEST_WRITE = timedelta(seconds=3)
"""A claim whose writing took longer is given back: what is left of it may be too short for the send."""
SETTLES_AFTER = timedelta(seconds=3)
"""After an answer that leaves it open whether a message has arrived, how long to wait before looking."""
ENDS_AFTER = timedelta(seconds=10)
"""The same where there was no answer: the other side may still be at it."""
GIVEN_UP_AFTER, GIVEN_UP_TRIES = timedelta(hours=2), 20
"""When one message that always fails, with answers, is counted as undelivered: it must not block the next for ever."""
UNREACHABLE, SERVER_ERROR = "unreachable", "server_error"


class Taken(Exception):
    """Another worker has the conversation."""


class Held:
    """The conversation in one worker's hands."""

    def __init__(self, conversation: Conversation, *, conversations: Conversations, clock: Clock) -> None:
        self._conversations = conversations
        self._clock = clock
        self._stored = self.now = conversation

    @property
    def stored(self) -> Conversation:
        """It as it is stored, as far as is known."""
        return self._stored

    def time(self) -> datetime:
        """The time of day."""
        return self._clock.now()

    def deadline(self) -> float:
        """By when a call of this step must be over, in monotonic seconds."""
        seconds = SEND_SECONDS
        if self.now.claim is not None:
            left = (self.now.claim.until - self._clock.now()).total_seconds() - CLAIM_MARGIN_SECONDS
            seconds = min(seconds, max(1.0, left)) if left > 0 else seconds
        return self._clock.monotonic() + seconds

    def set(self, **changes: object) -> None:
        """Know something new; it is stored with the next `write`."""
        self.now = replace(self.now, **changes)  # type: ignore[arg-type]

    def write(self) -> None:
        """Store what is new. Raises Taken when another worker was first."""
        while self.now != self._stored:
            stored = self._conversations.change(self.now)
            if stored is not None:
                self._stored = self.now = stored
                return
            self._merge()

    def end(self) -> None:
        """It has ended, for good. Raises Taken when another worker was first."""
        while True:
            ended = replace(self.now, ended_at=self._clock.now())
            if self._conversations.end(ended):
                break
            self._merge()
        events.emit(
            events.RELAY_ENDED,
            ended_by=ended.ending,
            to_customer=ended.to_customer,
            to_rep=ended.to_rep,
            undelivered=ended.undelivered,
        )

    def send(self, direction: str, message_id: str, send: Callable[[], None]) -> bool:
        """Send one message under a claim; False when it is refused for good, or given up.

        Raises:
            TransientFailure, ConfigurationFault: not now. The claim stays when the message may have arrived.
        """
        if self._is_given_up(message_id):
            self._refused(direction, code="message_given_up")
            return False
        now = self._clock.now()
        claim = Claim(direction, message_id, token=uuid.uuid4().hex, at=now, until=now + CLAIM_LASTS)
        self.set(claim=claim, next_at=claim.until)  # should this worker die, that is the time
        self.write()
        if self._clock.now() - now > LONGEST_WRITE:
            self.set(claim=None)
            message = "Table Storage is slow: what is left of the claim may be too short for a send."
            raise TransientFailure(message, code="ledger_slow", system="ledger", is_unclear=False)
        try:
            send()
        except TransientFailure as failure:
            self._failed(message_id, failure)
            settles_at = self._clock.now() + (ENDS_AFTER if failure.kind == UNREACHABLE else SETTLES_AFTER)
            self.set(claim=replace(claim, until=settles_at) if failure.is_unclear else None)
            raise
        except ConfigurationFault:
            self.set(claim=None)
            raise
        except PermanentFailure as failure:
            self._refused(direction, code=failure.code)
            return False
        self.set(claim=None, stuck_id="", stuck_tries=0, stuck_at=None)
        return True

    def _refused(self, direction: str, *, code: str) -> None:
        self.set(claim=None, undelivered=self.now.undelivered + 1, error_code=code, stuck_id="", stuck_tries=0)
        events.emit(events.RELAY_REFUSED, code=code, direction=direction)

    def _failed(self, message_id: str, failure: TransientFailure) -> None:
        """Count the tries of one message that get an answer, and a bad one."""
        if failure.kind != SERVER_ERROR:
            return
        is_same = self.now.stuck_id == message_id
        self.set(
            stuck_id=message_id,
            stuck_tries=self.now.stuck_tries + 1 if is_same else 1,
            stuck_at=self.now.stuck_at if is_same else self._clock.now(),
        )

    def _is_given_up(self, message_id: str) -> bool:
        known = self.now
        return (
            known.stuck_id == message_id
            and known.stuck_at is not None
            and known.stuck_tries >= GIVEN_UP_TRIES
            and self._clock.now() - known.stuck_at >= GIVEN_UP_AFTER
        )

    def _merge(self) -> None:
        """Take over what a webhook has touched meanwhile. Raises Taken when the change was another worker's."""
        before, current = self._stored, self._conversations.get(self.now.key)
        if current is None or _untouched(current) != _untouched(before):
            raise Taken
        changes: dict[str, object] = {"version": current.version, "ending": self.now.ending or current.ending}
        for name in ("contact_poll_at", "peeks"):
            if getattr(current, name) != getattr(before, name):
                changes[name] = getattr(current, name)
        if current.next_at != before.next_at and current.next_at is not None and self.now.next_at is not None:
            changes["next_at"] = min(current.next_at, self.now.next_at)
        self._stored = current
        self.set(**changes)


def _untouched(conversation: Conversation) -> Conversation:
    """Without what webhooks touch."""
    return replace(conversation, contact_poll_at=None, peeks=0, next_at=None, ending="", version="")
