"""The request body: every shape that the contract allows, and one clear 400 for every other."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequest
from shared.handoff.model import Handoff
from shared.handoff.request import MAX_DEPTH, contact_of, parse, parse_body, turns_of


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
    ],
)
def test_the_session_may_be_called_conversation(body: dict[str, Any]) -> None:
    """OpenCX's webhooks call the session a conversation; session_id wins."""
    assert read(body).session_id == "s-9"


def test_the_session_may_come_in_the_header() -> None:
    """The header x-opencx-session-id counts when the body has no session."""
    assert read({"channel": "web"}, session_id="h-1").session_id == "h-1"
    assert read(minimal(), session_id="h-1").session_id == "s-1"


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


def test_every_wrong_field_is_listed_at_once() -> None:
    """A caller sees all that is wrong in one answer, by path, never by value."""
    found = wrong(
        {
            "session_id": "bad\x01id",
            "channel": {"name": "web"},
            "summary": 5,
            "contact": {"email": "nobody", "phone": 5, "verified": "yes"},
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
    assert set(wrong({"priority": 9}, channel_may_be_read=True)) == {"session_id", "priority"}


def test_ticket_properties_hold_plain_values() -> None:
    """A nested value would be a deep insert, which Dataverse cannot create conditionally."""
    assert "ticket_properties" in wrong(minimal(ticket_properties={"x": {"y": 1}}))
    assert "ticket_properties" in wrong(minimal(ticket_properties={"x@odata.bind": 1}))
    properties = {"casetypecode": 1, "new_vip": True, "subjectid@odata.bind": "/subjects(1)"}
    assert read(minimal(ticket_properties=properties)).ticket_properties == properties


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b"null", b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["empty", "cut", "array", "text", "no utf-8", "NaN", "null", "huge number"],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """Not JSON, not an object, not UTF-8: one code, and no traceback."""
    with pytest.raises(InvalidRequest) as caught:
        parse_body(body)
    assert caught.value.code == "invalid_json"


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
