"""Salesforce's stand-in: conversations are made, messages taken, and what is wrong is refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.miaw import API, ATTRIBUTES, DEPLOYMENT, Org, content, new_id, serve

UUID_TEXT = "Specify the conversationId in UUID format. The UUID must be in lowercase."
NOT_API = "Set the esDeveloperName to a deploymentType that's set to api"


@pytest.fixture
def org(clock: Any) -> Iterator[Org]:
    """An org with its defaults."""
    with serve(clock) as org:
        yield org


# Creating


def test_a_conversation_is_created_and_routed_at_once(org: Org) -> None:
    """201 without a body; routing starts before any message, with the attributes that the create brought."""
    token = org.verified()
    conversation_id = new_id()
    answer = org.create(token, conversationId=conversation_id)
    assert (answer.status_code, answer.content) == (201, b"")
    seen = org.standin.conversation(conversation_id)
    assert seen["routingAttributes"] == ATTRIBUTES
    assert (seen["sessionStatus"], seen["routingStatus"], seen["language"]) == ("Waiting", "INITIAL", "en_US")
    assert [one["entryType"] for one in seen["entries"]] == ["RoutingResult", "SessionStatusChanged"]
    assert seen["sessionId"].startswith("0Mw")
    assert seen["verified"]


@pytest.mark.parametrize(
    "conversation_id",
    [
        "3F0F1E2C-6A4B-4C1D-9A55-0B6F2B7C9D10",
        "3f0f1e2c-6a4b-5c1d-9a55-0b6f2b7c9d10",
        "3f0f1e2c-6a4b-4c1d-7a55-0b6f2b7c9d10",
        "3f0f1e2c6a4b4c1d9a550b6f2b7c9d10",
        str(uuid.uuid5(uuid.NAMESPACE_URL, "x")),
        "sess_1",
        7,
    ],
)
def test_only_a_lower_case_uuid_of_version_4_is_an_id(org: Org, conversation_id: object) -> None:
    """Anything else is 400 with the text that is known from real orgs."""
    answer = org.create(org.guest(), conversationId=conversation_id)
    assert (answer.status_code, answer.json()["message"]) == (400, UUID_TEXT)
    assert not org.standin.conversations()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prechatDetails": {}}, "prechatDetails"),
        ({"capabilities": []}, "capabilities"),
        ({"esDeveloperName": "Web_Chat"}, NOT_API),
        ({"esDeveloperName": None}, "esDeveloperName"),
        ({"language": None}, "language"),
        ({"language": "english please"}, "language"),
        ({"routingAttributes": ["a"]}, "routingAttributes"),
        ({"routingAttributes": {"Priority": 2}}, "routingAttributes.Priority"),
    ],
)
def test_a_create_is_strict(org: Org, change: dict[str, Any], says: str) -> None:
    """Unknown properties, missing ones and wrong types are 400, and nothing is made."""
    answer = org.create(org.guest(), **change)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert not org.standin.conversations()


def test_the_language_may_be_optional(org: Org) -> None:
    """Sources contradict each other: a switch."""
    org.standin.switches.language_required = False
    assert org.create(org.guest(), language=None).status_code == 201


def test_a_body_is_json(org: Org) -> None:
    """Another media type is 415, broken JSON and a JSON list are 400."""
    token = org.guest()
    kind = {"Content-Type": "application/json"}
    assert org.call("POST", f"{API}/conversation", token, data="x").status_code == 415
    assert org.call("POST", f"{API}/conversation", token, data="{", headers=kind).status_code == 400
    assert org.call("POST", f"{API}/conversation", token, json=[]).status_code == 400


def test_the_same_id_again_is_a_conflict(org: Org) -> None:
    """409 for the same customer and for another; there is one conversation, routed once."""
    token = org.verified()
    conversation_id = org.opened(token)
    assert org.create(token, conversationId=conversation_id).status_code == 409
    assert org.create(org.guest(), conversationId=conversation_id).status_code == 409
    assert len(org.standin.conversations()) == 1
    assert len(org.standin.conversation(conversation_id)["sessions"]) == 1


def test_attributes_that_are_not_mapped_vanish(org: Org) -> None:
    """A key in another case, or one that nobody mapped, is dropped without a word; the oracle names it."""
    given = {**ATTRIBUTES, "opencxsessionid": "x", "Colour": "blue", "_email": "a@example.com"}
    seen = org.standin.conversation(org.opened(org.guest(), routingAttributes=given))
    assert seen["routingAttributes"] == {**ATTRIBUTES, "_email": "a@example.com"}
    assert seen["droppedAttributes"] == ["Colour", "opencxsessionid"]


def test_the_mapping_is_the_administrators(org: Org) -> None:
    """Which keys are mapped can be set over the control door."""
    assert org.door("POST", "switches", json={"mapped_attributes": ["Colour"]}).status_code == 200
    seen = org.standin.conversation(org.opened(org.guest(), routingAttributes={**ATTRIBUTES, "Colour": "blue"}))
    assert seen["routingAttributes"] == {"Colour": "blue"}


def test_an_attribute_that_is_too_long(org: Org) -> None:
    """255 characters fit; more are refused, or cut when the switch says so; unmapped ones never matter."""
    token = org.guest()
    assert org.create(token, routingAttributes={"_subject": "x" * 255, "Colour": "x" * 300}).status_code == 201
    refused = org.create(token, routingAttributes={"_subject": "x" * 256})
    assert refused.status_code == 400
    assert "_subject" in refused.json()["message"]
    org.standin.switches.over_long_attributes = "truncate"
    seen = org.standin.conversation(org.opened(token, routingAttributes={"_subject": "x" * 256}))
    assert seen["routingAttributes"]["_subject"] == "x" * 255


def test_a_customer_may_hold_several_conversations(org: Org) -> None:
    """Unless the switch forbids it: then the second is 400 until the first is closed."""
    token = org.verified()
    first = org.opened(token)
    org.opened(token)
    org.door("POST", "reset")
    org.standin.switches.one_open_conversation = True
    first = org.opened(token)
    assert org.create(token).status_code == 400
    assert org.create(org.verified("customer-2")).status_code == 201
    path = f"{API}/conversation/{first}"
    assert org.call("DELETE", path, token, params={"esDeveloperName": DEPLOYMENT}).status_code == 204
    assert org.create(token).status_code == 201


# Sending


def test_a_message_is_taken_and_echoed(org: Org) -> None:
    """202; the entry is the customer's, has the message's id, and an object for its payload."""
    token = org.verified()
    conversation_id = org.opened(token)
    identifier, reply_to = new_id(), new_id()
    answer = org.send(token, conversation_id, "Hello", message={"id": identifier, "inReplyToMessageId": reply_to})
    assert answer.status_code == 202
    assert answer.json()["conversationEntries"][0]["id"] == identifier
    entry = org.entries(token, conversation_id, entryTypeFilter="Message")[0]
    assert (entry["identifier"], entry["senderDisplayName"]) == (identifier, "Guest")
    assert (entry["sender"]["role"], entry["sender"]["appType"]) == ("EndUser", "iamessage")
    assert content(entry) == {"formatType": "Text", "text": "Hello"}
    assert entry["entryPayload"]["abstractMessage"]["inReplyToMessageId"] == reply_to


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"message": {"id": "3F0F1E2C-6A4B-4C1D-9A55-0B6F2B7C9D10"}}, "lowercase"),
        ({"message": {"messageType": "ChoicesMessage"}}, "messageType"),
        ({"message": {"text": "x"}}, "text"),
        ({"message": {"inReplyToMessageId": "x"}}, "inReplyToMessageId"),
        ({"message": {"staticContent": {"formatType": "Text"}}}, "text"),
        ({"content": {"formatType": "RichLink"}}, "formatType"),
        ({"content": {"text": ""}}, "text"),
        ({"content": {"markdown": True}}, "markdown"),
        ({"esDeveloperName": "Web_Chat"}, NOT_API),
        ({"clientTimestamp": 1}, "clientTimestamp"),
        ({"isNewMessagingSession": "yes"}, "isNewMessagingSession"),
        ({"routingAttributes": {"Priority": 2}}, "Priority"),
    ],
)
def test_a_message_is_strict(org: Org, change: dict[str, Any], says: str) -> None:
    """Unknown properties, a bad id and what is not text are 400, and the rep sees nothing."""
    token = org.guest()
    conversation_id = org.opened(token)
    answer = org.send(token, conversation_id, **change)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert not org.standin.conversation(conversation_id)["received"]


def test_a_text_has_a_longest_length(org: Org) -> None:
    """4,000 UTF-16 units are taken, one more is 400; a character outside the basic plane counts twice."""
    token = org.guest()
    conversation_id = org.opened(token)
    assert org.send(token, conversation_id, "x" * 4000).status_code == 202
    assert org.send(token, conversation_id, "x" * 4001).status_code == 400
    assert org.send(token, conversation_id, "🙂" * 2000).status_code == 202
    assert org.send(token, conversation_id, "🙂" * 2000 + "x").status_code == 400
    org.standin.switches.text_max_chars = 5
    assert org.send(token, conversation_id, "123456").status_code == 400


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("See https://a.test/x", [("Text", "See"), ("RichLink", "https://a.test/x")]),
        ("https://a.test/x is it", [("RichLink", "https://a.test/x"), ("Text", "is it")]),
        ("see https://a.test/x now", [("Text", "see https://a.test/x now")]),
        ("https://a.test/x", [("RichLink", "https://a.test/x")]),
        ("xhttps://a.test", [("Text", "xhttps://a.test")]),
        (
            "http://a.test\nand\nhttp://b.test ",
            [("RichLink", "http://a.test"), ("Text", "and"), ("RichLink", "http://b.test")],
        ),
    ],
)
def test_a_url_at_either_end_becomes_an_entry_of_its_own(org: Org, text: str, cut: list[tuple[str, str]]) -> None:
    """One message, several entries; the text keeps the message's id, and the oracle keeps the message."""
    token, identifier = org.guest(), new_id()
    conversation_id = org.opened(token)
    org.send(token, conversation_id, text, message={"id": identifier})
    found = org.entries(token, conversation_id, entryTypeFilter="Message", direction="FromStart")
    shown = [(content(one)["formatType"], content(one)["text"] or content(one)["linkItem"]["url"]) for one in found]
    assert shown == cut
    bearers = [kind for one, (kind, _) in zip(found, cut, strict=True) if one["identifier"] == identifier]
    assert bearers == (["Text"] if ("Text" in dict(cut)) else ["RichLink"])
    assert [one["text"] for one in org.standin.conversation(conversation_id)["received"]] == [text]


def test_twenty_two_messages_a_minute(org: Org) -> None:
    """The 23rd into one conversation is 429, files included; another conversation is free; so is a minute later."""
    token = org.guest()
    conversation_id, other = org.opened(token), org.opened(token)
    assert {org.send(token, conversation_id).status_code for _ in range(21)} == {202}
    assert org.upload(token, conversation_id).status_code == 202
    refused = org.send(token, conversation_id)
    assert refused.status_code == 429
    assert "Retry-After" not in refused.headers
    assert org.upload(token, conversation_id).status_code == 429
    assert org.send(token, other).status_code == 202
    org.clock.now += 60
    assert org.send(token, conversation_id).status_code == 202
    assert len(org.standin.conversation(conversation_id)["received"]) == 23


def test_a_message_id_that_comes_twice_is_there_twice(org: Org) -> None:
    """Both are shown to the rep under one identifier, and the oracle counts them; a switch refuses instead."""
    token, message = org.guest(), {"id": new_id()}
    conversation_id = org.opened(token)
    assert org.send(token, conversation_id, message=message).status_code == 202
    assert org.send(token, conversation_id, message=message).status_code == 202
    found = org.entries(token, conversation_id, entryTypeFilter="Message")
    assert [one["identifier"] for one in found] == [message["id"]] * 2
    assert org.standin.conversation(conversation_id)["duplicates"] == {message["id"]: 2}
    org.standin.switches.duplicate_messages = "refuse"
    assert org.send(token, conversation_id, message=message).status_code == 400


def test_only_its_customer_can_use_a_conversation(org: Org) -> None:
    """A foreign token is 403 everywhere, an unknown conversation 404; the same user's new token is good."""
    conversation_id = org.opened(org.verified())
    stranger = org.guest()
    path = f"{API}/conversation/{conversation_id}"
    assert org.send(stranger, conversation_id).status_code == 403
    assert org.upload(stranger, conversation_id).status_code == 403
    for method, rest in (("GET", ""), ("GET", "/entries"), ("DELETE", f"?esDeveloperName={DEPLOYMENT}")):
        assert org.call(method, f"{path}{rest}", stranger).status_code == 403
    assert org.send(stranger, new_id()).status_code == 404
    assert org.send(org.verified(), conversation_id).status_code == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/conversations"),
        ("POST", f"{API}/conversation/x/end"),
        ("POST", f"{API}/authorization"),
        ("GET", f"{API}/conversation/x/routing-status"),
        ("GET", "/iamessage/v1/conversation"),
    ],
)
def test_invented_paths_are_not_there(org: Org, method: str, path: str) -> None:
    """What public code invents is 404."""
    assert org.call(method, path, org.guest()).status_code == 404


# Typing and receipts


def test_typing_reaches_the_rep_and_is_no_entry(org: Org) -> None:
    """The rep sees that the customer types until a message comes; a wrong body is 400."""
    token = org.guest()
    conversation_id = org.opened(token)
    path = f"{API}/conversation/{conversation_id}/entry"
    before = len(org.entries(token, conversation_id))
    started = {"entryType": "TypingStartedIndicator", "id": new_id()}
    assert org.call("POST", path, token, json=started).status_code == 202
    assert org.standin.conversation(conversation_id)["customerTypes"]
    stopped = {**started, "entryType": "TypingStoppedIndicator"}
    assert org.call("POST", path, token, json=stopped).status_code == 202
    assert not org.standin.conversation(conversation_id)["customerTypes"]
    assert len(org.entries(token, conversation_id)) == before
    org.call("POST", path, token, json=started)
    org.send(token, conversation_id)
    assert not org.standin.conversation(conversation_id)["customerTypes"]
    for wrong in ({"entryType": "Message", "id": new_id()}, {**started, "id": "x"}, {**started, "on": True}):
        assert org.call("POST", path, token, json=wrong).status_code == 400


def test_receipts_are_noted(org: Org) -> None:
    """Delivery and Read name an entry of the conversation; another entry, type or an empty list is 400."""
    token = org.guest()
    conversation_id = org.opened(token)
    org.standin.rep_accepts(conversation_id)
    said = org.standin.rep_says(conversation_id, "Hi")
    path = f"{API}/conversation/{conversation_id}/acknowledge-entries"
    acks = [{"id": new_id(), "entryType": kind, "conversationEntryId": said} for kind in ("Delivery", "Read")]
    assert org.call("POST", path, token, json={"acks": acks}).status_code == 202
    seen = org.standin.conversation(conversation_id)
    assert (seen["delivered"], seen["read"]) == ([said], [said])
    for wrong in ({"entryType": "Seen"}, {"conversationEntryId": new_id()}, {"id": "x"}):
        assert org.call("POST", path, token, json={"acks": [{**acks[0], **wrong}]}).status_code == 400
    assert org.call("POST", path, token, json={"acks": []}).status_code == 400
