"""`python -m tests.bench.engine`: what a look at an open conversation costs, in lanes and with a message of its own.

The same look at the same conversations, on Azurite and Salesforce's stand-in, in turn: once as a lane of them
(`shared.relay.lanes`), once as the engine that would give each conversation a queue message that puts in its successor.
What the platform does outside the worker (taking and deleting a message) is counted as operations, not as time.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.standins import OPENCX_API_KEY
from shared.app import Application
from shared.handoff.model import Contact, Handoff, Turn
from shared.relay.model import Conversation, lane_of
from tests.bench.floor import recorded
from tests.bench.measure import percentile
from tests.bench.world import World

LANE = "00"
CYCLES = 30


@dataclass(frozen=True)
class Cost:
    """Of one look: processor time in milliseconds, calls to storage, and messages that the platform takes."""

    cpu_ms: list[float]
    storage_calls: float
    messages: float

    def line(self, name: str) -> str:
        """The cost as a line."""
        low, middle, high = (percentile(self.cpu_ms, each) for each in (10, 50, 90))
        operations = self.storage_calls + 2 * self.messages
        return f"{name:<28} {middle:6.2f} ({low:.2f}-{high:.2f})   {self.storage_calls:5.2f}   {operations:5.2f}"


def opened(world: World, app: Application, number: int) -> list[Conversation]:
    """So many open conversations in one lane, in Salesforce's stand-in."""
    sessions = (name for name in (f"engine-{each}" for each in itertools.count()) if lane_of(name) == LANE)
    for session_id in itertools.islice(sessions, number):
        world.call("opencx", "sessions", {"id": session_id, "channel": "sms"})
        handoff = Handoff(session_id, session_id, "sms", Contact(phone="+12025550100"), (Turn("customer", "Hi"),))
        outcome = app.salesforce.destination.deliver(handoff, deadline=app.clock.monotonic() + 20)
        app.relay.open(handoff, outcome, accepted_at=app.clock.now())
    app.lanes.run(LANE, app.conversations.lane(LANE).sequence)  # the first look reads OpenCX's history
    found = app.conversations.of_lane(LANE)
    assert all(each.failures == 0 for each in found)
    return found


def in_a_lane(app: Application) -> None:
    """One look at all of them, by the lane's message."""
    app.lanes.run(LANE, app.conversations.lane(LANE).sequence)


def each_by_itself(app: Application, keys: list[str]) -> None:
    """One look at all of them, each by a message of its own that puts in its successor."""
    for key in keys:
        conversation = app.conversations.get(key)
        assert conversation is not None
        app.lanes._carrier.step(conversation)
        app.wake.lane(LANE, 0, delay_seconds=3600)


def cost(work: Callable[[], None], *, looks: int) -> tuple[float, float]:
    """Processor milliseconds and storage calls of a look."""
    with recorded() as calls:
        began = time.process_time()
        work()
        spent = time.process_time() - began
    return spent * 1000 / looks, sum("devstoreaccount1" in call.target for call in calls) / looks


def main() -> int:
    """Print both, and the ratio."""
    logging.getLogger("opencx_handoff").addHandler(logging.NullHandler())
    logging.getLogger("opencx_handoff").propagate = False
    print(f"{'engine':<28} {'CPU ms a look (p10-p90)':<24}  calls   with the platform's")
    with World() as world:
        for number in (1, 12, 60):
            world.forget()
            with contextlib.closing(Application({**world.settings, "OPENCX_API_KEY": OPENCX_API_KEY})) as app:
                keys = [each.key for each in opened(world, app, number)]
                pairs = []
                for _ in range(CYCLES):
                    ours_now = cost(lambda app=app: in_a_lane(app), looks=number)  # type: ignore[misc]
                    other_now = cost(lambda app=app, keys=keys: each_by_itself(app, keys), looks=number)  # type: ignore[misc]
                    pairs.append((ours_now, other_now))
                ours = Cost([a[0] for a, _ in pairs], pairs[-1][0][1], 1 / number)
                other = Cost([b[0] for _, b in pairs], pairs[-1][1][1], 1)
                print(ours.line(f"a lane of {number}"))
                print(other.line("a message a conversation"))
                ratios = [a[0] / b[0] for a, b in pairs]
                print(f"{'ratio of CPU':<28} {percentile(ratios, 50):6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
