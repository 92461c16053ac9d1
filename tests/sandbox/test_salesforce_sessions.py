"""Salesforce's stand-in: sessions from the first ring to the end, whoever ends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.salesforce import Refused
from tests.sandbox.miaw import API, ATTRIBUTES, DEPLOYMENT, Org, new_id, serve

NAMED = {"esDeveloperName": DEPLOYMENT}


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


def story(org: Org, chat: str) -> list[str]:
    """What happened, oldest first, one word an entry."""
    told = []
    for one in org.standin.conversation(chat)["entries"]:
        payload = one["entryPayload"]
        match one["entryType"]:
            case "Message":
                told.append(one["sender"]["role"])
            case "SessionStatusChanged":
                told.append(f"{payload['sessionStatusPrev']}->{payload['sessionStatus']}")
            case "ParticipantChanged":
                told.append(f"{payload['entries'][0]['operation']} {payload['entries'][0]['displayName']}")
            case "RoutingResult":
                told.append(f"{payload['routingType']} {payload['failureType']}")
    return told


# From the ring to the end


def test_a_rep_accepts_over_the_door(org: Org, token: str) -> None:
    """The rep joins, the session turns active, the conversation is routed; a second rep cannot accept."""
    chat = org.opened(token)
    assert org.door("POST", f"rep/{chat}/accept", json={"name": "Riley"}).status_code == 201
    assert story(org, chat) == ["Initial None", "New->Waiting", "add Riley", "Waiting->Active"]
    assert org.routing(token, chat) == "ROUTED"
    assert org.standin.conversation(chat)["rep"] == "Riley"
    assert org.door("POST", f"rep/{chat}/accept").status_code == 409


def test_nobody_speaks_before_accepting(org: Org, token: str) -> None:
    """Whatever a rep does in a conversation that nobody has accepted is 409; an unknown one is 404."""
    chat = org.opened(token)
    for act in ("say", "file", "typing", "transfer", "close-tab"):
        assert org.door("POST", f"rep/{chat}/{act}", json={"text": "x"}).status_code == 409
        assert org.door("POST", f"rep/{new_id()}/{act}", json={"text": "x"}).status_code == 404
    assert org.door("POST", f"rep/{chat}/dance", json={}).status_code == 404
    with pytest.raises(Refused, match="accepted"):
        org.standin.rep_says(chat, "Hi")


def test_the_end_by_the_rep(org: Org, token: str, chat: str) -> None:
    """The rep is removed and the session ended by the Agent; there is no close: the conversation stays open."""
    assert org.door("POST", f"rep/{chat}/end").status_code == 201
    assert story(org, chat)[-2:] == ["remove Sara", "Active->Ended"]
    ended = org.entries(token, chat, limit=1)[0]["entryPayload"]
    assert ended["sessionId"] == org.standin.conversation(chat)["sessionId"]
    assert (ended["sessionEndedByRole"], ended["conversationIdentifier"]) == ("Agent", chat)
    assert ended["sessionEndTime"] == int(org.clock() * 1000)
    assert org.routing(token, chat) == "NEEDS_ROUTING"
    assert org.standin.conversation(chat)["endTimestamp"] == 0
    assert org.door("POST", f"rep/{chat}/say", json={"text": "x"}).status_code == 409
    assert org.door("POST", f"rep/{chat}/end").status_code == 409


def test_the_status_may_be_told_late(org: Org, token: str, chat: str) -> None:
    """First only the removal is there, which a transfer shows too; the status follows at its time."""
    org.standin.rep_ends(chat, told_after_seconds=3)
    assert story(org, chat)[-1] == "remove Sara"
    assert org.routing(token, chat) == "NEEDS_ROUTING"
    org.clock.now += 3
    assert org.statuses(token, chat) == ["Waiting", "Active", "Ended"]


def test_a_status_that_is_told_late_is_the_old_sessions(org: Org, token: str, chat: str) -> None:
    """It names the session that ended, although another has begun."""
    org.standin.rep_ends(chat, told_after_seconds=3)
    assert org.send(token, chat).status_code == 202
    org.clock.now += 3
    seen = org.standin.conversation(chat)
    last = seen["entries"][-1]
    assert last["entryPayload"]["sessionStatus"] == "Ended"
    assert last["entryPayload"]["sessionId"] == last["sessionId"] == seen["sessions"][0]["id"]
    assert seen["sessionStatus"] == "Waiting"


def test_a_transfer_has_a_gap(org: Org, token: str, chat: str) -> None:
    """Remove, nobody, add: in the gap the routing status says TRANSFER and the session stays active."""
    org.standin.rep_transfers(chat)
    assert story(org, chat)[-2:] == ["remove Sara", "Transfer None"]
    assert org.routing(token, chat) == "TRANSFER"
    assert org.door("POST", f"rep/{chat}/say", json={"text": "x"}).status_code == 409
    assert org.send(token, chat).status_code == 202
    org.standin.rep_accepts(chat, name="Riley")
    assert story(org, chat)[-2:] == ["EndUser", "add Riley"]
    assert org.routing(token, chat) == "ROUTED"
    assert org.statuses(token, chat) == ["Waiting", "Active"]


def test_a_transfer_can_end_by_itself(org: Org, token: str, chat: str) -> None:
    """With `gap_seconds` the next rep joins at that time, unless the conversation is over by then."""
    assert org.door("POST", f"rep/{chat}/transfer", json={"to": "Riley", "gap_seconds": 5}).status_code == 201
    org.clock.now += 4.9
    assert org.routing(token, chat) == "TRANSFER"
    org.clock.now += 0.2
    assert org.routing(token, chat) == "ROUTED"
    assert story(org, chat)[-1] == "add Riley"
    org.standin.rep_transfers(chat, to="Sam", gap_seconds=5)
    org.standin.rep_ends(chat)
    org.clock.now += 6
    assert story(org, chat)[-1] == "Active->Ended"


@pytest.mark.parametrize("act", ["close-tab", "inactivate"])
def test_an_inactive_session_wakes_when_the_customer_writes(org: Org, token: str, chat: str, act: str) -> None:
    """It waits and is routed again, as the same session."""
    session = org.standin.conversation(chat)["sessionId"]
    assert org.door("POST", f"rep/{chat}/{act}").status_code == 201
    assert story(org, chat)[-2:] == ["remove Sara", "Active->Inactive"]
    assert org.door("POST", f"rep/{chat}/{act}").status_code == 409
    assert org.send(token, chat, "Still there?").status_code == 202
    assert story(org, chat)[-3:] == ["EndUser", "Initial None", "Inactive->Waiting"]
    assert org.standin.conversation(chat)["sessionId"] == session
    org.standin.rep_accepts(chat)
    assert org.statuses(token, chat)[-2:] == ["Waiting", "Active"]


def test_an_inactive_session_ends_after_a_day(org: Org, token: str, chat: str) -> None:
    """By itself, at its time; one that woke in between has its day from the second time on."""
    org.standin.rep_closes_tab(chat)
    org.clock.now += 1800
    assert org.send(token, chat).status_code == 202
    org.standin.rep_accepts(chat)
    org.standin.rep_closes_tab(chat)
    since = int(org.clock() * 1000)
    org.clock.now += 24 * 3600 - 1
    assert org.standin.conversation(chat)["sessionStatus"] == "Inactive"
    org.clock.now += 3600
    ended = org.standin.conversation(chat)["sessions"][0]
    assert (ended["status"], ended["endedByRole"]) == ("Ended", "System")
    assert ended["endTimestamp"] == since + 24 * 3600 * 1000
    assert org.standin.conversations()[0]["sessionStatus"] == "Ended"


def test_routing_can_fail(org: Org, token: str) -> None:
    """The result says so, and the session waits on; it can fail at once, or later by the door."""
    chat = org.opened(token)
    assert org.door("POST", f"rep/{chat}/routing-fail", json={"failure": "SubmissionError"}).status_code == 201
    assert story(org, chat) == ["Initial None", "New->Waiting", "Initial SubmissionError"]
    assert org.routing(token, chat) == "NEEDS_ROUTING"
    org.standin.switches.routing_fails = True
    assert story(org, org.opened(token)) == ["Initial RoutingError", "New->Waiting"]


# A new session in an old conversation


def test_a_message_after_the_end_opens_a_new_session(org: Org, token: str, chat: str) -> None:
    """In the same conversation, routed again; without attributes, as the message brought none."""
    first = org.standin.conversation(chat)["sessionId"]
    org.standin.rep_ends(chat)
    assert org.send(token, chat, "One more thing").status_code == 202
    seen = org.standin.conversation(chat)
    assert seen["sessionId"] != first
    assert (seen["sessionStatus"], seen["routingStatus"], seen["routingAttributes"]) == ("Waiting", "INITIAL", {})
    assert seen["received"][-1]["sessionId"] == seen["sessionId"]


def test_with_prechat_in_every_session_it_is_417(org: Org, token: str, chat: str) -> None:
    """Until the message asks for a session, with attributes and language; then there is a new 0Mw id."""
    org.standin.switches.prechat_every_session = True
    assert org.send(token, chat).status_code == 202
    org.standin.rep_ends(chat)
    assert org.send(token, chat).status_code == 417
    asks: dict[str, Any] = {
        "isNewMessagingSession": True,
        "routingAttributes": {**ATTRIBUTES, "Nope": "x"},
        "language": "de",
    }
    for missing in ("routingAttributes", "language"):
        partly = {name: value for name, value in asks.items() if name != missing}
        assert org.send(token, chat, **partly).status_code == 400
    assert org.send(token, chat, **asks).status_code == 202
    seen = org.standin.conversation(chat)
    assert len({one["id"] for one in seen["sessions"]}) == len(seen["sessions"]) == 2
    assert seen["sessionId"].startswith("0Mw")
    assert (seen["routingAttributes"], seen["language"]) == (ATTRIBUTES, "de")
    assert seen["droppedAttributes"] == ["Nope"]


def test_a_new_session_while_one_is_open(org: Org, token: str, chat: str) -> None:
    """The open one ends and another rings; or nothing happens, when the switch says so."""
    asks: dict[str, Any] = {"isNewMessagingSession": True, "routingAttributes": ATTRIBUTES, "language": "en_US"}
    org.standin.switches.new_session_while_open = "ignore"
    assert org.send(token, chat, **asks).status_code == 202
    assert len(org.standin.conversation(chat)["sessions"]) == 1
    org.standin.switches.new_session_while_open = "replace"
    assert org.send(token, chat, **asks).status_code == 202
    assert [one["status"] for one in org.standin.conversation(chat)["sessions"]] == ["Ended", "Waiting"]


# The customer's side ends


def test_a_verified_customer_ends_the_session_only(org: Org, token: str, chat: str) -> None:
    """204; the rep is gone; the conversation can be used again; ending twice is 403."""
    path = f"{API}/conversation/{chat}/session"
    assert org.call("DELETE", path, token).status_code == 400
    assert org.call("DELETE", path, token, params={"esDeveloperName": "Web_Chat"}).status_code == 400
    assert org.call("DELETE", path, token, params=NAMED).status_code == 204
    assert story(org, chat)[-2:] == ["remove Sara", "Active->Ended"]
    assert org.standin.conversation(chat)["sessions"][0]["endedByRole"] == "EndUser"
    assert org.call("DELETE", path, token, params=NAMED).status_code == 403
    assert org.send(token, chat).status_code == 202


def test_a_guest_closes_the_conversation_too(org: Org) -> None:
    """A guest who ends the session cannot write any more, unless the switch says otherwise."""
    guest = org.guest()
    chat, other = org.opened(guest), org.opened(guest)
    assert org.call("DELETE", f"{API}/conversation/{chat}/session", guest, params=NAMED).status_code == 204
    assert org.send(guest, chat).status_code == 403
    org.standin.switches.guest_end_closes = False
    assert org.call("DELETE", f"{API}/conversation/{other}/session", guest, params=NAMED).status_code == 204
    assert org.send(guest, other).status_code == 202


def test_a_closed_conversation_is_over_for_everybody(org: Org, token: str, chat: str) -> None:
    """After DELETE the customer is 403, the rep 409, and entries can still be read."""
    assert org.call("DELETE", f"{API}/conversation/{chat}", token, params=NAMED).status_code == 204
    assert org.statuses(token, chat)[-1] == "Ended"
    asks: dict[str, Any] = {"isNewMessagingSession": True, "routingAttributes": ATTRIBUTES, "language": "en_US"}
    assert org.send(token, chat).status_code == 403
    assert org.send(token, chat, **asks).status_code == 403
    assert org.upload(token, chat).status_code == 403
    assert org.call("DELETE", f"{API}/conversation/{chat}", token, params=NAMED).status_code == 403
    assert org.door("POST", f"rep/{chat}/say", json={"text": "x"}).status_code == 409
    assert org.standin.conversation(chat)["endTimestamp"] == int(org.clock() * 1000)
