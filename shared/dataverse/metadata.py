"""What an organisation has changed about the case table: read once an hour, along with a call that is made anyway."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from shared.dataverse.batch import Operation, Reply

KEPT_SECONDS = 3600.0
AGAIN_SECONDS = 60.0
"""After an answer that told nothing."""
STOCK_DESCRIPTION_LIMIT = 2000
STOCK_PRIORITIES = frozenset({1, 2, 3})

_COLUMN = "EntityDefinitions(LogicalName='incident')/Attributes(LogicalName='{0}')/Microsoft.Dynamics.CRM.{1}?$select="
_DESCRIPTION = _COLUMN.format("description", "MemoAttributeMetadata") + "LogicalName,MaxLength"
_PRIORITY = (
    _COLUMN.format("prioritycode", "PicklistAttributeMetadata") + "LogicalName&$expand=OptionSet($select=Options)"
)
QUESTIONS = (Operation("GET", _DESCRIPTION), Operation("GET", _PRIORITY))


@dataclass(frozen=True)
class CaseTable:
    """The case table's limits. ``description_limit`` is in UTF-16 units."""

    description_limit: int = STOCK_DESCRIPTION_LIMIT
    priorities: frozenset[int] = STOCK_PRIORITIES

    def priority(self, wanted: int) -> int:
        """The wanted priority, or the lowest urgency that the option set has when it lacks the wanted one."""
        return wanted if wanted in self.priorities or not self.priorities else max(self.priorities)


class Metadata:
    """Remembers the case table for an hour; stock values until it has been read."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known = CaseTable()
        self._asked_again_at = float("-inf")

    @property
    def case_table(self) -> CaseTable:
        """What is known."""
        return self._known

    def questions(self) -> tuple[Operation, ...]:
        """The operations that would refresh what is known; none while it is fresh."""
        with self._lock:
            if self._monotonic() < self._asked_again_at:
                return ()
            return QUESTIONS

    def learn(self, replies: list[Reply]) -> None:
        """Take in the answers to `questions`; what was not answered stays as it is known, and is asked again soon."""
        answers = [reply.json() if reply.is_success else {} for reply in replies]
        limit = answers[0].get("MaxLength")
        options = (answers[1].get("OptionSet") or {}).get("Options") or []
        values = frozenset(
            option["Value"] for option in options if isinstance(option, dict) and isinstance(option.get("Value"), int)
        )
        told = limit if isinstance(limit, int) and limit > 0 else None
        with self._lock:
            self._asked_again_at = self._monotonic() + (KEPT_SECONDS if told and values else AGAIN_SECONDS)
            self._known = CaseTable(
                description_limit=told or self._known.description_limit,
                priorities=values or self._known.priorities,
            )
