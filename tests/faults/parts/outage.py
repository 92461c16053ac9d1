"""Dynamics 365 is down for an hour while handoffs keep coming: all are accepted at once, and all land afterwards."""

from datetime import datetime
from statistics import median

from shared.app import Application
from shared.handoff.reconciler import WORKERS
from tests.faults import faults, oracle
from tests.faults.oracle import WRONG, Expected, Finding
from tests.faults.report import Result
from tests.faults.stories import BOTH, PHONE, Story
from tests.faults.wire import DATAVERSE, Call, Fault
from tests.faults.world import World, post

DOWN_SECONDS = 3600.0
TICK_SECONDS = 60.0
NEW_EVERY_SECONDS = 4.0
MOST_TICKS = 400
LIMIT_A_SECOND = 20.0
"""6,000 requests in 300 s, for a user and web server."""
MOST_OVERTAKEN = 2 * WORKERS
"""By how many places in the order of what is due a handoff may come too late: so many run at once."""
GOAL_MORE_SECONDS = 5.0
TOLD = (Story("phone", "phone", PHONE), Story("whatsapp", "whatsapp", BOTH))


def run(world: World, *, handoffs: int, kind: str = "refused") -> Result:
    """The outage, and the way back; the stand-in's limits are on, and count simulated time."""
    result = Result(f"outage of an hour ({kind})")
    world.reset()
    outage = _Outage(world, result)
    outage.warm_up()
    outage.down(handoffs, kind)
    outage.back()
    expected = [Expected(handoff_id, story) for handoff_id, story in outage.told.items()]
    result.cases = len(expected)
    result.findings += [("outage", finding) for finding in oracle.judge(world, expected)]
    return result.done(outage.note())


class _Outage:
    """One run. Two instances: ``front`` takes handoffs, ``timer`` reconciles."""

    def __init__(self, world: World, result: Result) -> None:
        self.world, self.result = world, result
        self.front: Application = world.application()
        self.timer: Application = world.application()
        self.told: dict[str, Story] = {}
        self.before: list[float] = []
        self.fresh: dict[str, float] = {}
        self.calls = 0
        self.first_wait = self.later_wait = 0.0
        self.drain_seconds = 0.0
        self.late = 0
        self.until_known = 0.0
        self.fresh_waits: list[float] = []
        self.due: dict[str, float] = {}
        self.backlog: list[str] = []

    def accept(self, handoff_id: str) -> float:
        """Post one; the seconds until the answer."""
        number = len(self.told)
        story = TOLD[number % len(TOLD)]
        self.told[handoff_id] = story
        began = self.world.clock.time()
        answer = post(self.front, story.body(handoff_id, number))
        if answer.record.state == "failed":
            self.wrong(handoff_id, "failed")
        return self.world.clock.time() - began

    def wrong(self, handoff_id: str, text: str) -> None:
        """Note what is not as it must be."""
        self.result.findings.append(("outage", Finding(WRONG, handoff_id, text)))

    def warm_up(self) -> None:
        """How long handoffs take while all is well."""
        for number in range(10):
            self.before.append(self.accept(f"before-{number}"))
            self.world.clock.sleep(NEW_EVERY_SECONDS)

    def down(self, handoffs: int, kind: str) -> None:
        """The hour: handoffs come evenly, the timer ticks, and Dynamics is asked by probes only."""
        world = self.world

        def plan(call: Call) -> Fault | None:
            if call.system != DATAVERSE:
                return None
            self.calls += 1
            return faults.KINDS[kind]

        world.wire.begin(plan)
        began, next_tick = world.clock.time(), world.clock.time() + TICK_SECONDS
        for number in range(handoffs):
            seconds = self.accept(f"down-{number}")
            self.backlog.append(f"down-{number}")
            if number == 0:
                self.first_wait = seconds
            else:
                self.later_wait = max(self.later_wait, seconds)
            world.clock.advance_to(began + DOWN_SECONDS * (number + 1) / handoffs)
            while world.clock.time() >= next_tick:
                self.timer.reconciler.run()
                next_tick += TICK_SECONDS
        probes = 4 * (10 + DOWN_SECONDS / TICK_SECONDS)
        if self.calls > 2 * probes:
            self.wrong("-", f"{self.calls} calls to a system that is down, and it has {probes:.0f} probes at most")
        if self.first_wait > 26 or self.later_wait > 26:
            self.wrong("-", f"callers waited {self.first_wait:.1f} s and {self.later_wait:.1f} s")
        world.wire.clear()
        self.due = {str(row["HandoffId"]): _moment(str(row["DueAt"])) for row in oracle.waiting(world.rows())}

    def back(self) -> None:
        """Dynamics answers again; new handoffs come while the backlog drains."""
        world = self.world
        began = world.clock.time()
        self._new(0)
        for _ in range(MOST_TICKS):
            tick = world.clock.time()
            self.timer.reconciler.run()
            if not oracle.waiting(world.rows()):
                break
            world.clock.advance_to(tick + TICK_SECONDS)
        world.clock.forget()
        self._measure(began)

    def _new(self, number: int) -> None:
        """A handoff now, and the next one in a few seconds."""
        clock = self.world.clock
        self.fresh[f"new-{number}"] = clock.time()
        clock.plan(clock.time() + NEW_EVERY_SECONDS, lambda: self._new(number + 1))
        self.accept(f"new-{number}")

    def _measure(self, began: float) -> None:
        completed = {
            str(row["HandoffId"]): _moment(str(row["CompletedAt"]))
            for row in self.world.rows()
            if row["RowKey"].startswith("h:") and row["State"] == "completed"
        }
        self.drain_seconds = max((completed.get(each, began) for each in self.backlog), default=began) - began
        landed = sorted(self.due.keys() & completed.keys(), key=lambda each: completed[each])
        place = {each: number for number, each in enumerate(sorted(landed, key=lambda each: self.due[each]))}
        furthest = -1
        for handoff_id in landed:
            furthest = max(furthest, place[handoff_id])
            self.late = max(self.late, furthest - place[handoff_id])
        if self.late > MOST_OVERTAKEN:
            self.wrong("-", f"not in order: one that was {self.late} places behind landed before")
        opened = min(completed[each] for each in self.backlog if each in completed)
        waits = {each: completed[each] - came for each, came in self.fresh.items() if each in completed}
        self.fresh_waits = [wait for each, wait in waits.items() if self.fresh[each] > opened]
        self.until_known = opened - began
        more = max(self.fresh_waits, default=0.0) - median(self.before)
        if more > GOAL_MORE_SECONDS:
            self.wrong("-", f"a new handoff took {more:.1f} s more than before the outage")

    def note(self) -> str:
        """The figures."""
        entries = self.world.dataverse_server.journal.entries()
        throttled = sum(entry.status == 429 for entry in entries)
        least = 2 * len(self.backlog) / LIMIT_A_SECOND
        fresh = self.fresh_waits or [0.0]
        return (
            f"202 after {self.first_wait:.1f} s, then at most {self.later_wait:.1f} s; {self.calls} calls while down; "
            f"noticed after {self.until_known:.0f} s, "
            f"drained in {self.drain_seconds:.0f} s (least {least:.0f} s), {throttled} times 429, "
            f"due order kept within {self.late} places; new ones meanwhile {median(fresh):.1f} s, "
            f"at most {max(fresh):.1f} s (before {median(self.before):.1f} s); all simulated"
        )


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
