"""Webhooks through the real desk, table and queue: stored before they are answered, delivered once."""

import base64
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Signer

from shared.app import Application
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import LedgerUnavailable, Unauthorized
from shared.handoff.record import COMPLETED, RETRYING
from shared.ledger import keys
from shared.ledger.replays import PARTITION, TableReplays
from shared.ledger.table import Table
from shared.opencx.events import OpenCXEvents
from shared.opencx.webhook import webhook
from shared.relay.model import Conversation
from tests.conftest import World

pytestmark = pytest.mark.integration

SECRET = "whsec_" + base64.b64encode(b"a secret for these tests alone").decode()


class NoConversations:
    """A relay without an open conversation."""

    def contact_wrote(self, session_id: str) -> int:
        """None is open."""
        return 0

    def closed(self, session_id: str, at: datetime | None) -> int:
        """None is open."""
        return 0

    def superseded(self, session_id: str) -> None:
        """None is open."""

    def closed_early(self, session_id: str, at: datetime | None) -> None:
        """None is open."""

    def of_handoff(self, session_id: str, handoff_id: str) -> Conversation | None:
        """None was ever open."""
        return None


class Woken:
    """Notes what is woken."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def handoff(self, key: str) -> None:
        """Note it."""
        self.keys.append(key)


class Door:
    """The events of one application."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.replays = TableReplays(application.table)
        self.wake = Woken()
        settings = Settings({"OPENCX_WEBHOOK_SECRET": SECRET})
        self.events = OpenCXEvents(
            webhook=webhook(settings, Secrets(settings, clock=application.clock), now=application.clock.now),
            replays=self.replays,
            desk=application.desk,
            wake=self.wake,
            relay=NoConversations,
            clock=application.clock,
        )

    def deliver(self, body: bytes, *, id_: str, at: datetime | None = None) -> None:
        """One delivery, signed by the official package."""
        at = at or datetime.now(UTC)
        headers = {
            "webhook-id": id_,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Signer(SECRET).sign(id_, at, body.decode()),
        }
        self.events.receive(headers, body)


def event(session_id: str, **facts: Any) -> bytes:
    """A handoff of a session."""
    data = {
        "conversation_id": session_id,
        "timestamp": datetime.now(UTC).isoformat(),
        "reason": "ai_decided_to_handoff_the_conversation",
        "summary": "Wants a refund",
        **facts,
    }
    return json.dumps({"event": "conversation.handoff_to_human", "organization_id": "o", "data": [data]}).encode()


def a_session(world: World, session_id: str) -> str:
    """A phone session at OpenCX with one message."""
    message = {"type": "message", "sender": {"type": "contact"}, "content": {"type": "text", "text": "Hello there"}}
    contact = {"name": "Jo", "email": "jo@example.com"}
    given = {"id": session_id, "channel": "phone_voice", "contact": contact, "history": [{"event": message}]}
    world.opencx.add_session(given)
    return session_id


@pytest.fixture
def door(world: World) -> Door:
    """A door of its own."""
    return Door(world.application())


def test_a_handoff_is_stored_and_delivered_by_its_wake_up(door: Door, world: World, new_id: Callable[[], str]) -> None:
    """Nothing is called before the answer; then the wake-up delivers it with what OpenCX knows."""
    session_id = a_session(world, new_id())
    door.deliver(event(session_id), id_=new_id())
    stored = door.application.desk.look(session_id)
    assert (stored.state, stored.attempts, world.rows("incidents"), world.calls()) == (RETRYING, 0, [], [])
    (key,) = door.wake.keys
    assert key == keys.digest(session_id)
    answer = door.application.desk.wake(key)
    assert answer is not None
    assert (answer.record.state, answer.record.channel, answer.record.attempts) == (COMPLETED, "phone", 1)
    (row,) = world.rows("incidents")
    assert "Wants a refund" in row["description"]
    assert "Hello there" in row["description"]


def test_concurrent_deliveries_store_one_handoff(door: Door, world: World, new_id: Callable[[], str]) -> None:
    """Twenty at once, of the same event: one record, one case."""
    session_id, id_ = a_session(world, new_id()), new_id()
    body = event(session_id)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: door.deliver(body, id_=id_), range(20)))
    for key in set(door.wake.keys):
        door.application.desk.wake(key)
    assert len(world.rows("incidents")) == 1


def test_a_repeat_after_the_handoff_has_landed_does_nothing(
    door: Door, world: World, new_id: Callable[[], str]
) -> None:
    """Another process answers it from the table, and wakes nobody."""
    session_id, id_ = a_session(world, new_id()), new_id()
    body = event(session_id)
    door.deliver(body, id_=id_)
    door.application.desk.wake(door.wake.keys[0])
    other = Door(world.application())
    other.deliver(body, id_=id_)
    assert other.wake.keys == []
    with pytest.raises(Unauthorized):
        other.deliver(event(session_id, summary="other words"), id_=id_)


def test_a_table_that_is_away_costs_no_handoff(world: World, new_id: Callable[[], str]) -> None:
    """503, and the next delivery of the same event stores it."""
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a;"
    down = Door(world.application(TABLES_CONNECTION_STRING=nowhere))
    session_id, id_ = a_session(world, new_id()), new_id()
    body = event(session_id)
    with pytest.raises(LedgerUnavailable):
        down.deliver(body, id_=id_)
    up = Door(world.application())
    up.deliver(body, id_=id_)
    assert up.application.desk.look(session_id).state == RETRYING


def test_storing_again_finds_what_is_there(door: Door, new_id: Callable[[], str]) -> None:
    """A known handoff is left alone, whatever the new request says."""
    from shared.handoff import request

    def store(summary: str) -> str:
        raw = json.dumps({"session_id": session_id, "channel": "phone", "summary": summary}).encode()
        return door.application.desk.store(request.parse(request.parse_body(raw)), raw).version

    session_id = new_id()
    first = store("one")
    record = door.application.desk.look(session_id)
    assert store("two") == first
    assert json.loads(door.application.ledger.payload(record))["summary"] == "one"


def test_what_was_handled_is_forgotten_in_time(door: Door) -> None:
    """The purge takes what is old, both of its rows, also when another worker is at the same; and nothing else."""
    table: Table = door.application.table
    now = datetime.now(UTC)
    mine = f"{uuid.uuid4().hex}"
    old = now - timedelta(days=3650)
    for number in range(60):
        until = old if number < 55 else now + timedelta(days=1)
        assert door.replays.seen_before(f"{mine}{number:02d}", until, body_digest="d") is False
    assert door.replays.seen_before(f"{mine}00", now, body_digest="d") is True
    table.delete(PARTITION, f"k:{mine}03")  # as if another worker had begun
    assert door.replays.purge(old + timedelta(seconds=1)) == 55
    kept = [door.replays.find(f"{mine}{number:02d}") for number in range(60)]
    assert kept == [None] * 55 + ["d"] * 5
    rows = table.query(PARTITION, after="u:", before="u;", most=1000)
    assert sum(mine in str(row["RowKey"]) for row in rows) == 5
