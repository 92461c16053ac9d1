"""What the webhook has brought, made sense of: doubles, and the order.

Fact: the documented activities have no id, no time and no number (Microsoft's page "Webhook"), and a delivery that is
not answered in ten seconds comes again, three times in all. So what says the same as another within a minute is in
doubt, and the listing of the conversation decides about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.dynamics_messaging.activity import Activity
from shared.relay import cursor
from shared.relay.model import MESSAGE, Conversation, RepEntry
from shared.relay.words import entry_text

WINDOW = timedelta(seconds=60)
"""Three attempts of ten seconds, and the pauses between them, of which nothing is documented."""

_BY_WORDS, _BY_MESSAGE_ID = "h:", "m:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """One entry of the inbox.

    Attributes:
        is_handled: it was carried; only the inbox does not know yet.
        is_double: another delivery of the same thing was handled, or is before it.
        is_doubtful: it says the same as one that was handled a moment ago, or is before it.
    """

    entry: RepEntry
    is_handled: bool = False
    is_double: bool = False
    is_doubtful: bool = False

    @property
    def text(self) -> str:
        """What it says, as the relay counts it."""
        return cursor.short(entry_text(self.entry))


def rows(pushed: Sequence[RepEntry], conversation: Conversation) -> list[Row]:
    """The inbox in the order of arrival, each entry with what can be said of it without the listing."""
    seen = dict(conversation.rep_seen)
    before: dict[str, datetime] = {}
    found: list[Row] = []
    for entry in pushed:
        if entry.key and cursor.short(entry.key) in seen:
            found.append(Row(entry, is_handled=True))
            continue
        times = [time for time in (before.get(entry.id), _moment(seen.get(cursor.short(entry.id)))) if time]
        if entry.id.startswith(_BY_WORDS):
            is_near = any(abs(entry.at - time) <= WINDOW for time in times)
            found.append(Row(entry, is_doubtful=is_near or _was_swept(entry, conversation)))
        else:
            is_swept = not entry.id.startswith(_BY_MESSAGE_ID) and _was_swept(entry, conversation)
            found.append(Row(entry, is_double=bool(times), is_doubtful=is_swept and not times))
        before[entry.id] = entry.at
    return found


def doubles(found: Sequence[Row], conversation: Conversation, *, listed: Mapping[str, int] | None) -> list[Row]:
    """The rows that are doubles.

    Args:
        found: from `rows`.
        conversation: what was said so far.
        listed: how often the other side said each text, by its digest; None: that cannot be found out. A text that
            was said within the minute says nothing new then.
    """
    taken: dict[str, int] = {}
    for row in found:
        if row.entry.kind == MESSAGE and not (row.is_handled or row.is_double or row.is_doubtful):
            taken[row.text] = taken.get(row.text, 0) + 1
    dropped = []
    for row in found:
        if row.is_double:
            dropped.append(row)
        elif row.is_doubtful:
            known = conversation.said.get(row.text, 0) + taken.get(row.text, 0)
            if row.entry.kind != MESSAGE or listed is None or listed.get(row.text, 0) <= known:
                dropped.append(row)
            else:
                taken[row.text] = taken.get(row.text, 0) + 1
    return dropped


def needs_order(found: Sequence[Row]) -> bool:
    """Whether the order of arrival has to be compared: several messages wait, not all of them numbered."""
    messages = [row for row in found if row.entry.kind == MESSAGE and not (row.is_handled or row.is_double)]
    return len(messages) > 1 and not all(row.entry.id.startswith(_BY_MESSAGE_ID) for row in messages)


def in_order(found: Sequence[Row], listed: Sequence[RepEntry]) -> list[RepEntry]:
    """The entries, messages in the order in which they are listed; what is not listed keeps its place.

    Args:
        found: from `rows`, in the order of arrival.
        listed: the messages of the listing, oldest first, as the webhook would have brought them.
    """
    entries = [row.entry for row in found]
    places = _listed_places(entries, listed) if listed else _numbered_places(entries)
    slots = sorted(places)
    ordered = list(entries)
    for slot, source in zip(slots, sorted(slots, key=lambda place: places[place]), strict=True):
        ordered[slot] = entries[source]
    return ordered


def _numbered_places(entries: Sequence[RepEntry]) -> dict[int, str]:
    """Where the messages with an id of Dynamics' own belong: the id is a time."""
    return {place: each.id for place, each in enumerate(entries) if each.id.startswith(_BY_MESSAGE_ID)}


def _listed_places(entries: Sequence[RepEntry], listed: Sequence[RepEntry]) -> dict[int, int]:
    """Where in the listing each message is; of those that say the same, the newest as many as wait."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(listed):
        places.setdefault(entry_text(each), []).append(place)
    waiting: dict[str, list[int]] = {}
    for place, each in enumerate(entries):
        if each.kind == MESSAGE:
            waiting.setdefault(entry_text(each), []).append(place)
    found: dict[int, int] = {}
    for text, mine in waiting.items():
        found.update(zip(mine, places.get(text, [])[-len(mine) :], strict=False))
    return found


def said(listed: Sequence[RepEntry]) -> dict[str, int]:
    """How often each text is listed, by its digest."""
    counts: dict[str, int] = {}
    for each in listed:
        text = cursor.short(entry_text(each))
        counts[text] = counts.get(text, 0) + 1
    return counts


def as_entries(listed: Sequence[Activity], channel: str) -> list[RepEntry]:
    """Listed messages as entries, for comparing what they say."""
    return [RepEntry(id=each.key, at=each.at or _EPOCH, text=each.words(channel), files=each.files) for each in listed]


def _was_swept(entry: RepEntry, conversation: Conversation) -> bool:
    """Whether a sweep may have said it already, under another id: a push may come long after what it brings."""
    if entry.kind != MESSAGE or conversation.swept_at is None:
        return False
    return conversation.said.get(cursor.short(entry_text(entry)), 0) > 0


def _moment(milliseconds: int | None) -> datetime | None:
    """A time as the relay keeps it."""
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)
