"""Doubt about a conversation's end: a channel that is switched off, or an address that is blocked, ends none of them.

Both are answered like the end of every single conversation, and pass by. So Salesforce must say the same for a while.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock

from shared.errors import ConversationEnded, TransientFailure
from shared.salesforce import SYSTEM

CERTAIN_AFTER_SECONDS = 60.0
"""For how long the same answer must have come, without a good one in between."""
FORGOTTEN_AFTER_SECONDS = 600.0
"""After that long without such an answer, the next one is the first again: others may have had good ones meanwhile."""
MOST_CONVERSATIONS = 5000


@dataclass(frozen=True)
class _Seen:
    """The same answer; times are monotonic, in seconds."""

    code: str
    first: float
    last: float


class Doubts:
    """Which conversations are said to be over, and since when; in memory, of a bounded number.

    Args:
        monotonic: seconds that only grow.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    @contextmanager
    def about(self, conversation_id: str, *, codes: frozenset[str]) -> Iterator[None]:
        """Let the end of a conversation out only when it is certain; what goes well takes the doubt away.

        Args:
            conversation_id: whose end.
            codes: of the ends that must be said for a while; others are certain at once.

        Raises:
            ConversationEnded: as it was raised within; it is certain.
            TransientFailure: it is not, yet.
        """
        try:
            yield
        except ConversationEnded as ended:
            if ended.code in codes and not self._is_certain(conversation_id, ended.code):
                message = f"The conversation may be over; that is not certain yet. {ended.message}"
                raise TransientFailure(
                    message, code="salesforce_unavailable", system=SYSTEM, is_unclear=False
                ) from ended
            raise
        self.forget(conversation_id)

    def forget(self, conversation_id: str) -> None:
        """There is no doubt any more."""
        with self._lock:
            self._seen.pop(conversation_id, None)

    def _is_certain(self, conversation_id: str, code: str) -> bool:
        now = self._monotonic()
        with self._lock:
            seen = self._seen.get(conversation_id)
            if seen is None or seen.code != code or now - seen.last > FORGOTTEN_AFTER_SECONDS:
                seen = _Seen(code, now, now)
            self._seen[conversation_id] = replace(seen, last=now)
            self._seen.move_to_end(conversation_id)
            while len(self._seen) > MOST_CONVERSATIONS:
                self._seen.popitem(last=False)
        return now - seen.first >= CERTAIN_AFTER_SECONDS
