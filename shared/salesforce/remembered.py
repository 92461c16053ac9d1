"""Ids that are remembered for a while, in memory, of a bounded number."""

from collections import OrderedDict
from threading import Lock


class Remembered:
    """A set that forgets its oldest ids; many threads may use it.

    Args:
        most: how many ids it holds.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, identifier: str) -> bool:
        """Whether it was added, and not forgotten since."""
        with self._lock:
            return identifier in self._ids

    def add(self, identifier: str) -> None:
        """Remember it; the oldest one is forgotten when there are too many."""
        with self._lock:
            self._ids[identifier] = None
            self._ids.move_to_end(identifier)
            while len(self._ids) > self._most:
                self._ids.popitem(last=False)
