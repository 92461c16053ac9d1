"""The pages of a session's history, of which OpenCX states no order: where to begin, and when to stop.

Facts: docs.open.cx, API reference: ``GET /chat/sessions/{id}/history`` is paged by ``next``; neither the order of the
items nor the size of a page is stated. An oldest-first history only grows at its end, so a page is known by how it
begins.
"""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from threading import Lock
from typing import Any

from shared.handoff.message import time_of

MOST_SESSIONS, MOST_MARKS = 2_000, 16
"""How many sessions' pages are remembered, and how many of the last ones of each: some 10 MB at most."""


@dataclass(frozen=True)
class Page:
    """One page of a history; without a cursor it is the first one."""

    cursor: str | None
    items: list[Any]


@dataclass(frozen=True)
class Mark:
    """How a page of an oldest-first history begins: its cursor, and its first item's digest and time."""

    cursor: str
    name: str
    at: datetime

    def is_of(self, page: Page) -> bool:
        """Whether the page begins as it did."""
        return bool(page.items) and name_of(page.items[0]) == self.name


class Marks:
    """The last pages of the sessions whose history was read last; many threads may use it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._sessions: OrderedDict[str, list[Mark]] = OrderedDict()

    def before(self, session_id: str, since: datetime) -> Mark | None:
        """The last page that begins before that time: what is listed late has its place behind its beginning."""
        with self._lock:
            marks = self._sessions.get(session_id)
            if marks is None:
                return None
            self._sessions.move_to_end(session_id)
            return next((mark for mark in reversed(marks) if mark.at < since), None)

    def add(self, session_id: str, mark: Mark) -> None:
        """Remember it; the oldest page, and the session that was not read for longest, are forgotten."""
        with self._lock:
            known = {**{each.cursor: each for each in self._sessions.get(session_id, ())}, mark.cursor: mark}
            self._sessions[session_id] = sorted(known.values(), key=lambda each: each.at)[-MOST_MARKS:]
            self._sessions.move_to_end(session_id)
            while len(self._sessions) > self._most:
                self._sessions.popitem(last=False)

    def drop(self, session_id: str, mark: Mark) -> None:
        """Forget one page."""
        with self._lock:
            marks = self._sessions.get(session_id, [])
            if mark in marks:
                marks.remove(mark)

    def forget(self, session_id: str) -> None:
        """Forget a session's pages."""
        with self._lock:
            self._sessions.pop(session_id, None)


class Order:
    """What the times of a history say of its order, as far as it was read: one wrong time does not decide it."""

    def __init__(self) -> None:
        self._pages = self._rises = self._falls = 0
        self._last: datetime | None = None
        self._newest: datetime | None = None

    @property
    def is_newest_first(self) -> bool:
        """Whether time goes back."""
        return self._falls > self._rises

    def is_past(self, since: datetime) -> bool:
        """Whether time goes back, and all of the page that was read last is older; not by the first page alone."""
        return self._pages > 1 and self.is_newest_first and self._newest is not None and self._newest < since

    def take(self, page: Page) -> Mark | None:
        """Read a page; its mark, where it continues a history that comes oldest first."""
        before, times = self._last, [at for at in map(time_of, page.items) if at is not None]
        steps = list(pairwise(times if before is None else [before, *times]))
        self._pages += 1
        self._rises += sum(first < second for first, second in steps)
        self._falls += sum(first > second for first, second in steps)
        self._newest = max(times, default=None)
        self._last = times[-1] if times else before
        # No place to begin: a first item without a time, or behind a later one, which stands on the page before.
        at = time_of(page.items[0]) if page.items else None
        if page.cursor is None or at is None or (before is not None and before > at) or self._rises <= self._falls:
            return None
        return Mark(page.cursor, name_of(page.items[0]), at)


def name_of(item: Any) -> str:
    """A digest by which a history's item is known again."""
    own = item.get("id") if isinstance(item, dict) else None
    return hashlib.sha256(json.dumps(own or item, sort_keys=True).encode()).hexdigest()
