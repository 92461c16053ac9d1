"""Lanes: what keeps the relay going on the platform's own queue, at a cost that does not grow with every look.

Conversations are spread over a few lanes. A lane with an open conversation has one queue message; it puts in its
successor and looks at the conversations that are due::

    message n ─▶ lane row n+1 ─▶ message n+1, hidden for 15 s ─▶ looks ─▶ message n+1 visible when the next look is due

A worker that dies in a look is followed by message n+1 after 15 s. A message with another number than the row's is
stale and stops, so a doubled message, or a lane that was woken twice, costs one reading.
"""

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import HandoffError, LedgerUnavailable, TransientFailure
from shared.relay.carrier import Carrier
from shared.relay.model import LANES, Conversation
from shared.relay.pace import LANE_SECONDS
from shared.relay.store import Conversations, Lane, Wake

WORKERS = 32
"""Conversations looked at at a time, in one process: a look is one call that waits for its answer."""
WATCH_SECONDS = 15.0
LOOK_SECONDS = 3.0
"""How long a lane waits for its looks; a slow one goes on by itself and holds nobody up."""
NOTABLE_REST = timedelta(seconds=3)
LONGEST_REST = timedelta(seconds=60)
OVERDUE = timedelta(seconds=20)
COUNTED_SECONDS = 600.0
"""How long a lane's number of open conversations counts after it was seen."""
AFTER_CRASH = timedelta(seconds=15)
"""How long a conversation is left alone in this process after a look at it has crashed."""


@dataclass
class LaneReport:
    """What one look at a lane did."""

    lane: str
    open: int = 0
    looked: int = 0
    slow: int = 0
    crashed: int = 0
    seconds: float = 0.0


class Lanes:
    """Looks at lanes, and keeps them going."""

    def __init__(
        self,
        *,
        conversations: Conversations,
        carrier: Carrier,
        wake: Wake,
        clock: Clock,
        executor: Callable[[], Executor],
    ) -> None:
        self._conversations = conversations
        self._carrier = carrier
        self._wake = wake
        self._clock = clock
        self._executor = executor
        self._busy: set[str] = set()
        self._crashed: dict[str, datetime] = {}
        self._open: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def run(self, name: str, sequence: int) -> LaneReport | None:
        """Look at a lane because its message has come; None when the message is stale.

        Raises:
            LedgerUnavailable, TransientFailure: the platform gives the message again.
        """
        started = self._clock.monotonic()
        lane = self._conversations.lane(name)
        if lane.sequence != sequence or lane.at is None:
            return None
        conversations = self._conversations.of_lane(name)
        self._count(name, len(conversations))
        if not conversations:
            self._conversations.write_lane(replace(lane, at=None))  # a conflict: somebody has just woken it
            return LaneReport(name)
        taken = self._next(lane, timedelta(seconds=LANE_SECONDS))
        if taken is None:
            return None
        handle = self._wake.lane(name, taken.sequence, delay_seconds=WATCH_SECONDS)
        report = LaneReport(name, open=len(conversations))
        rest = self._rest(self._look(conversations, report))
        if rest > NOTABLE_REST:  # whoever wants an earlier look must be able to see that there will be none
            self._conversations.write_lane(replace(taken, at=self._clock.now() + rest))
        self._wake.sooner(handle, delay_seconds=rest.total_seconds())
        report.seconds = round(self._clock.monotonic() - started, 3)
        if report.crashed or report.slow:
            events.emit(events.RELAY_LANE, **asdict(report))
        return report

    def _count(self, name: str, count: int) -> None:
        """Remember how many are open in a lane: in time each instance sees all lanes that have any."""
        now = self._clock.monotonic()
        with self._lock:
            self._open[name] = (count, now)
            known = [count for count, at in self._open.values() if now - at < COUNTED_SECONDS]
        self._carrier.open_estimate = sum(known)

    def step(self, key: str) -> Conversation | None:
        """Look at one conversation because something has come for it."""
        conversation = self._conversations.get(key)
        if conversation is None:
            return None
        after = self._step(conversation)
        if after is not None and after.next_at is not None:
            self.nudge(key.partition(":")[0], by=after.next_at)
        return after

    def nudge(self, name: str, *, by: datetime) -> None:
        """Make sure that a lane is looked at by then. A wake-up that is lost is the timer's to find."""
        lane = self._conversations.lane(name)
        if lane.at is not None and lane.at <= max(by, self._clock.now() + timedelta(seconds=LANE_SECONDS)):
            return
        delay = max(by - self._clock.now(), timedelta(0))
        if delay > LONGEST_REST and lane.at is not None:
            return
        taken = self._next(lane, min(delay, LONGEST_REST))
        if taken is not None:
            try:
                self._wake.lane(name, taken.sequence, delay_seconds=min(delay, LONGEST_REST).total_seconds())
            except TransientFailure as failure:
                events.emit(events.WAKE_LOST, code=failure.code)

    def watch(self) -> int:
        """The timer's part: wake the lanes that have lost their message; returns how many."""
        now = self._clock.now()
        known = {lane.name: lane for lane in self._conversations.lanes()}
        woken = 0
        for number in range(LANES):
            name = f"{number:02x}"
            lane = known.get(name)
            if lane is not None and lane.at is not None and lane.at < now - OVERDUE:
                self.nudge_now(name)
                woken += 1
                continue
            if lane is not None and lane.at is not None and lane.at <= now + timedelta(seconds=WATCH_SECONDS):
                continue
            found = self._conversations.of_lane(name)
            rests = lane is None or lane.at is None
            if found and (rests or any((each.next_at or now) <= now for each in found)):
                self.nudge_now(name)
                woken += 1
        return woken

    def nudge_now(self, name: str) -> None:
        """Look at a lane now, whatever its row says: the message it waits for is lost."""
        lane = self._conversations.lane(name)
        taken = self._next(lane, timedelta(0))
        if taken is not None:
            self._wake.lane(name, taken.sequence, delay_seconds=0)

    def _next(self, lane: Lane, rest: timedelta) -> Lane | None:
        return self._conversations.write_lane(replace(lane, sequence=lane.sequence + 1, at=self._clock.now() + rest))

    def _look(self, conversations: Sequence[Conversation], report: LaneReport) -> list[datetime]:
        """Look at what is due; returns when each conversation wants its next look."""
        now = self._clock.now()
        looks = [each.next_at for each in conversations if each.next_at is not None and each.next_at > now]
        running = {}
        for conversation in conversations:
            if conversation.next_at is not None and conversation.next_at > now:
                continue
            if not self._is_free(conversation.key, now):
                # It is still being looked at, which ends soon; or it has crashed, and is left alone for a while.
                looks.append(self._crashed.get(conversation.key, now - AFTER_CRASH) + AFTER_CRASH)
                continue
            # The platform keeps only log lines that carry the invocation, which is in the context.
            context = contextvars.copy_context()
            running[self._executor().submit(context.run, self._step_in_lane, conversation)] = conversation
        report.looked = len(running)
        done, slow = wait(running, timeout=LOOK_SECONDS)
        report.slow = len(slow)
        now = self._clock.now()
        looks += [now for _ in slow]
        for future in done:
            error = future.exception()
            if isinstance(error, LedgerUnavailable):
                events.emit(events.LEDGER_UNAVAILABLE, code=error.code)
            if error is not None:
                report.crashed += 1
                looks.append(now + AFTER_CRASH)
                continue
            after = future.result()
            if after is not None:
                looks.append(after.next_at or now)
            elif running[future].claim is not None:
                looks.append(running[future].claim.until)  # type: ignore[union-attr]
        return looks

    def _is_free(self, key: str, now: datetime) -> bool:
        """Take a conversation for this process, unless it is being looked at, or has just crashed."""
        with self._lock:
            crashed_at = self._crashed.get(key)
            if key in self._busy or (crashed_at is not None and now - crashed_at < AFTER_CRASH):
                return False
            self._busy.add(key)
            return True

    def _step_in_lane(self, conversation: Conversation) -> Conversation | None:
        crashed_at: datetime | None = self._clock.now()
        try:
            after = self._step(conversation)
            crashed_at = None
            return after
        finally:
            with self._lock:
                self._busy.discard(conversation.key)
                if crashed_at is None:
                    self._crashed.pop(conversation.key, None)
                else:
                    self._crashed[conversation.key] = crashed_at

    def _step(self, conversation: Conversation) -> Conversation | None:
        try:
            return self._carrier.step(conversation)
        except HandoffError:
            raise
        except Exception as error:
            events.emit(
                events.RELAY_CRASHED,
                exc_info=True,
                handoff_id=conversation.handoff_id,
                session_id=conversation.session_id,
                system=conversation.system,
                error=type(error).__name__,
            )
            raise

    def _rest(self, looks: Sequence[datetime]) -> timedelta:
        """How long the lane's next message waits."""
        now = self._clock.now()
        rest = min(looks, default=now) - now  # none is left: the next message finds an empty lane, and ends it
        return max(min(rest, LONGEST_REST), timedelta(seconds=LANE_SECONDS))
