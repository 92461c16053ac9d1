"""What a request leaves out is read from OpenCX: channel, contact, summary, transcript."""

from collections.abc import Callable
from typing import Protocol

from shared import events
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff.model import Handoff, Notice

ATTEMPTS_WITHOUT_TRANSCRIPT = 3
"""From this attempt on a handoff lands without what OpenCX's API does not give: a customer is waiting."""

NO_KEY = "secret_missing"
"""The code with which a source says that it has no key."""
CERTAIN = frozenset({NO_KEY, "setting_missing", "setting_malformed"})
"""Faults that no quick try mends; a refusal by OpenCX, Entra or Key Vault may be a moment's."""


class Source(Protocol):
    """Where the missing parts of a handoff can be read: OpenCX's API."""

    def complete(self, handoff: Handoff, *, deadline: float) -> Handoff:
        """The handoff with what was missing."""


def hydrate(
    handoff: Handoff, source: Callable[[], Source | None], *, attempts: int, is_first: bool, deadline: float
) -> tuple[Handoff, tuple[Notice, ...]]:
    """Read what is missing. What stays missing delays a handoff, but never stops it, unless it is the channel.

    Args:
        handoff: as it was asked for.
        source: where to read; None: there is no key.
        attempts: the number of this one.
        is_first: whether this is the first of its quick tries: what refuses the key to us may be over in a second.
        deadline: by when, monotonic.

    Raises:
        TransientFailure, ConfigurationFault, PermanentFailure: a part that is needed cannot be read now.
    """
    needs = handoff.channel is None or handoff.transcript is None
    if not needs and handoff.summary and not handoff.contact.is_empty:
        return handoff, ()
    try:
        opencx = source()
        if opencx is None:
            notice = Notice("transcript_missing", "The request has none, and OPENCX_API_KEY is not set.")
            return handoff, (notice,) if needs else ()
        return opencx.complete(handoff, deadline=deadline), ()
    except (TransientFailure, ConfigurationFault, PermanentFailure) as failure:
        if not needs:
            return handoff, ()
        if isinstance(failure, ConfigurationFault) and failure.code not in CERTAIN and is_first:
            raise TransientFailure(failure.message, code=failure.code, system="opencx", is_unclear=False) from failure
        can_wait = isinstance(failure, TransientFailure) and attempts < ATTEMPTS_WITHOUT_TRANSCRIPT
        if can_wait or (handoff.channel is None and failure.code != NO_KEY):
            raise
        if failure.code != NO_KEY:  # without a key it is never read, which is no news
            events.emit(events.TRANSCRIPT_UNAVAILABLE, code=failure.code, handoff_id=handoff.handoff_id)
        return handoff, (Notice("transcript_unavailable", f"Not read from OpenCX: {failure.message}"),)
