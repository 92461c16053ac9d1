"""Open conversations on a real table service, and wake-ups in a real queue."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from shared.errors import LedgerUnavailable, TransientFailure
from shared.ledger.conversations import TableConversations
from shared.ledger.guests import GuestTokens
from shared.relay.model import MESSAGE, OVER, TO_CUSTOMER, Claim, Conversation, File, RepEntry, lane_of
from shared.relay.store import Lane
from shared.wake import RELAY, QueueWake
from tests.conftest import World

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def conversations(world: World) -> TableConversations:
    """The store on Azurite."""
    return world.application().conversations


def made(session_id: str, **more: object) -> Conversation:
    """A new conversation."""
    conversation = Conversation(
        handoff_id=f"{session_id}/ä#?",
        session_id=session_id,
        system="salesforce",
        conversation_id=f"c-{session_id}",
        channel="sms",
        opened_at=NOW,
        details={"subject": "sess:1", "Phone": "+1"},
    )
    return replace(conversation, **more)  # type: ignore[arg-type]


def test_everything_comes_back(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """What is stored is what is read: times, claim, seen ids, counts."""
    session_id = new_id()
    opened = conversations.open(made(session_id))
    changed = conversations.change(
        replace(
            opened,
            claim=Claim(TO_CUSTOMER, "e1", "t", NOW, NOW + timedelta(seconds=20)),
            rep_cursor=NOW,
            rep_seen=(("abc", 1),),
            said={"x": 2},
            contact_seen=(("d", 4),),
            next_at=NOW,
            has_rep=True,
            failures=3,
            ending="rep",
        )
    )
    assert changed is not None
    assert conversations.get(changed.key) == changed
    assert conversations.of_session(session_id) == [changed]
    assert conversations.find("salesforce", f"c-{session_id}") == changed
    assert changed in conversations.of_lane(lane_of(session_id))


def test_opened_once(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """A conversation that has ended is not opened again by a repeat of its handoff: its messages would double."""
    session_id = new_id()
    opened = conversations.open(made(session_id))
    assert conversations.open(made(session_id, conversation_id="other")) == opened
    ended = replace(opened, ending="rep", ended_at=NOW, to_customer=4)
    conversations.push(opened, [RepEntry("e", NOW, text="late")])
    assert conversations.end(ended)
    again = conversations.open(made(session_id))
    assert (again.state, again.ending, again.to_customer) == ("ended", "rep", 4)
    assert conversations.of_session(session_id) == []
    assert conversations.inbox(opened) == []
    assert conversations.find("salesforce", f"c-{session_id}") is None
    assert again.details == {}


def test_last_write_does_not_win(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """Two workers that know the same version: one writes, the other is told."""
    opened = conversations.open(made(new_id()))
    assert conversations.change(replace(opened, failures=1)) is not None
    assert conversations.change(replace(opened, failures=2)) is None
    assert not conversations.end(replace(opened, ended_at=NOW))


def test_own_echo_is_known(
    conversations: TableConversations, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write whose answer is lost is found by its token, and counts as done."""
    opened = conversations.open(made(new_id()))
    table = conversations._table
    put = table.put

    def put_and_lose(entity: dict[str, object], *, version: str) -> object:
        put(entity, version=version)
        raise LedgerUnavailable("Lost.")

    monkeypatch.setattr(table, "put", put_and_lose)
    changed = conversations.change(replace(opened, failures=7))
    assert changed is not None
    assert changed.failures == 7
    assert changed.version != opened.version


def test_inbox_keeps_order_and_text(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """What is pushed comes out in order, whole, until it is dropped."""
    opened = conversations.open(made(new_id()))
    first = RepEntry("e1", NOW, MESSAGE, "ä" * 70_000, "Sara", (File("a.pdf", "https://x", "application/pdf"),))
    conversations.push(opened, [first, RepEntry("e2", NOW, OVER)])
    conversations.push(opened, [RepEntry("e3", NOW, text="later", is_automated=True)])
    found = conversations.inbox(opened)
    assert [replace(entry, key="") for entry in found] == [
        first,
        RepEntry("e2", NOW, OVER),
        RepEntry("e3", NOW, text="later", is_automated=True),
    ]
    conversations.drop(opened, found[:2])
    assert [entry.id for entry in conversations.inbox(opened)] == ["e3"]


def test_lane_is_written_by_one(conversations: TableConversations) -> None:
    """Of two who know the same version of a lane, one goes on."""
    lane = conversations.lane("zz")
    assert lane == Lane("zz")
    first = conversations.write_lane(replace(lane, sequence=5_000_000_000, at=NOW))
    assert first is not None
    assert conversations.write_lane(replace(lane, sequence=1)) is None
    assert conversations.lane("zz") == first
    assert first in conversations.lanes()
    conversations._table.delete("lanes", "zz")


def test_purge(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """Traces of ended conversations are kept as long as they are wanted, and no longer."""
    old, young = new_id(), new_id()
    for session_id, ended_at in ((old, datetime(2020, 1, 1, tzinfo=UTC)), (young, NOW)):
        opened = conversations.open(made(session_id))
        conversations.end(replace(opened, ended_at=ended_at))
    assert conversations.purge(before=datetime(2021, 1, 1, tzinfo=UTC), limit=100) >= 1
    assert conversations.of_handoff(old, f"{old}/ä#?") is None
    assert conversations.of_handoff(young, f"{young}/ä#?") is not None


def test_guest_tokens(world: World, new_id: Callable[[], str]) -> None:
    """A guest's token outlives the worker, until it is forgotten; of two workers the quicker one's counts."""
    tokens = GuestTokens(world.application().table)
    key = new_id()
    assert tokens.get(key) is None
    assert tokens.put(key, "t1") == "t1"
    assert tokens.put(key, "t2") == "t1"
    assert tokens.get(key) == "t1"
    tokens.delete(key)
    assert tokens.get(key) is None
    tokens.put(key, "t3")
    tokens.purge(datetime.now(UTC) + timedelta(days=5))
    assert tokens.get(key) is None


def test_wake_ups_hold_ids_only(world: World) -> None:
    """A message is JSON in base64, as the host reads it; its delay can be shortened until it is taken."""
    wake = world.application().wake
    client = QueueClient.from_connection_string(world.environ["AzureWebJobsStorage"], RELAY)
    try:
        wake.ping()
        client.clear_messages()  # other tests' conversations have been woken
        wake.conversation("00:a:b")
        handle = wake.lane("0f", 3, delay_seconds=3600)
        assert [_body(one.content) for one in client.receive_messages(visibility_timeout=600)] == [
            {"conversation": "00:a:b"}
        ]
        wake.sooner(handle, delay_seconds=0)
        assert [_body(one.content) for one in client.receive_messages(visibility_timeout=600)] == [
            {"lane": "0f", "sequence": 3}
        ]
        client.clear_messages()
        wake.sooner(handle, delay_seconds=0)  # it is gone: nothing happens
    finally:
        client.clear_messages()
        client.close()


def test_queue_that_is_away(world: World) -> None:
    """A queue that cannot be reached is a failure of ours, and says so."""
    away = world.application(
        AzureWebJobsStorage="DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;QueueEndpoint=http://127.0.0.1:9/a;"
    )
    with pytest.raises(TransientFailure) as caught:
        away.wake.conversation("00:a:b")
    assert caught.value.code == "queue_unavailable"
    with pytest.raises(TransientFailure, match="AzureWebJobsStorage"):
        world.application(AzureWebJobsStorage="").wake.handoff("x")
    assert isinstance(away.wake, QueueWake)


def _body(content: str) -> object:
    return json.loads(base64.b64decode(content))


def test_end_knows_its_own_echo(
    conversations: TableConversations, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end whose answer is lost and that is repeated by the SDK is ours; what it was to clear is cleared."""
    session_id = new_id()
    opened = conversations.open(made(session_id))
    conversations.push(opened, [RepEntry("e", NOW, text="late")])
    table = conversations._table
    transact = table.transact

    def twice(operations: Any) -> Any:
        transact(operations)
        return transact(operations)

    monkeypatch.setattr(table, "transact", twice)
    assert conversations.end(replace(opened, ended_at=NOW, ending="rep"))
    monkeypatch.setattr(table, "transact", transact)
    assert conversations.inbox(opened) == []
    assert conversations.has_ended("salesforce", f"c-{session_id}")
    assert not conversations.has_ended("salesforce", "unknown")


def test_purge_leaves_nothing(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """A push that crossed the end, and the index, go with the trace."""
    session_id = new_id()
    opened = conversations.open(made(session_id))
    conversations.end(replace(opened, ended_at=datetime(2019, 1, 1, tzinfo=UTC)))
    conversations.push(opened, [RepEntry("e", NOW, text="late")])
    conversations.purge(before=datetime(2019, 6, 1, tzinfo=UTC), limit=100)
    assert conversations.inbox(opened) == []
    assert not conversations.has_ended("salesforce", f"c-{session_id}")


def test_emoji_fit(conversations: TableConversations, new_id: Callable[[], str]) -> None:
    """A text property holds UTF-16 units, not characters."""
    opened = conversations.open(made(new_id()))
    conversations.push(opened, [RepEntry("e", NOW, text="😀" * 40_000), RepEntry("f", NOW, text="")])
    assert [len(entry.text) for entry in conversations.inbox(opened)] == [40_000, 0]


def test_row_that_cannot_be_read_stops_no_other(
    conversations: TableConversations, new_id: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, and the log says which, once; those of its lane and of its session go on."""
    session_id = new_id()
    good, bad, old = (conversations.open(made(session_id, handoff_id=f"{session_id}-{n}")) for n in range(3))
    table = conversations._table
    spoil(conversations, bad, details="{no json")
    spoil(conversations, old, stuck_at=None)
    for _ in range(2):
        assert {one.handoff_id for one in conversations.of_session(session_id)} == {good.handoff_id, old.handoff_id}
        lane = conversations.of_lane(lane_of(session_id))
        assert {good.key, old.key} <= {one.key for one in lane}
        assert bad.key not in {one.key for one in lane}
    said = [record for record in caplog.records if "relay.row_unreadable" in record.getMessage()]
    assert [(record.levelname, json.loads(record.getMessage())["key"]) for record in said] == [
        ("ERROR", f"o:{bad.key.partition(':')[2]}")
    ]
    assert conversations.get(bad.key) is None
    assert conversations.is_known(session_id, bad.handoff_id)
    assert not conversations.has_ended("salesforce", f"c-{session_id}")
    known = conversations.get(old.key)
    assert known is not None
    assert conversations.change(replace(known, failures=1)) is not None  # its next write makes it whole
    row = table.get(f"r{lane_of(session_id)}", f"o:{old.key.partition(':')[2]}")
    assert row is not None
    assert row["stuck_at"] == ""
    table.delete(f"r{lane_of(session_id)}", f"o:{bad.key.partition(':')[2]}")


@pytest.mark.parametrize("name", ["conversation_id", "session_id", "handoff_id", "system", "opened_at"])
def test_row_without_its_ids_is_left_out(
    conversations: TableConversations, new_id: Callable[[], str], name: str
) -> None:
    """Nothing could be done with it; the rest of the lane goes on."""
    session_id = new_id()
    bad = conversations.open(made(session_id))
    spoil(conversations, bad, **{name: None})
    assert conversations.of_session(session_id) == []
    assert bad.key not in {one.key for one in conversations.of_lane(lane_of(session_id))}
    conversations._table.delete(f"r{lane_of(session_id)}", f"o:{bad.key.partition(':')[2]}")


def spoil(conversations: TableConversations, conversation: Conversation, **columns: object) -> None:
    """Write other values into some columns of an open conversation; None: take the column away."""
    lane, _, key = conversation.key.partition(":")
    row = conversations._table.get(f"r{lane}", f"o:{key}")
    assert row is not None
    changed = {name: value for name, value in {**row, **columns}.items() if value is not None}
    conversations._table.put(changed, version=conversation.version)
