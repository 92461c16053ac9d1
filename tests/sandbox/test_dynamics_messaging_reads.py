"""The Messaging stand-in's reads: context, messages and conversations, with their pages."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from sandbox.dataverse.seed import ORGANIZATION_ID
from sandbox.dynamics_messaging import CHANNEL_ID
from tests.sandbox.messaging_world import World, context, refused

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


def test_context_can_be_read_after_a_while(world: World) -> None:
    """Not at once: reads are eventually consistent."""
    made = world.open(conversationcontext=context(2, "x"))
    assert world("GET", f"/conversation/{made}/context").json() == {"context": []}
    world.clock.now += 1
    found = world("GET", f"/conversation/{made}/context").json()["context"]
    assert found == [{"name": "k0", "value": "x"}, {"name": "k1", "value": "x"}]


def test_messages_come_in_pages(world: World) -> None:
    """Both sides' messages once each, oldest first; a token comes with every page that holds something."""
    made = world.open(startmessage={"message": "m0"})
    world.act(made, "accept")
    for number in range(1, 5):
        world.send(made, text=f"m{number}") if number % 2 else world.act(made, "say", text=f"m{number}")
    pages: list[list[str]] = []
    token: str | None = ""
    while token is not None and len(pages) < 10:
        query = f"?PageSize=2{'&ContinuationToken=' + quote(token) if token else ''}"
        body = world("GET", f"/conversation/{made}/messages{query}").json()
        pages.append([message["text"] for message in body["messages"]])
        token = body["continuationToken"]
    assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"], []]
    first = world("GET", f"/conversation/{made}/messages").json()["messages"][0]
    assert set(first) == {"type", "attachments", "text", "messageId", "timestamp", "from", "channelData"}
    assert first["from"] == {}
    stamp = quote(first["timestamp"])
    after = world("GET", f"/conversation/{made}/messages?StartTimeStamp={stamp}").json()["messages"]
    assert [message["text"] for message in after] == ["m1", "m2", "m3", "m4"]


def test_what_from_holds_is_a_switch(world: World) -> None:
    """Microsoft's sample has an empty object; it may be an id, or all."""
    made = world.open()
    world.send(made, text="x", **{"from": {"id": "opencx:1", "name": "John"}})
    for shape, sender in (("id", {"id": "opencx:1"}), ("full", {"id": "opencx:1", "name": "John"})):
        world.standin.switch(messages_from=shape)
        assert world("GET", f"/conversation/{made}/messages").json()["messages"][0]["from"] == sender


def test_conversations_of_the_channel_that_are_not_over(world: World) -> None:
    """Open, Active and Waiting ones, in pages, created after a time."""
    made = []
    for number in range(4):
        world.clock.now += 1
        made.append(world.open(customercontext={"customerid": str(number)}))
    world.act(made[1], "accept")
    world.act(made[1], "end")
    first = world("GET", "/conversations?PageSize=2").json()
    assert [one["conversationid"] for one in first["conversations"]] == [made[0], made[2]]
    second = world("GET", f"/conversations?PageSize=2&ContinuationToken={first['continuationtoken']}").json()
    assert [one["conversationid"] for one in second["conversations"]] == [made[3]]
    stamp = first["conversations"][1]["timestamp"]
    later = world("GET", f"/conversations?StartTimeStamp={stamp}").json()["conversations"]
    assert [one["conversationid"] for one in later] == [made[3]]


@pytest.mark.parametrize(
    ("which", "query", "code"),
    [
        ("conversations", "PageSize=251", 30007),
        ("conversations", "PageSize=0", 30007),
        ("messages", "PageSize=101", 30008),
        ("messages", "PageSize=x", 30008),
        ("conversations", "StartTimeStamp=yesterday", 30006),
        ("messages", "StartTimeStamp=2025-04-15T12:37:00+00:00", 30006),
        ("conversations", f"ContinuationToken={OTHER}", 30009),
        ("messages", "ContinuationToken=2025-04-15T12:37:00%2B00:00", 30009),
    ],
)
def test_pages_have_limits(world: World, which: str, query: str, code: int) -> None:
    """Page size, timestamp (encoded, or its plus is a blank) and token each have a code of their own."""
    made = world.open()
    path = "/conversations" if which == "conversations" else f"/conversation/{made}/messages"
    refused(world("GET", f"{path}?{query}"), 400, code)


def test_the_ids_are_those_of_the_seed(world: World) -> None:
    """Case does not matter in ids."""
    headers = world.headers(channel_id=CHANNEL_ID.upper(), organization_id=ORGANIZATION_ID.upper())
    assert world("GET", "/conversations", headers=headers).json()["conversations"] == []
