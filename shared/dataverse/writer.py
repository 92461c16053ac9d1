"""Writes a plan in one round trip, and finds its way when Dataverse refuses a part of it or has it already.

The batch is: one change set (contact if new, the record, its notes), the record read back, the record put into its
queue. It stops at the first failure, so a repeat, which fails with 412 at the change set, never moves a case that a
rep has moved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared import events
from shared.dataverse import CHATS, SYSTEM, refusal
from shared.dataverse.batch import ChangeSet, Operation, Part, Reply
from shared.dataverse.client import DataverseClient, error_of
from shared.dataverse.refusal import Refusal
from shared.dataverse.rows import BIND, Row
from shared.errors import ConfigurationFault, PermanentFailure, RefusedPart, TransientFailure
from shared.handoff.model import Notice

MOST_REFUSALS = 30
"""Round trips that one write may take to find out what has to be left out."""


@dataclass(frozen=True)
class Plan:
    """What to write.

    Attributes:
        record: the incident or live work item.
        contact: the contact to create, or None when it is there already.
        contact_id: the contact that the record points at.
        notes: the transcript's notes; ``without_notes`` is the description that replaces them if they are refused.
        refit: makes the plan anew for a description of at most so many characters.
        children: further rows of the record, each of which may be left out.
        queue_id: the queue for the record.
        select: the columns to read back; none: the record is not read.
    """

    record: Row
    contact: Row | None = None
    contact_id: str | None = None
    notes: tuple[Row, ...] = ()
    description_column: str | None = None
    without_notes: str | None = None
    refit: Callable[[int], "Plan"] | None = None
    children: tuple[Row, ...] = ()
    queue_id: str | None = None
    queue_source: str = "DEFAULT_QUEUE_ID"
    select: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What stands after a write. ``row`` holds the columns read back; empty when none were asked for."""

    row: dict[str, Any]
    created: bool
    contact_created: bool
    notices: tuple[Notice, ...]


class CustomerNeeded(RefusedPart):
    """The organisation wants a customer on every case, and the plan has none (or one that does not exist)."""


class ContactVanished(TransientFailure):
    """The contact that was looked up is gone: look again."""


class Writer:
    """Writes plans into one environment."""

    def __init__(self, client: DataverseClient) -> None:
        self._client = client

    def write(self, plan: Plan, *, deadline: float) -> Written:
        """Make sure that the plan's rows stand. Safe to repeat.

        Raises:
            CustomerNeeded: see there; the caller has another plan.
            TransientFailure, ConfigurationFault, PermanentFailure: see `shared.errors`.
        """
        notices: list[Notice] = []
        for _ in range(MOST_REFUSALS):
            replies = self._client.batch(self._parts(plan), deadline=deadline)
            failed = next((reply for reply in replies[0] if not reply.is_success), None)
            if failed is None:
                row, queue_notices = self._after_create(plan, replies[1:])
                return Written(
                    row,
                    created=True,
                    contact_created=plan.contact is not None,
                    notices=(*notices, *queue_notices),
                )
            if failed.status == 412 or _may_be_the_queue(plan, failed):
                there = self._read_back(plan, deadline)
                if there is not None:
                    return there
            self._client.classed(failed)
            if failed.status == 412:
                if plan.contact is None:
                    message = "Dataverse says that a row is there already, but the record is not."
                    raise TransientFailure(message, code="dynamics_conflict", system=SYSTEM)
                plan = replace(plan, contact=None)  # another session of this customer has just created it
                continue
            plan, notice = _leave_out(plan, refusal.read(failed), failed)
            if notice is not None:
                notices.append(notice)
                events.emit(events.PART_LEFT_OUT, code=notice.code, record_id=plan.record.row_id)
        message = "Dataverse refuses more parts of this handoff than can be left out."
        raise PermanentFailure(message, code="dynamics_refused")

    def _parts(self, plan: Plan) -> list[Part]:
        rows = [row for row in (plan.contact, plan.record, *plan.notes, *plan.children) if row is not None]
        parts: list[Part] = [ChangeSet(tuple(row.create for row in rows))]
        if plan.select:
            parts.append(_read(plan))
        if plan.queue_id:
            parts.append(_enqueue(plan, plan.queue_id))
        return parts

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
        return Written(row, created=False, contact_created=False, notices=tuple(notices))


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
    return not any(_refused_column(row, refused) for _, row in _rows_named(plan, refused.table))


def _read(plan: Plan) -> Operation:
    columns = plan.select or (f"{plan.record.logical_name}id",)
    row = plan.record
    select = f"?$select={','.join(columns)}" if plan.select else ""
    return Operation("GET", f"{row.entity_set}({row.row_id}){select}")


def _enqueue(plan: Plan, queue_id: str) -> Operation:
    """Put the record into a queue (Microsoft's page "Use Web API actions", AddToQueue)."""
    target = {
        "@odata.type": f"Microsoft.Dynamics.CRM.{plan.record.logical_name}",
        f"{plan.record.logical_name}id": plan.record.row_id,
    }
    return Operation("POST", f"queues({queue_id})/Microsoft.Dynamics.CRM.AddToQueue", {"Target": target})


def _leave_out(plan: Plan, refused: Refusal, reply: Reply) -> tuple[Plan, Notice | None]:
    """The plan without what was refused. Raises what must happen when nothing can be left out."""
    if refused.code == refusal.CUSTOMER_NEEDED:
        raise CustomerNeeded("A case needs a customer.", code="customer_needed", column=None)
    if refused.table_is_missing:
        return _without_table(plan, refused)
    if refused.missing_id is not None:
        return _without_link(plan, refused.missing_id)
    for name, row in _rows_named(plan, refused.table):
        column = _refused_column(row, refused)
        if column is not None:
            if refused.limit is not None and isinstance(row.columns[column], str):
                return _shorten(plan, name, row, column, refused.limit)
            if name in ("notes", "children"):
                return _without_rows(plan, name)
            if column in row.optional:
                return _with(plan, name, row.without(column)), _notice(row, column)
    return _without_all(plan, refused, reply)


def _refused_column(row: Row, refused: Refusal) -> str | None:
    """The column that the error means; a name quoted in passing counts only if that column may be left out."""
    if refused.column:
        return row.column_named(refused.column)
    named = (row.column_named(word) for word in refused.names)
    return next((column for column in named if column in row.optional), None)


def _rows_named(plan: Plan, table: str | None) -> list[tuple[str, Row]]:
    """The plan's rows of the refused table; all of them when the error names none."""
    rows = [("record", plan.record), ("contact", plan.contact)]
    rows += [("notes", row) for row in plan.notes[:1]] + [("children", row) for row in plan.children[:1]]
    return [
        (name, row)
        for name, row in rows
        if row is not None and (table is None or table in (row.entity_set, row.logical_name))
    ]


def _with(plan: Plan, name: str, row: Row) -> Plan:
    return replace(plan, contact=row) if name == "contact" else replace(plan, record=row)


def _shorten(plan: Plan, name: str, row: Row, column: str, limit: int) -> tuple[Plan, Notice | None]:
    """Fit a text into the organisation's limit. The description moves into notes, so that nothing is lost."""
    if name == "record" and column == plan.description_column and plan.refit:
        return plan.refit(limit), None
    if name == "notes":
        return _without_rows(plan, name)
    if name == "children":
        return replace(plan, children=tuple(child.shortened(column, limit) for child in plan.children)), None
    notice = Notice("text_shortened", f"{row.logical_name}.{column} holds only {limit} characters; it was cut.")
    return _with(plan, name, row.shortened(column, limit)), notice


def _without_table(plan: Plan, refused: Refusal) -> tuple[Plan, Notice | None]:
    for name, rows in (("notes", plan.notes), ("children", plan.children)):
        if rows and refused.table in (rows[0].entity_set.lower(), rows[0].logical_name):
            return _without_rows(plan, name)
    raise ConfigurationFault(
        f"This environment has no table {plan.record.entity_set}.",
        code="dynamics_table_missing",
        system=SYSTEM if plan.record.logical_name == "incident" else CHATS,
        fix="Set LIVE_WORK_ITEM_PRESET or LIVE_WORK_ITEM_ENTITY_SET to a table that exists.",
    )


def _without_rows(plan: Plan, name: str) -> tuple[Plan, Notice | None]:
    """Leave out the notes (the description then holds what fits) or the children."""
    if name == "children":
        return replace(plan, children=()), Notice("context_refused", "The context variables' table refused them.")
    record = plan.record
    if plan.description_column and plan.without_notes:
        columns = {**record.columns, plan.description_column: plan.without_notes}
        record = replace(record, columns=columns)
    message = "Notes were refused: the description holds the newest part of the transcript only."
    return replace(plan, record=record, notes=()), Notice("transcript_truncated", message)


def _without_link(plan: Plan, missing_id: str) -> tuple[Plan, Notice | None]:
    """A row that is pointed at does not exist."""
    if plan.contact_id and missing_id == plan.contact_id.lower():
        message = "The contact that was found has been deleted meanwhile."
        raise ContactVanished(message, code="contact_vanished", system=SYSTEM)
    column = plan.record.column_bound_to(missing_id)
    if column and column.startswith("customerid"):
        raise CustomerNeeded("FALLBACK_CUSTOMER does not exist.", code="customer_missing", column=column)
    if column and column in plan.record.optional:
        return replace(plan, record=plan.record.without(column)), _notice(plan.record, column)
    message = "Dataverse says that a row which the handoff points at does not exist."
    raise PermanentFailure(message, code="dynamics_row_missing")


def _without_all(plan: Plan, refused: Refusal, reply: Reply) -> tuple[Plan, Notice | None]:
    """The error names nothing that we know: leave out all that is optional, in one go, before giving up."""
    record, contact = plan.record, plan.contact
    dropped = [name for row in (record, contact) if row for name in row.optional if name in row.columns]
    if not dropped and not plan.children and not plan.notes:
        message = f"Dataverse refuses the {record.logical_name} ({refused.code}, HTTP {reply.status})."
        raise PermanentFailure(message, code="dynamics_refused")
    if dropped or plan.children:
        for name in dropped:
            record = record.without(name) if name in record.optional else record
            contact = contact.without(name) if contact and name in contact.optional else contact
        names = ", ".join(name.removesuffix(BIND) for name in dropped) or "context variables"
        message = f"Dataverse refused a part without naming it ({refused.code}); left out: {names}."
        return replace(plan, record=record, contact=contact, children=()), Notice("parts_refused", message)
    return _without_rows(plan, "notes")


def _notice(row: Row, column: str) -> Notice:
    source = row.optional[column]
    name = column.removesuffix(BIND)
    return Notice("part_refused", f"Dataverse refuses {row.logical_name}.{name}; left out (from {source}).")
