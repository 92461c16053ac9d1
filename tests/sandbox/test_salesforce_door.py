"""Salesforce's stand-in: the rep's door, files both ways, and the org's switches."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.sandbox.miaw import API, ATTRIBUTES, DEPLOYMENT, Org, content, new_id, serve

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


# What a rep sends


def test_choices_links_and_automation(org: Org, token: str, chat: str) -> None:
    """Buttons, a link preview and an automated response have the shapes of the schema."""
    org.door("POST", f"rep/{chat}/say", json={"choices": ["Yes", {"title": "No"}], "text": "Well?"})
    org.door("POST", f"rep/{chat}/say", json={"link": {"url": "https://a.test", "title": "A"}})
    org.door("POST", f"rep/{chat}/auto-response", json={"text": "We are busy"})
    found = org.entries(token, chat, limit=3, direction="FromEnd")
    automated, link, choices = (one["entryPayload"] for one in found)
    body = choices["abstractMessage"]
    assert body["messageType"] == "ChoicesMessage"
    titles = [one["titleItem"]["title"] for one in body["choices"]["optionItems"]]
    assert (body["choices"]["text"], titles) == ("Well?", ["Yes", "No"])
    assert link["abstractMessage"]["staticContent"]["linkItem"]["titleItem"]["title"] == "A"
    assert automated["messageReason"] == "AutomatedResponse"
    assert (found[0]["sender"]["role"], found[0]["senderDisplayName"]) == ("System", "Automated Process")


def test_automated_responses_of_the_channel(org: Org, token: str) -> None:
    """With the switch on, the org announces who comes and who goes."""
    org.standin.switches.automated_responses = True
    chat = org.opened(token)
    org.standin.rep_accepts(chat)
    org.standin.rep_ends(chat)
    assert [role for role, _ in org.texts(token, chat)] == ["System", "System"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": 7},
        {"link": {}},
        {"text": "x", "seconds_ago": "long"},
        [],
    ],
)
def test_the_door_names_what_is_wrong(org: Org, chat: str, body: Any) -> None:
    """A wrong body is 400 with an error that says why, and nothing is written."""
    before = org.standin.conversation(chat)
    answer = org.door("POST", f"rep/{chat}/say", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert org.standin.conversation(chat) == before


def test_a_reps_file_is_served(org: Org, token: str, chat: str) -> None:
    """The entry names a URL of the stand-in's; it asks for no token unless the switch says so."""
    body = {"name": "a b.pdf", "content": base64.b64encode(b"%PDF-1.7").decode(), "caption": "Here"}
    assert org.door("POST", f"rep/{chat}/file", json=body).status_code == 201
    static = content(org.entries(token, chat, limit=1)[0])
    shown = static["attachments"][0]
    assert (static["formatType"], static["text"]) == ("Attachments", "Here")
    assert (shown["name"], shown["mimeType"]) == ("a b.pdf", "application/pdf")
    fetched = requests.get(shown["url"], timeout=5)
    assert (fetched.content, fetched.headers["Content-Type"]) == (b"%PDF-1.7", "application/pdf")
    org.standin.switches.files_need_token = True
    path = shown["url"].removeprefix(org.server.url)
    statuses = [org.call("GET", path, one).status_code for one in (None, org.guest(), token)]
    assert statuses == [401, 403, 200]
    assert org.call("GET", f"/files/{new_id()}/a.pdf", token).status_code == 404
    seen = org.standin.conversation(chat)["files"][0]
    assert (seen["role"], seen["size"]) == ("Agent", 8)


# What a customer uploads


def test_a_customers_file_reaches_the_rep(org: Org, token: str, chat: str) -> None:
    """202; the entry has the message's id and caption; bytes that look like a boundary survive."""
    raw = b"\r\n--x\r\n\x00\xff" * 10
    message = {"id": new_id(), "fileId": new_id(), "text": "My bill"}
    assert org.upload(token, chat, "Rechnung ä.PDF", raw, message=message).status_code == 202
    entry = org.entries(token, chat, limit=1)[0]
    assert (entry["identifier"], content(entry)["text"]) == (message["id"], "My bill")
    shown = content(entry)["attachments"][0]
    assert (shown["id"], shown["name"]) == (message["fileId"], "Rechnung ä.PDF")
    assert requests.get(shown["url"], timeout=5).content == raw
    seen = org.standin.conversation(chat)
    assert [(one["role"], one["size"]) for one in seen["files"]] == [("EndUser", len(raw))]
    assert seen["received"][-1]["fileId"] == message["fileId"]


def test_files_have_limits(org: Org, token: str, chat: str) -> None:
    """Over 5 MB is 413, an unknown type 415, attachments switched off 400, and nothing is kept."""
    most = 5 * 1024 * 1024
    assert org.upload(token, chat, content=b"x" * (most + 1)).status_code == 413
    for name in ("a.exe", "pdf", "a.jpeg"):
        assert org.upload(token, chat, name).status_code == 415
    org.standin.switches.attachments = False
    assert org.upload(token, chat).status_code == 400
    assert not org.standin.conversation(chat)["files"]
    org.standin.switches.attachments = True
    assert org.upload(token, chat, content=b"x" * most).status_code == 202


def test_a_form_is_strict(org: Org, token: str, chat: str) -> None:
    """Another media type is 415; a missing part, an unknown property or a used file id is 400."""
    path = f"{API}/conversation/{chat}/file"
    assert org.call("POST", path, token, json={}).status_code == 415
    assert org.call("POST", path, token, files={"fileData": ("a.pdf", b"x")}).status_code == 400
    bounded = {"Content-Type": "multipart/form-data; boundary=b"}
    assert org.call("POST", path, token, data=b"x", headers=bounded).status_code == 400
    assert org.upload(token, chat, message={"caption": "x"}).status_code == 400
    assert org.upload(token, chat, esDeveloperName="Web_Chat").status_code == 400
    used = {"fileId": new_id()}
    assert org.upload(token, chat, message=used).status_code == 202
    assert org.upload(token, chat, message=used).status_code == 400


def test_a_file_can_open_a_session(org: Org, token: str, chat: str) -> None:
    """The part messageEntry takes what a message takes, and 417 holds for files too."""
    org.standin.switches.prechat_every_session = True
    org.standin.rep_ends(chat)
    assert org.upload(token, chat).status_code == 417
    asks: dict[str, Any] = {"isNewMessagingSession": True, "routingAttributes": ATTRIBUTES, "language": "en_US"}
    assert org.upload(token, chat, **asks).status_code == 202
    assert org.standin.conversation(chat)["sessionStatus"] == "Waiting"


# The org's doors


def test_the_oracle_sees_everything(org: Org, token: str) -> None:
    """The list has a line a conversation; unknown ones are 404; a reset empties it and restores the switches."""
    chats = [org.opened(token), org.opened(org.guest())]
    found = org.door("GET", "conversations").json()
    assert [(one["conversationId"], one["verified"]) for one in found] == [(chats[0], True), (chats[1], False)]
    assert org.door("GET", f"conversations/{chats[0]}").json()["entries"]
    assert org.door("GET", f"conversations/{new_id()}").status_code == 404
    org.standin.switches.text_max_chars = 5
    org.door("POST", "reset")
    assert org.door("GET", "conversations").json() == []
    assert org.door("GET", "switches").json()["text_max_chars"] == 4000


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": "blue"},
        {"text_max_chars": "many"},
        {"text_max_chars": True},
        {"prechat_every_session": 1},
        {"over_long_attributes": "shout"},
        {"mapped_attributes": [1]},
        {"retry_after_seconds": "soon"},
    ],
)
def test_a_switch_is_known_and_of_its_type(org: Org, wrong: dict[str, Any]) -> None:
    """An unknown switch or a wrong value is 400, and none of the others is changed."""
    answer = org.door("POST", "switches", json={"keyset": "Other", **wrong})
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["error"]
    assert org.standin.switches.keyset == "OpenCX_Keyset"


def test_switches_can_be_set_over_the_door(org: Org) -> None:
    """Numbers, words, nothing and lists."""
    given = {
        "retry_after_seconds": 3,
        "identity_audience": None,
        "inactive_ends_seconds": 5,
        "over_long_attributes": "truncate",
        "file_types": ["pdf"],
    }
    shown = org.door("POST", "switches", json=given).json()
    assert shown.items() >= given.items()


def test_a_transcript_wants_the_administrators_leave(org: Org, token: str, chat: str) -> None:
    """403 until it is switched on; then a PDF."""
    path = f"{API}/conversation/{chat}/transcript"
    assert org.call("GET", path, token, params=NAMED).status_code == 403
    org.standin.switches.transcript_enabled = True
    assert org.call("GET", path, token, params=NAMED).content.startswith(b"%PDF")


def test_many_threads_at_once(org: Org, token: str) -> None:
    """Writers on both sides and readers: nothing is lost and nothing is doubled."""
    org.standin.switches.messages_per_minute = 1000
    chat = org.opened(token)
    org.standin.rep_accepts(chat)

    def work(place: int) -> None:
        for number in range(20):
            match place % 3:
                case 0:
                    assert org.send(token, chat, f"{place}/{number}").status_code == 202
                case 1:
                    org.standin.rep_says(chat, f"{place}/{number}")
                case _:
                    org.entries(token, chat, limit=50)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    seen = org.standin.conversation(chat)["entries"]
    said = [content(one)["text"] for one in seen if one["entryType"] == "Message"]
    assert sorted(said) == sorted(f"{place}/{number}" for place in (0, 1, 3, 4) for number in range(20))
