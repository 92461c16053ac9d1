"""A conversation and its inbox as Table Storage entities, and back.

Limits: 64 KiB a property, in UTF-16 for text (Microsoft's page on the Table service data model).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shared.handoff.text import split
from shared.relay.model import Claim, Conversation, File, RepEntry

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
    """The conversation that an entity holds."""
    times: dict[str, Any] = {name: time_of(row[name]) for name in _TIMES}
    claim: Claim | None = None
    if row["claim"]:
        held = json.loads(row["claim"])
        claim = Claim(
            **{**held, "at": datetime.fromisoformat(held["at"]), "until": datetime.fromisoformat(held["until"])}
        )
    return Conversation(
        **{name: row[name] for name in _PLAIN},
        **times,
        details=json.loads(row["details"]),
        said=json.loads(row["said"]),
        rep_seen=tuple((name, at) for name, at in json.loads(row["rep_seen"])),
        recent=tuple((name, at) for name, at in json.loads(row["recent"])),
        contact_seen=tuple((name, at) for name, at in json.loads(row["contact_seen"])),
        claim=claim,
        version=etag_of(row),
    )


def to_trace(conversation: Conversation) -> dict[str, Any]:
    """What stays of a conversation: counts, times, and who has ended it."""
    row: dict[str, Any] = {name: getattr(conversation, name) for name in _KEPT}
    return {**row, "opened_at": text_of(conversation.opened_at), "ended_at": text_of(conversation.ended_at)}


def from_trace(row: Mapping[str, Any]) -> Conversation:
    """The conversation as far as its trace tells."""
    opened_at = time_of(row["opened_at"])
    assert opened_at is not None
    return Conversation(**{name: row[name] for name in _KEPT}, opened_at=opened_at, ended_at=time_of(row["ended_at"]))


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
    at = time_of(row["at"])
    assert at is not None
    texts = [str(row[f"text{number}"]) for number in range(20) if f"text{number}" in row]
    return RepEntry(
        id=row["id"],
        at=at,
        kind=row["kind"],
        text="".join(texts),
        author=row["author"] or None,
        files=tuple(File(**file) for file in json.loads(row["files"])),
        is_automated=row["is_automated"],
        key=str(row["RowKey"]),
    )


def packed(value: Any) -> str:
    """A list or object as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)


def text_of(moment: datetime | None) -> str:
    """A time as text; empty for none."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else ""


def time_of(text: str) -> datetime | None:
    """The time that a text holds."""
    return datetime.fromisoformat(text) if text else None


def etag_of(row: Mapping[str, Any]) -> str:
    """The version of an entity that was read."""
    return str(getattr(row, "metadata", {}).get("etag", ""))
