"""What happened in a conversation, read from Salesforce's entries.

Facts: the schema of conversation entries (``outbound-custom-event-payload.yaml``); ``entryPayload`` is an object or
a JSON text; entries come doubled at times; "new event types can be introduced at any time".
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from shared.handoff.text import clean, one_line, parse_json
from shared.relay.model import JOINED, LEFT, MESSAGE, OVER, UNANSWERED, File, RepEntry

KINDS = "Message,ParticipantChanged,RoutingResult,SessionStatusChanged"
STATUSES = "SessionStatusChanged"

_PEOPLE = frozenset({"Agent", "Supervisor"})
_CUSTOMER = "EndUser"

type Json = dict[str, Any]


def rep_entries(entries: Iterable[Json], *, since: datetime) -> list[RepEntry]:
    """What the rep's side did, oldest first, each once; the customer's own messages are left out.

    Args:
        entries: as Salesforce gives them.
        since: the time of an entry that has none, where no other has one.
    """
    known = list(entries)
    since = max((at for at in map(_at, known) if at is not None), default=since)
    later = _sessions(known)
    found: dict[str, RepEntry] = {}
    for entry in known:
        for each in _read(entry, later, since):
            found.setdefault(each.id, each)
    return sorted(found.values(), key=lambda entry: entry.at)


def ids_of(entry: Json) -> set[str]:
    """Every id that an entry bears; a message that we sent bears ours."""
    payload = payload_of(entry)
    message = _part(payload, "abstractMessage")
    return {str(each) for each in (entry.get("identifier"), payload.get("id"), message.get("id")) if each}


def payload_of(entry: Json) -> Json:
    """The payload, whichever way it was written; empty when it cannot be read."""
    payload = entry.get("entryPayload")
    if isinstance(payload, str):
        try:
            payload = parse_json(payload)
        except (ValueError, RecursionError):
            return {}
    return payload if isinstance(payload, dict) else {}


def _read(entry: Json, sessions: dict[str, datetime], since: datetime) -> Iterator[RepEntry]:
    payload = payload_of(entry)
    identifier = entry.get("identifier") or payload.get("id")
    if not identifier:
        return  # what cannot be told apart from its own repetition cannot be carried
    name = str(identifier)
    at = _at(entry) or since
    match entry.get("entryType") or payload.get("entryType"):
        case "Message":
            yield from _message(entry, payload, name, at)
        case "ParticipantChanged":
            yield from _participants(payload, name, at)
        case "RoutingResult":
            if str(payload.get("failureType") or "None") != "None":
                yield RepEntry(name, at, UNANSWERED, is_automated=True)
        case "SessionStatusChanged":
            session_id = str(payload.get("sessionId") or "")
            has_successor = any(each != session_id and began > at for each, began in sessions.items())
            if payload.get("sessionStatus") == "Ended" and not has_successor:
                yield RepEntry(name, at, OVER, is_automated=True)
        case "CloseConversation":
            yield RepEntry(name, at, OVER, is_automated=True)


def _sessions(entries: Iterable[Json]) -> dict[str, datetime]:
    """The sessions that have not ended, and when they were last heard of: an end before that is not the end."""
    alive: dict[str, datetime] = {}
    ended: set[str] = set()
    for entry in entries:
        payload = payload_of(entry)
        at = _at(entry)
        if payload.get("entryType", entry.get("entryType")) != STATUSES or at is None:
            continue
        session_id = str(payload.get("sessionId") or "")
        if payload.get("sessionStatus") == "Ended":
            ended.add(session_id)
        else:
            alive[session_id] = max(at, alive.get(session_id, at))
    return {session_id: at for session_id, at in alive.items() if session_id not in ended}


def _message(entry: Json, payload: Json, name: str, at: datetime) -> Iterator[RepEntry]:
    sender = _part(entry, "sender")
    role = str(sender.get("role") or "")
    if role == _CUSTOMER or entry.get("visibilityStrategy", "All") not in ("All", None):
        return  # our own echo, or what reps say among themselves
    message = _part(payload, "abstractMessage")
    text, files = _content(message)
    if not text and not files:
        return
    is_automated = role not in _PEOPLE or bool(payload.get("messageReason"))
    author = entry.get("senderDisplayName")
    yield RepEntry(
        name,
        at,
        MESSAGE,
        text=text,
        author=one_line(str(author)) if author else None,
        files=files,
        is_automated=is_automated,
    )


def _content(message: Json) -> tuple[str, tuple[File, ...]]:
    """A message's text, with links and choices in it, and its files."""
    static = _part(message, "staticContent")
    lines = [_text(static.get("text"))]
    if static.get("formatType") == "RichLink":
        item = _part(static, "linkItem")
        url = _text(item.get("url"))
        title = _text(_part(item, "titleItem").get("title"))
        lines += [title if title != url else "", url]
    choices = _part(message, "choices")
    lines.append(_text(choices.get("text")))
    titles = [_text(_part(option, "titleItem").get("title")) for option in _list(choices.get("optionItems"))]
    lines += [f"{number}. {title}" for number, title in enumerate(filter(None, titles), 1)]
    if not static and not choices:
        lines.append(_text(message.get("text")))
    files = tuple(_file(each) for each in _list(static.get("attachments")) if _text(each.get("url")))
    return "\n".join(filter(None, lines)), files


def _file(attachment: Json) -> File:
    kind = _text(attachment.get("mimeType")) or None
    return File(name=_text(attachment.get("name")) or None, url=_text(attachment.get("url")), content_type=kind)


def _participants(payload: Json, name: str, at: datetime) -> Iterator[RepEntry]:
    changes = [each for each in _list(payload.get("entries")) if _part(each, "participant").get("role") == "Agent"]
    kinds = {"add": JOINED, "remove": LEFT}
    for number, change in enumerate(changes):
        kind = kinds.get(str(change.get("operation")))
        if kind is not None:
            who = _text(change.get("displayName")) or None
            yield RepEntry(f"{name}:{number}" if number else name, at, kind, author=who, is_automated=True)


def _at(entry: Json) -> datetime | None:
    for key in ("transcriptedTimestamp", "clientTimestamp"):
        value = entry.get(key)
        if isinstance(value, int | float) and 0 < value < 1e14:
            return datetime.fromtimestamp(value / 1000, UTC)
    return None


def _text(value: object) -> str:
    return clean(value).strip() if isinstance(value, str) else ""


def _part(data: Json, key: str) -> Json:
    part = data.get(key)
    return part if isinstance(part, dict) else {}


def _list(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
