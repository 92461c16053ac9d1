"""A conversation and its inbox as Table Storage entities, and back.

Limits: 64 KiB a property, in UTF-16 for text (Microsoft's page on the Table service data model).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shared.handoff.text import split
from shared.relay.model import MESSAGE, Claim, Conversation, File, RepEntry

_TEXT_UNITS = 30_000
"""A text property holds 32,768 UTF-16 units; a rep's message is shorter, and one that is not is split over several."""

_TIMES = (
    "opened_at",
    "accepted_at",
    "stuck_at",
    "over_at",
    "rep_cursor",
    "contact_cursor",
    "next_at",
    "contact_poll_at",
    "active_at",
    "swept_at",
    "ended_at",
)
_PLAIN = (
    "handoff_id",
    "session_id",
    "system",
    "conversation_id",
    "channel",
    "state",
    "has_rep",
    "failures",
    "to_customer",
    "to_rep",
    "undelivered",
    "error_code",
    "ending",
    "peeks",
    "stuck_id",
    "stuck_tries",
)
_LISTS = ("details", "rep_seen", "said", "recent", "contact_seen")
_SEEN = {"rep_seen", "recent", "contact_seen"}
_KEPT = (
    "handoff_id",
    "session_id",
    "system",
    "conversation_id",
    "channel",
    "state",
    "to_customer",
    "to_rep",
    "undelivered",
    "error_code",
    "ending",
)


class UnreadableRow(Exception):
    """A row that says no conversation: an id is missing, or something in it cannot be parsed."""


def to_entity(conversation: Conversation, write: str) -> dict[str, Any]:
    """The properties of an open conversation, without keys; ``write`` is the token of this write."""
    claim = conversation.claim
    row: dict[str, Any] = {name: getattr(conversation, name) for name in _PLAIN}
    row |= {name: text_of(getattr(conversation, name)) for name in _TIMES}
    row |= {name: packed(getattr(conversation, name)) for name in _LISTS}
    row["claim"] = ""
    if claim is not None:
        row["claim"] = json.dumps({**asdict(claim), "at": text_of(claim.at), "until": text_of(claim.until)})
    return {**row, "Write": write}


def from_entity(row: Mapping[str, Any]) -> Conversation:
    """The conversation that an entity holds. What an older version did not write is as the model has it by default.

    Raises:
        UnreadableRow: it holds none.
    """
    with _reading():
        lists: dict[str, Any] = {name: json.loads(row[name]) for name in _LISTS if name in row}
        for name in _SEEN & lists.keys():
            lists[name] = tuple((digest, at) for digest, at in lists[name])
        claim = _claim(row.get("claim", ""))
        return Conversation(**_columns(row, _PLAIN, _TIMES), **lists, claim=claim, version=etag_of(row))


def to_trace(conversation: Conversation) -> dict[str, Any]:
    """What stays of a conversation: counts, times, and who has ended it."""
    row: dict[str, Any] = {name: getattr(conversation, name) for name in _KEPT}
    return {**row, "opened_at": text_of(conversation.opened_at), "ended_at": text_of(conversation.ended_at)}


def from_trace(row: Mapping[str, Any]) -> Conversation:
    """The conversation as far as its trace tells. Raises UnreadableRow."""
    with _reading():
        return Conversation(**_columns(row, _KEPT, ("opened_at", "ended_at")))


def entry_to_entity(entry: RepEntry) -> dict[str, Any]:
    """The properties of an entry in the inbox, without keys."""
    texts = split(entry.text, _TEXT_UNITS)
    return {
        "id": entry.id,
        "at": text_of(entry.at),
        "kind": entry.kind,
        "author": entry.author or "",
        "files": packed([asdict(file) for file in entry.files]),
        "is_automated": entry.is_automated,
        **{f"text{number}": text for number, text in enumerate(texts)},
    }


def entry_from_entity(row: Mapping[str, Any]) -> RepEntry:
    """The entry that an entity holds."""
    texts = [str(row[f"text{number}"]) for number in range(20) if f"text{number}" in row]
    return RepEntry(
        id=row["id"],
        at=_moment(row["at"]),
        kind=row.get("kind", MESSAGE),
        text="".join(texts),
        author=row.get("author") or None,
        files=tuple(File(**file) for file in json.loads(row.get("files", "[]"))),
        is_automated=row.get("is_automated", False),
        key=str(row["RowKey"]),
    )


def packed(value: Any) -> str:
    """A list or object as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)


def text_of(moment: datetime | None) -> str:
    """A time as text; empty for none."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else ""


def time_of(text: str) -> datetime | None:
    """The time that a text holds; one without a zone, which a hand may have written, is in UTC."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def etag_of(row: Mapping[str, Any]) -> str:
    """The version of an entity that was read."""
    return str(getattr(row, "metadata", {}).get("etag", ""))


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableRow(type(error).__name__) from None  # the error's own text may quote the row


def _columns(row: Mapping[str, Any], plain: Sequence[str], times: Sequence[str]) -> dict[str, Any]:
    """The columns that the row has; the model knows the rest, but for the ids."""
    found = {name: row[name] for name in plain if name in row}
    found |= {name: time_of(row[name]) for name in times if name in row}
    return {**found, "opened_at": _moment(row["opened_at"])}


def _claim(text: str) -> Claim | None:
    if not text:
        return None
    held = json.loads(text)
    return Claim(**{**held, "at": _moment(held["at"]), "until": _moment(held["until"])})


def _moment(text: str) -> datetime:
    """A time that has to be there."""
    moment = time_of(text)
    if moment is None:
        raise ValueError
    return moment
