"""Handoffs that become conversations: every boundary by every kind of fault, to Salesforce and to the Messaging APIs.

Each is started by OpenCX's signed webhook: stored, woken by the queue, or found by the timer where the wake-up is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

from shared.errors import HandoffError
from tests.faults import conversation_oracle, faults
from tests.faults.case import HANDOFF, AtOne
from tests.faults.engine import HTTP, Engine
from tests.faults.oracle import Finding
from tests.faults.parts.relay import OFTEN, applies, chosen
from tests.faults.report import Result
from tests.faults.stories import BOTH, EMAIL, PHONE, Story
from tests.faults.wire import Killed, Plan
from tests.faults.world import World, post

WEBHOOK, LOST_WAKE, POST = "webhook", "lost wake-up", "post"
PATIENCE_SECONDS = 7200.0
AFTERWARDS_SECONDS = 12.0
"""For the relay's first looks: they must not carry what the handoff has told."""
TIMER_FINDS_SECONDS = 180.0
"""When the timer has woken a lane that has lost its message, at the latest."""
COPIES = 4


@dataclass(frozen=True)
class Start:
    """A handoff and the way in which it comes.

    Attributes:
        is_guest: whether there is no private key.
        is_verified: whether the e-mail address is verified.
        tells_channel: whether the webhook says what OpenCX may leave out; else it is read at the attempt.
    """

    story: Story
    way: str = WEBHOOK
    is_guest: bool = False
    is_verified: bool = False
    tells_channel: bool = True

    @property
    def name(self) -> str:
        """Names it in the table."""
        return f"{self.story.name}, {self.way}{'' if self.tells_channel else ', channel read'}"


def _read(name: str, channel: str, contact: dict[str, str], **more: Any) -> Story:
    return Story(name, channel, contact, is_read=True, **more)


SALESFORCE_STARTS = (
    Start(_read("sms new", "sms", PHONE)),
    Start(_read("sms new", "sms", PHONE), tells_channel=False),
    Start(_read("sms new", "sms", PHONE), LOST_WAKE),
    Start(_read("whatsapp", "whatsapp", BOTH)),
    Start(Story("web verified", "web", EMAIL), POST, is_verified=True),
    Start(_read("phone", "phone", PHONE)),
    Start(_read("sms guest", "sms", PHONE), is_guest=True),
    Start(_read("web 40 turns", "web", EMAIL, turns=40, size=200)),
    Start(_read("web 400 turns", "web", EMAIL, turns=400, size=300)),
)
MESSAGING_STARTS = (
    Start(_read("whatsapp new", "whatsapp", BOTH)),
    Start(_read("whatsapp known", "whatsapp", BOTH, is_known=True)),
    Start(_read("web new", "web", EMAIL), LOST_WAKE),
    Start(_read("web known", "web", EMAIL, is_known=True)),
    Start(Story("sms new", "sms", PHONE), POST),
    Start(_read("sms 40 turns", "sms", PHONE, turns=40, size=200)),
    Start(_read("web 400 turns", "web", EMAIL, turns=400, size=300)),
)
SETTINGS = {
    conversation_oracle.SALESFORCE: {
        "HANDOFF_ROUTES": '{"sms": "salesforce", "whatsapp": "salesforce", "web": "salesforce", "phone": "salesforce"}',
        "SALESFORCE_SUBJECT": "customer",
    },
    conversation_oracle.DYNAMICS: {"LIVE_WORK_ITEM_PRESET": "messaging"},
}


def salesforce(world: World, **options: Any) -> Result:
    """The matrix for Salesforce; options as `run`."""
    return run(world, conversation_oracle.SALESFORCE, **{"starts": SALESFORCE_STARTS, **options})


def messaging(world: World, **options: Any) -> Result:
    """The matrix for the Messaging APIs; options as `run`."""
    return run(world, conversation_oracle.DYNAMICS, **{"starts": MESSAGING_STARTS, **options})


def run(
    world: World,
    system: str,
    *,
    starts: Iterable[Start],
    kinds: Sequence[str] = tuple(faults.KINDS),
    often: int = OFTEN,
    every: int = 1,
    until_found: bool = False,
) -> Result:
    """Each start's boundaries by the kinds of fault; see `tests.faults.parts.relay.run`."""
    result = Result(f"handoff to {system}")
    tried = 0
    for start in starts:
        names = trace(world, system, start)
        places = list(chosen(names, often=often))[::every]
        tried += len(places)
        for place in places:
            for kind in kinds:
                if not applies(kind, names[place]) and not names[place].startswith("dataverse"):
                    continue
                found = one(world, system, start, AtOne(place, faults.KINDS[kind]), kind)
                result.add(f"{start.name}: {kind} at {place} {names[place]}", found)
                if until_found and found:
                    return result.done("ended early")
    return result.done(f"{tried} boundaries by {len(kinds)} kinds")


def trace(world: World, system: str, start: Start) -> list[str]:
    """The calls of one clean handoff."""
    engine = begin(world, system, start)
    hand_over(engine, start, None)
    return list(world.wire.trace)


def one(
    world: World, system: str, start: Start, plan: AtOne, kind: str, *, switches: Mapping[str, Any] | None = None
) -> list[Finding]:
    """One handoff under a plan, from an empty world; what is wrong at its end."""
    engine = begin(world, system, start)
    world.switch(system, **(switches or {}))
    hand_over(engine, start, plan)
    met = plan.met
    world.wire.clear()
    engine.run(TIMER_FINDS_SECONDS, until=lambda: world.queues.next_at() is not None)
    engine.run(AFTERWARDS_SECONDS)
    refused_by_opencx = met is not None and met.system == "opencx" and kind in ("401", "403", "409", "412", "412 done")
    # Salesforce says by 403 that a conversation takes no more: then the handoff has failed, or lacks what followed.
    ends = met is not None and kind == "403" and met.name.startswith("salesforce") and "conversation/*" in met.name
    return conversation_oracle.judge(
        world,
        system,
        start.story,
        may_lack_transcript=refused_by_opencx,
        may_be_refused=ends,
        may_lack_contact=met is not None and met.name.startswith("dataverse PATCH contacts") and kind in ("409", "412"),
    )


def begin(world: World, system: str, start: Start) -> Engine:
    """An empty world with a session at OpenCX."""
    world.reset()
    if start.is_guest:
        world.vault._secrets.pop("salesforce-private-key")
    start.story.prepare(world, HANDOFF)
    if not start.story.is_read:
        world.opencx.add_session({"id": HANDOFF, "channel": start.story.channel})
    settings = dict(SETTINGS[system])
    if start.is_guest:  # with an issuer and no key the guest would be noticed
        settings |= {"SALESFORCE_JWT_ISSUER": "", "SALESFORCE_AUTH_KEY_ID": ""}
    return Engine(world, loses_wakes=start.way == LOST_WAKE, **settings)  # type: ignore[arg-type] # no setting has such a name


def hand_over(engine: Engine, start: Start, plan: Plan | None) -> None:
    """It comes in, and is helped on until it stands and its messages are carried; posted again if it broke off."""
    world = engine.world
    world.wire.begin(plan)
    if start.way != POST:
        world.opencx.hand_off(HANDOFF, **({"channel": start.story.channel} if start.tells_channel else {}))
        engine.run(PATIENCE_SECONDS, until=lambda: _stands(world))
        return
    body = start.story.body(HANDOFF)
    if start.is_verified:
        body["contact"] = {**body["contact"], "verified": True}
    for _ in range(3):
        try:
            post(engine.app(HTTP), body)
            break
        except Killed:
            engine.renew()
        except HandoffError:
            world.clock.sleep(5)
    engine.run(PATIENCE_SECONDS, until=lambda: _stands(world))


def at_once(
    world: World,
    *,
    times: int = 6,
    systems: Sequence[str] = tuple(SETTINGS),
    switches: Mapping[str, Any] | None = None,
) -> Result:
    """The same handoff posted several times at once makes one conversation, also where two creates would make two."""
    result = Result("conversations posted at once")
    for system in systems:
        settings = SETTINGS[system]
        told = Story("sms", "sms", PHONE)
        for number in range(times):
            engine = begin(world, system, Start(told, POST))
            world.switch(system, **(switches or {}))
            apps = [world.application(**settings) for _ in range(2)]
            gate = Barrier(COPIES)

            def call(copy: int, gate: Barrier = gate, apps: list[Any] = apps, told: Story = told) -> None:
                gate.wait()
                post(apps[copy % 2], told.body(HANDOFF))

            with ThreadPoolExecutor(COPIES) as pool:
                list(pool.map(call, range(COPIES)))
            engine.run(PATIENCE_SECONDS, until=lambda: _stands(world))
            engine.run(AFTERWARDS_SECONDS)
            result.add(f"{system} {number}", conversation_oracle.judge(world, system, told))
    return result.done(f"{COPIES} calls at once")


def _stands(world: World) -> bool:
    """Whether the handoff has come to an end."""
    with world.wire.silence():
        rows = world.table().query_entities("RowKey ge 'h:' and RowKey lt 'h;'")
        states = [row["State"] for row in rows]
    return bool(states) and all(state in ("completed", "failed") for state in states)
