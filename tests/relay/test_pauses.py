"""What is remembered is forgotten by age: a pause of minutes, or an old message that comes late, doubles nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.relay.model import Conversation, RepEntry
from tests.relay.doubles import Killed, World
from tests.relay.test_carrier import step, touch

PAUSE_SECONDS = 300.0
"""Longer than an id is kept after newer ones."""


def once(owner: Any, name: str, error: BaseException, *, is_done: bool) -> None:
    """The next call of a method ends with an error: before its work, or after it."""
    original: Callable[..., Any] = getattr(owner, name)

    def failing(*args: Any, **options: Any) -> Any:
        setattr(owner, name, original)
        if is_done:
            original(*args, **options)
        raise error

    setattr(owner, name, failing)


def lost() -> TransientFailure:
    """No answer."""
    return TransientFailure("Lost.", code="lost", system="x", kind="unreachable", is_unclear=True)


def heard(world: World) -> list[str]:
    """What the customer was told."""
    return [entry.text for entry in world.opencx.heard]


@pytest.fixture
def pushing() -> tuple[World, Conversation]:
    """A system that pushes, and a conversation that was swept just now."""
    world = World.make(polls=False)
    conversation = world.conversation()
    step(world)
    return world, conversation


def test_a_message_before_a_pause_is_not_sent_again() -> None:
    """The send of a message is unclear, and found to have arrived: the one long before it stays as it is."""
    world = World.make()
    world.conversation()
    world.opencx.writes("first")
    step(world)
    world.clock.sleep(PAUSE_SECONDS)
    world.opencx.writes("second")
    touch(world)
    once(world.rep, "send", lost(), is_done=True)
    step(world)
    world.clock.sleep(30)
    step(world)
    assert [message.text for message in world.rep.shown] == ["first", "second"]


def test_what_has_waited_long_in_the_inbox_is_said_once(pushing: tuple[World, Conversation]) -> None:
    """An old and a new push are said together, and the worker dies before the inbox is emptied."""
    world, conversation = pushing
    world.memory.push(conversation, [world.rep.says("old")])
    world.clock.sleep(PAUSE_SECONDS)
    world.memory.push(conversation, [world.rep.says("new")])
    once(world.memory, "drop", Killed(), is_done=False)
    step(world)
    world.clock.sleep(30)
    step(world)
    assert heard(world) == ["old", "new"]
    assert world.memory.inbox(conversation) == []


def test_an_old_message_that_a_sweep_has_brought_is_said_once(pushing: tuple[World, Conversation]) -> None:
    """A push was lost; newer words were said; the sweep brings it, and its send is unclear."""
    world, conversation = pushing
    world.rep.says("lost by the push")
    world.clock.sleep(60)
    world.memory.push(conversation, [world.rep.says("new")])
    world.clock.sleep(PAUSE_SECONDS)
    world.memory.push(conversation, [world.rep.says("newest")])
    step(world)
    world.clock.sleep(PAUSE_SECONDS)
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    world.clock.sleep(30)
    step(world)
    assert heard(world) == ["new", "newest", "lost by the push"]


def test_a_look_at_a_claim_brings_nothing_that_waits_in_the_inbox(pushing: tuple[World, Conversation]) -> None:
    """A swept message's send is unclear; what was pushed meanwhile is listed, too, and said once."""
    world, conversation = pushing
    world.rep.says("lost by the push")
    world.clock.sleep(PAUSE_SECONDS)
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    world.clock.sleep(30)
    listed = world.rep.says("pushed")
    world.memory.push(conversation, [RepEntry("another id", listed.at, text="pushed")])
    step(world)
    assert heard(world) == ["lost by the push", "pushed"]


def test_what_is_in_doubt_after_its_send_was_unclear_is_counted(pushing: tuple[World, Conversation]) -> None:
    """A push is sent, the answer lost; its side then takes it for a double: the next sweep does not bring it again."""
    world, conversation = pushing
    listed = world.rep.says("ok")
    world.memory.push(conversation, [RepEntry("hash", listed.at, text="ok")])
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    world.clock.sleep(30)
    world.rep.arrange = lambda *_args, **_options: []  # type: ignore[method-assign]
    world.rep.entries = lambda *_args, **_options: [listed]  # type: ignore[method-assign]
    step(world)
    world.clock.sleep(PAUSE_SECONDS)
    step(world)
    assert heard(world) == ["ok"]


def test_a_double_that_stays_in_the_inbox_is_not_said(pushing: tuple[World, Conversation]) -> None:
    """A push came twice, one of them is left out, and the worker dies before the inbox is emptied."""
    world, conversation = pushing
    for _ in range(2):
        world.memory.push(conversation, [RepEntry("hash", world.clock.now(), text="ok")])
    world.rep.arrange = lambda _known, pushed, **_options: pushed[:1]  # type: ignore[method-assign]
    once(world.memory, "drop", Killed(), is_done=False)
    step(world)
    del world.rep.__dict__["arrange"]
    world.clock.sleep(PAUSE_SECONDS)
    step(world)
    assert heard(world) == ["ok"]


def test_equal_words_whose_answers_were_lost_are_each_found() -> None:
    """What is settled late counts for the time when it was sent, else the next look at equal words is wrong."""
    world = World.make()
    world.conversation()
    world.rep.says("ok")
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    world.clock.sleep(PAUSE_SECONDS)
    world.rep.says("ok")
    once(world.opencx, "say", lost(), is_done=True)
    step(world)
    world.clock.sleep(30)
    step(world)
    assert heard(world) == ["ok", "ok"]
