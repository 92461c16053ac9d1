"""Is anybody there: the action CCaaS_GetRepresentativeAvailabilityBeforeConversation, and what it knows.

The parameters and the answer are those of Microsoft's page. Which error code goes with a wrong parameter is
not documented: the stand-in's choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sandbox.dataverse import errors
from sandbox.dataverse.address import GUID
from sandbox.dataverse.call import Call, answer
from sandbox.dataverse.rows import Ref, Store
from sandbox.dataverse.schema import Schema
from sandbox.wire import Response

ACTION = "CCaaS_GetRepresentativeAvailabilityBeforeConversation"

_NEVER = "0001-01-01T00:00:00Z"
_NO_END = "9999-12-31T23:59:59Z"
_KNOWN = {"ApiVersion", "LiveWorkStreamId", "CustomContextItems"}
_DATATYPES = {"192350000", "192350001"}


@dataclass(frozen=True, kw_only=True)
class Staffing:
    """Hours and representatives, the same for every queue.

    Attributes:
        open: within operating hours.
        agents: representatives who can take a conversation.
        position: where a new conversation would stand in the queue.
        wait_seconds: average wait; None when it is not known.
        opens_at: when the next hours start, ISO 8601 in UTC; empty when nobody knows.
        closes_at: when the current hours end, the same.
        allowed: false as if the API were not allowed here (405).
        administrator: false as if the application user lacked the role "Omnichannel administrator".
    """

    open: bool = True
    agents: int = 3
    position: int = 1
    wait_seconds: int | None = 45
    opens_at: str = ""
    closes_at: str = ""
    allowed: bool = True
    administrator: bool = True


class Availability:
    """Answers the action.

    Attributes:
        now: hours and representatives as they are.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Open, with three representatives."""
        self.now = Staffing()

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Changes fields of `now`. Raises ValueError naming a field that is unknown or of a wrong type."""
        kinds = {one.name: type(getattr(Staffing(), one.name)) for one in fields(Staffing)}
        for name, value in wanted.items():
            if name not in kinds:
                raise ValueError(f"unknown field {name!r}; known: {', '.join(sorted(kinds))}")
            if type(value) is not kinds[name] and not (name == "wait_seconds" and value is None):
                raise ValueError(f"{name} must be of type {kinds[name].__name__}")
        self.now = replace(self.now, **wanted)

    def answer(self, arguments: Mapping[str, Any], call: Call, schema: Schema, store: Store) -> Response:
        """Runs the action. Raises DataverseError 400, 403, 404 or 405."""
        now = self.now
        if not now.allowed:
            raise errors.method_not_allowed(call.method)
        if not now.administrator:
            text = "The user lacks the role Omnichannel administrator, which this API needs."
            raise errors.DataverseError(403, "0x80040220", text)
        stream_id = self._check(arguments)
        stream = store.get("msdyn_liveworkstream", stream_id)
        if stream is None:
            raise errors.not_found(schema.table("msdyn_liveworkstream").schema_name, stream_id)
        queue = stream.get("msdyn_defaultqueue")
        return answer(
            {
                "@odata.context": f"{call.root}$metadata#Microsoft.Dynamics.CRM.{ACTION}Response",
                "QueueId": queue.id if isinstance(queue, Ref) else None,
                "IsQueueAvailable": now.open,
                "IsAgentAvailable": now.open and now.agents > 0,
                "NumberOfExpertsAvailableInQueue": now.agents if now.open else 0,
                "PositionInQueue": now.position,
                "AverageWaitTime": None,
                "AverageWaitTimeInSeconds": now.wait_seconds,
                "StartTimeOfNextOperatingHour": now.opens_at or _NEVER,
                "EndTimeOfNextOperatingHour": now.closes_at or _NEVER,
                "NextTransitionTime": (now.closes_at if now.open else now.opens_at) or _NO_END,
            }
        )

    @staticmethod
    def _check(arguments: Mapping[str, Any]) -> str:
        """The workstream's id."""
        for name in sorted(set(arguments) - _KNOWN):
            text = f"The parameter '{name}' in the request payload is not a valid parameter."
            raise errors.payload(ACTION, text)
        if arguments.get("ApiVersion") != "1.0":
            raise errors.invalid_argument("ApiVersion must be '1.0'.")
        stream_id = arguments.get("LiveWorkStreamId")
        if not isinstance(stream_id, str) or not GUID.fullmatch(stream_id):
            raise errors.invalid_argument("LiveWorkStreamId must be a GUID.")
        items = arguments.get("CustomContextItems")
        if items is not None:
            _check_items(items)
        return stream_id.lower()


def _check_items(items: object) -> None:
    """A JSON object as a string: `{name: {"value", "isDisplayable", "datatype"}}`."""
    wrong = errors.invalid_argument("CustomContextItems must be a JSON object as a string.")
    if not isinstance(items, str):
        raise wrong
    try:
        decoded = json.loads(items)
    except ValueError as error:
        raise wrong from error
    if not isinstance(decoded, dict):
        raise wrong
    for name, item in decoded.items():
        if not isinstance(item, dict) or "value" not in item or item.get("datatype") not in _DATATYPES:
            raise errors.invalid_argument(f"CustomContextItems: '{name}' needs value, isDisplayable and datatype.")
