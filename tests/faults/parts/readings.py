"""What no document settles: each reading of it by whole conversations, and by a create whose answer is lost.

The note of the result is the table of docs/unknowns.md, which must say the same.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from tests.faults import conversation_oracle, faults, talk_oracle
from tests.faults.case import HANDOFF, AtOne
from tests.faults.engine import HTTP, Engine
from tests.faults.oracle import DUPLICATE, LOST, WRONG, Finding
from tests.faults.parts import conversations
from tests.faults.parts.conversations import Start
from tests.faults.report import Result
from tests.faults.stories import BOTH, Story
from tests.faults.talks import CHANNELS, CUSTOMER, DYNAMICS, REP, SALESFORCE, SETTINGS, STORY, Talk
from tests.faults.wire import Call, Fault
from tests.faults.world import World, post

PAGE = Path(__file__).parents[3] / "docs" / "unknowns.md"
RIGHT = "right"
CREATE = {SALESFORCE: "salesforce POST conversation", DYNAMICS: "messaging POST conversation/create"}
_WORDS = {DUPLICATE: "more than once", LOST: "lost", WRONG: "not as it must be"}


def wholly(world: World, system: str, switches: Mapping[str, Any]) -> Iterator[Finding]:
    """A handoff, and all that is said until the rep ends it; the same until the customer does."""
    for ending in (REP, CUSTOMER):
        world.reset()
        world.switch(system, **switches)
        talk = Talk(world, system, ending, session_id=HANDOFF)
        talk.begin()
        yield from conversation_oracle.judge_shown(world, system, replace(STORY, channel=CHANNELS[system]))
        talk.go()
        yield from talk_oracle.judge(talk) + talk_oracle.judge_world(talk)


def created_twice(world: World, system: str, switches: Mapping[str, Any]) -> Iterator[Finding]:
    """The create is done, and its answer lost."""
    yield from _created(world, system, switches, faults.lost)


def created_and_waiting(world: World, system: str, switches: Mapping[str, Any]) -> Iterator[Finding]:
    """The create's answer is lost, a rep takes the conversation and leaves it waiting, then comes the next try."""

    def fault(call: Call) -> requests.Response:
        call.work()
        conversation_id = world.messaging.conversations()[-1]["id"]
        world.messaging.rep.accept(conversation_id)
        world.messaging.rep.close_tab(conversation_id)
        return faults.broken(call)

    yield from _created(world, system, switches, fault)


def at_once(world: World, system: str, switches: Mapping[str, Any]) -> Iterator[Finding]:
    """The same handoff comes several times at once."""
    result = conversations.at_once(world, times=1, systems=[system], switches=switches)
    yield from (finding for _, finding in result.findings)


def nobody_works(world: World, system: str, switches: Mapping[str, Any]) -> Iterator[Finding]:
    """Dynamics says that the handoff has come outside the hours, and perhaps closes the conversation."""
    world.reset()
    world.switch(system, **switches)
    engine = Engine(world, **SETTINGS[system])
    with world.wire.silence():
        world.opencx.add_session({"id": HANDOFF, "channel": CHANNELS[system]})
        post(engine.app(HTTP), STORY.body(HANDOFF))
        world.messaging.rep.out_of_hours(world.messaging.conversations()[-1]["id"])
        engine.run(600)
    rows = {one["RowKey"][:2]: one for one in world.rows() if one["PartitionKey"].startswith("r")}
    row = rows.get("o:", rows["t:"])
    if ("o:" in rows) == world.messaging.switches.out_of_hours_closes or row["error_code"] != "nobody_can_take_it":
        yield Finding(WRONG, HANDOFF, f"{', '.join(rows)}: {row['error_code']}")
    yield from (Finding(WRONG, "-", crash) for crash in world.crashes)


type Scene = Callable[[World, str, Mapping[str, Any]], Iterator[Finding]]


@dataclass(frozen=True)
class Unknown:
    """One thing that no document settles.

    Attributes:
        name: of it, as the table says it.
        readings: switches of the stand-in; the first reading is its default.
        how: how the service meets all of them.
        scenes: what is played under each reading.
        costs: reading -> kinds of findings that belong to its nature; all other findings are wrong.
    """

    system: str
    name: str
    readings: Sequence[Mapping[str, Any]]
    how: str
    scenes: Sequence[Scene] = (wholly, created_twice)
    costs: Mapping[int, frozenset[str]] | None = None


def _each(switch: str, *values: Any) -> list[dict[str, Any]]:
    return [{switch: value} for value in values]


UNKNOWNS: Sequence[Unknown] = (
    Unknown(
        DYNAMICS,
        "where the code of an error stands in its body",
        _each("error_code_place", "text", "code", "errorCode", "error.code", "extensions"),
        "looked for in each of these places",
    ),
    Unknown(
        DYNAMICS,
        "how many requests a channel may make",
        _each("requests_per_minute", 0, 30),
        "429 is obeyed as it asks, else by growing waits",
    ),
    Unknown(
        DYNAMICS,
        "whether two creates at once with one `customerid` make two",
        _each("simultaneous_creates_double", True, False),
        "only the holder of the handoff's lease creates",
        (at_once,),
    ),
    Unknown(
        DYNAMICS,
        "whether a create finds a conversation that is Waiting",
        [{"waiting_finds_same": True}, {"waiting_finds_same": False}],
        "not created again: Dataverse names it, by the context variable or by `customerid`",
        (created_and_waiting,),
    ),
    Unknown(
        DYNAMICS,
        "the same, and Dataverse is told nothing about either",
        [{"waiting_finds_same": False, "context_rows": False, "engagement_rows": False}],
        "cannot be known: the rep gets a second conversation, which holds everything",
        (created_and_waiting,),
        {0: frozenset({DUPLICATE})},
    ),
    Unknown(
        DYNAMICS,
        "which table of Dataverse names the conversation",
        [
            {"context_rows": True, "engagement_rows": False},
            {"context_rows": False, "engagement_rows": True},
            {"context_rows": False, "engagement_rows": False},
        ],
        "both are asked; a create with the same `customerid` finds an open conversation anyway",
    ),
    Unknown(
        DYNAMICS,
        "how soon Dataverse and GET context show what is new",
        [
            {"row_delay_seconds": 0.1, "context_delay_seconds": 0.5},
            {"row_delay_seconds": 5.0, "context_delay_seconds": 5.0},
        ],
        "nothing is concluded from what is not there yet",
    ),
    Unknown(
        DYNAMICS,
        "whether the start message is always taken",
        _each("start_message_taken", True, False),
        "the answer to the create says so; if not, its text is sent as messages",
    ),
    Unknown(
        DYNAMICS,
        "whether GET messages lists the start message",
        _each("start_message_listed", True, False),
        "a repeat that does not see it tells it again, once",
        costs={1: frozenset({DUPLICATE})},
    ),
    Unknown(
        DYNAMICS,
        "whether the start message comes back by the webhook",
        _each("start_message_echoed", False, True),
        "known by its words and dropped",
    ),
    Unknown(
        DYNAMICS,
        "whether the webhook brings automated messages",
        _each("automated_messages", False, True),
        "nothing tells them from a rep's: the customer reads them too; switch them off on the workstream",
        costs={1: frozenset({DUPLICATE})},
    ),
    Unknown(
        DYNAMICS,
        "what `from` holds in GET messages",
        _each("messages_from", "empty", "id", "full"),
        "what the customer wrote is known by OpenCX's history",
    ),
    Unknown(
        DYNAMICS,
        "how the last page of GET messages is told",
        _each("continuation_until_empty", True, False),
        "pages are read until one is empty or names no next",
    ),
    Unknown(
        DYNAMICS,
        "whether activities carry an id and a time",
        _each("activity_ids", False, True),
        "without ids equal words are compared with the listing",
    ),
    Unknown(
        DYNAMICS,
        "whether messages carry the 13 digits of their id",
        _each("message_id_in_channel_data", False, True),
        "they give the order and tell doubles; without them the listing does",
    ),
    Unknown(
        DYNAMICS,
        "the type of event activities",
        _each("events_as", "message", "event"),
        "both are read as events and never told to the customer",
    ),
    Unknown(
        DYNAMICS,
        "the events when a rep accepts",
        _each("events_on_accept", ("AgentAccepted",), ()),
        "a rep's words show that one is there",
    ),
    Unknown(
        DYNAMICS,
        "the events of the End button",
        _each("events_on_end", ("AgentClosed", "ConversationClosed"), ("ConversationClosed",), ("AgentClosed",), ()),
        "an end that nothing tells is found by error 30013, and by the state of the work item",
    ),
    Unknown(
        DYNAMICS,
        "the events when the customer ends",
        _each("events_on_customer_end", ("CustomerDisconnected",), ("ConversationClosed",), ()),
        "none is waited for",
    ),
    Unknown(
        DYNAMICS,
        "the state after the customer's end",
        _each("customer_end_state", "Wrap-up", "Closed"),
        "both count as ended",
    ),
    Unknown(
        DYNAMICS,
        "what happens to a conversation outside the hours",
        _each("out_of_hours_closes", False, True),
        "`nobody_can_take_it` in the log; a closed conversation ends, an open one stays",
        (nobody_works,),
    ),
    Unknown(
        DYNAMICS,
        "the version of the webhook's token",
        _each("webhook_token", "v2", "v1"),
        "issuer and app are checked in both spellings",
    ),
    Unknown(
        DYNAMICS,
        "the webhook's token is not set up",
        _each("webhook_token", "none"),
        "401; the sweep brings what was written, but nothing after the end: a last word is lost",
        costs={0: frozenset({LOST})},
    ),
    Unknown(
        DYNAMICS,
        "whether a file's address needs a token, and how long it lives",
        [
            {"file_token": False, "file_lifetime_seconds": 300.0},
            {"file_token": True, "file_lifetime_seconds": 300.0},
            {"file_token": False, "file_lifetime_seconds": 20.0},
        ],
        "OpenCX is given the address at once",
    ),
    Unknown(
        SALESFORCE,
        "what happens to attributes that are too long",
        _each("over_long_attributes", "refuse", "truncate"),
        "they are cut to the custom parameter's length first",
    ),
    Unknown(
        SALESFORCE,
        "whether a create needs `language`",
        _each("language_required", True, False),
        "it is always sent",
    ),
    Unknown(
        SALESFORCE,
        "whether a subject may have one open conversation only",
        _each("one_open_conversation", False, True),
        "a subject a session, unless SALESFORCE_SUBJECT says otherwise",
    ),
    Unknown(
        SALESFORCE,
        "whether pre-chat is asked every session",
        _each("prechat_every_session", False, True),
        "417 is answered by the same message with the attributes",
    ),
    Unknown(
        SALESFORCE,
        "what a new session does while one is open",
        _each("new_session_while_open", "replace", "ignore"),
        "a new session is asked for after a 417 only",
    ),
    Unknown(
        SALESFORCE,
        "a message id that is known already",
        _each("duplicate_messages", "accept", "refuse"),
        "the entries are looked at before a repeat",
    ),
    Unknown(
        SALESFORCE,
        "whether entries are listed twice",
        _each("duplicate_every", 0, 2),
        "known by their id",
    ),
    Unknown(
        SALESFORCE,
        "whether entries tell a session's status",
        _each("lists_session_status", True, False),
        "else the rep's leaving and the routing status tell the end",
    ),
    Unknown(
        SALESFORCE,
        "whether the channel answers by itself",
        _each("automated_responses", False, True),
        "told apart by the sender; carried by RELAY_AUTOMATED_MESSAGES only",
    ),
    Unknown(
        SALESFORCE,
        "whether a guest's end closes the conversation",
        _each("guest_end_closes", True, False),
        "a guest's conversation is closed by its own call",
    ),
    Unknown(
        SALESFORCE,
        "whether a 429 names a wait",
        _each("retry_after_seconds", None, 5),
        "obeyed; else growing waits",
    ),
    Unknown(
        SALESFORCE,
        "whether a rep's file needs a token",
        _each("files_need_token", False, True),
        "OpenCX is given the address as it is: where it needs a token the customer cannot open it",
    ),
)


def run(world: World, *, unknowns: Sequence[Unknown] = UNKNOWNS) -> Result:
    """Each reading of each; what is not in its nature is wrong, and what the documentation does not say."""
    result = Result("readings of what is not documented")
    documented = PAGE.read_text("utf-8").splitlines()
    lines: list[str] = []
    for unknown in unknowns:
        for number, switches in enumerate(unknown.readings):
            found = [each for scene in unknown.scenes for each in scene(world, unknown.system, switches)]
            natural = (unknown.costs or {}).get(number, frozenset())
            result.add(f"{unknown.name}: {shown(switches)}", [each for each in found if each.kind not in natural])
            if natural and not found:
                result.findings.append((unknown.name, Finding(WRONG, "-", "it costs nothing, and should")))
            lines.append(row(unknown, number, _measured(found)))
            if lines[-1] not in documented:
                result.findings.append((unknown.name, Finding(WRONG, "-", f"{PAGE.name} lacks: {lines[-1]}")))
    return result.done("\n".join(["", *lines]))


def row(unknown: Unknown, number: int, measured: str) -> str:
    """One line of the table."""
    first = unknown.name if number == 0 else ""
    cells = (first, shown(unknown.readings[number]), measured, unknown.how if number == 0 else "")
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def shown(switches: Mapping[str, Any]) -> str:
    """Switches as the table says them."""
    return ", ".join(f"`{name}={_value(value)}`" for name, value in switches.items())


def _measured(found: Sequence[Finding]) -> str:
    kinds = Counter(each.kind for each in found)
    return RIGHT if not found else ", ".join(f"{kinds[kind]} {_WORDS.get(kind, kind)}" for kind in sorted(kinds))


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _created(world: World, system: str, switches: Mapping[str, Any], fault: Fault) -> Iterator[Finding]:
    start = Start(Story("read", CHANNELS[system], BOTH, is_read=True))
    place = conversations.trace(world, system, start).index(CREATE[system])
    yield from conversations.one(world, system, start, AtOne(place, fault), "lost", switches=switches)
