"""The journal of a stand-in: one line a request, cheap to write and to keep."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        n: 1 for the first request since the start or the last reset.
        method: HTTP method.
        path: raw path with its query.
        status: what was answered; None when the connection was dropped.
        time: arrival, in seconds of the stand-in's clock.
        seconds: how long the answer took.
        note: what the stand-in adds, for instance the fault that was met.
    """

    n: int
    method: str
    path: str
    status: int | None
    time: float
    seconds: float
    note: str


# dataclasses.asdict copies deeply, which is ten times slower; journals grow to 100,000 entries.
_NAMES = tuple(entry.name for entry in fields(Entry))


class Journal:
    """All requests since the last reset, in the order in which they were answered. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    def add(self, *, method: str, path: str, status: int | None, time: float, seconds: float, note: str = "") -> None:
        """Appends one entry. `time` and `seconds` are in seconds."""
        with self._lock:
            self._entries.append(Entry(len(self._entries) + 1, method, path, status, time, seconds, note))

    def clear(self) -> None:
        """Forgets everything; numbering starts at 1 again."""
        with self._lock:
            self._entries = []

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, *, after: int = 0) -> list[Entry]:
        """The entries with `n` greater than `after`."""
        with self._lock:
            return self._entries[after:]

    def as_json(self, *, after: int = 0) -> list[dict[str, Any]]:
        """The same as plain objects."""
        return [{name: getattr(entry, name) for name in _NAMES} for entry in self.entries(after=after)]
