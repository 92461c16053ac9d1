"""The Messaging APIs' refusals, settings and inbox, by themselves."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config.settings import Settings
from shared.dynamics_messaging import settings as settings_of
from shared.dynamics_messaging.availability import read
from shared.dynamics_messaging.inbox import doubles, in_order, rows, said
from shared.dynamics_messaging.refusal import failure, number_of
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.relay import cursor
from shared.relay.model import Conversation, RepEntry

NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
GUID = "0A9B1C2D-0000-4000-8000-000000000070"
MESSAGING = {
    "DYNAMICS_MESSAGING_URL": "https://m-x.eu.omnichannelengagementhub.com",
    "DYNAMICS_MESSAGING_CHANNEL_ID": GUID,
}


def failed(status: int, body: Any = None, *, is_about_conversation: bool = True) -> HandoffError:
    """What an answer means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure(status, raw, retry_after_seconds=3.0, is_about_conversation=is_about_conversation)


@pytest.mark.parametrize(
    "body",
    [
        {"code": 30013},
        {"code": "30013"},
        {"errorCode": 30013},
        {"error": {"code": "30013", "message": "gone"}},
        {"extensions": {"ErrorCode": 30013}},
        {"type": "x", "title": "Not Found", "detail": "30013: Conversation does not exist."},
        {"errors": [{"code": 30013}]},
        b"30013: gone",
    ],
)
def test_the_code_is_found_wherever_it_stands(body: Any) -> None:
    """Its place is not documented."""
    assert isinstance(failed(404, body), ConversationEnded)


@pytest.mark.parametrize(
    "body", [{"detail": "conversation 12330013 gone"}, {"id": "a-30013-b"}, {"code": 300131}, {"title": "x"}, b""]
)
def test_digits_in_something_else_are_no_code(body: Any) -> None:
    """A GUID or a time may hold any digits."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert number_of(raw) is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"code": 30001}, ConfigurationFault, "messaging_organization_wrong"),
        (400, {"code": 30002}, ConfigurationFault, "messaging_channel_wrong"),
        (404, {"code": 30004}, ConfigurationFault, "messaging_channel_missing"),
        (400, {"code": 30014}, ConfigurationFault, "messaging_workstream_missing"),
        (401, {}, ConfigurationFault, "messaging_unauthorized"),
        (403, {}, ConfigurationFault, "messaging_forbidden"),
        (302, b"", ConfigurationFault, "messaging_url_wrong"),
        (404, {"title": "RouteNotFound"}, ConfigurationFault, "messaging_url_wrong"),
        (404, b"<html>nginx</html>", TransientFailure, "messaging_bad_answer"),
        (
            404,
            {"title": "Not Found", "detail": "The conversation is closed."},
            ConversationEnded,
            "messaging_conversation_ended",
        ),
        (429, {}, TransientFailure, "messaging_throttled"),
        (500, {"code": 30015}, TransientFailure, "messaging_server_error"),
        (503, b"", TransientFailure, "messaging_server_error"),
        (400, {"code": 30011}, PermanentFailure, "messaging_refused"),
        (400, b"", PermanentFailure, "messaging_refused"),
        (413, b"", PermanentFailure, "messaging_refused"),
    ],
)
def test_each_refusal_has_its_class(status: int, body: Any, kind: type[HandoffError], code: str) -> None:
    """A setting, a wait, the end, or for good; 404 has more than one meaning."""
    error = failed(status, body)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(("status", "is_unclear"), [(408, False), (409, False), (429, False), (500, True), (504, True)])
def test_a_refusal_says_whether_it_may_have_been_done(status: int, is_unclear: bool) -> None:
    """Only after a 5xx."""
    error = failed(status, b"")
    assert isinstance(error, TransientFailure)
    assert (error.is_unclear, error.retry_after_seconds) == (is_unclear, 3.0)


@given(
    st.integers(300, 599),
    st.binary(max_size=60)
    | st.recursive(st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=6),
)
def test_every_answer_has_a_class(status: int, body: Any) -> None:
    """Whatever the body: one of the four, with a sentence of ours alone."""
    error = failed(status, body)
    assert isinstance(error, ConfigurationFault | TransientFailure | PermanentFailure | ConversationEnded)


def test_a_channel_map_is_read_and_a_channel_without_a_row_named() -> None:
    """Keys are channels, in any case; default serves the rest."""
    one = settings_of.messaging(Settings(MESSAGING))
    assert one.channel_id("sms") == GUID.lower()
    named = settings_of.messaging(Settings({**MESSAGING, "DYNAMICS_MESSAGING_CHANNEL_ID": f'{{"SMS": "{GUID}"}}'}))
    assert named.channel_id("sms") == GUID.lower()
    with pytest.raises(ConfigurationFault, match="web"):
        named.channel_id("web")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DYNAMICS_MESSAGING_URL", ""),
        ("DYNAMICS_MESSAGING_URL", "http://m-x.eu.omnichannelengagementhub.com"),
        ("DYNAMICS_MESSAGING_CHANNEL_ID", ""),
        ("DYNAMICS_MESSAGING_CHANNEL_ID", "no guid"),
        ("DYNAMICS_MESSAGING_CHANNEL_ID", '{"sms": "no guid"}'),
        ("DYNAMICS_MESSAGING_CHANNEL_ID", '{"sms"'),
        ("DYNAMICS_ORGANIZATION_ID", "no guid"),
        ("DYNAMICS_MESSAGING_SCOPE", "https://x-c.crm.dynamics.com"),
    ],
)
def test_a_wrong_setting_is_named_with_the_fix_and_stops_chats_alone(name: str, value: str) -> None:
    """Incidents go on: the fault is not of the whole of dynamics365."""
    with pytest.raises(ConfigurationFault) as raised:
        settings_of.messaging(Settings({**MESSAGING, name: value}))
    assert name in raised.value.message
    assert raised.value.fix
    assert raised.value.system == "dynamics365.live_work_item"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("https://org.crm4.dynamics.com", "https://0a9b1c2d000040008000000000000070-c.crm4.dynamics.com"),
        ("https://org.crm.dynamics.com:8443", "https://0a9b1c2d000040008000000000000070-c.crm.dynamics.com"),
        ("https://org.crm.microsoftdynamics.us", "https://0a9b1c2d000040008000000000000070-c.crm.microsoftdynamics.us"),
    ],
)
def test_the_scope_follows_from_organization_and_environment(environment: str, expected: str) -> None:
    """The organization without dashes, -c, and what follows the first dot of the host."""
    assert settings_of.derived_resource(organization_id=GUID.lower(), environment=environment) == expected


def test_a_scope_that_cannot_be_derived_must_be_set() -> None:
    """On localhost there is no zone."""
    with pytest.raises(ConfigurationFault, match="DYNAMICS_ENVIRONMENT_URL"):
        settings_of.derived_resource(organization_id=GUID, environment="https://localhost:1")


@pytest.mark.parametrize(
    ("answer", "code", "is_closed"),
    [
        ({"IsQueueAvailable": False, "StartTimeOfNextOperatingHour": "0001-01-01T00:00:00Z"}, "out_of_hours", True),
        ({"IsQueueAvailable": True, "AverageWaitTimeInSeconds": 20}, "wait_time", False),
        ({"IsQueueAvailable": True, "IsAgentAvailable": False}, "wait_time", False),
        ({"IsQueueAvailable": True, "IsAgentAvailable": True, "AverageWaitTimeInSeconds": None}, None, False),
        ({"AverageWaitTimeInSeconds": "soon", "StartTimeOfNextOperatingHour": 5}, None, False),
        ({}, None, False),
    ],
)
def test_availability_is_read_with_care(answer: dict[str, Any], code: str | None, is_closed: bool) -> None:
    """The years 1 and 9999 mean nothing; what is not told is not closed."""
    turnout = read(answer)
    assert (turnout.notice.code if turnout.notice else None, turnout.is_closed) == (code, is_closed)
    assert "0001" not in (turnout.notice.message if turnout.notice else "")


def conversation(**fields: Any) -> Conversation:
    """An open one."""
    return Conversation("h", "s", "dynamics365", "c", "sms", NOW, **fields)


def pushed(*texts: str, seconds: float = 1.0, kind: str = "message") -> list[RepEntry]:
    """What the webhook has brought, an entry a second, named by its words as an activity without ids is."""
    return [
        RepEntry(f"h:{text}", NOW + timedelta(seconds=seconds * place), kind=kind, text=text, key=f"row-{place}")
        for place, text in enumerate(texts)
    ]


def kept(texts: list[str], listed: list[str] | None, known: Conversation | None = None) -> list[str]:
    """What is told."""
    known = known or conversation()
    found = rows(pushed(*texts), known)
    counts = None if listed is None else said(pushed(*listed))
    dropped = doubles(found, known, listed=counts)
    return [row.entry.text for row in found if row not in dropped]


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_as_much_is_told_as_was_written(written: list[str], again: list[str]) -> None:
    """Whatever is delivered again: each text as often as it is listed, and at least once if it came."""
    came = written + [text for text in again if text in written]
    told = kept(came, written)
    assert sorted(told) == sorted(written)


@given(st.lists(st.sampled_from("abc"), max_size=6))
def test_without_a_listing_each_text_is_told_once(written: list[str]) -> None:
    """Within a minute the second says nothing new."""
    assert sorted(kept(written, None)) == sorted(set(written))


def test_equal_words_a_while_apart_need_no_listing() -> None:
    """After a minute no delivery can be another attempt."""
    entries = pushed("ok", "ok", seconds=61)
    assert not any(row.is_doubtful for row in rows(entries, conversation()))


def test_what_was_carried_and_is_still_in_the_inbox_is_no_double() -> None:
    """A worker died before it could drop it: it is known by its row, and the row after it is in doubt."""
    first, second = pushed("ok", "ok")
    _, seen = cursor.passed(None, (), [(first.key, first.at), (first.id, first.at)], now=second.at)
    known = conversation(rep_seen=seen, said=said([first]))
    handled, doubtful = rows([first, second], known)
    assert (handled.is_handled, doubtful.is_doubtful) == (True, True)
    assert doubles([handled, doubtful], known, listed=said([first])) == [doubtful]
    assert doubles([handled, doubtful], known, listed=said([first, second])) == []


@given(st.permutations(["a", "b", "c", "d", "a"]))
def test_what_is_listed_is_told_in_its_order(arrived: list[str]) -> None:
    """Whatever the order of arrival, and with an older message of the same words in the listing."""
    listed = pushed("b", "a", "b", "c", "a", "d")
    found = rows(pushed(*arrived), conversation())
    assert [entry.text for entry in in_order(found, listed)] == ["a", "b", "c", "a", "d"]


def test_what_is_not_listed_keeps_its_place() -> None:
    """Events, and messages that the listing does not show yet."""
    entries = [*pushed("second"), *pushed("", kind="joined"), *pushed("unlisted"), *pushed("first")]
    found = rows(entries, conversation())
    assert [entry.text for entry in in_order(found, pushed("first", "second"))] == ["first", "", "unlisted", "second"]
