"""The timer's work: go on with what is due, oldest first, bounded in time, parallelism and pace; purge what is old."""

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import HandoffError, LedgerUnavailable
from shared.handoff.desk import Answer, HandoffDesk
from shared.handoff.gate import Gate
from shared.handoff.record import COMPLETED, FAILED, Due, Ledger

WORKERS = 8
"""Handoffs at a time; Dataverse lets a user have 52 requests at work, and new handoffs need theirs."""
BATCH = 64
BUDGET_SECONDS = 50.0
PURGE_EVERY = timedelta(hours=1)
PURGE_MOST = 2000


@dataclass
class Report:
    """What one run did.

    Attributes:
        gone: due, but taken by another worker meanwhile.
        held_back: due, but their system is closed.
        woken: lanes of the relay that had lost their wake-up.
        oldest_due_seconds: how long ago the handoff that has waited longest was due.
    """

    completed: int = 0
    postponed: int = 0
    failed: int = 0
    crashed: int = 0
    gone: int = 0
    held_back: int = 0
    oldest_due_seconds: float = 0.0
    purged: int = 0
    woken: int = 0
    seconds: float = 0.0


class Reconciler:
    """Runs once a tick. Two of them at once are harmless: every handoff is taken by a conditional write.

    Args:
        rate_per_second: handoffs begun a second at most; each costs Dataverse two requests, and its limit is 6,000
            in 5 minutes for a user and web server. The default leaves a third of that to new handoffs.
        retention: how long records of ended handoffs are kept.
        watch: wakes the relay's lanes that have lost their wake-up; returns how many.
        purges: further things to delete that are older than a time, before the records: a record may stay until they
            are gone. Each returns how many.
    """

    def __init__(
        self,
        desk: HandoffDesk,
        *,
        gate: Gate,
        ledger: Ledger,
        clock: Clock,
        rate_per_second: float,
        retention: timedelta,
        budget_seconds: float = BUDGET_SECONDS,
        watch: Callable[[], int] = lambda: 0,
        purges: Sequence[Callable[[datetime], int]] = (),
        executor: Callable[[], ThreadPoolExecutor] = lambda: ThreadPoolExecutor(WORKERS, "reconcile"),
    ) -> None:
        self._desk = desk
        self._gate = gate
        self._ledger = ledger
        self._clock = clock
        self._interval_seconds = 1 / rate_per_second
        self._retention = retention
        self._budget_seconds = budget_seconds
        self._watch = watch
        self._purges = purges
        self._executor = executor
        self._next_start = 0.0
        self._purged_at: float | None = None

    def run(self) -> Report:
        """One tick."""
        started = self._clock.monotonic()
        report = Report()
        closed: set[str] = set()
        try:
            report.woken = self._watch()
        except HandoffError as error:  # open conversations must not keep handoffs waiting
            events.emit(events.WAKE_LOST, code=error.code)
        try:
            with self._executor() as pool:
                while self._clock.monotonic() < started + self._budget_seconds:
                    if not self._round(pool, report, closed, until=started + self._budget_seconds):
                        break
            self._purge(report)
        except LedgerUnavailable as error:
            events.emit(events.LEDGER_UNAVAILABLE, code=error.code)
        report.seconds = round(self._clock.monotonic() - started, 3)
        events.emit(events.RECONCILE_DONE, **asdict(report))
        return report

    def _round(self, pool: ThreadPoolExecutor, report: Report, closed: set[str], *, until: float) -> bool:
        """Take one batch of what is due; False when there was nothing to do.

        A target whose gate is found closed is added to ``closed``: what waits for it must not hide what could land.
        """
        running: set[Future[Answer | None]] = set()
        batch = self._desk.due(limit=BATCH, without=frozenset(closed))
        if batch:
            waited = (self._clock.now() - batch[0].due_at).total_seconds()
            report.oldest_due_seconds = round(max(report.oldest_due_seconds, waited), 3)
        for due in batch:
            if self._clock.monotonic() >= until:
                break
            if due.target in closed or not self._gate.admit(due.target).is_open:
                closed.add(due.target)
                report.held_back += 1
                continue
            self._pace()
            if len(running) >= WORKERS:
                done, running = wait(running, return_when="FIRST_COMPLETED")
                self._count(done, report)
            # The platform keeps only log lines that carry the invocation, which is in the context.
            running.add(pool.submit(contextvars.copy_context().run, self._resume, due))
        done, _ = wait(running)
        self._count(done, report)
        for target in tuple(closed):
            if self._gate.look(target).is_open:  # its probe has landed
                closed.discard(target)
        return bool(batch)

    def _resume(self, due: Due) -> Answer | None:
        try:
            return self._desk.resume(due)
        finally:
            self._gate.release(due.target)

    def _count(self, done: set[Future[Answer | None]], report: Report) -> None:
        for future in done:
            error = future.exception()
            if isinstance(error, LedgerUnavailable):
                raise error
            if error is not None:  # one handoff must not end the tick for all
                events.emit(events.HANDOFF_CRASHED, error=type(error).__name__)
                report.crashed += 1
                continue
            answer = future.result()
            if answer is None:
                report.gone += 1
            elif answer.record.state == COMPLETED:
                report.completed += 1
            elif answer.record.state == FAILED:
                report.failed += 1
            else:
                report.postponed += 1

    def _pace(self) -> None:
        """Wait so that handoffs begin at an even pace: a backlog must not come as a burst."""
        now = self._clock.monotonic()
        if self._next_start > now:
            self._clock.sleep(self._next_start - now)
        self._next_start = max(now, self._next_start) + self._interval_seconds

    def _purge(self, report: Report) -> None:
        now = self._clock.monotonic()
        if self._purged_at is not None and now - self._purged_at < PURGE_EVERY.total_seconds():
            return
        before = self._clock.now() - self._retention
        report.purged = sum(purge(before) for purge in self._purges)
        report.purged += self._ledger.purge(before=before, limit=PURGE_MOST)
        self._purged_at = now
