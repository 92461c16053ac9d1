"""One caller at a time; a failure is everybody's who waited for it: nobody sits out one time-out after another."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import HandoffError


class NoTurn(Exception):
    """Others were at it for as long as this thread could wait."""


class Turns:
    """A lock for something slow that many threads want at once, such as a token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[int, HandoffError]] = {}

    @contextmanager
    def take(self, what: str = "", *, timeout_seconds: float | None = None) -> Iterator[None]:
        """Wait for one's turn.

        Args:
            what: what is wanted; a failure is shared with those who want the same.
            timeout_seconds: how long to wait at most; None: as long as it takes.

        Raises:
            NoTurn: the time was over first.
            HandoffError: while this thread waited, somebody tried to get the same and failed with it.
        """
        before = self._failed.get(what)
        if not self._lock.acquire(timeout=-1 if timeout_seconds is None else max(0.0, timeout_seconds)):
            raise NoTurn
        try:
            now = self._failed.get(what)
            if now is not None and now != before:
                raise now[1].with_traceback(None)
            try:
                yield
            except HandoffError as error:
                self._failed[what] = (now[0] + 1 if now else 1, error)
                raise
        finally:
            self._lock.release()
