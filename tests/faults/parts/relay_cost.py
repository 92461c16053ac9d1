"""What an open conversation costs while nobody says anything: calls a minute, beside what the timer costs anyway."""

from collections import Counter
from dataclasses import dataclass

from tests.faults.engine import Engine
from tests.faults.oracle import WRONG, Finding
from tests.faults.report import Result, table
from tests.faults.talks import DYNAMICS, SALESFORCE, SETTINGS, Talk
from tests.faults.world import World

PHASES = (("just written", 60.0, 300.0), ("silent for 15 min", 900.0, 600.0), ("silent for 40 min", 2400.0, 1800.0))
"""Name, and from when and for how long it is counted, in seconds after the last message."""
OUTSIDE = ("salesforce", "messaging", "dataverse", "opencx")
IDLE_CALLS = {SALESFORCE: 4.5, DYNAMICS: 1.0}
"""A minute, to the systems outside, at most."""


@dataclass
class Cost:
    """Calls a minute by system, in one phase."""

    system: str
    phase: str
    calls: dict[str, float]

    @property
    def outside(self) -> float:
        """To OpenCX and to where the rep works."""
        return sum(self.calls.get(name, 0.0) for name in OUTSIDE)

    def cells(self) -> list[str]:
        """Its row."""
        inside = (self.calls.get("tables", 0.0), self.calls.get("queue", 0.0))
        by_name = ", ".join(f"{name} {self.calls[name]:.1f}" for name in OUTSIDE if self.calls.get(name))
        return [self.system, self.phase, f"{self.outside:.1f}", by_name or "-", *(f"{each:.1f}" for each in inside)]


def run(world: World) -> Result:
    """One conversation in each system, as it grows silent, and after its end; an idle one must stay cheap."""
    result = Result("relay: what an open conversation costs")
    rows = []
    for system in (SALESFORCE, DYNAMICS):
        world.reset()
        engine = Engine(world, **SETTINGS[system])
        engine.run(120)
        timer = _counted(world, engine, 600)
        talk = Talk(world, system)
        talk.begin(engine)
        talk.say("Hello.")
        talk.engine.run(5, until=lambda talk=talk: bool(talk.told()))  # type: ignore[misc]
        written = world.clock.time()
        for phase, begins, seconds in PHASES:
            engine.run(written + begins - world.clock.time())
            rows.append(Cost(system, phase, _beside(timer, _counted(world, engine, seconds))))
            result.add(f"{system}, {phase}", [])
        if rows[-1].outside > IDLE_CALLS[system]:
            result.findings.append((system, Finding(WRONG, "-", f"idle: {rows[-1].outside:.1f} calls a minute")))
        talk.finish()
        engine.run(120)
        rows.append(Cost(system, "over", _beside(timer, _counted(world, engine, 600))))
        found = [] if not any(each > 0 for each in rows[-1].calls.values()) else [Finding(WRONG, "-", "it still costs")]
        result.add(f"{system}, over", found)
    headings = ["system", "conversation", "outside", "of these", "table", "queue"]
    return result.done("calls a minute\n" + table([headings, *(row.cells() for row in rows)]))


def _counted(world: World, engine: Engine, seconds: float) -> dict[str, float]:
    """Calls a minute by system, while so much time passes."""
    before = len(world.wire.trace)
    engine.run(seconds)
    names = Counter(name.partition(" ")[0] for name in world.wire.trace[before:])
    return {name: count * 60 / seconds for name, count in names.items()}


def _beside(timer: dict[str, float], calls: dict[str, float]) -> dict[str, float]:
    return {name: round(count - timer.get(name, 0.0), 3) for name, count in calls.items()}
