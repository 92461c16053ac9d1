"""What was handled already: a cursor with an overlap, and the ids inside the overlap.

A system may list an entry late, twice, or with the time of another; so the question is always asked from a while
before the newest entry, and answered with the help of the ids (Salesforce: "sometimes returns duplicates").
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from shared.relay.model import digest

OVERLAP = timedelta(seconds=60)

MOST_SEEN = 600
"""Ids that are kept, newest first: some 20,000 of the 32,768 UTF-16 units that a property of the table holds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

type Seen = tuple[tuple[str, int], ...]


def short(text: str) -> str:
    """A digest of 60 bits: enough to tell the messages of one conversation apart."""
    return digest(text)[:15]


def is_seen(seen: Seen, message_id: str) -> bool:
    """Whether it was handled."""
    name = short(message_id)
    return any(known == name for known, _ in seen)


def since(cursor: datetime, seen: Seen = ()) -> datetime:
    """From when to ask. Of very many within the overlap only the newest: the ids of older ones may not be kept."""
    asked = max(cursor, _EPOCH + 2 * OVERLAP) - OVERLAP
    if len(seen) <= MOST_SEEN // 2:
        return asked
    times = sorted((at for _, at in seen), reverse=True)
    return max(asked, _EPOCH + timedelta(milliseconds=times[MOST_SEEN // 2]))


def passed(
    cursor: datetime | None,
    seen: Seen,
    handled: Iterable[tuple[str, datetime]],
    *,
    now: datetime,
    waiting: Iterable[str] = (),
) -> tuple[datetime | None, Seen]:
    """The cursor and the ids after these were handled; ids from long before the overlap are forgotten.

    Args:
        cursor: where it was.
        seen: what was handled before.
        handled: ids and times.
        now: the time of day; the cursor never passes it, or one wrong time would hide all that follows.
        waiting: ids that come again however old they are, for what they name has not been removed yet.
    """
    ids = dict(seen)
    for message_id, at in handled:
        ids[short(message_id)] = _milliseconds(at)
        known = min(at, now)
        cursor = max(cursor or known, known)
    if cursor is None:
        return None, ()
    oldest = _milliseconds(since(cursor) - OVERLAP)
    kept = {short(message_id) for message_id in waiting}
    if len(ids) > MOST_SEEN:
        oldest = max(oldest, sorted(ids.values(), reverse=True)[MOST_SEEN - 1] + 1)
    return cursor, tuple((name, at) for name, at in ids.items() if at >= oldest or name in kept)


def _milliseconds(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds() * 1000)
