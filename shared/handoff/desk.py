"""The one use case: a handoff comes in, is stored, is delivered, and its record says what became of it.

The HTTP door, the replay route and the timer all end in `shared.handoff.attempt`.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import (
    LedgerUnavailable,
    NotFound,
)
from shared.handoff.attempt import CONVERSATION, RESERVE_SECONDS, Answer, Attempt, Destination, Opener
from shared.handoff.channel import REST
from shared.handoff.gate import THROTTLED, Admission, Gate
from shared.handoff.hydration import Source
from shared.handoff.model import Handoff
from shared.handoff.record import COMPLETED, FAILED, PENDING, RETRYING, Due, Ledger, Page, Record

__all__ = ["Answer", "Destination", "HandoffDesk"]

LEASE_MARGIN_SECONDS = 30.0
POLL_SECONDS = 0.1


class HandoffDesk:
    """Accepts handoffs, delivers them, and goes on with those that wait."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        gate: Gate,
        destination: Callable[[str], Destination],
        source: Callable[[], Source | None],
        routes: Mapping[str, str],
        clock: Clock,
        random: Callable[[], float],
        budget_seconds: float,
        opener: Callable[[], Opener] | None = None,
        landed: Callable[[Record], None] = lambda _: None,
    ) -> None:
        self._landed = landed
        self._opener = opener
        self._ledger = ledger
        self._gate = gate
        self._routes = routes
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._attempt = Attempt(
            ledger=ledger,
            gate=gate,
            destination=destination,
            source=source,
            route=self.target_of,
            clock=clock,
            random=random,
            opener=opener,
        )

    def accept(self, handoff: Handoff, payload: bytes) -> Answer:
        """Perform one handoff; the caller's wait is bounded by the budget.

        Raises:
            LedgerUnavailable: it could be neither stored nor delivered.
        """
        deadline = self._deadline()
        record = self._new(handoff, state=PENDING, attempts=1, due_at=self._lease_end(self._clock.now()))
        seen = self._gate.look(record.target)
        waits = not seen.is_open and not seen.may_probe and not self._is_short(seen, deadline)
        if waits:
            record = self._waiting(record, seen)
        try:
            record, is_new = self._ledger.open(record, payload)
        except LedgerUnavailable as error:
            if waits:
                raise
            return self._attempt.make_unrecorded(record, handoff, deadline, error)
        if not is_new:
            return self._repeat(record, handoff, payload, deadline)
        _say_stored(record)
        return Answer(record) if waits else self._try(record, handoff, deadline, attempts_before=0)

    def store(self, handoff: Handoff, payload: bytes) -> Record:
        """Store one handoff without a try: it is due now, for `wake` or the timer. One that is known is left alone.

        Raises:
            LedgerUnavailable: it could not be stored.
        """
        new = self._new(handoff, state=RETRYING, attempts=0, due_at=self._clock.now())
        record, is_new = self._ledger.open(new, payload)
        if is_new:
            _say_stored(record)
        return record

    def is_under_way(self, handoff_id: str) -> bool:
        """Whether it is stored, and neither landed nor given up."""
        record = self._ledger.get(handoff_id)
        return record is not None and not record.is_terminal

    def look(self, handoff_id: str) -> Record:
        """The record of a handoff. Raises NotFound."""
        record = self._ledger.get(handoff_id)
        if record is None:
            raise NotFound("There is no handoff of that id.")
        return record

    def page(self, *, state: str, limit: int, cursor: str | None) -> Page:
        """Records of one state, newest first."""
        return self._ledger.page(state=state, limit=limit, cursor=cursor)

    def replay(self, handoff_id: str) -> Answer:
        """Try a handoff again now, whatever its state; one that is done answers from its record."""
        deadline = self._deadline()
        record = self.look(handoff_id)
        self._gate.look(record.target)  # so that this process knows a closed gate, and success opens it
        while record.state != COMPLETED and not record.is_leased(self._clock.now()):
            taken = self._take(record, attempts=1)
            if taken is not None:
                return self._attempt.make_stored(taken, deadline)
            record = self.look(handoff_id)
        return Answer(record, replayed=record.state == COMPLETED)

    def due(self, *, limit: int, without: frozenset[str]) -> list[Due]:
        """What the timer has to look at now, oldest first, without what waits for these targets."""
        return self._ledger.due(now=self._clock.now(), limit=limit, without=without)

    def resume(self, due: Due) -> Answer | None:
        """Go on with a handoff that is due; None when there is nothing to do any more."""
        now = self._clock.now()
        record = self._ledger.read(due.key)
        if record is None or record.is_terminal or record.due_at is None or record.due_at > now:
            return None
        taken = self._take(record, attempts=record.attempts + 1)
        return self._told(self._attempt.make_stored(taken, self._deadline())) if taken is not None else None

    def wake(self, key: str) -> Answer | None:
        """Go on at once with a handoff that was stored without a try; None when there is nothing to do any more."""
        now = self._clock.now()
        record = self._ledger.read(key)
        if record is None or record.is_terminal or record.due_at is None or record.due_at > now:
            return None
        taken = self._take(record, attempts=record.attempts + 1)
        if taken is None:
            return None
        return self._told(self._try(taken, None, self._deadline(), attempts_before=record.attempts))

    def _told(self, answer: Answer) -> Answer:
        """It has landed while nobody waited for the answer: whoever wants to know is told."""
        if answer.record.state == COMPLETED:
            self._landed(answer.record)
        return answer

    def target_of(self, handoff: Handoff) -> str:
        """The system that this handoff goes to."""
        return handoff.target or self._routes.get(handoff.channel or "") or self._routes.get(REST, "dynamics365")

    def _try(self, record: Record, handoff: Handoff | None, deadline: float, *, attempts_before: int) -> Answer:
        """Attempt a handoff that this worker holds, if the gate lets it; None: with the stored request."""
        admission = self._gate.admit(record.target)
        if self._is_short(admission, deadline) and admission.until is not None:
            self._clock.sleep((admission.until - self._clock.now()).total_seconds())
            admission = self._gate.admit(record.target)
        if not admission.is_open:
            return self._attempt.hold(record, admission, attempts=attempts_before)
        try:
            if handoff is None:
                return self._attempt.make_stored(record, deadline)
            return self._attempt.make(record, handoff, deadline)
        finally:
            self._gate.release(record.target)

    def _is_short(self, admission: Admission, deadline: float) -> bool:
        """Whether a throttled system asks for a wait that a caller can be asked to sit out."""
        if admission.is_open or admission.reason != THROTTLED or admission.until is None:
            return False
        wait = (admission.until - self._clock.now()).total_seconds()
        return self._clock.monotonic() + wait <= deadline - self._budget_seconds / 2

    def _repeat(self, record: Record, handoff: Handoff, payload: bytes, deadline: float) -> Answer:
        """The same handoff was posted before: answer from its record, or help it on."""
        while True:
            if record.state == COMPLETED:
                return self._replayed(record)
            if record.is_leased(self._clock.now()):
                if self._clock.monotonic() > deadline - RESERVE_SECONDS:
                    return Answer(record)
                self._clock.sleep(POLL_SECONDS)  # another instance may hold it: only the table can tell
            else:
                seen = self._gate.look(record.target)
                if not seen.is_open and not seen.may_probe:
                    return Answer(record)
                if record.state == FAILED:  # whoever posts it anew may have corrected it
                    taken = self._take(record, attempts=1, payload=payload)
                    if taken is not None:
                        return self._try(taken, handoff, deadline, attempts_before=0)
                else:  # an extra try: it does not bring the end of the schedule nearer
                    taken = self._take(record, attempts=max(1, record.attempts))
                    if taken is not None:
                        return self._try(taken, None, deadline, attempts_before=record.attempts)
            record = self.look(record.handoff_id)

    def _replayed(self, record: Record) -> Answer:
        """It was done before. Where a rep has ended what it became, the caller must know that nobody comes."""
        is_conversation = record.outcome is not None and record.outcome.kind == CONVERSATION
        is_over = (
            is_conversation
            and self._opener is not None
            and self._opener().has_ended_of(record.session_id, record.handoff_id)
        )
        if is_over:
            events.emit(events.HANDOFF_OVER, handoff_id=record.handoff_id)
        else:
            events.emit(events.HANDOFF_REPLAYED, handoff_id=record.handoff_id)
        return Answer(record, replayed=True, is_over=is_over)

    def _take(self, record: Record, *, attempts: int, payload: bytes | None = None) -> Record | None:
        now = self._clock.now()
        taken = replace(
            record,
            state=PENDING,
            attempts=attempts,
            token=_token(),
            due_at=self._lease_end(now),
            updated_at=now,
            completed_at=None,
        )
        return self._ledger.change(taken, payload=payload)

    def _new(self, handoff: Handoff, *, state: str, attempts: int, due_at: datetime) -> Record:
        now = self._clock.now()
        return Record(
            handoff_id=handoff.handoff_id,
            session_id=handoff.session_id,
            state=state,
            target=self.target_of(handoff),
            channel=handoff.channel,
            attempts=attempts,
            created_at=now,
            updated_at=now,
            due_at=due_at,
            token=_token(),
        )

    def _waiting(self, record: Record, admission: Admission) -> Record:
        """A new record that waits for a closed gate; it is due in the order in which it came."""
        due_at = max(admission.until or record.created_at, record.created_at)
        return replace(record, state=RETRYING, attempts=0, due_at=due_at, last_error=admission.error)

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._budget_seconds

    def _lease_end(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._budget_seconds + LEASE_MARGIN_SECONDS)


def _say_stored(record: Record) -> None:
    events.emit(
        events.HANDOFF_STORED,
        handoff_id=record.handoff_id,
        session_id=record.session_id,
        system=record.target,
        channel=record.channel,
        state=record.state,
    )


def _token() -> str:
    return uuid.uuid4().hex
