"""`GET …/entries` and `GET conversation/list`: queries, windows and pages."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import parse_qsl

from sandbox.salesforce.model import Conversation, Json
from sandbox.salesforce.payloads import LISTED, SESSION_STATUS_CHANGED
from sandbox.salesforce.refusal import Refused

_DEFAULT_LIMIT = 20
_MOST = 50
_ENTRIES = {"limit", "startTimestamp", "endTimestamp", "direction", "entryTypeFilter"}
_CONVERSATIONS = {"limit", "startTimestamp", "endTimestamp", "inclClosedConvs", "conversationId"}


@dataclass(frozen=True, slots=True)
class Window:
    """Which entries are asked for; times in milliseconds since the epoch, both ends included."""

    limit: int
    start_ms: int | None
    end_ms: int | None
    oldest_first: bool
    kinds: frozenset[str]


def query(raw: str, known: Iterable[str]) -> dict[str, str]:
    """The parameters of a query. Raises Refused (400) for one that is unknown or comes twice."""
    pairs = parse_qsl(raw, keep_blank_values=True)
    found = dict(pairs)
    if unknown := sorted(found.keys() - set(known)):
        raise Refused(400, f"query parameter {unknown[0]} is not known")
    if len(found) < len(pairs):
        raise Refused(400, "a query parameter comes twice")
    return found


def window(raw: str) -> Window:
    """What a query of `GET …/entries` asks for. Raises Refused (400)."""
    given = query(raw, _ENTRIES)
    direction = given.get("direction", "FromEnd")
    if direction not in {"FromStart", "FromEnd"}:
        raise Refused(400, "direction must be FromStart or FromEnd")
    kinds = LISTED
    if "entryTypeFilter" in given:
        kinds = frozenset(given["entryTypeFilter"].split(","))
        if not kinds <= LISTED:
            raise Refused(400, f"entryTypeFilter must be of {', '.join(sorted(LISTED))}")
    return Window(
        limit=_limit(given),
        start_ms=_number(given, "startTimestamp"),
        end_ms=_number(given, "endTimestamp"),
        oldest_first=direction == "FromStart",
        kinds=kinds,
    )


def entries(conversation: Conversation, asked: Window, *, duplicate_every: int, with_status: bool) -> bytes:
    """The body of a page: entries that have their JSON already, so this costs what the page holds."""
    times = conversation.times
    first = 0 if asked.start_ms is None else bisect_left(times, asked.start_ms)
    end = len(times) if asked.end_ms is None else bisect_right(times, asked.end_ms)
    places: Iterable[int] = range(first, end) if asked.oldest_first else range(end - 1, first - 1, -1)
    kinds = asked.kinds if with_status else asked.kinds - {SESSION_STATUS_CHANGED}
    every = conversation.entries
    page = [one.listed for one in islice((every[place] for place in places if every[place].kind in kinds), asked.limit)]
    if duplicate_every:
        page = _doubled(page, duplicate_every)[: asked.limit]
    return b'{"conversationEntries":[' + ",".join(page).encode() + b"]}"


def conversations(found: Iterable[Conversation], raw: str) -> Json:
    """The body of `GET conversation/list`, latest first. Raises Refused (400)."""
    given = query(raw, _CONVERSATIONS)
    closed_too = given.get("inclClosedConvs", "false")
    if closed_too not in {"true", "false"}:
        raise Refused(400, "inclClosedConvs must be true or false")
    start, end = _number(given, "startTimestamp"), _number(given, "endTimestamp")
    picked = [
        one
        for one in found
        if (start is None or one.created_ms >= start)
        and (end is None or one.created_ms <= end)
        and given.get("conversationId", one.id) == one.id
    ]
    shown = [one for one in reversed(picked) if closed_too == "true" or not one.closed_ms][: _limit(given)]
    return {
        "openConversationsFound": sum(not one.closed_ms for one in picked),
        "closedConversationsFound": sum(bool(one.closed_ms) for one in picked) if closed_too == "true" else 0,
        "conversations": [
            {"conversationId": one.id, "startTimestamp": one.created_ms, "endTimestamp": one.closed_ms} for one in shown
        ],
    }


def _doubled(page: Sequence[str], every: int) -> list[str]:
    return [one for place, entry in enumerate(page, 1) for one in [entry] * (2 if place % every == 0 else 1)]


def _number(given: dict[str, str], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not value.isdecimal():
        raise Refused(400, f"{name} must be a number of milliseconds")
    return int(value)


def _limit(given: dict[str, str]) -> int:
    limit = given.get("limit", str(_DEFAULT_LIMIT))
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST:
        raise Refused(400, f"limit must be a number from 1 to {_MOST}")
    return int(limit)
