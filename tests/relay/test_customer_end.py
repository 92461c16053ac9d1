"""The customer leaves, and something fails on the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.errors import ConversationEnded
from shared.relay.carrier import CUSTOMER
from tests.relay.doubles import Killed, World
from tests.relay.test_carrier import step
from tests.relay.test_pauses import once


def test_last_words_are_not_called_undelivered_when_the_end_is_written_late() -> None:
    """The system forgets what is over: whether the last words arrived must be written before it is ended."""
    world = World.make()
    conversation = world.conversation()
    world.opencx.writes("last words")
    world.memory.rows[conversation.key] = replace(conversation, ending=CUSTOMER)
    once(world.memory, "end", Killed(), is_done=False)
    step(world)
    assert world.rep.is_over

    def gone(*_args: Any, **_options: Any) -> Any:
        raise ConversationEnded("It is over.", code="gone")

    world.rep.has_sent = world.rep.send = world.rep.entries = gone  # type: ignore[method-assign]
    world.clock.sleep(30)
    step(world)
    assert [(one.to_rep, one.undelivered) for one in world.memory.ended.values()] == [(1, 0)]
