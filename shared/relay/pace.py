"""How soon the relay looks again: quickly while people write, slowly when nothing happens."""

from datetime import datetime, timedelta

from shared.relay.model import Conversation

QUICK = timedelta(seconds=0)
"""At the lane's own pace, about a second."""
LANE_SECONDS = 1.0
WAITING = timedelta(seconds=2)
SLOW = timedelta(seconds=5)
IDLE = timedelta(seconds=15)
LAST_WORDS, LAST_WORDS_PUSHED = timedelta(seconds=3), timedelta(seconds=12)
"""How long the end waits for what it has overtaken: no system promises an order, and pushes are tried again."""
SWEEP, IDLE_SWEEP = timedelta(minutes=2), timedelta(minutes=10)

_RINGING, _WRITING, _THINKING = timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=30)
_FIRST_RETRY, _LONGEST_RETRY = timedelta(seconds=2), timedelta(minutes=1)


def next_look(conversation: Conversation, *, polls: bool, now: datetime) -> datetime:
    """When to look at a conversation again, if nobody wakes it."""
    silent = now - (conversation.active_at or conversation.opened_at)
    if not polls and conversation.swept_at is None:  # a rep has left: whether that was the end must be asked
        pace = SLOW
    elif not polls:  # its news is pushed: this look only finds what a push has lost
        pace = SWEEP if silent < _THINKING else IDLE_SWEEP
    elif silent < _WRITING:
        pace = QUICK if conversation.has_rep or silent < _RINGING else WAITING
    else:
        pace = SLOW if silent < _THINKING else IDLE
    look = now + pace
    return min(look, conversation.contact_poll_at) if conversation.contact_poll_at else look


def retry_wait(failures: int, *, at_least_seconds: float | None) -> timedelta:
    """The wait after that many failed looks in a row."""
    wait = min(_FIRST_RETRY * (1 << min(failures - 1, 10)), _LONGEST_RETRY)
    return max(wait, timedelta(seconds=at_least_seconds or 0))
