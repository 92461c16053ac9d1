"""One attempt to deliver a handoff: tries, hydration, and the transition of the record that it ends with.

The HTTP door, the replay route and the timer all come here: there is no other way to a target.
"""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared import events
from shared.config.clock import Clock
from shared.errors import (
    ConfigurationFault,
    HandoffError,
    InvalidRequest,
    LedgerUnavailable,
    PermanentFailure,
    TransientFailure,
)
from shared.handoff import request, schedule
from shared.handoff.gate import SERVER_ERROR, THROTTLED, Admission, Gate
from shared.handoff.hydration import Source, hydrate
from shared.handoff.model import Handoff, Notice, Outcome
from shared.handoff.record import COMPLETED, FAILED, RETRYING, LastError, Ledger, Record

RESERVE_SECONDS = 1.0
"""Kept back of the budget for writing the record and answering."""
CONFIGURATION_LOOK = timedelta(seconds=60)
LONGEST_LOOK = timedelta(minutes=10)
MOST_WARNINGS, LONGEST_WARNING = 20, 500
"""What a record keeps of the warnings; the rest is counted."""


class Destination(Protocol):
    """A system in which reps work."""

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Make sure that the handoff's records stand there. Safe to repeat.

        Args:
            handoff: what to write.
            deadline: the monotonic time, in seconds, by which it must be over.

        Raises:
            TransientFailure, ConfigurationFault, PermanentFailure: see `shared.errors`.
        """


class Opener(Protocol):
    """Where a conversation is opened, so that its messages are carried both ways."""

    def open(self, handoff: Handoff, outcome: Outcome, *, accepted_at: datetime) -> object:
        """From now on messages are carried. Safe to repeat. Raises LedgerUnavailable."""

    def has_ended_of(self, session_id: str, handoff_id: str) -> bool:
        """Whether the conversation of a handoff is over. Raises LedgerUnavailable."""


CONVERSATION = "messaging_conversation"
"""The kind of outcome whose messages are carried."""


@dataclass(frozen=True)
class Answer:
    """What became of a call.

    Attributes:
        record: as it stands.
        replayed: whether it had been completed before.
        is_over: whether the conversation that it had become has ended: nobody is called by this answer.
    """

    record: Record
    replayed: bool = False
    is_over: bool = False


class Attempt:
    """Makes attempts; holds what they need."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        gate: Gate,
        destination: Callable[[str], Destination],
        source: Callable[[], Source | None],
        route: Callable[[Handoff], str],
        clock: Clock,
        random: Callable[[], float],
        opener: Callable[[], Opener] | None = None,
    ) -> None:
        self._opener = opener
        self._ledger = ledger
        self._gate = gate
        self._destination = destination
        self._route = route
        self._source = source
        self._clock = clock
        self._random = random

    def make(self, record: Record, handoff: Handoff, deadline: float) -> Answer:
        """Deliver under the record's lease, and write down what came of it; never raises for a failed attempt."""
        with _scope(record):
            return self._make(record, handoff, deadline)

    def make_stored(self, record: Record, deadline: float) -> Answer:
        """The same, with the request that was stored with the record, and today's routes."""
        with _scope(record):
            if record.attempts > len(schedule.STEPS_SECONDS) + 1:
                message = "Every attempt ended without an answer; the worker may have been killed each time."
                return self._fail(record, PermanentFailure(message, code="attempts_exhausted"))
            try:
                data = request.parse_body(self._ledger.payload(record))
                handoff = request.parse(data, channel_may_be_read=True)
            except InvalidRequest as error:
                message = f"The stored request cannot be read: {error.message}"
                return self._fail(record, PermanentFailure(message, code=error.code))
            # Without a channel its target is what an earlier attempt has found, whose probe this attempt may hold.
            is_told = handoff.channel is not None or handoff.target is not None
            target = self._route(handoff) if is_told else record.target
            return self._make(replace(record, target=target), handoff, deadline)

    def hold(self, record: Record, admission: Admission, *, attempts: int) -> Answer:
        """Let it wait for a closed gate; nothing was tried, so ``attempts`` is what it was before."""
        with _scope(record):
            return self._postponed(record, admission, attempts=attempts)

    def _postponed(self, record: Record, admission: Admission, *, attempts: int) -> Answer:
        now = self._clock.now()
        due_at = max(admission.until or now, now)
        waiting = replace(record, attempts=attempts, due_at=due_at, last_error=admission.error)
        return self._postpone(waiting, events.HANDOFF_WAITING)

    def _make(self, record: Record, handoff: Handoff, deadline: float) -> Answer:
        """One attempt, and the probe given back if it was one of a system that showed only on the way."""
        rerouted: set[str] = set()
        try:
            return self._tries(record, handoff, deadline, rerouted)
        finally:
            for target in rerouted:
                self._gate.release(target)

    def _tries(self, record: Record, handoff: Handoff, deadline: float, rerouted: set[str]) -> Answer:
        """A few quick tries as long as the budget lasts, then a transition of the record."""
        tries = 0
        while True:
            tries += 1
            try:
                whole, notices = self._whole(record, handoff, deadline, is_first=tries == 1)
                target = self._route(whole)
                if target != record.target:  # the channel was read from OpenCX only now
                    record = replace(record, target=target)
                    rerouted.add(target)
                    admission = self._gate.admit(target)
                    if not admission.is_open:
                        return self._postponed(record, admission, attempts=record.attempts - 1)
                outcome = self._deliver(record, whole, notices, deadline)
            except TransientFailure as failure:
                if failure.kind == THROTTLED and failure.system == record.target:
                    self._gate.failed(record.target, failure)  # at once, so that others hold back too
                if self._pause(tries, failure, deadline):
                    continue
                return self._later(record, failure)
            except ConfigurationFault as fault:
                return self._wait(record, fault)
            except PermanentFailure as failure:
                return self._fail(record, failure)
            except Exception as error:  # noqa: BLE001 - a bug must not leave the record in flight
                events.emit(events.HANDOFF_CRASHED, exc_info=True, error=type(error).__name__)
                message = f"The service itself failed ({type(error).__name__})."
                return self._later(record, TransientFailure(message, code="internal_error", system="handoff"))
            self._gate.succeeded(record.target)
            return self._complete(record, outcome)

    def make_unrecorded(self, record: Record, handoff: Handoff, deadline: float, error: LedgerUnavailable) -> Answer:
        """Deliver though Table Storage is down: derived ids make that safe.

        Raises:
            LedgerUnavailable: it could be neither stored nor delivered.
        """
        with _scope(record):
            return self._make_unrecorded(record, handoff, deadline, error)

    def _make_unrecorded(self, record: Record, handoff: Handoff, deadline: float, error: LedgerUnavailable) -> Answer:
        events.emit(events.LEDGER_UNAVAILABLE, code=error.code)
        tries = 0
        while True:
            tries += 1
            try:
                whole, notices = self._whole(record, handoff, deadline, is_first=tries == 1)
                outcome = self._deliver(record, whole, notices, deadline, opens=False)
            except HandoffError as failure:
                if isinstance(failure, TransientFailure) and self._pause(tries, failure, deadline):
                    continue
                message = f"Neither stored ({error.code}) nor delivered ({failure.code}): call again."
                raise LedgerUnavailable(message, code="not_stored_not_delivered") from failure
            self._gate.succeeded(record.target)
            return self._unrecorded(record, outcome)

    def _pause(self, tries: int, failure: TransientFailure, deadline: float) -> bool:
        """Wait for the next quick try; False at once when there is none, or it would not fit into the budget."""
        delay = schedule.quick_delay(tries, at_least_seconds=failure.retry_after_seconds)
        if delay is None or self._clock.monotonic() + delay >= deadline - RESERVE_SECONDS:
            return False
        self._clock.sleep(delay)
        return True

    def _whole(
        self, record: Record, handoff: Handoff, deadline: float, *, is_first: bool
    ) -> tuple[Handoff, tuple[Notice, ...]]:
        """The handoff with what it leaves out read from OpenCX."""
        attempts = record.attempts
        whole, notices = hydrate(handoff, self._source, attempts=attempts, is_first=is_first, deadline=deadline)
        if whole.channel is None:
            message = "The channel is neither in the request nor known to OpenCX."
            raise PermanentFailure(message, code="channel_unknown")
        return whole, notices

    def _deliver(
        self, record: Record, handoff: Handoff, notices: tuple[Notice, ...], deadline: float, *, opens: bool = True
    ) -> Outcome:
        outcome = self._destination(self._route(handoff)).deliver(handoff, deadline=deadline)
        outcome = replace(outcome, warnings=_bounded(notices + outcome.warnings))
        if outcome.kind == CONVERSATION and self._opener is not None:
            if opens:
                self._open(record, handoff, outcome, self._opener())
            else:
                notice = Notice("replies_not_carried", "Table Storage is down: a rep's replies do not reach OpenCX.")
                outcome = replace(outcome, warnings=(*outcome.warnings, notice))
        return replace(outcome, relay={})

    def _open(self, record: Record, handoff: Handoff, outcome: Outcome, opener: Opener) -> None:
        """Have the conversation's messages carried: a handoff whose replies get lost has not landed."""
        try:
            opener.open(handoff, outcome, accepted_at=record.created_at)
        except LedgerUnavailable as error:
            message = f"The conversation stands, but is not known to the relay yet ({error.code})."
            raise TransientFailure(message, code="relay_not_opened", system="ledger") from error

    def _complete(self, record: Record, outcome: Outcome) -> Answer:
        """Write down that it has landed. That is a fact, whoever holds the lease by now."""
        now = self._clock.now()
        try:
            while True:
                done = replace(
                    record,
                    state=COMPLETED,
                    channel=outcome.channel,
                    outcome=outcome,
                    due_at=None,
                    last_error=None,
                    updated_at=now,
                    completed_at=now,
                )
                stored = self._ledger.change(done)
                if stored is not None:
                    break
                current = self._ledger.get(record.handoff_id)
                if current is None or current.state == COMPLETED:
                    return Answer(current or done)
                record = current
        except LedgerUnavailable as error:
            events.emit(events.LEDGER_UNAVAILABLE, code=error.code)
            return self._unrecorded(record, outcome)
        events.emit(
            events.HANDOFF_COMPLETED,
            system=outcome.system,
            kind=outcome.kind,
            channel=outcome.channel,
            record_id=outcome.record_id,
            seconds=round((now - stored.created_at).total_seconds(), 3),
            warnings=len(outcome.warnings),
        )
        return Answer(stored)

    def _unrecorded(self, record: Record, outcome: Outcome) -> Answer:
        notice = Notice("ledger_unavailable", "It has landed, but Table Storage could not be written.")
        outcome = replace(outcome, warnings=(*outcome.warnings, notice))
        now = self._clock.now()
        events.emit(events.HANDOFF_UNRECORDED, record_id=outcome.record_id)
        return Answer(
            replace(
                record,
                state=COMPLETED,
                channel=outcome.channel,
                outcome=outcome,
                due_at=None,
                completed_at=now,
            )
        )

    def _later(self, record: Record, failure: TransientFailure) -> Answer:
        """Not now: put it on the schedule, or give up after its last step."""
        until = None
        if failure.system == record.target:
            was_closed = self._gate.is_closed(record.target)
            until = self._gate.failed(record.target, failure)
            if was_closed and until is not None and failure.kind != SERVER_ERROR:
                return self._probed(record, failure, until)
        delay = schedule.next_delay(
            record.attempts, random=self._random(), at_least_seconds=failure.retry_after_seconds
        )
        if delay is None:
            return self._fail(record, PermanentFailure(failure.message, code=failure.code))
        due_at = self._clock.now() + delay
        waiting = replace(
            record, due_at=max(due_at, until or due_at), last_error=LastError(failure.code, failure.message)
        )
        return self._postpone(waiting, events.HANDOFF_RETRYING)

    def _probed(self, record: Record, failure: TransientFailure, until: datetime) -> Answer:
        """It was the probe of a system that is down, which says nothing about this handoff: no attempt is used up.

        It goes behind the others that wait, so that a handoff that always fails is not every probe.
        """
        asked = self._clock.now() + timedelta(seconds=failure.retry_after_seconds or 0)
        error = LastError(failure.code, failure.message)
        due_at = self._spread(max(until, asked))
        waiting = replace(record, attempts=max(0, record.attempts - 1), due_at=due_at, last_error=error)
        return self._postpone(waiting, events.HANDOFF_RETRYING)

    def _wait(self, record: Record, fault: ConfigurationFault) -> Answer:
        """An administrator must act: wait without using up an attempt."""
        until = self._gate.failed(record.target, fault) if fault.system == record.target else None
        error = LastError(fault.code, fault.message, fault.fix)
        now = self._clock.now()
        if until is None:  # it concerns only handoffs like this one: there is no probe for all
            until = now + min(max(CONFIGURATION_LOOK, (now - record.created_at) / 5), LONGEST_LOOK)
        due_at = self._spread(until)
        waiting = replace(record, attempts=max(0, record.attempts - 1), due_at=due_at, last_error=error)
        return self._postpone(waiting, events.HANDOFF_WAITING)

    def _postpone(self, record: Record, event: str) -> Answer:
        record = replace(record, state=RETRYING, updated_at=self._clock.now())
        error = record.last_error
        events.emit(
            event,
            code=error.code if error else None,
            due_at=record.due_at.isoformat() if record.due_at else None,
        )
        return self._settle(record)

    def _fail(self, record: Record, failure: PermanentFailure) -> Answer:
        """Give it up: it is kept with its reason and its request, and can be replayed."""
        error = LastError(failure.code, failure.message)
        failed = replace(record, state=FAILED, due_at=None, last_error=error, updated_at=self._clock.now())
        events.emit(events.HANDOFF_FAILED, code=failure.code)
        return self._settle(failed)

    def _settle(self, record: Record) -> Answer:
        """Write the end of an attempt that did not land; if another attempt took over, it decides."""
        try:
            stored = self._ledger.change(record)
            return Answer(stored or self._ledger.get(record.handoff_id) or record)
        except LedgerUnavailable as error:
            # The stored lease runs out by itself: the timer goes on from there.
            events.emit(events.LEDGER_UNAVAILABLE, code=error.code)
            return Answer(record)

    def _spread(self, moment: datetime) -> datetime:
        return moment + timedelta(seconds=self._random() * 2)


def _bounded(warnings: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """The warnings, each once, no more than a record can hold."""
    kept = tuple(dict.fromkeys(replace(each, message=each.message[:LONGEST_WARNING]) for each in warnings))
    if len(kept) <= MOST_WARNINGS:
        return kept
    rest = f"There are {len(kept) - MOST_WARNINGS} more warnings."
    return (*kept[:MOST_WARNINGS], Notice("more_warnings", rest))


def _scope(record: Record) -> AbstractContextManager[None]:
    attempt_id = str(uuid.UUID(record.token))
    return events.scope(
        handoff_id=record.handoff_id, session_id=record.session_id, attempt=record.attempts, attempt_id=attempt_id
    )
