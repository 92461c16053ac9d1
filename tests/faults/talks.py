"""Conversations as people have them: a rep and a customer write, equal words among it, and one of them ends it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.relay.model import digest, lane_of
from tests.faults.case import AtOne
from tests.faults.engine import HTTP, Engine
from tests.faults.faults import killed_before
from tests.faults.stories import BOTH, Story
from tests.faults.wire import Killed, Plan
from tests.faults.world import World, post

SALESFORCE, DYNAMICS = "salesforce", "dynamics365"
SETTINGS: dict[str, dict[str, Any]] = {
    SALESFORCE: {"HANDOFF_ROUTES": '{"whatsapp": "salesforce"}'},
    DYNAMICS: {"LIVE_WORK_ITEM_PRESET": "messaging"},
}
REP, CUSTOMER = "rep", "customer"
PATIENCE_SECONDS = 1800.0
AFTERWARDS_SECONDS = 70.0
"""After the end, for what comes late."""
STORY = Story("talk", "sms", BOTH)
CHANNELS = {SALESFORCE: "whatsapp", DYNAMICS: "sms"}
"""So that one world can hold both."""

type Said = tuple[str, tuple[str, ...]]
"""A message: its text, and the names of its files."""


class RepAt(Protocol):
    """A rep at their desk, and what they see there."""

    def accepts(self) -> None:
        """Take the conversation."""

    def says(self, text: str) -> None:
        """Write."""

    def sends_file(self, name: str) -> None:
        """Send a file."""

    def ends(self) -> None:
        """End it."""

    def heard(self) -> list[str]:
        """What the customer's messages were, in order."""

    def wrong(self) -> list[str]:
        """What else is not as it must be at the desk when it is over."""


class AtSalesforce:
    """A rep at the Service Console."""

    def __init__(self, world: World, conversation_id: str) -> None:
        self._org, self._id = world.salesforce, conversation_id
        self._handoff = len(self._org.conversation(conversation_id)["received"])

    def accepts(self) -> None:
        """Take the conversation."""
        self._org.rep_accepts(self._id)

    def says(self, text: str) -> None:
        """Write."""
        self._org.rep_says(self._id, text)

    def sends_file(self, name: str) -> None:
        """Send a file."""
        self._org.rep_sends_file(self._id, name, b"%PDF-")

    def ends(self) -> None:
        """End the session."""
        self._org.rep_ends(self._id)

    def heard(self) -> list[str]:
        """What the customer's messages were, in order; one that came twice is there twice."""
        return [one["text"] for one in self._org.conversation(self._id)["received"][self._handoff :]]

    def wrong(self) -> list[str]:
        """One session, and it has ended."""
        stands = self._org.conversation(self._id)
        found = [] if stands["sessionStatus"] == "Ended" else [f"the session is {stands['sessionStatus']}"]
        if len(stands["sessions"]) != 1:
            found.append(f"{len(stands['sessions'])} messaging sessions")
        return found


class AtDynamics:
    """A rep in the agent's app."""

    def __init__(self, world: World, conversation_id: str) -> None:
        self._org, self._id = world.messaging, conversation_id

    def accepts(self) -> None:
        """Take the conversation."""
        self._org.rep.accept(self._id)

    def says(self, text: str) -> None:
        """Write."""
        self._org.rep.say(self._id, text)

    def sends_file(self, name: str) -> None:
        """Send a file."""
        self._org.rep.file(self._id, name, b"%PDF-")

    def ends(self) -> None:
        """The End button."""
        self._org.rep.end(self._id)

    def heard(self) -> list[str]:
        """What the customer's messages were, in order."""
        stands = self._org.conversation(self._id)["activities"]
        return [one["text"] for one in stands if one["by"] == "customer" and one["type"] == "message"]

    def wrong(self) -> list[str]:
        """It is over."""
        state = self._org.conversation(self._id)["state"]
        return [] if state in ("Wrap-up", "Closed") else [f"the conversation is {state}"]


@dataclass
class Talk:
    """One conversation from the handoff to its end.

    Attributes:
        said: what the rep wrote.
        asked: what the customer wrote.
        over_early: the relay took it for ended while people were still writing.
        calls: how many calls it took until everything rested.
    """

    world: World
    system: str
    ending: str = REP
    session_id: str = "talk-1"
    engine: Engine = field(init=False)
    rep: RepAt = field(init=False)
    said: list[Said] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    over_early: bool = False
    calls: int = 0
    _writes: int = -1
    _is_over: bool = False

    def begin(self, engine: Engine | None = None, *, dies_at: int | None = None) -> None:
        """The handoff; a rep takes it; then every instance is new.

        Args:
            engine: drives the world; one of its own by default.
            dies_at: the call of the handoff before which its worker dies, having told nobody.
        """
        world = self.world
        world.messaging.set_channel(attachments_from_reps=True)
        self.engine = engine or Engine(world, **SETTINGS[self.system])
        channel = CHANNELS[self.system]
        world.opencx.add_session({"id": self.session_id, "channel": channel, "contact": {"name": "Jo Doe"}})
        with world.wire.silence() if dies_at is None else contextlib.suppress(Killed):
            world.wire.begin(AtOne(dies_at, killed_before) if dies_at is not None else None)
            post(self.engine.app(HTTP), STORY.body(self.session_id) | {"channel": channel})
        world.wire.clear()
        with world.wire.silence():
            self.rep = self._rep()
            self.rep.accepts()
            self.engine.run(2.5)
        self.engine.renew()

    def _rep(self) -> RepAt:
        """At the desk where the handoff has landed last."""
        if self.system == SALESFORCE:
            return AtSalesforce(self.world, self.world.salesforce.conversations()[-1]["conversationId"])
        return AtDynamics(self.world, self.world.messaging.conversations()[-1]["id"])

    def run(self, plan: Plan | None = None) -> None:
        """All of it, under a plan of faults that begins when the rep has accepted."""
        self.begin()
        self.go(plan)

    def go(self, plan: Plan | None = None, *, lingers_seconds: float = 0.0) -> None:
        """What follows after `begin`; nobody says anything for a while before the end."""
        self.world.wire.begin(plan)
        self.write()
        self.engine.run(PATIENCE_SECONDS, until=lambda: self.has_arrived or self.is_over)
        self.engine.run(lingers_seconds)
        self.finish()
        self.world.wire.clear()

    def write(self) -> None:
        """Both write for some ten seconds; equal words are two messages."""
        acts: Sequence[tuple[float, Callable[[], None]]] = (
            (0.3, lambda: self.say("Hello, this is Riley.")),
            (1.2, lambda: self.say("ok")),
            (0.3, lambda: self.say("ok")),
            (0.2, lambda: self.ask("yes")),
            (0.4, lambda: self.ask("yes")),
            (1.5, lambda: self.send_file("invoice.pdf")),
            (0.3, lambda: self.ask('5 & 6 <b>"ü😀"</b>')),
            (1.5, lambda: self.say("Line one\nline two & <three>")),
        )
        for pause, act in acts:
            if self.engine.run(pause, until=lambda: self.is_over):
                self.over_early = True
                return
            act()

    def finish(self) -> None:
        """A last word, and the end; then time for what comes late."""
        if self.is_over:
            self.over_early = True
        elif self.ending == REP:
            self.say("Bye.")
            self.rep.ends()
        else:
            self.ask("Thanks, bye.")
            self.world.opencx.close(self.session_id)
        self.engine.run(PATIENCE_SECONDS, until=lambda: self.is_over and self.world.queues.next_at() is None)
        self.calls = len(self.world.wire.trace)
        self.engine.run(AFTERWARDS_SECONDS)

    def say(self, text: str) -> None:
        """The rep writes."""
        self.said.append((text, ()))
        self.rep.says(text)

    def send_file(self, name: str) -> None:
        """The rep sends a file."""
        self.said.append(("", (name,)))
        self.rep.sends_file(name)

    def ask(self, text: str) -> None:
        """The customer writes."""
        self.asked.append(text)
        self.world.opencx.contact_says(self.session_id, text)

    def told(self) -> list[Said]:
        """What OpenCX holds of the rep's messages."""
        history = self.world.opencx.history(self.session_id)
        return [
            (item["event"]["content"]["text"], tuple(one["name"] for one in item["event"].get("attachments") or ()))
            for item in history
            if item["event"]["sender"]["type"] == "human_agent"
        ]

    @property
    def has_arrived(self) -> bool:
        """Whether everything that was written stands on the other side, and nothing is being sent."""
        if len(self.told()) < len(self.said) or len(self.rep.heard()) < len(self.asked):
            return False
        row = self.row
        return row is None or (not row["claim"] and row["failures"] == 0)

    @property
    def is_over(self) -> bool:
        """Whether the relay has nothing open any more. It ends by a transaction, so one is waited for."""
        writes = self.world.wire.trace.count("tables POST write")
        if writes != self._writes:
            self._writes = writes
            self._is_over = self.row is None
        return self._is_over

    @property
    def row(self) -> dict[str, Any] | None:
        """The conversation's row while it is open."""
        with self.world.wire.silence():
            found = self.world.table().query_entities(f"PartitionKey eq 'r{lane_of(self.session_id)}'")
            start = f"o:{digest(self.session_id)[:24]}"
            return next((dict(one) for one in found if str(one["RowKey"]).startswith(start)), None)
