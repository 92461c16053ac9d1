"""Is anybody there? Asked before a conversation is made, and never a reason for a handoff to fail.

Facts: Microsoft's page "CCaaS_GetRepresentativeAvailabilityBeforeConversation": it is called with the Dataverse token,
needs the role Omnichannel administrator, and may not be allowed everywhere (405).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared import events
from shared.dataverse.batch import Operation
from shared.dataverse.client import DataverseClient, error_of
from shared.dynamics_messaging.settings import INCIDENT, OFF
from shared.errors import HandoffError
from shared.handoff.model import Notice

ACTION = "CCaaS_GetRepresentativeAvailabilityBeforeConversation"
MOST_SECONDS = 4.0
"""How long a customer's handoff waits for the answer."""

_TEXT = "192350000"
_LONGEST_VALUE = 512
_MINUTE = 60


class OutOfHours(HandoffError):
    """Nobody works now, and DYNAMICS_AVAILABILITY asks for an incident instead of a conversation.

    Attributes:
        notice: what to tell.
    """

    def __init__(self, notice: Notice) -> None:
        super().__init__(notice.message, code="out_of_hours")
        self.notice = notice


@dataclass(frozen=True)
class Turnout:
    """What was found out: whether the queue works now, and what to tell; None: nothing worth telling."""

    is_closed: bool = False
    notice: Notice | None = None


class Availability:
    """Asks one environment.

    Args:
        client: its Web API.
        mode: `OFF`, `SAY` or `INCIDENT`.
        workstream_id: asked about when the channel row names none.
    """

    def __init__(self, client: DataverseClient, *, mode: str, workstream_id: str | None) -> None:
        self._client = client
        self._mode = mode
        self._default = workstream_id
        self._workstreams: dict[str, str] = {}

    def check(self, context: Mapping[str, str], *, channel_id: str, now: float, deadline: float) -> Notice | None:
        """What to tell the customer, if anything.

        Args:
            context: the context variables that routing sees.
            channel_id: the channel row.
            now: the monotonic time, in seconds.
            deadline: the same, by which the handoff must be over.

        Raises:
            OutOfHours: the setting says `INCIDENT`, and nobody works now.
        """
        if self._mode == OFF:
            return None
        try:
            turnout = self._ask(context, channel_id, min(deadline, now + MOST_SECONDS))
        except HandoffError as error:
            events.emit(events.PART_LEFT_OUT, part="availability", code=error.code)
            return None
        if turnout.is_closed and turnout.notice and self._mode == INCIDENT:
            raise OutOfHours(turnout.notice)
        return turnout.notice

    def _ask(self, context: Mapping[str, str], channel_id: str, deadline: float) -> Turnout:
        workstream_id = self._workstream(channel_id, deadline)
        if workstream_id is None:
            events.emit(events.PART_LEFT_OUT, part="availability", reason="no_workstream")
            return Turnout()
        items = {
            name: {"value": value[:_LONGEST_VALUE], "isDisplayable": True, "datatype": _TEXT}
            for name, value in context.items()
        }
        body = {"ApiVersion": "1.0", "LiveWorkStreamId": workstream_id, "CustomContextItems": json.dumps(items)}
        reply = self._client.call(Operation("POST", ACTION, body), deadline=deadline)
        if not reply.is_success:
            reason = error_of(reply)[0] or f"http_{reply.status}"
            events.emit(events.PART_LEFT_OUT, part="availability", reason=reason)
            return Turnout()
        return read(reply.json())

    def _workstream(self, channel_id: str, deadline: float) -> str | None:
        """The channel row decides the workstream; a failed reading is not kept."""
        if channel_id not in self._workstreams:
            path = f"msdyn_occustommessagingchannels({channel_id})?$select=_msdyn_liveworkstreamid_value"
            found = self._client.get(path, deadline=deadline).json().get("_msdyn_liveworkstreamid_value")
            if not isinstance(found, str) or not found:
                return self._default
            self._workstreams[channel_id] = found
        return self._workstreams[channel_id]


def read(answer: Mapping[str, Any]) -> Turnout:
    """What an answer means."""
    if answer.get("IsQueueAvailable") is False:
        opens_at = _time(answer.get("StartTimeOfNextOperatingHour"))
        when = f" The next hours begin {opens_at:%Y-%m-%d %H:%M} UTC." if opens_at else ""
        notice = Notice("out_of_hours", f"No representative works at this hour.{when}")
        return Turnout(is_closed=True, notice=notice)
    seconds = answer.get("AverageWaitTimeInSeconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < float("inf"):
        minutes = max(1, round(seconds / _MINUTE))
        wait = f"The wait is about {minutes} minute{'s' if minutes > 1 else ''}."
        return Turnout(notice=Notice("wait_time", wait))
    if answer.get("IsAgentAvailable") is False:
        return Turnout(notice=Notice("wait_time", "Every representative is busy or away at the moment."))
    return Turnout()


def _time(value: object) -> datetime | None:
    """A time that means something: the years 1 and 9999 stand for "not known"."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment if 2000 < moment.year < 9000 else None
