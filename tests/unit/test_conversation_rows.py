"""A conversation's row: what another version did not write, and what nobody can read."""

import json
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.ledger.conversation_entity import (
    UnreadableRow,
    entry_from_entity,
    entry_to_entity,
    from_entity,
    from_trace,
    time_of,
    to_entity,
    to_trace,
)
from shared.relay.model import TO_REP, Claim, Conversation, RepEntry

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
REQUIRED = tuple(field.name for field in fields(Conversation) if field.default is field.default_factory is MISSING)
FULL = Conversation(
    handoff_id="h",
    session_id="s",
    system="salesforce",
    conversation_id="c",
    channel="sms",
    opened_at=NOW,
    accepted_at=NOW,
    state="ended",
    details={"subject": "session:s"},
    rep_cursor=NOW,
    rep_seen=(("a", 1),),
    said={"b": 2},
    recent=(("c", 3),),
    contact_cursor=NOW,
    contact_seen=(("d", 4),),
    claim=Claim(TO_REP, "m", "t", NOW, NOW + timedelta(seconds=20)),
    next_at=NOW,
    contact_poll_at=NOW,
    peeks=1,
    active_at=NOW,
    swept_at=NOW,
    has_rep=True,
    failures=1,
    to_customer=2,
    to_rep=3,
    undelivered=4,
    error_code="e",
    stuck_id="m",
    stuck_tries=5,
    stuck_at=NOW,
    ending="rep",
    over_at=NOW,
    ended_at=NOW,
)
BARE = Conversation("h", "s", "salesforce", "c", "sms", NOW)


def changed(**columns: object) -> dict[str, Any]:
    """The row of a conversation, with other values in some columns; None: without the column."""
    row = to_entity(FULL, "w") | columns
    return {name: value for name, value in row.items() if value is not None}


def test_a_row_holds_all_of_a_conversation() -> None:
    """Every field of the model comes back; none of this test's is at its default."""
    assert from_entity(to_entity(FULL, "w")) == FULL
    assert all(getattr(FULL, each.name) != getattr(BARE, each.name) for each in fields(FULL)[6:-1])


@pytest.mark.parametrize("name", sorted(to_entity(FULL, "w").keys() - {*REQUIRED, "Write"}))
def test_a_column_that_is_not_there_is_at_its_default(name: str) -> None:
    """A version that did not know the column wrote the row: the rest of it counts."""
    read = from_entity(changed(**{name: None}))
    assert getattr(read, name) == getattr(BARE, name)
    assert all(getattr(read, each.name) == getattr(FULL, each.name) for each in fields(FULL) if each.name != name)


def test_the_ids_are_enough() -> None:
    """A row, and a trace, with nothing but what a conversation cannot be without."""
    row = {name: value for name, value in to_entity(BARE, "w").items() if name in REQUIRED}
    assert from_entity(row) == from_trace(row) == BARE


@pytest.mark.parametrize("name", REQUIRED)
def test_without_its_ids_it_is_none(name: str) -> None:
    """A row without one of them says nothing that could be gone on with."""
    with pytest.raises(UnreadableRow):
        from_entity(changed(**{name: None}))
    trace = to_trace(FULL)
    del trace[name]
    with pytest.raises(UnreadableRow):
        from_trace(trace)


@pytest.mark.parametrize(
    "columns",
    [
        {"details": "{"},
        {"said": ""},
        {"rep_seen": "null"},
        {"recent": '["a"]'},
        {"contact_seen": "[[1]]"},
        {"claim": "{"},
        {"claim": "[]"},
        {"claim": json.dumps({"direction": "to_rep"})},
        {"claim": json.dumps({"at": NOW.isoformat(), "until": NOW.isoformat(), "of_a_newer_version": 1})},
        {"claim": json.dumps({"at": "", "until": ""})},
        {"next_at": "soon"},
        {"next_at": 5},
        {"opened_at": ""},
    ],
)
def test_what_cannot_be_parsed_is_none(columns: dict[str, object]) -> None:
    """Whatever is wrong in a row comes as one exception, without the row's text."""
    with pytest.raises(UnreadableRow, match=r"^\w+$"):
        from_entity(changed(**columns))


def test_a_time_without_a_zone_is_in_utc() -> None:
    """One that a hand has written can be compared with the others: it would stop the whole lane."""
    assert time_of("2026-01-31T09:30:00") == NOW
    assert from_entity(changed(next_at="2026-01-31T09:30:00")).next_at == NOW


def test_an_entry_without_a_column() -> None:
    """The inbox too was written by whatever version was there."""
    row = {**entry_to_entity(RepEntry("e", NOW, text="Hello", author="Sara", is_automated=True)), "RowKey": "i:1"}
    for name in ("kind", "author", "files", "is_automated"):
        del row[name]
    assert entry_from_entity(row) == RepEntry("e", NOW, text="Hello", key="i:1")
