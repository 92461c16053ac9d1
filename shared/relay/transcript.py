"""Where the transcript that the rep was given ends: what the customer wrote after that is carried."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from shared.handoff.model import CUSTOMER, Turn
from shared.relay import cursor
from shared.relay.model import CustomerMessage

END, LAST = "transcript_end", "transcript_last"
"""In ``Conversation.details``: the time of the newest message, and digests of the customer's of that very time."""
MOST_LAST = 20


def details(turns: Sequence[Turn], end: datetime) -> dict[str, str]:
    """What to remember of a transcript that ends then."""
    last = [turn.text for turn in turns if turn.role == CUSTOMER and turn.at == end]
    return {END: end.isoformat(), LAST: " ".join(cursor.short(text) for text in last[-MOST_LAST:])}


def is_after(known: Mapping[str, str], message: CustomerMessage) -> bool:
    """Whether the transcript does not hold this message. Without a transcript nothing is known to be held."""
    if END not in known:
        return True
    end = datetime.fromisoformat(known[END])
    if LAST not in known:  # stored by an older version
        return message.at > end
    # Times in whole seconds say nothing about the order within one.
    at = message.at if end.microsecond else message.at.replace(microsecond=0)
    if at != end:
        return at > end
    return cursor.short(message.text) not in known.get(LAST, "").split()
