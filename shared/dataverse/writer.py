"""Writes a plan in one round trip, and finds its way when Dataverse refuses a part of it or has it already.

The batch is: one change set (contact if new, the record, its notes), the record read back, the record put into its
queue. It stops at the first failure, so a repeat, which fails with 412 at the change set, never moves a case that a
rep has moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared import events
from shared.dataverse import refusal
from shared.dataverse.batch import ChangeSet, Operation, Part, Reply
from shared.dataverse.client import DataverseClient, error_of
from shared.dataverse.leave_out import ContactTaken, leave_out, names_a_part
from shared.dataverse.plan import Plan
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff.model import Notice

MOST_REFUSALS = 25
"""Round trips that one write may take to find out what has to be left out."""

_IS_THERE = "0x80040237"
"""Of the codes that come with 412, the one that means: a row of this id exists."""


@dataclass(frozen=True)
class Written:
    """What stands after a write. ``row`` holds the columns read back; empty when none were asked for."""

    row: dict[str, Any]
    contact_created: bool
    linked_contact: str | None
    notices: tuple[Notice, ...]


class Writer:
    """Writes plans into one environment."""

    def __init__(self, client: DataverseClient) -> None:
        self._client = client

    def write(self, plan: Plan, *, deadline: float) -> Written:
        """Make sure that the plan's rows stand. Safe to repeat.

        Raises:
            CustomerNeeded, ContactRefused, ContactTaken: see there; the caller has another plan.
            TransientFailure, ConfigurationFault, PermanentFailure: see `shared.errors`.
        """
        notices: list[Notice] = []
        while plan.refusals < MOST_REFUSALS:
            replies = self._client.batch(_parts(plan), deadline=deadline)
            failed = next((reply for reply in replies[0] if not reply.is_success), None)
            if failed is None:
                row, queue_notices = self._after_create(plan, replies[1:])
                return _written(plan, row, (*notices, *queue_notices), contact_created=plan.contact is not None)
            if failed.status == 412 or _may_be_the_queue(plan, failed):
                there = self._read_back(plan, deadline)
                if there is not None:
                    return there
            self._client.classed(failed)
            if failed.status == 412:
                plan = _without_known_contact(plan, failed)
                continue
            plan, notice = leave_out(plan, failed)
            if notice is not None:
                notices.append(notice)
                events.emit(events.PART_LEFT_OUT, code=notice.code, record_id=plan.record.row_id)
        message = "Dataverse refuses more parts of this handoff than can be left out."
        raise PermanentFailure(message, code="dynamics_refused")

    def _after_create(self, plan: Plan, replies: Sequence[Sequence[Reply]]) -> tuple[dict[str, Any], list[Notice]]:
        """Judge what came after the change set: the record read back, and the queue."""
        row: dict[str, Any] = {}
        rest = list(replies)
        if plan.select:
            row = self._client.classed(rest.pop(0)[0]).json()
        if plan.queue_id:
            return row, self._judge_queue(plan, rest.pop(0)[0])
        return row, []

    def _judge_queue(self, plan: Plan, reply: Reply) -> list[Notice]:
        """A queue that refuses must not cost the customer their case: it has landed, with a notice."""
        try:
            if self._client.classed(reply).is_success:
                return []
            code, message = error_of(reply)[0], "The queue refused the case; routing rules apply."
        except ConfigurationFault as fault:
            code, message = fault.code, f"The case is in no queue: {fault.message} {fault.fix}"
        events.emit(events.PART_LEFT_OUT, code="queue_refused", record_id=plan.record.row_id)
        return [Notice("queue_refused", f"{message} ({plan.queue_source}, {code or f'HTTP {reply.status}'})")]

    def _read_back(self, plan: Plan, deadline: float) -> Written | None:
        """The record as it stands, put into its queue if an earlier try did not get that far; None: not there."""
        parts: list[Part] = [_read(plan)]
        if plan.queue_id:
            query = f"queueitems?$select=queueitemid&$filter=_objectid_value%20eq%20{plan.record.row_id}&$top=1"
            parts.append(Operation("GET", query))
        replies = [part[0] for part in self._client.batch(parts, deadline=deadline, go_on=True)]
        if replies[0].status == 404:
            return None
        row = self._client.classed(replies[0]).json()
        notices: list[Notice] = []
        if plan.queue_id and row.get("statecode") == 0 and not self._client.classed(replies[1]).json().get("value"):
            operation = _enqueue(plan, plan.queue_id)
            reply = self._client.batch([operation], deadline=deadline, go_on=True)[0][0]
            notices = self._judge_queue(plan, reply)
        return _written(plan, row, tuple(notices), contact_created=False)


def _written(plan: Plan, row: dict[str, Any], notices: tuple[Notice, ...], *, contact_created: bool) -> Written:
    linked = row.get("_primarycontactid_value")
    if linked is None and plan.contact_id and not row and plan.record.column_bound_to(plan.contact_id):
        linked = plan.contact_id
    return Written(row, contact_created, linked, notices)


def _parts(plan: Plan) -> list[Part]:
    parts: list[Part] = [ChangeSet(tuple(row.create for row in plan.rows))]
    if plan.select:
        parts.append(_read(plan))
    if plan.queue_id:
        parts.append(_enqueue(plan, plan.queue_id))
    return parts


def _without_known_contact(plan: Plan, failed: Reply) -> Plan:
    """The record is not there, so it is the contact that the 412 speaks of."""
    code = error_of(failed)[0]
    if plan.contact is not None and code != _IS_THERE:
        message = f"Another contact has this identity already ({code})."
        raise ContactTaken(message, code="contact_taken", column=None)
    if plan.contact is None:
        message = "Dataverse says that a row is there already, but the record is not."
        raise TransientFailure(message, code="dynamics_conflict", system="handoff")
    return replace(plan, contact=None)  # another session of this customer has just created it


def _may_be_the_queue(plan: Plan, failed: Reply) -> bool:
    """Whether a failure may be the queue's, after the change set had been done.

    Microsoft's pages leave open whether a batch that stops gives the answers before the failure, too. If it gives the
    failing one alone, only its text tells what failed: one that names a part of the change set is no riddle.
    """
    if plan.queue_id is None or failed.status not in (400, 403, 404):
        return False
    refused = refusal.read(failed)
    if refused.missing_id is not None:
        return refused.missing_id == plan.queue_id.lower()
    return refused.code != refusal.CUSTOMER_NEEDED and not names_a_part(plan, refused)


def _read(plan: Plan) -> Operation:
    row = plan.record
    select = f"?$select={','.join(plan.select)}" if plan.select else ""
    return Operation("GET", f"{row.entity_set}({row.row_id}){select}")


def _enqueue(plan: Plan, queue_id: str) -> Operation:
    """Put the record into a queue (Microsoft's page "Use Web API actions", AddToQueue)."""
    target = {
        "@odata.type": f"Microsoft.Dynamics.CRM.{plan.record.logical_name}",
        f"{plan.record.logical_name}id": plan.record.row_id,
    }
    return Operation("POST", f"queues({queue_id})/Microsoft.Dynamics.CRM.AddToQueue", {"Target": target})
