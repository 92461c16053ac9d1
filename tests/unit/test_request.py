"""The request body: every shape that the contract allows, and one clear 400 for every other."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequest
from shared.handoff.message import turns_of
from shared.handoff.model import Handoff
from shared.handoff.request import MAX_DEPTH, contact_of, parse, parse_body
from shared.handoff.text import parse_json


def read(body: dict[str, Any], **options: Any) -> Handoff:
    """Parse as the door does."""
    return parse(parse_body(json.dumps(body).encode()), **options)


def wrong(body: dict[str, Any], **options: Any) -> dict[str, str]:
    """The wrong fields of a body and what is said of them."""
    with pytest.raises(InvalidRequest) as caught:
        read(body, **options)
    return {detail.field: detail.message for detail in caught.value.details}


def minimal(**more: Any) -> dict[str, Any]:
    """The least that is needed, and more."""
    return {"session_id": "s-1", "channel": "web", **more}


def test_a_session_and_a_channel_are_enough() -> None:
    """Nothing else is required; the handoff's identity is the session."""
    handoff = read(minimal())
    assert (handoff.handoff_id, handoff.session_id, handoff.channel) == ("s-1", "s-1", "web")
    assert handoff.transcript is None


@pytest.mark.parametrize(
    ("given_channel", "channel"),
    [
        ("web", "web"),
        ("Widget", "web"),
        ({"type": "WhatsApp"}, "whatsapp"),
        ("phone_voice", "phone"),
        ("web_voice", "phone"),
        ("voice", "phone"),
        ("CALL", "phone"),
        (" sms ", "sms"),
        ("email", "email"),
        ("slack", "slack"),
    ],
)
def test_a_channel_has_many_spellings(given_channel: object, channel: str) -> None:
    """A name or an object, in any case, with aliases; an unknown name is kept."""
    assert read(minimal(channel=given_channel)).channel == channel


@pytest.mark.parametrize(
    "body",
    [
        {"conversation_id": "s-9", "channel": "web"},
        {"session_id": "s-9", "conversation_id": "other", "channel": "web"},
        {"session_id": "", "conversation_id": "s-9", "channel": "web"},
        {"session_id": " \t", "conversation_id": "s-9", "channel": "web"},
        {"session_id": None, "conversation_id": " s-9 ", "channel": "web"},
    ],
)
def test_the_session_may_be_called_conversation(body: dict[str, Any]) -> None:
    """OpenCX's webhooks call the session a conversation; session_id wins."""
    assert read(body).session_id == "s-9"


def test_the_session_may_come_in_the_header() -> None:
    """The header x-opencx-session-id counts when the body has no session."""
    assert read({"channel": "web"}, session_id="h-1").session_id == "h-1"
    assert read(minimal(), session_id="h-1").session_id == "s-1"
    assert read({"session_id": " ", "conversation_id": None, "channel": "web"}, session_id="h-1").session_id == "h-1"


@pytest.mark.parametrize("session_id", [None, "", "  "])
def test_a_session_without_a_name_is_missing(session_id: str | None) -> None:
    """Null and blanks are no id: the caller is told that it is missing, not that its type is wrong."""
    assert wrong({"session_id": session_id, "channel": "web"})["session_id"].startswith("is missing")


@pytest.mark.parametrize("dots", [".", "..", " .. "])
@pytest.mark.parametrize("field", ["session_id", "conversation_id", "handoff_id"])
def test_dots_are_no_id(field: str, dots: str) -> None:
    """An id stands in the path of an address, where one dot or two lead elsewhere, quoted or not."""
    body = {"session_id": "s-1", "channel": "web", field: dots}
    if field == "conversation_id":
        del body["session_id"]
    assert list(wrong(body)) == ["handoff_id" if field == "handoff_id" else "session_id"]
    assert read({"session_id": "...", "channel": "web"}).session_id == "..."


def test_facts_may_stand_inside_handoff() -> None:
    """handoff: {…} and the aliases give the same fields; the top level wins."""
    handoff = read(
        minimal(summary="top", handoff={"summary": "inner", "contact_reason": "billing", "user_sentiment": "angry"})
    )
    assert (handoff.summary, handoff.classification, handoff.sentiment) == ("top", "billing", "angry")
    assert read(minimal(contact_reason="refund", user_sentiment="happy")).classification == "refund"


SHAPES = {
    "history": {
        "id": "1",
        "created_at": "2026-01-01T10:00:00Z",
        "event": {
            "type": "message",
            "sender": {"type": "contact", "name": "Jo"},
            "content": {"type": "text", "text": "Hi"},
        },
    },
    "without event": {
        "id": "1",
        "created_at": "2026-01-01T10:00:00Z",
        "type": "message",
        "sender": {"type": "contact", "name": "Jo"},
        "content": {"type": "text", "text": "Hi"},
    },
    "flat": {"role": "user", "name": "Jo", "at": "2026-01-01T12:00:00+02:00", "text": "Hi"},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_has_three_shapes(shape: str) -> None:
    """OpenCX's history item, the same without event, and flat give one and the same turn."""
    turns = read(minimal(transcript=[SHAPES[shape]])).transcript
    assert turns is not None
    assert [(turn.role, turn.name, turn.text, turn.at) for turn in turns] == [
        ("customer", "Jo", "Hi", datetime(2026, 1, 1, 10, tzinfo=UTC))
    ]


def test_messages_are_sorted_by_time_and_others_skipped() -> None:
    """Order is by time; an item without one stays behind its neighbour; events that are no messages go."""
    items = [
        {"role": "ai", "text": "2", "at": "2026-01-01T10:00:02Z"},
        {"role": "ai", "text": "2b"},
        {"role": "user", "text": "1", "at": "2026-01-01T10:00:01Z"},
        {"event": {"type": "ai_resolved_issue"}},
    ]
    turns = read(minimal(transcript=items)).transcript
    assert [turn.text for turn in turns or ()] == ["1", "2", "2b"]


def test_a_message_may_be_only_a_file() -> None:
    """An attachment without text is a message; neither is an error that names the item."""
    item = {"role": "user", "attachments": [{"name": "a.png", "url": "https://x.example/a.png"}]}
    turns = read(minimal(transcript=[item])).transcript
    assert turns is not None
    assert turns[0].attachments[0].name == "a.png"
    assert "transcript.1.text" in wrong(minimal(transcript=[item, {"role": "user", "text": " "}]))


NO_TEXT = {
    "empty": {"type": "message", "sender": {"type": "ai"}, "content": {"type": "text", "text": ""}},
    "image": {"type": "message", "sender": {"type": "contact"}, "content": {"type": "image", "url": "https://x/y"}},
    "no content": {"type": "message", "sender": {"type": "contact"}, "content": None},
    "no sender": {"type": "message", "content": {"type": "text", "text": " "}},
    "number": {"type": "message", "sender": {"type": "contact"}, "content": {"type": "text", "text": 5}},
}


@pytest.mark.parametrize("event", NO_TEXT.values(), ids=NO_TEXT)
def test_a_history_message_without_text_is_skipped(event: dict[str, Any]) -> None:
    """OpenCX's own items are taken as they are, with event or without: nobody can correct them."""
    items = [SHAPES["history"], {"created_at": None, "event": event}, {"id": "2", **event}]
    turns = read(minimal(transcript=items)).transcript
    assert [turn.text for turn in turns or ()] == ["Hi"]


@pytest.mark.parametrize("event", [None, "text", 5, []])
def test_an_event_that_is_none_is_skipped(event: object) -> None:
    """An item of OpenCX's shape that holds no event is no message."""
    assert read(minimal(transcript=[{"created_at": None, "event": event}])).transcript == ()


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "text": ""},
        {"role": "user"},
        {"role": "user", "text": 5},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"text": " "},
        {},
    ],
)
def test_a_flat_item_without_text_is_named(item: dict[str, Any]) -> None:
    """Whoever writes flat items can correct them: none of their words is lost in silence."""
    assert list(wrong(minimal(transcript=[SHAPES["flat"], item]))) == ["transcript.1.text"]


def test_a_history_message_may_be_only_a_file() -> None:
    """Without text, but with an attachment, OpenCX's item is a message."""
    event = {"type": "message", "sender": {"type": "contact"}, "content": None, "attachments": [{"name": "a.png"}]}
    turns = read(minimal(transcript=[{"event": event}])).transcript
    assert [(turn.text, turn.attachments[0].name) for turn in turns or ()] == [("", "a.png")]


@pytest.mark.parametrize("email", ["o'neil+tag@example.com", '"jo doe"@example.com', "jo@sub.corp.local"])
def test_unusual_addresses_are_valid(email: str) -> None:
    """Quotes, plus signs and private domains are e-mail addresses."""
    assert read(minimal(contact={"email": email})).contact.email == email


@pytest.mark.parametrize("name", ["Cher", "Ana María de la Cruz y Paz", "😀 Jo", "محمد بن سلمان", 'O\'Neil "Jo" <b>'])
def test_any_name_is_a_name(name: str) -> None:
    """One word or five, emoji, right to left, quotes and angle brackets are kept."""
    assert read(minimal(contact={"name": name})).contact.name == name


def test_phone_numbers_become_e164_where_a_country_is_told() -> None:
    """A number with its country code is normalised; another is kept as it is."""
    assert read(minimal(contact={"phone": "+1 (202) 555-0100"})).contact.phone == "+12025550100"
    assert read(minimal(contact={"phone_number": "(202) 555-0100"})).contact.phone == "(202) 555-0100"
    assert read(minimal(contact={"phone_number": 12025550100})).contact.phone == "12025550100"


@pytest.mark.parametrize("priority", [2, "2", " 2 ", 2.0, "2.0"])
def test_a_whole_number_is_a_priority(priority: object) -> None:
    """A template writes numbers as text, and some languages write 2 as 2.0."""
    assert read(minimal(priority=priority)).priority == 2


def test_no_priority_is_no_priority() -> None:
    """Null and a blank text, which is what an empty template variable becomes, leave the default."""
    assert read(minimal(priority=None)).priority is None
    assert read(minimal(priority=" ")).priority is None


@pytest.mark.parametrize("priority", [2.5, "2.5", "high", 0, "5", 4.5, True, [2], "1e0"])
def test_what_is_no_whole_number_from_1_to_4_is_no_priority(priority: object) -> None:
    """Nothing is rounded, and no word is guessed at."""
    assert list(wrong(minimal(priority=priority))) == ["priority"]


def test_every_wrong_field_is_listed_at_once() -> None:
    """A caller sees all that is wrong in one answer, by path, never by value."""
    found = wrong(
        {
            "session_id": "bad\x01id",
            "channel": {"name": "web"},
            "summary": 5,
            "contact": {"email": "nobody", "phone": [5], "verified": "yes"},
            "transcript": [{"role": "user"}, "x", {"text": "a", "at": "yesterday"}, {"text": "a", "at": 17}],
            "priority": "high",
            "queue_id": "q",
            "owner_id": "teams(x)",
            "ticket_properties": {"a b": 1},
            "target": "zendesk",
            "session_url": "javascript:alert(1)",
            "custom_data": [],
        }
    )
    assert set(found) == {
        "session_id",
        "channel",
        "summary",
        "contact.email",
        "contact.phone_number",
        "contact.verified",
        "transcript.0.text",
        "transcript.1",
        "transcript.2.at",
        "transcript.3.at",
        "priority",
        "queue_id",
        "owner_id",
        "ticket_properties",
        "target",
        "session_url",
        "custom_data",
    }
    assert "nobody" not in " ".join(found.values())


def test_missing_session_and_channel_are_named_together_with_the_rest() -> None:
    """What is missing stands in the same list as what is wrong."""
    assert set(wrong({"priority": 9})) == {"session_id", "channel", "priority"}
    assert set(wrong({"priority": 9}, channel_may_be_read=lambda: True)) == {"session_id", "priority"}


@pytest.mark.parametrize("channel", [None, "", "  ", {"type": " "}])
def test_a_channel_without_a_name_is_missing(channel: object) -> None:
    """An empty template variable names no channel: nothing could tell where the handoff goes."""
    assert wrong(minimal(channel=channel))["channel"].startswith("is missing")


def test_whether_a_channel_can_be_read_is_asked_only_when_there_is_none() -> None:
    """The question may cost a call to the vault: a request with a channel does not ask it."""
    asked: list[bool] = []

    def ask() -> bool:
        asked.append(True)
        return False

    read(minimal(), channel_may_be_read=ask)
    assert asked == []
    assert list(wrong({"session_id": "s-1"}, channel_may_be_read=ask)) == ["channel"]
    assert asked == [True]


def test_ticket_properties_hold_plain_values() -> None:
    """A nested value would be a deep insert, which Dataverse cannot create conditionally."""
    assert "ticket_properties" in wrong(minimal(ticket_properties={"x": {"y": 1}}))
    assert "ticket_properties" in wrong(minimal(ticket_properties={"x@odata.bind": 1}))
    properties = {"casetypecode": 1, "new_vip": True, "subjectid@odata.bind": "/subjects(1)"}
    assert read(minimal(ticket_properties=properties)).ticket_properties == properties


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"x"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b"null",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1e999}',
        b'{"a": [-1E+400]}',
    ],
    ids=["empty", "cut", "array", "text", "no utf-8", "NaN", "null", "huge number", "infinite", "minus infinite"],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Not JSON, not an object, not UTF-8: one code, and no traceback."""
    with pytest.raises(InvalidRequest) as caught:
        parse_body(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("text", ["1e999", "-1e999", "NaN", "Infinity", "[1, 2e308]"])
def test_json_has_no_infinite_numbers(text: str) -> None:
    """Python reads them, and writes what no other JSON parser takes: a payload that could not be read again."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    assert parse_json("[1e308, -0.5, 7]") == [1e308, -0.5, 7]


@pytest.mark.parametrize("depth", [MAX_DEPTH, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """Nesting beyond the limit is refused, however deep it is."""
    with pytest.raises(InvalidRequest, match="nested deeper"):
        parse_body(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


def test_unknown_fields_and_a_byte_order_mark_are_ignored() -> None:
    """What we do not know is not an error."""
    assert parse_body(b'\xef\xbb\xbf{"channel": "web"}') == {"channel": "web"}
    assert read(minimal(tomorrow={"a": 1})).channel == "web"


def test_ten_thousand_turns_are_taken() -> None:
    """A long conversation is no bad input."""
    turns = read(minimal(transcript=[{"role": "user", "text": str(n)} for n in range(10_000)])).transcript
    assert turns is not None
    assert len(turns) == 10_000


def test_a_history_of_tomorrow_is_read_as_far_as_it_goes() -> None:
    """From OpenCX itself nothing is an error: what cannot be read is skipped."""
    turns = turns_of([SHAPES["history"], {"event": {"type": "new_kind"}}, {"event": {"type": "message"}}, 5])
    assert [turn.text for turn in turns] == ["Hi"]
    assert contact_of({"name": "Jo", "email": "broken", "non_verified_email": "x@example.com"}).email is None


def test_an_address_that_nobody_has_verified_says_so() -> None:
    """OpenCX keeps such an address under a name of its own; a rep must not take it for proof of who it is."""
    assert contact_of({"name": "Jo", "non_verified_email": "x@example.com"}).verified is False
    assert contact_of({"name": "Jo", "email": "x@example.com"}).verified is None
    both = contact_of({"email": "x@example.com", "non_verified_email": "y@example.com"})
    assert (both.email, both.verified) == ("x@example.com", None)
    assert contact_of({"non_verified_email": "broken"}).verified is None


NAMES = (
    "session_id channel contact transcript handoff event email text at role type sender content priority custom_data"
)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES.split()), inner),
    max_leaves=25,
)


@given(BODIES)
def test_no_body_breaks_the_parser(body: object) -> None:
    """Whatever the body: a handoff or an InvalidRequest, never anything else."""
    try:
        handoff = parse(parse_body(json.dumps(body).encode()), session_id="s")
    except InvalidRequest as error:
        assert error.message
    else:
        assert handoff.session_id
