"""The Messaging stand-in's webhook: payloads, attempts, order, and what can go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.dynamics_messaging import CHANNEL_ID
from tests.sandbox.messaging_world import World, accepted, bodies, texts

Json = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """The stand-in and its surroundings, on ports."""
    with World() as made:
        yield made


@pytest.fixture
def world(running: World) -> World:
    """The same as at the start."""
    return running.fresh()


# -- payloads ---------------------------------------------------------------------------------------------------


def test_the_payloads_are_microsofts_samples(world: World) -> None:
    """Message, file, typing and events, field by field: no id, no timestamp, events as messages."""
    world.standin.set_channel(attachments_from_reps=True)
    made = world.open()
    world.act(made, "accept")
    world.act(made, "say", text="hello")
    world.act(made, "file", name="issue (1).txt", text="log")
    world.act(made, "typing")
    world.act(made, "end")
    accept, say, file, typing, closed, ended = bodies(world)
    conversation = {"id": made}
    person = say["from"]
    assert accept == {
        "type": "message",
        "channelId": CHANNEL_ID,
        "conversation": conversation,
        "text": "EventName: **_AgentAccepted_**",
        "name": "AgentAccepted",
    }
    assert person["name"] == "Riley Rep"
    common = {"type": "message", "channelId": CHANNEL_ID, "from": person, "conversation": conversation}
    assert say == {**common, "textFormat": "markdown", "text": "hello"}
    attachment = {
        "contentType": "text/plain",
        "contentUrl": file["attachments"][0]["contentUrl"],
        "content": None,
        "name": "issue (1).txt",
        "thumbnailUrl": None,
    }
    assert file == {**common, "textFormat": "markdown", "attachments": [attachment]}
    assert typing == {
        "type": "typing",
        "channelId": "MessagingApi",
        "conversation": conversation,
        "recipient": {"id": "opencx:1"},
    }
    for body, name in ((closed, "AgentClosed"), (ended, "ConversationClosed")):
        sender = {"id": person["id"]}
        assert body == {**common, "from": sender, "text": f"EventName: **_{name}_**", "name": name}
    paths = {request.path for request in world.receiver.seen}
    assert paths == {f"/api/v3/conversations/{made}/activities"}


def test_other_shapes_by_switch(world: World) -> None:
    """Events of type `event`, ids and timestamps, the 13-digit id, automated and start messages."""
    world.standin.switch(
        events_as="event",
        activity_ids=True,
        message_id_in_channel_data=True,
        automated_messages=True,
        start_message_echoed=True,
    )
    made = world.open(startmessage={"message": "summary", "displayname": "AI"})
    world.act(made, "accept")
    message_id = world.act(made, "say", text="hello")["message_id"]
    start, greeting, event, joined, say = bodies(world)
    assert (start["text"], start["from"]["name"]) == ("summary", "AI")
    assert (event["type"], event["name"], "text" in event) == ("event", "AgentAccepted", False)
    assert greeting["from"] == joined["from"] != say["from"]
    assert say["channelData"] == {"messageId": message_id}
    assert len({body["id"] for body in (start, greeting, event, joined, say)}) == 5
    assert all(body["timestamp"].startswith("2027-01-15T08:00:00") for body in (event, say))


# -- attempts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "attempts", "state"),
    [
        ([200], 1, "delivered"),
        ([204], 1, "delivered"),
        ([500, 302, 200], 3, "delivered"),
        ([401, 404, 503, 200], 3, "dropped"),
    ],
)
def test_three_attempts_in_all(world: World, statuses: list[int], attempts: int, state: str) -> None:
    """Only 2xx is an acknowledgement; after the third failure the activity is lost, and the next one goes out."""
    made = accepted(world)
    world.receiver.statuses = list(statuses)
    world.act(made, "say", text="one")
    assert world.standin.wait_idle()
    world.receiver.statuses = []
    world.act(made, "say", text="two")
    assert texts(world) == ["one"] * attempts + ["two"]
    one, two = world.door("GET", "deliveries").json()[-2:]
    assert (one["state"], [attempt["status"] for attempt in one["attempts"]]) == (state, statuses[:attempts])
    assert (two["state"], two["status"]) == ("delivered", 200)
    # What the webhook has lost is still there for who looks.
    listed = world("GET", f"/conversation/{made}/messages").json()["messages"]
    assert [message["text"] for message in listed] == ["one", "two"]


def test_no_answer_in_time_is_a_failure(world: World) -> None:
    """The time-out of an attempt (10 s) is a failed attempt."""
    assert world.standin.switches.webhook_timeout_seconds == 10
    world.standin.switch(webhook_timeout_seconds=0.1, webhook_attempts=2)
    made = accepted(world)
    world.receiver.gate.clear()
    world.act(made, "say", text="x")
    assert world.standin.wait_idle()
    last = world.standin.deliveries()[-1]
    assert [attempt["error"] for attempt in last["attempts"]] == ["ReadTimeout"] * 2
    assert (last["state"], last["status"]) == ("dropped", None)


def test_a_receiver_that_is_down_is_a_failure(world: World) -> None:
    """A refused connection counts as an attempt."""
    world.standin.set_channel(webhook_url="http://127.0.0.1:9")
    world.act(world.open(), "accept")
    assert world.standin.wait_idle()
    last = world.standin.deliveries()[-1]
    assert [attempt["error"] for attempt in last["attempts"]] == ["ConnectionError"] * 3


def test_order_holds_within_a_conversation_and_others_do_not_wait(world: World) -> None:
    """While one conversation's first message hangs, its second waits, and another conversation goes on."""
    made = accepted(world)
    other = world.open(customercontext={"customerid": "other"})
    world.receiver.gate.clear()
    world.act(made, "say", text="one")
    world.act(made, "say", text="two")
    world.act(other, "accept")
    world.receiver.wait_for(2)
    waiting = {json.loads(request.body)["text"] for request in list(world.receiver.seen)}
    assert waiting == {"one", "EventName: **_AgentAccepted_**"}
    world.receiver.gate.set()
    assert [text for text in texts(world) if not text.startswith("EventName")] == ["one", "two"]


def test_a_channel_without_a_webhook_sends_nothing(world: World) -> None:
    """The delivery says so."""
    world.standin.set_channel(webhook_url="")
    world.act(world.open(), "accept")
    assert world.standin.deliveries()[-1]["state"] == "no_webhook"


def test_a_callable_can_stand_for_http() -> None:
    """A test may give a function instead of a URL."""
    got: list[tuple[str, str, str]] = []

    def post(url: str, headers: Any, body: bytes) -> int:
        got.append((url, headers["Authorization"].split(" ")[0], json.loads(body)["text"]))
        return 200

    with World(webhook=post) as world:
        made = world.open()
        world.act(made, "accept")
        assert world.standin.wait_idle()
        assert got == [(f"/v3/conversations/{made}/activities", "Bearer", "EventName: **_AgentAccepted_**")]
        assert world.receiver.seen == []


@pytest.mark.parametrize("url", ["https://x.example/?code=1", "http://x.example", f"https://x.example/{'p' * 500}"])
def test_webhook_urls_that_cannot_work_are_refused(world: World, url: str) -> None:
    """A query (a path is appended), plain http, more than 500 characters."""
    assert world.door("POST", "channel", {"webhook_url": url}).status_code == 400
    assert world.standin.channels()[0].webhook_url == f"{world.receiving.url}/api"


# -- faults -----------------------------------------------------------------------------------------------------


def test_duplicate_swap_and_loss(world: World) -> None:
    """An acknowledged activity comes again, two change places, one never comes."""
    made = accepted(world)
    world.door("POST", "webhook-faults", [{"fault": "duplicate", "skip": 1}, {"fault": "swap", "skip": 2}])
    world.door("POST", "webhook-faults", [{"fault": "lose", "skip": 4, "activity": "message"}])
    for number in range(6):
        world.act(made, "say", text=f"m{number}")
    assert texts(world) == ["m0", "m1", "m1", "m3", "m2", "m5"]
    states = {delivery["activity"]["text"]: delivery["state"] for delivery in world.standin.deliveries()}
    assert states["m4"] == "lost"


def test_a_duplicate_of_a_dropped_activity_does_not_come(world: World) -> None:
    """A duplicate follows an acknowledgement."""
    made = accepted(world)
    world.receiver.statuses = [500] * 3
    world.door("POST", "webhook-faults", [{"fault": "duplicate"}])
    world.act(made, "say", text="x")
    assert texts(world) == ["x"] * 3
    assert [one["state"] for one in world.standin.deliveries()[-2:]] == ["dropped", "dropped"]


def test_late_after_the_end(world: World) -> None:
    """A held message comes after the events of the end."""
    made = accepted(world)
    world.door("POST", "webhook-faults", [{"fault": "late"}])
    world.act(made, "say", text="late")
    assert world.standin.deliveries()[-1]["state"] == "held"
    world.act(made, "say", text="in time")
    world.act(made, "end")
    assert texts(world) == [
        "in time",
        "EventName: **_AgentClosed_**",
        "EventName: **_ConversationClosed_**",
        "late",
    ]


def test_unknown_events_wrong_conversations_and_delays(world: World) -> None:
    """An event of no known name, a body that names another conversation, an activity that takes its time."""
    made = accepted(world)
    rules = [
        {"fault": "unknown_event", "activity": "message"},
        {"fault": "wrong_conversation", "activity": "message", "skip": 1},
        {"fault": "delay", "seconds": 0.2, "activity": "typing"},
    ]
    world.door("POST", "webhook-faults", rules)
    world.act(made, "say", text="one")
    world.act(made, "say", text="two")
    world.act(made, "typing")
    strange, one, two, _ = bodies(world)
    assert strange["name"] == "SomethingNobodyHasHeardOf"
    assert (one["conversation"]["id"] == made, two["conversation"]["id"] == made) == (True, False)
    assert {request.path for request in world.receiver.seen} == {f"/api/v3/conversations/{made}/activities"}
    assert world.standin.deliveries()[-1]["seconds"] >= 0.2


def test_fault_rules_are_checked_and_can_be_taken_back(world: World) -> None:
    """A wrong rule is 400; DELETE ends all; a rule can name one event or one conversation."""
    wrongs: tuple[Any, ...] = ({"fault": "x"}, {"fault": "lose", "often": 1}, {"fault": "lose", "times": "1"}, [1])
    for wrong in wrongs:
        assert world.door("POST", "webhook-faults", wrong).status_code == 400
    made = accepted(world)
    world.door("POST", "webhook-faults", [{"fault": "lose", "times": 0}])
    world.act(made, "say", text="lost")
    world.door("DELETE", "webhook-faults")
    world.door("POST", "webhook-faults", [{"fault": "lose", "activity": "AgentClosed"}])
    world.door("POST", "webhook-faults", [{"fault": "lose", "conversation_id": "other", "times": 0}])
    world.act(made, "end")
    assert texts(world) == ["EventName: **_ConversationClosed_**"]


def test_a_reset_forgets_what_is_under_way(world: World) -> None:
    """No delivery, no rule, no conversation is left, and a new one works."""
    made = accepted(world)
    world.door("POST", "webhook-faults", [{"fault": "delay", "seconds": 30, "activity": "typing"}])
    world.act(made, "typing")
    assert world.door("POST", "reset").status_code == 204
    assert (world.standin.deliveries(), world.standin.conversations()) == ([], [])
    assert world.standin.wait_idle(1)
    accepted(world)
    assert [one["state"] for one in world.standin.deliveries()] == ["delivered"]
