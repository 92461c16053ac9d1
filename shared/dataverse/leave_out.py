"""What to leave out of a plan when Dataverse refuses a part of it: a mistake must not cost a customer their answer.

A refusal that names a column costs that column. One that names nothing costs the least important tier. Text is never
left out before it has another place.
"""

from dataclasses import replace

from shared.dataverse import CHATS, SYSTEM, refusal
from shared.dataverse.batch import Reply
from shared.dataverse.plan import Plan
from shared.dataverse.refusal import Refusal
from shared.dataverse.rows import BIND, Row, Tier
from shared.errors import ConfigurationFault, PermanentFailure, RefusedPart, TransientFailure
from shared.handoff.model import Notice

NAMED_AT_MOST = 6
"""Refusals by name, one round trip each, before whole tiers go."""


class CustomerNeeded(RefusedPart):
    """The organisation wants a customer on every case, and the plan has none (or one that does not exist)."""


class ContactRefused(RefusedPart):
    """With all else left out the refusal stays: it may be the new contact that is refused."""


class ContactTaken(RefusedPart):
    """Another contact has this identity, by an alternate key or a duplicate rule of the organisation."""


class ContactVanished(TransientFailure):
    """The contact that was looked up is gone: look again."""


def leave_out(plan: Plan, reply: Reply) -> tuple[Plan, Notice | None]:
    """The plan without what was refused, and what to tell.

    Raises:
        CustomerNeeded, ContactRefused, ContactVanished: the caller needs another contact.
        ConfigurationFault: the table does not exist.
        PermanentFailure: nothing is left to leave out.
    """
    plan = replace(plan, refusals=plan.refusals + 1)
    refused = refusal.read(reply)
    if refused.code == refusal.CUSTOMER_NEEDED:
        raise CustomerNeeded("A case needs a customer.", code="customer_needed", column=None)
    if refused.table_is_missing:
        return _without_table(plan, refused)
    if refused.missing_id is not None:
        return _without_link(plan, refused.missing_id)
    if plan.refusals <= NAMED_AT_MOST or refused.limit is not None:
        for row in named_rows(plan, refused):
            column = named_column(row, refused)
            if column is not None:
                return _without_column(plan, row, column, refused)
    return _without_tier(plan, refused, reply)


def names_a_part(plan: Plan, refused: Refusal) -> bool:
    """Whether the refusal is about a row of the change set."""
    return any(named_column(row, refused) for row in named_rows(plan, refused))


def named_rows(plan: Plan, refused: Refusal) -> list[Row]:
    """The plan's rows of the refused table; one of each kind when the refusal names no table."""
    rows = [plan.record, *([plan.contact] if plan.contact else []), *plan.notes[:1], *plan.children[:1]]
    return [row for row in rows if refused.table in (None, row.entity_set.lower(), row.logical_name.lower())]


def named_column(row: Row, refused: Refusal) -> str | None:
    """The column that the refusal means; a name quoted in passing counts only if that column may be left out."""
    if refused.column:
        return row.column_named(refused.column)
    named = (row.column_named(word) for word in refused.names)
    return next((column for column in named if column in row.spare), None)


def _without_column(plan: Plan, row: Row, column: str, refused: Refusal) -> tuple[Plan, Notice | None]:
    is_note = any(row is note for note in plan.notes)
    if is_note or any(row is child for child in plan.children):
        return _without_notes(plan) if is_note else _without_children(plan)
    is_description = row is plan.record and column == plan.place.description
    if is_description:
        if refused.limit is not None and refused.limit < plan.place.limit:
            return plan.fitted(refused.limit), None
        return plan.without_description(), _notice(row, column)
    spare = row.spare.get(column)
    if refused.limit is not None and isinstance(row.columns[column], str) and (spare is None or spare.may_be_cut):
        message = f"{row.logical_name}.{column} holds only {refused.limit} characters; it was cut."
        return _with(plan, row, row.shortened(column, refused.limit)), Notice("text_shortened", message)
    if spare is None:
        return _without_tier(plan, refused, None)
    return _with(plan, row, row.without(column)), _notice(row, column)


def _with(plan: Plan, old: Row, new: Row) -> Plan:
    return replace(plan, contact=new) if old is plan.contact else replace(plan, record=new)


def _without_table(plan: Plan, refused: Refusal) -> tuple[Plan, Notice | None]:
    if plan.notes and refused.table in ("annotations", "annotation"):
        return _without_notes(plan)
    if plan.children and refused.table == plan.children[0].entity_set.lower():
        return _without_children(plan)
    raise ConfigurationFault(
        f"This environment has no table {plan.record.entity_set}.",
        code="dynamics_table_missing",
        system=SYSTEM if plan.record.logical_name == "incident" else CHATS,
        fix="Set LIVE_WORK_ITEM_PRESET or LIVE_WORK_ITEM_ENTITY_SET to a table that exists.",
    )


def _without_notes(plan: Plan) -> tuple[Plan, Notice | None]:
    message = "Notes were refused: the description holds the newest part of the transcript only."
    return plan.without_notes(), Notice("transcript_truncated", message)


def _without_children(plan: Plan) -> tuple[Plan, Notice | None]:
    return replace(plan, children=()), Notice("context_refused", "The context variables' table refused them.")


def _without_link(plan: Plan, missing_id: str) -> tuple[Plan, Notice | None]:
    """A row that is pointed at does not exist."""
    if plan.contact_id and missing_id == plan.contact_id.lower():
        message = "The contact that was found has been deleted meanwhile."
        raise ContactVanished(message, code="contact_vanished", system="handoff")
    column = plan.record.column_bound_to(missing_id)
    if column and column.startswith("customerid"):
        raise CustomerNeeded("FALLBACK_CUSTOMER does not exist.", code="customer_missing", column=column)
    if column and column in plan.record.spare:
        return replace(plan, record=plan.record.without(column)), _notice(plan.record, column)
    message = "Dataverse says that a row which the handoff points at does not exist."
    raise PermanentFailure(message, code="dynamics_row_missing")


def _without_tier(plan: Plan, refused: Refusal, reply: Reply | None) -> tuple[Plan, Notice | None]:
    """The refusal names nothing that we know: the least important tier goes, one round trip a tier."""
    for tier in Tier:
        if tier == Tier.TEXT:
            continue
        names = [(row, row.spare_of(tier)) for row in (plan.record, plan.contact) if row is not None]
        if any(dropped for _, dropped in names):
            for row, dropped in names:
                plan = _with(plan, row, row.without(*dropped))
            listed = ", ".join(name.removesuffix(BIND) for _, dropped in names for name in dropped[:20])
            message = f"Dataverse refused a part without naming it ({refused.code}); left out: {listed}."
            return plan, Notice("parts_refused", message)
    if plan.children:
        return _without_children(plan)
    if plan.contact is not None:
        message = f"Dataverse refuses the {plan.record.logical_name} or its new contact ({refused.code})."
        raise ContactRefused(message, code="contact_refused", column=None)
    if plan.notes:
        return _without_notes(plan)
    status = f", HTTP {reply.status}" if reply is not None else ""
    message = f"Dataverse refuses the {plan.record.logical_name} ({refused.code}{status})."
    raise PermanentFailure(message, code="dynamics_refused")


def _notice(row: Row, column: str) -> Notice:
    spare = row.spare.get(column)
    source = spare.source if spare else "the handoff"
    name = column.removesuffix(BIND)
    return Notice("part_refused", f"Dataverse refuses {row.logical_name}.{name}; left out (from {source}).")
