"""Entries as Salesforce may write them: strings or objects, doubled, unknown, without what one counts on."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.relay.model import JOINED, LEFT, MESSAGE, OVER, UNANSWERED
from shared.salesforce.entry import ids_of, rep_entries

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
MS = 1_730_000_005_000


def entry(kind: str, payload: dict[str, Any], *, identifier: str = "e1", role: str = "Agent", **more: Any) -> Any:
    """One entry."""
    return {
        "entryType": kind,
        "identifier": identifier,
        "senderDisplayName": "Sara",
        "sender": {"role": role},
        "transcriptedTimestamp": MS,
        "entryPayload": {"entryType": kind, "id": identifier, **payload},
        **more,
    }


def words(text: str, **more: Any) -> dict[str, Any]:
    """The payload of a text."""
    content = {"formatType": "Text", "text": text}
    return {"abstractMessage": {"messageType": "StaticContentMessage", "staticContent": content}, **more}


def session(status: str, session_id: str = "0Mw1") -> dict[str, Any]:
    """The payload of a status."""
    return {"sessionStatus": status, "sessionId": session_id}


def test_a_payload_may_be_text_or_object() -> None:
    """The stream writes it as a JSON text, the list as an object; both are read."""
    as_object = entry("Message", words("Hi"))
    as_text = {**as_object, "entryPayload": json.dumps(as_object["entryPayload"])}
    assert rep_entries([as_text], since=SINCE) == rep_entries([as_object], since=SINCE)
    assert rep_entries([as_object], since=SINCE)[0].text == "Hi"


def test_a_doubled_entry_is_one() -> None:
    """By its identifier."""
    assert len(rep_entries([entry("Message", words("Hi"))] * 3, since=SINCE)) == 1


def test_entries_are_put_in_order() -> None:
    """The list is newest first by default; the time counts."""
    later = entry("Message", words("b"), identifier="e2", transcriptedTimestamp=MS + 1)
    found = rep_entries([later, entry("Message", words("a"))], since=SINCE)
    assert [each.text for each in found] == ["a", "b"]
    assert found[0].at == datetime.fromtimestamp(MS / 1000, UTC)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"entryType": "Message"},
        {"entryType": "Message", "identifier": "x", "entryPayload": "{"},
        {"entryType": "Message", "identifier": "x", "entryPayload": {"abstractMessage": [1]}},
        {"entryType": "Message", "identifier": "x", "entryPayload": words("")},
        {"entryType": "ParticipantChanged", "identifier": "x", "entryPayload": {"entries": "x"}},
        {"entryType": "SomethingOfTomorrow", "identifier": "x", "entryPayload": {"a": 1}},
        entry("Message", words("whispered"), visibilityStrategy="Supervisors"),
        entry("Message", words("mine"), role="EndUser"),
        entry("TypingStartedIndicator", {"timestamp": MS}),
    ],
    ids=str,
)
def test_what_says_nothing_to_the_customer_is_left_out(broken: dict[str, Any]) -> None:
    """Unknown types, unreadable ones, our own echo, and what reps say among themselves."""
    assert rep_entries([broken], since=SINCE) == []


@pytest.mark.parametrize(
    ("role", "reason", "is_automated"),
    [
        ("Agent", None, False),
        ("Supervisor", None, False),
        ("Agent", "AutomatedResponse", True),
        ("System", None, True),
        ("Chatbot", None, True),
        ("", None, True),
    ],
)
def test_who_is_a_person(role: str, reason: str | None, is_automated: bool) -> None:
    """Only what a person wrote is a rep's message."""
    (found,) = rep_entries([entry("Message", words("x", messageReason=reason), role=role)], since=SINCE)
    assert (found.kind, found.is_automated) == (MESSAGE, is_automated)


def test_an_entry_without_a_time_is_not_lost() -> None:
    """It counts as of the time that was asked from."""
    (found,) = rep_entries([entry("Message", words("x"), transcriptedTimestamp=None)], since=SINCE)
    assert found.at == SINCE


def test_who_comes_and_goes() -> None:
    """Several changes in one entry have ids of their own; only reps count."""
    changes = [
        {"operation": operation, "displayName": name, "participant": {"role": role}}
        for operation, name, role in (("remove", "A", "Agent"), ("add", "B", "Agent"), ("add", "Bot", "Chatbot"))
    ]
    found = rep_entries([entry("ParticipantChanged", {"entries": changes})], since=SINCE)
    assert [(each.id, each.kind, each.author) for each in found] == [("e1", LEFT, "A"), ("e1:1", JOINED, "B")]


@pytest.mark.parametrize(
    ("failure", "kinds"), [("None", []), (None, []), ("RoutingError", [UNANSWERED]), ("SubmissionError", [UNANSWERED])]
)
def test_routing_that_fails_is_told(failure: str | None, kinds: list[str]) -> None:
    """The word None is a success."""
    found = rep_entries([entry("RoutingResult", {"failureType": failure}, role="System")], since=SINCE)
    assert [each.kind for each in found] == kinds


@pytest.mark.parametrize("status", ["New", "Waiting", "Active", "Inactive", "Paused", "Error"])
def test_only_the_end_is_the_end(status: str) -> None:
    """A paused session goes on."""
    assert rep_entries([entry("SessionStatusChanged", session(status))], since=SINCE) == []


def test_an_end_before_a_new_session_is_none() -> None:
    """A session that was begun after another's end is what counts, until it ends too."""
    ended = entry("SessionStatusChanged", session("Ended"), identifier="e1")
    begun = entry("SessionStatusChanged", session("Waiting", "0Mw2"), identifier="e2", transcriptedTimestamp=MS + 5)
    again = entry("SessionStatusChanged", session("Ended", "0Mw2"), identifier="e3", transcriptedTimestamp=MS + 9)
    assert [each.id for each in rep_entries([ended], since=SINCE)] == ["e1"]
    assert rep_entries([ended, begun], since=SINCE) == []
    assert [each.kind for each in rep_entries([ended, begun, again], since=SINCE)][-1] == OVER


def test_an_entry_bears_the_id_of_its_message() -> None:
    """Wherever Salesforce puts it."""
    payload = words("x")
    payload["abstractMessage"]["id"] = "m1"
    assert ids_of(entry("Message", payload)) == {"e1", "m1"}
