"""What webhooks lead to: a handoff stored once, a conversation woken, and no effect of what comes again."""

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencx_events_http import door
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import InvalidRequest, LedgerUnavailable, TransientFailure, Unauthorized
from shared.handoff import request
from shared.handoff.model import Handoff, Outcome
from shared.handoff.record import COMPLETED, FAILED, RETRYING, Record
from shared.ledger import keys
from shared.opencx.events import CLOSED, OpenCXEvents
from shared.opencx.webhook import webhook
from shared.relay.model import ENDED, Conversation
from tests.clock import ManualClock
from tests.unit.test_webhook import OLD, signed

SESSION = "6a1b7c2e-0000-4000-8000-000000000001"
FACTS: dict[str, Any] = {
    "conversation_id": SESSION,
    "timestamp": "2026-01-31T09:29:58Z",
    "customer_id": "c-1",
    "reason": "ai_decided_to_handoff_the_conversation",
    "summary": "Wants a refund",
    "contact_reason": "Billing",
    "user_sentiment": "angry",
    "was_handedoff_to_third_party": False,
    "third_party_name": None,
    "language": "de",
    "message_count": 4,
}


class Parts:
    """A desk, queues, a relay and a memory; each can be down."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.records: dict[str, Record] = {}
        self.payloads: dict[str, bytes] = {}
        self.handled: dict[str, tuple[str, datetime]] = {}
        self.woken: list[str] = []
        self.touched: list[tuple[str, str]] = []
        self.closed_at: list[datetime | None] = []
        self.open_conversations = 0
        self.conversations: dict[str, Conversation] = {}
        self.down: set[str] = set()
        environ = Settings({"OPENCX_WEBHOOK_SECRET": OLD})
        self.opencx_events = OpenCXEvents(
            webhook=webhook(environ, Secrets(environ, clock=self.clock), now=self.clock.now),
            replays=self,
            desk=self,
            wake=self,
            relay=lambda: self,
            clock=self.clock,
        )
        self.max_body_bytes = 20_000

    def _meet(self, part: str) -> None:
        if part in self.down:
            raise LedgerUnavailable("The table is away.")

    def store(self, handoff: Handoff, payload: bytes) -> Record:
        """As `HandoffDesk.store`."""
        self._meet("desk")
        now = self.clock.now()
        new = Record(
            handoff.handoff_id, handoff.session_id, RETRYING, "dynamics365", handoff.channel, 0, now, now, due_at=now
        )
        self.payloads.setdefault(handoff.handoff_id, payload)
        return self.records.setdefault(handoff.handoff_id, new)

    def handoff(self, key: str) -> None:
        """As `QueueWake.handoff`."""
        if "queue" in self.down:
            raise TransientFailure("The queue is away.", code="queue_unavailable", system="queue")
        self.woken.append(key)

    def contact_wrote(self, session_id: str) -> int:
        """As `Relay.contact_wrote`."""
        self._meet("relay")
        self.touched.append(("wrote", session_id))
        return self.open_conversations

    def closed(self, session_id: str, at: datetime | None) -> int:
        """As `Relay.closed`."""
        self._meet("relay")
        self.touched.append(("closed", session_id))
        self.closed_at.append(at)
        return self.open_conversations

    def superseded(self, session_id: str) -> None:
        """As `Relay.superseded`."""
        self.touched.append(("superseded", session_id))

    def closed_early(self, session_id: str, at: datetime | None) -> None:
        """As `Relay.closed_early`."""
        self.touched.append(("closed early", session_id))

    def is_under_way(self, handoff_id: str) -> bool:
        """As `HandoffDesk.is_under_way`."""
        return handoff_id in self.records and not self.records[handoff_id].is_terminal

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """As `Relay.of_handoff`."""
        self._meet("relay")
        known = self.conversations.get(handoff_id)
        return known if known is not None and known.session_id == session_id else None

    def find(self, key: str) -> str | None:
        """As `TableReplays.find`."""
        self._meet("memory")
        return self.handled[key][0] if key in self.handled else None

    def seen_before(self, key: str, until: datetime, *, body_digest: str) -> bool:
        """As `TableReplays.seen_before`."""
        self._meet("remember")
        return self.handled.setdefault(key, (body_digest, until))[0] != body_digest

    def deliver(self, event: object, *, id_: str = "msg_1", at: datetime | None = None) -> None:
        """OpenCX sends this, signed now or at another time."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.opencx_events.receive(signed(body, at=at or self.clock.now(), id_=id_), body)

    def end(self, handoff_id: str, state: str = COMPLETED) -> None:
        """The handoff has ended now."""
        now = self.clock.now()
        known = self.records[handoff_id]
        done = now if state == COMPLETED else None
        self.records[handoff_id] = replace(known, state=state, due_at=None, updated_at=now, completed_at=done)

    def land(self, handoff_id: str) -> None:
        """The handoff has become a conversation now."""
        self.end(handoff_id)
        known = self.records[handoff_id]
        outcome = Outcome("dynamics365", "messaging_conversation", "web", f"c-{handoff_id}")
        self.records[handoff_id] = replace(known, outcome=outcome)
        self.conversations[handoff_id] = Conversation(
            handoff_id, known.session_id, "dynamics365", outcome.record_id, "web", self.clock.now()
        )
        self.open_conversations += 1

    def hang_up(self, handoff_id: str) -> None:
        """The handoff's conversation has ended now."""
        known = self.conversations[handoff_id]
        self.conversations[handoff_id] = replace(known, state=ENDED, ended_at=self.clock.now())
        self.open_conversations -= 1


@pytest.fixture
def parts() -> Parts:
    """All up."""
    return Parts()


def event(name: str = "conversation.handoff_to_human", *, as_array: bool = True, **facts: Any) -> dict[str, Any]:
    """An envelope."""
    data = FACTS | facts
    return {"event": name, "organization_id": "org-1", "data": [data] if as_array else data}


def later(minutes: float) -> str:
    """A time after the clock's start, as OpenCX writes it."""
    return (ManualClock().now() + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("as_array", [True, False])
def test_a_handoff_is_stored_with_what_the_event_knows(parts: Parts, as_array: bool) -> None:
    """Stored, not tried; woken by the key of its record; `data` may be an object or an array."""
    contact = {"id": "c-1", "name": "Jo Doe", "email": "jo@example.com", "phone_number": "+12025550100"}
    parts.deliver(event(as_array=as_array, contact=contact, custom_data={"plan": "gold"}))
    assert json.loads(parts.payloads[SESSION]) == {
        "session_id": SESSION,
        "organization_id": "org-1",
        "summary": "Wants a refund",
        "classification": "Billing",
        "sentiment": "angry",
        "reason": "ai_decided_to_handoff_the_conversation",
        "language": "de",
        "custom_data": {"plan": "gold"},
        "contact": {"name": "Jo Doe", "email": "jo@example.com", "phone_number": "+12025550100"},
    }
    assert parts.woken == [keys.digest(SESSION)]


def test_what_is_malformed_in_an_event_is_left_out(parts: Parts) -> None:
    """Nobody can correct it at OpenCX: it is read from the API instead; the handoff is not lost for it."""
    parts.deliver(event(summary={"a": 1}, language=7, contact={"email": "nobody"}, custom_data=["x"], channel=[]))
    kept = json.loads(parts.payloads[SESSION])
    assert set(kept) == {"session_id", "organization_id", "classification", "sentiment", "reason", "contact"}
    assert kept["contact"] == {}


def test_an_honest_repeat_is_done_once(parts: Parts) -> None:
    """The answer was lost: the same id and body, signed again, is answered as done and has no effect."""
    parts.deliver(event())
    parts.clock.advance(3600)
    parts.deliver(event())
    assert (list(parts.records), len(parts.woken)) == ([SESSION], 1)


def test_a_captured_delivery_has_no_effect(parts: Parts) -> None:
    """The very same bytes within the window end no conversation that was opened meanwhile."""
    at = parts.clock.now()
    parts.deliver(event("conversation.closed"), at=at)
    parts.clock.advance(120)
    parts.deliver(event("conversation.closed"), at=at)
    assert parts.touched == [("closed", SESSION)]


def test_the_same_id_with_another_body_is_refused(parts: Parts) -> None:
    """Whatever it is, it is not the delivery that was handled."""
    parts.deliver(event())
    with pytest.raises(Unauthorized) as refused:
        parts.deliver(event("conversation.closed"))
    assert (refused.value.code, ("closed", SESSION) in parts.touched) == ("webhook_replayed", False)


@pytest.mark.parametrize("down", ["desk", "memory", "remember"])
def test_a_delivery_that_could_not_be_stored_is_taken_when_it_comes_again(parts: Parts, down: str) -> None:
    """Not lost, and not doubled, wherever the table went away."""
    parts.down = {down}
    with pytest.raises(LedgerUnavailable):
        parts.deliver(event())
    assert parts.handled == {}
    parts.down = set()
    parts.clock.advance(1000)
    parts.deliver(event())
    assert list(parts.records) == [SESSION]
    assert parts.woken[-1] == keys.digest(SESSION)
    assert len(parts.handled) == 1


@pytest.mark.parametrize("name", ["conversation.contact_response", "conversation.closed"])
def test_a_wake_up_that_was_not_written_is_taken_when_it_comes_again(parts: Parts, name: str) -> None:
    """The relay's table was away: 503, not remembered; then it does its work."""
    parts.down = {"relay"}
    with pytest.raises(LedgerUnavailable):
        parts.deliver(event(name))
    parts.down = set()
    parts.deliver(event(name))
    assert len(parts.touched) == 1


def test_a_queue_that_is_away_loses_no_handoff(parts: Parts) -> None:
    """It is stored: the timer finds it, and OpenCX hears that it is done."""
    parts.down = {"queue"}
    parts.deliver(event())
    assert parts.records[SESSION].state == RETRYING
    assert len(parts.handled) == 1


def test_a_session_handed_off_again_is_a_second_handoff(parts: Parts) -> None:
    """More than ten minutes after the first has ended; the same event, in any spelling, is the same handoff."""
    parts.deliver(event())
    parts.end(SESSION)
    parts.deliver(event(timestamp=later(10)), id_="msg_2")
    assert list(parts.records) == [SESSION]
    parts.deliver(event(timestamp=later(11)), id_="msg_3")
    parts.deliver(event(timestamp=later(11).replace("Z", "+00:00")), id_="msg_4")
    second = f"{SESSION}#2026-01-31T09:41:00.000Z"
    assert list(parts.records) == [SESSION, second]
    assert json.loads(parts.payloads[second])["handoff_id"] == second
    assert parts.records[second].session_id == SESSION


def test_a_chat_that_has_ended_is_handed_off_again_at_once(parts: Parts) -> None:
    """The conversation's end counts, not when it landed: four minutes of chat, and three later a second handoff."""
    parts.deliver(event())
    parts.land(SESSION)
    parts.clock.advance(240)
    parts.hang_up(SESSION)
    parts.deliver(event(timestamp=later(7)), id_="msg_2")
    parts.deliver(event(timestamp=later(7)), id_="msg_3")
    second = f"{SESSION}#2026-01-31T09:37:00.000Z"
    assert list(parts.records) == [SESSION, second]
    assert parts.woken[-1] == keys.digest(second)


@pytest.mark.parametrize("minutes", [0, 2, 59, 59.7])
def test_what_was_told_before_a_chats_end_is_no_second_handoff(parts: Parts, minutes: float) -> None:
    """A late or repeated event of the handoff that was answered, with some seconds for two clocks."""
    parts.deliver(event())
    parts.land(SESSION)
    parts.clock.advance(3600)
    parts.hang_up(SESSION)
    parts.deliver(event(timestamp=later(minutes)), id_="msg_2")
    assert list(parts.records) == [SESSION]
    parts.deliver(event(timestamp=later(59.8)), id_="msg_3")
    assert len(parts.records) == 2


def test_a_chat_that_is_ending_is_handed_off_again(parts: Parts) -> None:
    """The rep has hung up, and the end waits for last words: a new wish is a second handoff, and keeps the session."""
    parts.deliver(event())
    parts.land(SESSION)
    parts.open_conversations = 0  # none that goes on
    parts.clock.advance(600)
    known = parts.conversations[SESSION]
    parts.conversations[SESSION] = replace(known, ending="rep", over_at=parts.clock.now())
    parts.deliver(event(timestamp=later(1)), id_="msg_2")
    assert list(parts.records) == [SESSION]
    parts.deliver(event(timestamp=later(10)), id_="msg_3")
    assert len(parts.records) == 2
    assert parts.touched[-1] == ("superseded", SESSION)


def test_a_session_that_is_closed_while_its_handoff_waits_is_noted(parts: Parts) -> None:
    """Nobody is there any more when it lands."""
    parts.deliver(event())
    parts.deliver({**event(), "event": CLOSED}, id_="msg_2")
    assert parts.touched[-1] == ("closed early", SESSION)
    parts.end(SESSION)
    parts.touched.clear()
    parts.deliver({**event(), "event": CLOSED}, id_="msg_3")
    assert parts.touched == [("closed", SESSION)]


def test_a_conversation_that_is_found_open_is_no_second_handoff(parts: Parts) -> None:
    """It may have been opened between the look and the record."""
    parts.deliver(event())
    parts.land(SESSION)
    parts.open_conversations = 0
    parts.deliver(event(timestamp=later(60)), id_="msg_2")
    assert list(parts.records) == [SESSION]


def test_a_chat_that_is_known_no_more_is_judged_by_its_record(parts: Parts) -> None:
    """Its row is deleted after the retention, the record perhaps not yet: ten minutes after it landed."""
    parts.deliver(event())
    parts.land(SESSION)
    parts.conversations.clear()
    parts.open_conversations = 0
    parts.deliver(event(timestamp=later(9)), id_="msg_2")
    assert list(parts.records) == [SESSION]
    parts.deliver(event(timestamp=later(11)), id_="msg_3")
    assert len(parts.records) == 2


def test_a_failed_handoff_does_not_swallow_the_next(parts: Parts) -> None:
    """A customer asks for a person again: that is tried, though the first handoff waits for an operator."""
    parts.deliver(event())
    parts.end(SESSION, FAILED)
    parts.deliver(event(timestamp=later(60)), id_="msg_2")
    assert len(parts.records) == 2


@pytest.mark.parametrize("timestamp", [None, "", "soon", 5])
def test_an_event_without_a_time_is_no_second_handoff(parts: Parts, timestamp: object) -> None:
    """It may be a repeat: nothing says otherwise."""
    parts.deliver(event())
    parts.end(SESSION)
    parts.deliver(event(timestamp=timestamp), id_="msg_2")
    assert list(parts.records) == [SESSION]


def test_a_reps_reply_is_no_handoff(parts: Parts) -> None:
    """A reply takes the session over from the AI, which OpenCX may tell as a handoff: it would never end."""
    parts.deliver(event())
    parts.end(SESSION)
    parts.deliver(event(timestamp=later(30), reason="human_agent_decided_to_take_over"), id_="msg_2")
    assert list(parts.records) == [SESSION]


@pytest.mark.parametrize("has_record", [True, False])
@pytest.mark.parametrize("reason", ["ai_decided_to_handoff_the_conversation", "human_agent_decided_to_take_over"])
def test_an_open_conversation_takes_a_handoff(parts: Parts, has_record: bool, reason: str) -> None:
    """A rep is there, also where the handoff had an id of its own: a reason to look, not a second conversation."""
    if has_record:
        parts.deliver(event())
        parts.end(SESSION)
    parts.open_conversations = 1
    parts.deliver(event(timestamp=later(30), reason=reason), id_="msg_2")
    assert (len(parts.records), parts.touched[-1]) == (int(has_record), ("wrote", SESSION))


def test_what_a_native_integration_has_taken_is_left_to_it(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """A second record would ring a second rep; the log warns."""
    parts.deliver(event(was_handedoff_to_third_party=True, third_party_name="zendesk"))
    assert parts.records == {}
    assert "third_party_has_it" in caplog.text


@pytest.mark.parametrize(
    ("name", "touched"), [("conversation.contact_response", "wrote"), ("conversation.closed", "closed")]
)
def test_messages_and_closing_wake_the_conversation(parts: Parts, name: str, touched: str) -> None:
    """All items of an event, by session."""
    data = [{"conversation_id": "s-1"}, {"session_id": "s-2"}]
    parts.deliver({"event": name, "data": data})
    assert parts.touched == [(touched, "s-1"), (touched, "s-2")]


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        ("2026-01-31T09:29:58Z", datetime(2026, 1, 31, 9, 29, 58, tzinfo=UTC)),
        ("2026-01-31T10:29:58+01:00", datetime(2026, 1, 31, 9, 29, 58, tzinfo=UTC)),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_closing_says_when(parts: Parts, timestamp: object, at: datetime | None) -> None:
    """A delivery that comes an hour late must not end a conversation that was opened meanwhile."""
    parts.deliver(event("conversation.closed", timestamp=timestamp))
    assert parts.closed_at == [at]


@pytest.mark.parametrize("name", ["conversation.agent_response", "conversation.started", "workflow.run.failed", "x"])
def test_other_events_cost_nothing(parts: Parts, name: str) -> None:
    """No effect, and no row: they are most of the traffic."""
    parts.down = {"memory", "desk", "relay", "remember"}
    parts.deliver(event(name))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"data": {}}, "event"),
        ({"event": "conversation.closed"}, "data"),
        ({"event": "conversation.closed", "data": []}, "data"),
        ({"event": "conversation.closed", "data": [7]}, "data.0"),
        ({"event": "conversation.closed", "data": {"conversation_id": None}}, "data.conversation_id"),
        ({"event": "conversation.closed", "data": {"conversation_id": "x" * 129}}, "data.conversation_id"),
        ({"event": "conversation.closed", "data": {"conversation_id": "\ud800"}}, "data.conversation_id"),
        ({"event": "conversation.closed", "data": [{}] * 1001}, "data"),
    ],
)
def test_an_event_that_cannot_be_read_is_told(parts: Parts, body: dict[str, Any], field: str) -> None:
    """400 names the place, so that it shows in OpenCX's list of deliveries."""
    with pytest.raises(InvalidRequest) as refused:
        parts.deliver(body)
    assert [detail.field for detail in refused.value.details] == [field]


def test_one_bad_item_does_not_cost_the_others(parts: Parts) -> None:
    """What can be read is done; the rest is told, and nothing is remembered, for OpenCX may mend it."""
    with pytest.raises(InvalidRequest):
        parts.deliver({"event": "conversation.handoff_to_human", "data": [FACTS, {"conversation_id": None}]})
    assert (list(parts.records), parts.handled) == ([SESSION], {})


def test_a_long_session_id_gets_a_second_handoff_too(parts: Parts) -> None:
    """An id has 128 characters at most: a long session's further handoffs are named by its digest."""
    session = "s" * 128
    parts.deliver(event(conversation_id=session))
    parts.end(session)
    parts.deliver(event(conversation_id=session, timestamp=later(60)), id_="msg_2")
    (_, second) = parts.records
    assert len(second) <= 128
    assert parts.records[second].session_id == session


def post(parts: Parts, body: bytes, headers: dict[str, str]) -> func.HttpResponse:
    """Through the door."""
    url = "http://localhost/api/opencx/events"
    return door.receive(
        parts, func.HttpRequest(method="POST", url=url, headers=headers, params={}, route_params={}, body=body)
    )


def test_the_door_answers_with_the_contracts_statuses(parts: Parts) -> None:
    """204 done, 401 not OpenCX's, 400 not readable, 413 too large, 503 to be sent again."""
    body = json.dumps(event()).encode()
    headers = signed(body, at=parts.clock.now())
    done = post(parts, body, headers)
    assert (done.status_code, done.get_body()) == (204, b"")
    refused = post(parts, body + b" ", headers)
    assert (refused.status_code, json.loads(refused.get_body())["code"]) == (401, "webhook_signature_wrong")
    for bad in (b"{", b"[]", b"\xff".decode("latin-1").encode() + b"{}"):
        assert post(parts, bad, signed(bad, at=parts.clock.now(), id_="msg_2")).status_code == 400
    assert post(parts, b" " * 20_001, headers).status_code == 413
    parts.down = {"desk"}
    away = post(parts, body, signed(body, at=parts.clock.now(), id_="msg_3"))
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")


def test_no_answer_repeats_what_the_customer_said(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """Neither answers nor log lines hold the text of an event."""
    caplog.set_level("INFO", "opencx_handoff")
    body = json.dumps(event(summary="my card is 4111", conversation_id=7)).encode()
    got = post(parts, body, signed(body, at=parts.clock.now()))
    assert got.status_code == 400
    assert b"4111" not in got.get_body()
    parts.deliver(event(summary="my card is 4111"), id_="msg_2")
    assert "4111" not in caplog.text


HEADERS = st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "x"]), st.text(max_size=60)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(headers=HEADERS, body=st.binary(max_size=300))
def test_garbage_is_never_a_server_error(headers: dict[str, str], body: bytes) -> None:
    """Unsigned bytes in headers and body: 401, whatever they are."""
    assert post(Parts(), body, headers).status_code == 401


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200))
def test_signed_garbage_is_never_a_server_error(body: bytes) -> None:
    """Signed, and not JSON or not an event: 400 or 204."""
    parts = Parts()
    headers = signed(at=parts.clock.now())
    content = f"msg_2Kx.{headers['webhook-timestamp']}.".encode() + body
    assert post(parts, body, headers | {"webhook-signature": _sign(content)}).status_code in (204, 400)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["conversation.handoff_to_human", "conversation.contact_response", "conversation.closed"]),
    data=JSON | st.dictionaries(st.sampled_from([*FACTS, "contact", "channel", "custom_data", "session_id"]), JSON),
    more=st.dictionaries(st.sampled_from(["organization_id", "conversation_id"]), JSON),
)
def test_signed_events_of_any_shape_are_never_a_server_error(name: str, data: object, more: dict[str, Any]) -> None:
    """Any JSON in any field: it is stored, woken, or told as wrong; what is stored can be read again."""
    parts = Parts()
    body = json.dumps({"event": name, "data": data, **more}).encode()
    content = f"msg_2Kx.{int(parts.clock.now().timestamp())}.".encode() + body
    got = post(parts, body, signed(at=parts.clock.now()) | {"webhook-signature": _sign(content)})
    assert got.status_code in (204, 400, 413)
    for payload in parts.payloads.values():
        request.parse(request.parse_body(payload), channel_may_be_read=True)


def _sign(content: bytes) -> str:
    key = base64.b64decode(OLD.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.new(key, content, 'sha256').digest()).decode()}"
