"""Salesforce's stand-in: what a poller reads, and what the event stream says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.miaw import API, DEPLOYMENT, ORG_ID, Org, new_id, serve

SSE = "/eventrouter/v1/sse"


@pytest.fixture
def org(clock: Any) -> Iterator[Org]:
    """An org with its defaults."""
    with serve(clock) as org:
        yield org


@pytest.fixture
def token(org: Org) -> str:
    """A verified user's token."""
    return org.verified()


@pytest.fixture
def chat(org: Org, token: str) -> str:
    """A conversation with a rep in it."""
    conversation_id = org.opened(token)
    org.standin.rep_accepts(conversation_id)
    return conversation_id


def says(org: Org, chat: str, number: int) -> list[str]:
    """The rep writes so many messages, one a second; their identifiers."""
    made = []
    for place in range(number):
        org.clock.now += 1
        made.append(org.standin.rep_says(chat, f"m{place}"))
    return made


# Entries


def test_an_entry_of_the_rep_has_all_its_parts(org: Org, token: str, chat: str) -> None:
    """Role, name, times in milliseconds, and a payload that is an object; no session id, which only events show."""
    said = org.standin.rep_says(chat, "Hi", name="Riley")
    entry = org.entries(token, chat, limit=1)[0]
    now = int(org.clock() * 1000)
    assert (entry["entryType"], entry["identifier"], entry["senderDisplayName"]) == ("Message", said, "Riley")
    assert (entry["sender"]["role"], entry["sender"]["appType"]) == ("Agent", "agent")
    assert entry["sender"]["subject"].startswith("005")
    assert (entry["transcriptedTimestamp"], entry["clientTimestamp"]) == (now, now)
    assert entry["entryPayload"]["abstractMessage"]["staticContent"] == {"formatType": "Text", "text": "Hi"}
    assert "relatedRecords" not in entry


def test_a_page_is_newest_first_and_small(org: Org, token: str, chat: str) -> None:
    """20 entries by default, at most 50; the newest first unless `FromStart` is asked for."""
    made = says(org, chat, 60)
    page = [one["identifier"] for one in org.entries(token, chat)]
    assert page == made[-20:][::-1]
    assert [one["identifier"] for one in org.entries(token, chat, limit=50, direction="FromEnd")] == made[-50:][::-1]
    oldest = org.entries(token, chat, limit=50, direction="FromStart", entryTypeFilter="Message")
    assert [one["identifier"] for one in oldest] == made[:50]


def test_a_window_has_both_its_ends(org: Org, token: str, chat: str) -> None:
    """`startTimestamp` and `endTimestamp` are milliseconds, and inclusive."""
    made = says(org, chat, 10)
    last = int(org.clock() * 1000)
    page = org.entries(token, chat, startTimestamp=last - 3000, endTimestamp=last - 1000, direction="FromStart")
    assert [one["identifier"] for one in page] == made[-4:-1]
    assert not org.entries(token, chat, startTimestamp=last + 1)
    assert len(org.entries(token, chat, startTimestamp=last - 5000, limit=2)) == 2


def test_following_the_window_forwards_meets_every_entry(org: Org, token: str, chat: str) -> None:
    """From the oldest on, starting again at the last time seen, a reader gets all of them."""
    made = says(org, chat, 120)
    found: dict[str, None] = {}
    start = 0
    for _ in range(10):
        page = org.entries(
            token, chat, direction="FromStart", limit=50, startTimestamp=start, entryTypeFilter="Message"
        )
        found.update(dict.fromkeys(one["identifier"] for one in page))
        start = page[-1]["transcriptedTimestamp"]
    assert list(found) == made


def test_types_can_be_picked(org: Org, token: str, chat: str) -> None:
    """The filter takes a list of types; the status of sessions is listed, typing never is."""
    org.standin.rep_says(chat, "Hi")
    org.standin.rep_types(chat)
    kinds = {one["entryType"] for one in org.entries(token, chat)}
    assert kinds == {"Message", "ParticipantChanged", "RoutingResult", "SessionStatusChanged"}
    some = org.entries(token, chat, entryTypeFilter="ParticipantChanged,RoutingResult")
    assert {one["entryType"] for one in some} == {"ParticipantChanged", "RoutingResult"}


def test_an_older_org_does_not_list_the_status(org: Org, token: str, chat: str) -> None:
    """With the switch off, only who comes and goes, and the routing status, tell the end."""
    org.standin.switches.lists_session_status = False
    assert "SessionStatusChanged" not in {one["entryType"] for one in org.entries(token, chat)}
    assert not org.entries(token, chat, entryTypeFilter="SessionStatusChanged")


@pytest.mark.parametrize(
    "query",
    [
        "limit=51",
        "limit=0",
        "limit=x",
        "direction=Backwards",
        "startTimestamp=2026-01-01",
        "endTimestamp=-1",
        "entryTypeFilter=TypingStartedIndicator",
        "entryTypeFilter=",
        "cursor=x",
        "limit=1&limit=2",
    ],
)
def test_a_query_is_strict(org: Org, token: str, chat: str, query: str) -> None:
    """Numbers out of range, unknown words and unknown parameters are 400."""
    assert org.call("GET", f"{API}/conversation/{chat}/entries?{query}", token).status_code == 400


def test_entries_can_come_twice(org: Org, token: str, chat: str) -> None:
    """Real orgs are said to return duplicates: every n-th entry is there twice, within the limit."""
    made = says(org, chat, 4)
    org.standin.switches.duplicate_every = 2
    page = org.entries(token, chat, direction="FromEnd", limit=4)
    assert [one["identifier"] for one in page] == [made[3], made[2], made[2], made[1]]


def test_an_entry_can_turn_up_late(org: Org, token: str, chat: str) -> None:
    """It stands at its own time, behind what a reader has seen already."""
    made = says(org, chat, 3)
    late = org.door("POST", f"rep/{chat}/say", json={"text": "late", "seconds_ago": 1.5}).json()["identifier"]
    page = org.entries(token, chat, direction="FromStart", entryTypeFilter="Message")
    assert [one["identifier"] for one in page] == [made[0], late, made[1], made[2]]


def test_polling_costs_little(org: Org, token: str, chat: str) -> None:
    """A page out of 2,000 entries costs the stand-in about what a page out of 20 does."""
    path = f"{API}/conversation/{chat}/entries?limit=20"

    def seconds() -> float:
        best = 1.0
        for _ in range(30):
            started = time.perf_counter()
            assert org.call("GET", path, token).status_code == 200
            best = min(best, time.perf_counter() - started)
        return best

    says(org, chat, 20)
    few = seconds()
    says(org, chat, 2000)
    assert seconds() < few * 5 + 0.005


# The customer's conversations


def test_a_customer_can_list_conversations(org: Org, token: str) -> None:
    """Open ones only unless closed ones are asked for; nobody else's; by id, by time, and counted."""
    first = org.opened(token)
    org.clock.now += 10
    second = org.opened(token)
    org.opened(org.guest())
    org.call("DELETE", f"{API}/conversation/{first}", token, params={"esDeveloperName": DEPLOYMENT})

    def listed(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = org.call("GET", f"{API}/conversation/list", token, params=query).json()
        return found

    now = int(org.clock() * 1000)
    assert listed() == {
        "openConversationsFound": 1,
        "closedConversationsFound": 0,
        "conversations": [{"conversationId": second, "startTimestamp": now, "endTimestamp": 0}],
    }
    both = listed(inclClosedConvs="true")
    assert [one["conversationId"] for one in both["conversations"]] == [second, first]
    assert both["closedConversationsFound"] == 1
    assert both["conversations"][1]["endTimestamp"] == now
    assert len(listed(inclClosedConvs="true", limit=1)["conversations"]) == 1
    assert listed(conversationId=new_id())["conversations"] == []
    assert listed(startTimestamp=now + 1)["openConversationsFound"] == 0
    assert org.call("GET", f"{API}/conversation/list?limit=51", token).status_code == 400
    assert org.call("GET", f"{API}/conversation/list?inclClosedConvs=maybe", token).status_code == 400


# Events


def events(org: Org, token: str, last: str, **headers: str) -> list[tuple[str, str, Any]]:
    """(id, event, data) of each frame."""
    answer = org.call("GET", SSE, token, headers={"X-Org-Id": ORG_ID, "Last-Event-Id": last, **headers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    frames = []
    for block in answer.text.split("\n\n")[:-1]:
        fields = dict(line.split(":", 1) for line in block.split("\n"))
        frames.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return frames


def test_events_are_replayed_from_the_last_one_on(org: Org) -> None:
    """The token's `lastEventId` gives all since then; payloads are strings; a ping ends what is buffered."""
    granted = org.ask_token().json()
    token, start = granted["accessToken"], granted["lastEventId"]
    chat = org.opened(token)
    org.send(token, chat, "Hello")
    org.standin.rep_accepts(chat)
    org.standin.rep_types(chat)
    org.standin.rep_says(chat, "Hi")
    found = events(org, token, start)
    assert [event.removeprefix("CONVERSATION_") for _, event, _ in found] == [
        "ROUTING_RESULT",
        "SESSION_STATUS_CHANGED",
        "MESSAGE",
        "ROUTING_WORK_RESULT",
        "PARTICIPANT_CHANGED",
        "SESSION_STATUS_CHANGED",
        "TYPING_STARTED_INDICATOR",
        "MESSAGE",
        "ping",
    ]
    numbers = [int(number) for number, _, _ in found[:-1]]
    assert numbers == sorted(set(numbers))
    envelope = found[-2][2]
    assert (envelope["conversationId"], envelope["channelType"]) == (chat, "embedded_messaging")
    entry = envelope["conversationEntry"]
    assert isinstance(entry["entryPayload"], str)
    assert json.loads(entry["entryPayload"])["abstractMessage"]["staticContent"]["text"] == "Hi"
    assert entry["relatedRecords"] == [org.standin.conversation(chat)["sessionId"]]
    assert [event for _, event, _ in events(org, token, found[-2][0])] == ["ping"]


def test_a_customer_gets_no_one_elses_events(org: Org) -> None:
    """Events go to the conversation's own customer, for all conversations of that customer."""
    mine, other = org.verified(), org.verified("customer-2")
    chats = {org.opened(mine), org.opened(mine)}
    assert {data["conversationId"] for _, event, data in events(org, mine, "0") if event != "ping"} == chats
    assert [event for _, event, _ in events(org, other, "0")] == ["ping"]


def test_the_stream_wants_the_short_org_id(org: Org, token: str) -> None:
    """18 characters, another org or none are 400 with the known text; so is a missing Last-Event-Id."""
    for wrong in ({"X-Org-Id": f"{ORG_ID}AAA"}, {"X-Org-Id": "00Dyy0000000yyy"}, {}):
        answer = org.call("GET", SSE, token, headers={"Last-Event-Id": "0", **wrong})
        assert (answer.status_code, answer.json()["message"]) == (400, "OrgId in the header and token must match")
    assert org.call("GET", SSE, token, headers={"X-Org-Id": ORG_ID}).status_code == 400


def test_the_stream_says_plainly_that_a_token_is_over(org: Org, token: str) -> None:
    """The body is the raw text that clients look for."""
    org.clock.now += 3600
    answer = org.call("GET", SSE, token, headers={"X-Org-Id": ORG_ID, "Last-Event-Id": "0"})
    assert (answer.status_code, answer.text) == (401, "Jwt is expired")
