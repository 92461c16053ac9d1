"""The Messaging stand-in, customer's side: what it refuses, and what a call does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from sandbox.dataverse.seed import WORKSTREAM_ID
from tests.sandbox.messaging_world import AUDIENCE, CLIENT, ROOT, TENANT, World, context, refused

OTHER = "99999999-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """The stand-in and its surroundings, on ports."""
    with World() as made:
        yield made


@pytest.fixture
def world(running: World) -> World:
    """The same as at the start."""
    return running.fresh()


# -- who may call -----------------------------------------------------------------------------------------------


def test_a_token_must_be_for_the_messaging_resource_and_the_channels_app(world: World) -> None:
    """401 for the Web API's audience, another app, another tenant, an expired token and no token at all."""
    tokens = [
        world.token("https://org.crm.dynamics.com"),
        world.token(client=OTHER),
        world.token(tenant=OTHER),
        world.tokens.issue(TENANT, CLIENT, AUDIENCE, lifetime_s=-1),
        "nonsense",
    ]
    for token in tokens:
        answer = world("POST", "/conversation/create", {}, world.headers(Authorization=f"Bearer {token}"))
        refused(answer, 401)
    kept = world.headers()
    assert world("GET", "/conversations", headers=kept).status_code == 200
    world.clock.now += 4000
    refused(world("GET", "/conversations", headers=kept), 401)


@pytest.mark.parametrize(
    ("header", "value", "status", "code"),
    [
        ("Authorization", None, 401, None),
        ("channel-id", None, 401, None),
        ("organization-id", None, 401, None),
        ("organization-id", "x", 400, 30001),
        ("organization-id", OTHER, 401, None),
        ("channel-id", "x", 400, 30002),
        ("channel-id", OTHER, 404, 30004),
    ],
)
def test_each_header_is_checked(world: World, header: str, value: str | None, status: int, code: int | None) -> None:
    """Missing is 401, malformed has a code of its own, an unknown channel is 404/30004."""
    headers = world.headers(**{header: value})
    for method, path, body in (("POST", "/conversation/create", {}), ("GET", "/conversations", None)):
        refused(world(method, path, body, headers), status, code)


def test_a_channel_without_a_workstream_is_30014(world: World) -> None:
    """An administrator who forgot to bind the workstream finds out by the code."""
    world.door("POST", "channel", {"workstream_id": ""})
    refused(world("POST", "/conversation/create", {}), 400, 30014)
    world.door("POST", "channel", {"workstream_id": WORKSTREAM_ID})
    assert world.create()["isNew"]


@pytest.mark.parametrize(
    "path",
    [
        f"{ROOT}/conversations/create",
        "/conversation/create",
        "/api/v1.0/conversation/create",
        f"{ROOT}/conversation/x/contexts",
        f"{ROOT}/conversation",
    ],
)
def test_other_paths_are_not_found(world: World, path: str) -> None:
    """The plural of create, and anything without the root, is 404 RouteNotFound."""
    answer = requests.post(f"{world.server.url}{path}", json={}, headers=world.headers(), timeout=5)
    refused(answer, 404)
    assert answer.json()["title"] == "RouteNotFound"


def test_other_methods_are_405(world: World) -> None:
    """Only the documented method of each path."""
    for method, path in (
        ("GET", "/conversation/create"),
        ("PUT", "/conversation/create"),
        ("POST", "/conversations"),
        ("DELETE", f"/conversation/{OTHER}"),
        ("POST", f"/conversation/{OTHER}/messages"),
    ):
        refused(world(method, path), 405)


@pytest.mark.parametrize("place", ["code", "errorCode", "error.code", "extensions"])
def test_the_code_can_stand_elsewhere(world: World, place: str) -> None:
    """Where the code stands is not documented: a switch moves it, and then `detail` has none."""
    assert world.door("POST", "switches", {"error_code_place": place}).status_code == 200
    body = world("GET", "/conversations", headers=world.headers(channel_id="x")).json()
    found = {
        "code": body.get("code"),
        "errorCode": body.get("errorCode"),
        "error.code": body.get("error", {}).get("code"),
        "extensions": body.get("extensions", {}).get("code"),
    }
    assert {name for name, value in found.items() if str(value) == "30002"} == {place}
    assert "30002" not in body["detail"]


def test_over_a_limit_it_is_429(world: World) -> None:
    """With a limit set, one call too many is told how long to wait."""
    world.standin.switch(requests_per_minute=2)
    assert [world("GET", "/conversations").status_code for _ in range(3)] == [200, 200, 429]
    answer = world("GET", "/conversations")
    refused(answer, 429)
    assert answer.headers["Retry-After"] == "60"
    world.clock.now += 60
    assert world("GET", "/conversations").status_code == 200


def test_switches_are_checked(world: World) -> None:
    """An unknown switch, or a wrong value, is 400 and changes nothing."""
    wrongs: tuple[Any, ...] = ({"nope": 1}, {"events_as": "x"}, {"create_seconds": "1"}, {"events_on_end": "x"}, [])
    for wrong in wrongs:
        assert world.door("POST", "switches", wrong).status_code == 400
    assert world.door("GET", "switches").json()["events_as"] == "message"
    changed = world.door("POST", "switches", {"events_on_end": ["ConversationClose"], "create_seconds": 1}).json()
    assert (changed["events_on_end"], changed["create_seconds"]) == (["ConversationClose"], 1.0)
    world.standin.reset()
    assert world.door("GET", "switches").json()["events_on_end"] == ["AgentClosed", "ConversationClosed"]


# -- create -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], 30012),
        ("text", 30012),
        ({"customercontext": {"email": "x" * 201}}, 30012),
        ({"customercontext": {"customerid": 7}}, 30012),
        ({"customercontext": {"startmessage": {"message": "x"}}}, 30012),
        ({"customercontext": []}, 30012),
        ({"queue": "x"}, 30012),
        ({"skipdeflectionbot": "true"}, 30012),
        ({"startmessage": {"message": "é" * (27 * 512 + 1)}}, 30012),
        ({"startmessage": {"message": ""}}, 30012),
        ({"conversationcontext": context(101)}, 30010),
        ({"conversationcontext": context(1, "x" * 4001)}, 30012),
        ({"conversationcontext": {"a": "plain"}}, 30012),
        ({"conversationcontext": {"a": {"value": "x"}}}, 30012),
        ({"conversationcontext": {"a": {"isDisplayable": True, "value": {}}}}, 30012),
    ],
)
def test_create_refuses_what_breaks_the_contract(world: World, body: Any, code: int) -> None:
    """Lengths, types, shapes and the number of variables; nothing is made."""
    refused(world("POST", "/conversation/create", body), 400, code)
    assert world.standin.conversations() == []


def test_create_takes_what_is_just_allowed(world: World) -> None:
    """100 variables, 4,000 characters, 27 KB of start message, 200 characters of a name."""
    answer = world.create(
        customercontext={"customerid": "x" * 200, "preferredname": "n" * 200},
        conversationcontext={**context(99), "long": {"isDisplayable": False, "value": "x" * 4000}},
        startmessage={"message": "é" * (27 * 512), "displayname": "AI"},
        conversationrequestid="r",
        skipdeflectionbot=True,
    )
    assert answer["isNew"] is True
    assert len(answer["messageId"]) == 13
    seen = world.door("GET", f"conversations/{answer['conversationId']}").json()
    assert (seen["is_bot_skipped"], seen["request_id"], len(seen["context"])) == (True, "r", 100)
    assert seen["rep_sees"] == [
        {"from": "AI", "by": "start", "text": "é" * (27 * 512), "attachments": []},
    ]


def test_a_create_without_a_start_message_has_no_message_id(world: World) -> None:
    """`messageId` belongs to the start message."""
    assert set(world.create()) == {"conversationId", "isNew"}


def test_the_same_customer_finds_the_active_conversation(world: World) -> None:
    """Open, Active and Waiting: the same id, and neither start message nor context are touched."""
    first = world.open(startmessage={"message": "first"}, conversationcontext=context(1))
    for step in ("", "accept", "close-tab"):
        if step:
            world.act(first, step)
        again = world.create(startmessage={"message": "again"}, conversationcontext=context(2))
        assert again == {"conversationId": first, "isNew": False}
    seen = world.standin.conversation(first)
    assert [line["text"] for line in seen["rep_sees"]] == ["first"]
    assert list(seen["context"]) == ["k0"]
    world.standin.switch(waiting_finds_same=False)
    assert world.create()["isNew"]


def test_after_the_end_the_same_customer_gets_a_new_conversation(world: World) -> None:
    """Wrap-up is over, as Closed is."""
    first = world.open()
    world.act(first, "accept")
    assert world.act(first, "end")["state"] == "Wrap-up"
    second = world.open()
    assert second != first
    world.act(second, "force-close")
    assert world.open() not in {first, second}


def test_only_customerid_identifies(world: World) -> None:
    """Without it each create is new, whatever `conversationrequestid` says; another channel is another world."""
    one = {world.open(customercontext={}, conversationrequestid="same") for _ in range(3)}
    assert len(one) == 3
    first = world.open()
    assert world.door("POST", "channel", {"id": OTHER}).status_code == 200
    there = world.headers(channel_id=OTHER)
    answer = world("POST", "/conversation/create", {"customercontext": {"customerid": "opencx:1"}}, there)
    assert answer.json()["isNew"]
    body = world.activity(first, text="x", channelId=OTHER)
    refused(world("POST", f"/conversation/{first}", body, there), 404, 30013)


@pytest.mark.parametrize(("doubles", "made"), [(True, 2), (False, 1)])
def test_two_creates_at_once_may_double(world: World, *, doubles: bool, made: int) -> None:
    """Nobody promises that `customerid` is atomic: by default it is not."""
    world.standin.switch(simultaneous_creates_double=doubles, create_seconds=0.2)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world.create(), range(2)))
    assert len({answer["conversationId"] for answer in answers}) == made
    assert sum(answer["isNew"] for answer in answers) == made


def test_a_start_message_can_be_lost(world: World) -> None:
    """As if the service had stopped after making the conversation: it is found, and holds no message."""
    world.standin.switch(start_message_taken=False)
    made = world.create(startmessage={"message": "summary"})
    assert "messageId" not in made
    assert world("GET", f"/conversation/{made['conversationId']}/messages").json()["messages"] == []


# -- send -------------------------------------------------------------------------------------------------------


def test_messages_are_never_deduplicated(world: World) -> None:
    """One `id` twice is two messages; ids have 13 digits and rise although the clock stands still."""
    made = world.open()
    ids = [world.send(made, id="same", text="hi").json()["messageId"] for _ in range(3)]
    assert ids == sorted(set(ids))
    assert all(len(one) == 13 for one in ids)
    assert [line["text"] for line in world.standin.conversation(made)["rep_sees"]] == ["hi"] * 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"text": "x" * 6001}, 30011),
        ({"text": "😀" * 3001}, 30011),
        ({"text": ""}, 30016),
        ({"text": "x", "type": "invoke"}, 30003),
        ({"text": "x", "channelId": OTHER}, 30002),
        ({"text": "x", "conversation": {"id": OTHER}}, 30005),
        ({"text": "x", "from": {"name": "n" * 257}}, 30012),
        ({"text": 7}, 30012),
        ({"type": "event", "name": "Unheard"}, 30003),
        ({"type": "event", "name": "MessageRead", "value": {"messageId": "1234567890123"}}, 30003),
        ({"attachments": [{"contentType": "a/b", "name": "a.png", "contentUrl": "https://x.example/a"}]}, 30003),
    ],
)
def test_send_refuses_what_breaks_the_contract(world: World, change: dict[str, Any], code: int) -> None:
    """Each with its code, and the representative sees nothing."""
    made = world.open()
    refused(world.send(made, **change), 400, code)
    assert world.standin.conversation(made)["activities"] == []


def test_an_unknown_or_ended_conversation_is_30013(world: World) -> None:
    """404/30013 is how a late message learns of the end; a malformed id is 30005."""
    made = world.open()
    assert world.send(made, text="😀" * 3000).status_code == 200
    refused(world.send(OTHER, text="x"), 404, 30013)
    refused(world("POST", "/conversation/nonsense", {}), 400, 30005)
    assert world.send(made, type="endOfConversation").status_code == 200
    assert world.standin.conversation(made)["state"] == "Wrap-up"
    for path in ("", "/messages", "/context"):
        answer = world.send(made, text="late") if not path else world("GET", f"/conversation/{made}{path}")
        refused(answer, 404, 30013)


def test_attachments_need_the_channels_leave(world: World) -> None:
    """An https URL or a data URI, no blocked extension, 5 MB, and only when the row says so."""
    made = world.open()
    world.standin.set_channel(attachments_from_customers=True)
    world.standin.switch(attachment_max_bytes=10)

    def attach(name: str, url: str) -> requests.Response:
        return world.send(made, attachments=[{"contentType": "a/b", "name": name, "contentUrl": url}])

    def data(content: bytes) -> str:
        return f"data:image/png;base64,{base64.b64encode(content).decode()}"

    assert attach("a.png", "https://x.example/a").status_code == 200
    assert attach("a.png", data(b"0123456789")).status_code == 200
    refused(attach("a.png", data(b"0123456789a")), 400, 30003)
    refused(attach("a.EXE", "https://x.example/a"), 400, 30003)
    for url in ("http://x.example/a", "aGVsbG8=", "data:image/png,x", "data:image/png;base64,***"):
        refused(attach("a.png", url), 400, 30012)
    assert [line["attachments"] for line in world.standin.conversation(made)["rep_sees"]] == [["a.png"]] * 2


def test_typing_automated_messages_and_read_receipts(world: World) -> None:
    """Typing is kept, automated turns are marked, a receipt works for a representative's message only."""
    made = world.open()
    mine = world.send(made, text="hi").json()["messageId"]
    assert world.send(made, type="typing", **{"from": {"name": "John"}}).status_code == 200
    mark = {"messagingapi-oc": {"type": "AutomatedMessage"}}
    assert world.send(made, text="AI: hello", channelData=mark).status_code == 200
    world.act(made, "accept")
    theirs = world.act(made, "say", text="Hello")["message_id"]
    refused(world.send(made, type="event", name="MessageRead", value={"messageId": mine}), 400, 30003)
    answer = world.send(made, type="event", name="MessageRead", value={"messageId": theirs})
    assert answer.json() == {"messageId": "", "message": None}
    seen = world.standin.conversation(made)
    assert seen["read_up_to"] == theirs
    assert [line["by"] for line in seen["rep_sees"]] == ["customer", "automated", "rep"]
    assert [one["type"] for one in seen["activities"]][1] == "typing"


def custom_event(**values: Any) -> dict[str, Any]:
    """The fields of a custom event."""
    data = {"customEvent": True, "customEventName": "Note", "customEventValue": json.dumps(values)}
    return {"type": "event", "name": "Note", "channelData": data}


def test_a_custom_event_adds_context(world: World) -> None:
    """Its value is JSON as a text; with more than 100 variables in all it is 30010."""
    made = world.open(conversationcontext=context(99))
    note = {"isDisplayable": True, "value": "n"}
    assert len(world.send(made, **custom_event(note=note)).json()["messageId"]) == 13
    refused(world.send(made, **custom_event(one_more=3)), 400, 30010)
    wrong = custom_event()
    wrong["channelData"]["customEventValue"] = {"a": 1}
    refused(world.send(made, **wrong), 400, 30012)
    assert world.standin.conversation(made)["context"]["note"] == note
