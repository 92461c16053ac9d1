"""Odd times, floods, several conversations of a session: what the relay must bear."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.handoff.model import Contact, Handoff, Outcome, Turn
from shared.relay import cursor, transcript
from shared.relay.model import HOME, KEEPS_SESSION, OVER, CustomerMessage, RepEntry
from shared.relay.relay import Relay
from tests.relay.doubles import START, World
from tests.relay.test_carrier import step, touch
from tests.relay.test_lanes import Engine
from tests.relay.test_pauses import heard, pushing

__all__ = ["pushing"]  # the fixture

UNSET = datetime(1, 1, 1, tzinfo=UTC)
"""What .NET and Go write for a time that is not set."""


def test_a_time_that_is_not_set_breaks_nothing() -> None:
    """Neither as where to go on, nor as the time of what was handled."""
    assert cursor.since(UNSET).year == 1970
    found, seen = cursor.passed(None, (), [("a", UNSET)], now=START)
    assert (found, len(seen)) == (UNSET, 0)


def test_one_time_to_come_hides_nothing_that_follows() -> None:
    """A device whose clock is 20 minutes fast: all later entries are told all the same, and it once."""
    world = World.make()
    world.conversation()
    world.rep.says("one")
    step(world)
    fast = replace(world.rep.says("fast"), at=world.clock.now() + timedelta(minutes=20))
    world.rep.listed[-1] = fast
    step(world)
    for number in range(30):
        world.clock.sleep(60)
        world.rep.says(f"later {number}")
        step(world)
    assert heard(world) == ["one", "fast", *(f"later {number}" for number in range(30))]


def test_a_flood_is_carried_whole_and_each_once() -> None:
    """1,500 messages within a minute: more ids than a row can hold are not kept, and none is told twice."""
    world = World.make()
    world.conversation()
    wanted = []
    for number in range(1500):
        wanted.append(world.opencx.writes(f"m {number}").text)
        world.clock.sleep(0.04)
        if number % 100 == 99:
            touch(world)
            step(world)
            (row,) = world.memory.rows.values()
            assert len(row.contact_seen) <= cursor.MOST_SEEN
    assert [message.text for message in world.rep.shown] == wanted


def test_what_waits_in_the_inbox_is_remembered_in_a_flood() -> None:
    """However many newer ids there are."""
    ids = [(f"{number}", START + timedelta(seconds=number / 100)) for number in range(2000)]
    _, seen = cursor.passed(None, (), ids, now=START, waiting=["3"])
    assert cursor.is_seen(seen, "3")
    assert cursor.is_seen(seen, "1999")
    assert len(seen) == cursor.MOST_SEEN


@pytest.mark.parametrize(
    ("end", "at", "text", "is_after"),
    [
        ("2026-01-31T09:00:05.250+00:00", "2026-01-31T09:00:05.250+00:00", "other words", True),
        ("2026-01-31T09:00:05.250+00:00", "2026-01-31T09:00:05.250+00:00", "last words", False),
        ("2026-01-31T09:00:05.250+00:00", "2026-01-31T09:00:05.249+00:00", "other words", False),
        ("2026-01-31T09:00:05+00:00", "2026-01-31T09:00:05.700+00:00", "last words", False),
        ("2026-01-31T09:00:05+00:00", "2026-01-31T09:00:05.700+00:00", "other words", True),
        ("2026-01-31T09:00:05+00:00", "2026-01-31T09:00:06+00:00", "last words", True),
    ],
)
def test_the_instant_at_which_the_transcript_ends(end: str, at: str, text: str, is_after: bool) -> None:
    """What was written in the very same instant, or second, is carried, unless the transcript holds it."""
    moment = datetime.fromisoformat(end)
    known = transcript.details([Turn("customer", "last words", moment), Turn("ai", "other words", moment)], moment)
    assert transcript.is_after(known, CustomerMessage("m", datetime.fromisoformat(at), text=text)) is is_after


def test_automated_words_are_not_told_when_a_setting_changes() -> None:
    """What was left out while they were not wanted is over."""
    world = World.make(polls=False)
    conversation = world.conversation()
    greeting = replace(world.rep.says("An agent will be with you."), is_automated=True)
    world.rep.listed[-1] = greeting
    world.memory.push(conversation, [greeting])
    step(world)
    world.clock.sleep(3600)
    step(world, relays_automated=True)
    assert heard(world) == []
    world.memory.push(conversation, [replace(world.rep.says("One moment."), is_automated=True)])
    step(world, relays_automated=True)
    assert heard(world) == ["One moment."]


def test_a_conversation_in_another_org_waits_and_says_so() -> None:
    """The settings name another one: that does not know it, which is no end."""
    world = World.make()
    conversation = world.conversation()
    world.memory.rows[conversation.key] = replace(conversation, details={HOME: "elsewhere"})
    kept = step(world)
    assert kept is not None
    assert (kept.error_code, kept.ending, kept.failures) == ("conversation_elsewhere", "", 1)
    world.rep.home = "elsewhere"
    world.clock.sleep(60)
    kept = step(world)
    assert kept is not None
    assert (kept.error_code, kept.failures) == ("", 0)


@pytest.mark.parametrize("how", ["another is open", "another is coming"])
def test_a_session_that_is_needed_is_not_closed(how: str) -> None:
    """Another rep is in it, or is being called; when the last one ends, it is closed."""
    world = World.make()
    first = world.conversation()
    if how == "another is open":
        world.memory.open(replace(first, handoff_id="h2", conversation_id="c2"))
    else:
        world.memory.rows[first.key] = replace(world.memory.rows[first.key], details={KEEPS_SESSION: "true"})
    world.rep.says("", kind=OVER)
    step(world)
    world.clock.sleep(4)
    step(world)
    assert len(world.memory.ended) == 1
    assert world.opencx.closed == 0


def handoff(handoff_id: str = "h1") -> tuple[Handoff, Outcome]:
    """A handoff that has become a conversation."""
    made = Handoff(handoff_id, "s1", "sms", Contact(), (Turn("customer", "Hi", START),))
    return made, Outcome("salesforce", "messaging_conversation", "sms", f"c-{handoff_id}")


def test_a_session_that_was_closed_before_its_handoff_landed_rings_nobody_for_long() -> None:
    """The customer has gone while it waited: what it becomes is ended at once."""
    engine = Engine()
    relay: Relay = engine.relay
    engine.world.clock.sleep(10)
    relay.closed_early("s1", engine.world.clock.now())
    engine.world.clock.sleep(10)
    relay.open(*handoff(), accepted_at=START)
    engine.run(5)
    assert engine.world.rep.is_over
    assert [one.ending for one in engine.world.memory.ended.values()] == ["customer"]


def test_a_closing_before_the_handoff_was_asked_for_ends_nothing() -> None:
    """The session was opened again since."""
    engine = Engine()
    engine.relay.closed_early("s1", START)
    engine.world.clock.sleep(60)
    engine.relay.open(*handoff(), accepted_at=engine.world.clock.now())
    engine.run(5)
    assert not engine.world.rep.is_over


def test_a_further_handoff_keeps_the_session_of_what_is_ending() -> None:
    """The mark stands on what is ending, not on what goes on."""
    engine = Engine()
    engine.relay.open(*handoff(), accepted_at=START)
    engine.relay.superseded("s1")
    assert [KEEPS_SESSION in one.details for one in engine.world.memory.rows.values()] == [False]
    engine.world.rep.says("", kind=OVER)
    engine.run(2)
    engine.relay.superseded("s1")
    engine.run(10)
    assert engine.world.memory.ended
    assert engine.world.opencx.closed == 0


def test_an_entry_of_an_old_id_is_not_told_again(pushing: tuple[World, object]) -> None:
    """A push that carries the time that is not set: told once, and the inbox is empty."""
    world, conversation = pushing
    world.memory.push(conversation, [RepEntry("x", UNSET, text="hello")])  # type: ignore[arg-type]
    for _ in range(3):
        step(world)
        world.clock.sleep(30)
    assert heard(world) == ["hello"]
    assert world.memory.inbox(conversation) == []  # type: ignore[arg-type]
