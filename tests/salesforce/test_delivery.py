"""A handoff becomes one conversation with the whole transcript in it, however it is interrupted."""

from dataclasses import replace

import pytest

from sandbox.server import Fault
from shared.attachments import Fetched
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff.model import CUSTOMER, Attachment, Contact, Turn
from shared.salesforce.parts import MOST_PARTS
from tests.salesforce.org import START, Killed, Org, handoff, opened, turn_text

LONG = 120
"""Turns that fill some five messages."""


def said(texts: list[str], turns: int) -> None:
    """Every turn is there once, in order."""
    whole = "\n".join(texts)
    places = [whole.find(turn_text(number)) for number in range(1, turns + 1)]
    assert -1 not in places
    assert places == sorted(places)
    assert all(whole.count(turn_text(number)) == 1 for number in range(1, turns + 1))


def test_a_chat_becomes_one_conversation_with_everything_in_it(org: Org) -> None:
    """Three calls: a token, the conversation with its routing attributes, and one message that says it all."""
    outcome = org.worker().destination.deliver(handoff(), deadline=org.deadline())
    assert [call.rpartition("/")[2] for call in org.calls()] == ["access-token", "conversation", "message"]
    found = org.whole(outcome.record_id)
    assert found["routingAttributes"] == {
        "OpencxSessionId": "sess_123",
        "Phone": "+15551234567",
        "Channel": "sms",
        "Language": "en",
        "Priority": "1",
        "Chat_Consumer_Type": "Unauthenticated",
        "_firstName": "Jane van",
        "_lastName": "Doe",
        "_email": "jane@example.com",
        "_subject": "Wants a refund.",
    }
    assert found["droppedAttributes"] == []
    assert found["subject"] == "v2/iamessage/AUTH/OpenCX_Keyset/uid:session:sess_123"
    (text,) = org.texts(outcome.record_id)
    assert text.startswith("--- AI conversation (OpenCX session sess_123, phone +15551234567) ---\nChannel: sms\n")
    assert "Summary: Wants a refund." in text
    said([text], 3)
    assert (outcome.system, outcome.kind, outcome.channel) == ("salesforce", "messaging_conversation", "sms")
    assert outcome.warnings == ()
    assert outcome.relay["subject"] == "session:sess_123"
    assert "refund" not in str(outcome.relay)
    assert "Jane" not in str(outcome.relay)


def test_a_repeat_changes_nothing(org: Org) -> None:
    """The same handoff again is the same conversation, and the rep reads nothing twice."""
    first = org.land(handoff(LONG))
    before = org.whole(first.record_id)["received"]
    second = org.land(handoff(LONG))
    assert second == first
    assert org.whole(first.record_id)["received"] == before
    assert len(org.standin.conversations()) == 1


def test_another_handoff_of_the_session_is_another_conversation(org: Org) -> None:
    """A handoff with an id of its own is told apart."""
    first = org.land(handoff())
    second = org.land(handoff(handoff_id="h-2"))
    assert first.record_id != second.record_id


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(1, 9))
def test_killed_at_any_call_nothing_is_lost_or_doubled(org: Org, call: int, after: bool) -> None:
    """A worker that dies before or after any call leaves a handoff that the next one completes."""
    worker = org.worker()
    worker.wire.dies_at, worker.wire.dies_after = call, after
    try:
        worker.destination.deliver(handoff(LONG), deadline=org.deadline())
    except Killed:
        died = True
    else:
        died = False
    outcome = org.land(handoff(LONG))
    found = org.whole(outcome.record_id)
    messages = [one["id"] for one in found["received"]]
    assert died is (call <= len(messages) + 2)  # the token and the create come first
    assert 5 <= len(messages) <= 6
    assert found["duplicates"] == {}
    assert len(org.standin.conversations()) == 1
    said(org.texts(outcome.record_id), LONG)


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "before"},
        {"drop": "after"},
        {"status": 500, "after_work": True},
        {"status": 503, "headers": {"Retry-After": "1"}},
        {"status": 429},
        {"status": 401},
        {"truncate": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["access-token", "/conversation$", "/message"])
@pytest.mark.parametrize("skip", [0, 2])
def test_no_fault_of_a_call_loses_or_doubles_anything(org: Org, path: str, fault: dict[str, object], skip: int) -> None:
    """Whatever happens to a call, done or not done, in the end everything is there once."""
    org.server.faults.add(Fault(path=path, skip=skip if path == "/message" else 0, **fault))  # type: ignore[arg-type]
    try:
        outcome = org.land(handoff(LONG))
    except ConfigurationFault:
        assert (path, fault) == ("access-token", {"status": 401})  # no token, and no answer why
        return
    found = org.whole(outcome.record_id)
    assert found["duplicates"] == {}
    assert len(org.standin.conversations()) == 1
    said(org.texts(outcome.record_id), LONG)


def test_a_long_call_is_there_whole_and_in_order(org: Org) -> None:
    """382 turns fit into fewer messages than a minute takes, each with its place and its turns uncut."""
    outcome = org.worker().destination.deliver(handoff(382, channel="phone"), deadline=org.deadline())
    texts = org.texts(outcome.record_id)
    assert 10 < len(texts) <= MOST_PARTS
    assert all(len(text) <= 4000 for text in texts)
    for number, text in enumerate(texts, 1):
        head = f"--- AI conversation (OpenCX session sess_123, phone +15551234567), part {number} of {len(texts)} ---\n"
        assert text.startswith(head)
    said(texts, 382)
    assert outcome.warnings == ()


def test_a_minute_takes_22_messages_and_the_rest_comes_later(org: Org) -> None:
    """A limit that is reached half-way postpones the rest, without stopping other handoffs."""
    org.standin.switches.messages_per_minute = 4
    with pytest.raises(TransientFailure) as caught:
        org.worker().destination.deliver(handoff(LONG), deadline=org.deadline())
    failure = caught.value
    assert (failure.code, failure.system, failure.kind) == (
        "salesforce_throttled",
        "salesforce_conversation",
        "throttled",
    )
    assert failure.is_unclear is False
    outcome = org.land(handoff(LONG))
    assert org.whole(outcome.record_id)["duplicates"] == {}
    said(org.texts(outcome.record_id), LONG)


def test_what_is_too_long_for_the_chat_is_a_file(org: Org) -> None:
    """The whole transcript is attached, and the header and its newest part are messages."""
    outcome = org.land(handoff(1500))
    found = org.whole(outcome.record_id)
    (file,) = found["files"]
    assert file["name"] == "transcript.txt"
    content = org.standin.desk.files[file["id"]].content.decode()
    said([content], 1500)
    texts = org.texts(outcome.record_id)
    assert len(texts) == 4
    assert "The whole transcript (1500 messages) is attached as transcript.txt" in texts[0]
    assert turn_text(1500) in texts[-1]
    assert found["received"][0]["fileId"] == file["id"]
    assert outcome.warnings == ()
    assert org.land(handoff(1500)) == outcome
    assert org.whole(outcome.record_id)["received"] == found["received"]


@pytest.mark.parametrize("switches", [{"attachments": False}, {"file_types": []}, {"file_max_bytes": 1000}])
def test_where_files_are_refused_the_newest_part_is_there(org: Org, switches: dict[str, object]) -> None:
    """18 messages with the newest turns, a sentence that says so, and a warning; also after an interruption."""
    org.standin.switches.change(switches)
    worker = org.worker()
    worker.wire.dies_at = 9
    with pytest.raises(Killed):
        worker.destination.deliver(handoff(1500), deadline=org.deadline())
    org.standin.switches.change({"attachments": True, "file_types": ["txt"], "file_max_bytes": 5_000_000})
    outcome = org.land(handoff(1500))
    found = org.whole(outcome.record_id)
    assert [notice.code for notice in outcome.warnings] == ["transcript_truncated"]
    assert found["duplicates"] == {}
    assert found["files"] == []
    texts = org.texts(outcome.record_id)
    assert len(texts) == MOST_PARTS
    assert "only its newest part follows" in texts[0]
    assert turn_text(1500) in texts[-1]


def test_the_customers_files_are_attached_and_what_cannot_be_stays_a_link(org: Org) -> None:
    """The five newest are fetched and sent after the text; a failure of one is a warning, never the end."""
    names = [f"photo{number}.jpg" for number in range(6)]
    files = tuple(Attachment(name, f"https://files.example.com/{name}") for name in names)
    turns = (*(handoff().transcript or ()), Turn(CUSTOMER, "See these.", at=START, attachments=files))
    fetched: list[str] = []

    def fetch(url: str, /, *, deadline: float | None = None) -> Fetched | None:
        assert deadline == org.clock.monotonic() + 4
        fetched.append(url)
        if url.endswith("3.jpg"):
            return None
        return Fetched("a.exe" if url.endswith("4.jpg") else "a.jpg", "image/jpeg", b"x" * 10)

    given = handoff(transcript=turns)
    outcome = org.worker(fetch).destination.deliver(given, deadline=org.deadline())
    found = org.whole(outcome.record_id)
    assert fetched == [f"https://files.example.com/{name}" for name in names[1:]]
    assert [file["name"] for file in found["files"]] == ["photo1.jpg", "photo2.jpg", "photo4.jpg", "photo5.jpg"]
    assert [notice.code for notice in outcome.warnings] == ["attachments_left_as_links"]
    assert "2 of the customer's 6 files" in outcome.warnings[0].message
    (text,) = org.texts(outcome.record_id)
    assert all(f"https://files.example.com/{name}" in text for name in names)
    org.worker(fetch).destination.deliver(given, deadline=org.deadline())
    assert len(org.whole(outcome.record_id)["files"]) == 4


@pytest.mark.parametrize("every_session", [False, True])
def test_a_session_that_ended_before_the_transcript_was_there_is_reopened(org: Org, every_session: bool) -> None:
    """While the rep has not seen all, a session that is gone (HTTP 417) is begun anew, with the same attributes."""
    org.standin.switches.prechat_every_session = every_session
    worker = org.worker()
    worker.wire.dies_at = 3
    with pytest.raises(Killed):
        worker.destination.deliver(handoff(LONG), deadline=org.deadline())
    (conversation,) = org.standin.conversations()
    org.standin.rep_accepts(conversation["conversationId"])
    org.standin.rep_ends(conversation["conversationId"])
    org.clock.advance(60)
    outcome = org.land(handoff(LONG))
    found = org.whole(outcome.record_id)
    assert len(found["sessions"]) == 2
    if every_session:
        assert found["routingAttributes"]["OpencxSessionId"] == "sess_123"
    said(org.texts(outcome.record_id), LONG)
    org.clock.advance(1)
    kinds = [entry.kind for entry in worker.side.entries(opened(outcome), since=START, deadline=org.deadline())]
    assert "over" not in kinds  # the first session's end is not the conversation's


def test_a_conversation_that_is_closed_half_way_has_landed_with_a_warning(org: Org) -> None:
    """Nobody can write into it any more, and the rep has seen something of it."""
    worker = org.worker()
    worker.wire.dies_at = 4
    with pytest.raises(Killed):
        worker.destination.deliver(handoff(LONG), deadline=org.deadline())
    (conversation,) = org.standin.conversations()
    with org.standin.desk.at(conversation["conversationId"]) as known:
        org.standin.desk.close(known)
    outcome = org.land(handoff(LONG))
    assert [notice.code for notice in outcome.warnings] == ["transcript_incomplete"]


def test_a_conversation_that_was_closed_before_anything_was_there_has_failed(org: Org) -> None:
    """The rep has seen nothing, and never will: somebody must be told."""
    worker = org.worker()
    worker.wire.dies_at = 3
    with pytest.raises(Killed):
        worker.destination.deliver(handoff(), deadline=org.deadline())
    (conversation,) = org.standin.conversations()
    with org.standin.desk.at(conversation["conversationId"]) as known:
        org.standin.desk.close(known)
    with pytest.raises(PermanentFailure) as caught:
        org.land(handoff())
    assert caught.value.code == "salesforce_conversation_refused"


def test_attributes_that_are_refused_are_left_out(org: Org) -> None:
    """A parameter that is too short in the org costs the attribute, not the handoff."""
    org.standin.switches.attribute_max_chars = 10
    outcome = org.land(handoff())
    assert [notice.code for notice in outcome.warnings] == ["attributes_refused"]
    assert org.whole(outcome.record_id)["routingAttributes"] == {"OpencxSessionId": "sess_123"}
    said(org.texts(outcome.record_id), 3)


def test_attributes_are_cut_to_what_a_parameter_holds(org: Org) -> None:
    """255 characters, with a sign that something is missing."""
    outcome = org.land(handoff(summary="long " * 100))
    subject = org.whole(outcome.record_id)["routingAttributes"]["_subject"]
    assert len(subject) == 255
    assert subject.endswith("…")
    assert outcome.warnings == ()


def test_email_is_not_for_salesforce(org: Org) -> None:
    """It waits for an administrator, without pausing the other channels."""
    with pytest.raises(ConfigurationFault) as caught:
        org.worker().destination.deliver(handoff(channel="email"), deadline=org.deadline())
    assert caught.value.code == "salesforce_email_not_available"
    assert caught.value.system != "salesforce"
    assert "HANDOFF_ROUTES" in caught.value.fix
    assert org.calls() == []


@pytest.mark.parametrize(
    ("channel", "verified", "who", "kind"),
    [
        ("sms", None, "+15551234567", "Unauthenticated"),
        ("web", True, "jane@example.com", "Authenticated"),
        ("web", False, "session:sess_123", "Unauthenticated"),
        ("web", None, "session:sess_123", "Unauthenticated"),
    ],
)
def test_a_known_customer_is_the_same_again_where_that_is_wanted(
    org: Org, channel: str, verified: bool | None, who: str, kind: str
) -> None:
    """A phone number is proven by its channel, an e-mail address only by a verified contact."""
    contact = replace(handoff().contact, verified=verified)
    worker = org.worker(SALESFORCE_SUBJECT="customer")
    outcome = worker.destination.deliver(handoff(channel=channel, contact=contact), deadline=org.deadline())
    found = org.whole(outcome.record_id)
    assert found["subject"].endswith(f"uid:{who}")
    assert found["routingAttributes"]["Chat_Consumer_Type"] == kind


def test_an_address_at_the_end_of_a_message_is_not_cut_off(org: Org) -> None:
    """Salesforce makes an entry of its own of an address at an edge; ours stand inside."""
    turns = (Turn(CUSTOMER, "https://shop.example.com/order/1", at=START),)
    outcome = org.land(handoff(transcript=turns, contact=Contact()))
    kinds = [
        entry["entryPayload"].get("abstractMessage", {}).get("staticContent", {}).get("formatType")
        for entry in org.whole(outcome.record_id)["entries"]
    ]
    assert kinds.count("Text") == 1
    assert "RichLink" not in kinds


def test_the_budget_is_kept(org: Org) -> None:
    """Without time left nothing is begun."""
    with pytest.raises(TransientFailure) as caught:
        org.worker().destination.deliver(handoff(), deadline=org.clock.monotonic() + 0.1)
    assert (caught.value.code, caught.value.is_unclear) == ("budget_used_up", False)
    assert org.calls() == []
