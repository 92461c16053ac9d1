"""The incident (case): phone, e-mail and every channel that is no chat.

Facts: incident entity reference; OpenCX's page "Conversations in Dynamics 365" for title and description.
"""

from shared.dataverse.metadata import CaseTable
from shared.dataverse.plan import Columns, Plan, TextPlace
from shared.dataverse.rows import BIND, Row, Tier, bind
from shared.dataverse.settings import Defaults
from shared.handoff.document import Document
from shared.handoff.identity import record_id
from shared.handoff.model import Handoff, Notice, Scalar

SELECT = ("incidentid", "ticketnumber", "statecode", "_customerid_value", "_primarycontactid_value")
IN_NOTES = "It is complete in the notes on the timeline."

_ORIGINS = {"phone": 1, "email": 2}
"""caseorigincode: 1 Phone, 2 Email, 3 Web."""

_OURS = ("incidentid", "description", "customerid", "primarycontactid")
"""Columns that ticket properties may not set: they carry the id, the conversation and the customer."""


def id_of(handoff: Handoff, *, environment: str) -> str:
    """The GUID of the incident of this handoff."""
    return record_id(environment=environment, kind="incident", handoff_id=handoff.handoff_id)


def plan(
    handoff: Handoff,
    document: Document,
    *,
    environment: str,
    defaults: Defaults,
    table: CaseTable,
    contact: Row | None,
    contact_id: str | None,
) -> tuple[Plan, tuple[Notice, ...]]:
    """What to write for this handoff.

    Args:
        handoff: with its channel known.
        document: the handoff as text.
        environment: the origin, which the ids are derived from.
        defaults: what the settings say.
        table: what the organisation's case table holds.
        contact: the contact row to create, if it is not there.
        contact_id: the contact to link; None: FALLBACK_CUSTOMER or nobody.
    """
    made = Columns()
    made.put("title", document.title, "the title", Tier.TEXT)
    notices = _extras(made, handoff, defaults, table)
    if contact_id:
        made.columns["customerid_contact" + BIND] = bind("contacts", contact_id)
        made.put("primarycontactid" + BIND, bind("contacts", contact_id), "the linked contact", Tier.LINK)
    elif defaults.fallback_customer:
        kind = "account" if defaults.fallback_customer.startswith("accounts") else "contact"
        made.columns[f"customerid_{kind}{BIND}"] = f"/{defaults.fallback_customer}"
    incident_id = id_of(handoff, environment=environment)
    written = Plan(
        record=Row("incidents", "incident", incident_id, made.columns, made.spare),
        document=document,
        place=TextPlace("description", table.description_limit, "objectid_incident", IN_NOTES),
        environment=environment,
        contact=contact,
        contact_id=contact_id,
        queue_id=handoff.queue_id or defaults.queue_id,
        queue_source="queue_id" if handoff.queue_id else "DEFAULT_QUEUE_ID",
        select=SELECT,
    )
    return written.fitted(table.description_limit), notices


def _extras(made: Columns, handoff: Handoff, defaults: Defaults, table: CaseTable) -> tuple[Notice, ...]:
    """Priority, origin, owner and the free properties: each may be refused without stopping the case."""
    notices: tuple[Notice, ...] = ()
    wanted = handoff.priority or defaults.priority
    priority = table.priority(wanted)
    made.put("prioritycode", priority, "priority" if handoff.priority else "DEFAULT_PRIORITY", Tier.EXTRA)
    if priority != wanted:
        message = f"The case table has no priority {wanted}; {priority} was written."
        notices = (Notice("priority_out_of_range", message),)
    made.put("caseorigincode", _ORIGINS.get(handoff.channel or "", 3), "the channel", Tier.EXTRA)
    owner = handoff.owner_id or defaults.owner_id
    if owner:
        value = f"/{owner}" if "(" in owner else bind("systemusers", owner)
        made.put("ownerid" + BIND, value, "owner_id" if handoff.owner_id else "DEFAULT_OWNER_ID", Tier.OWNER)
    free: dict[str, Scalar] = {**defaults.properties, **handoff.ticket_properties}
    reserved = [name for name in free if name.lower().startswith(_OURS)]
    if reserved:
        message = f"ticket_properties may not set {', '.join(reserved[:5])}."
        notices = (*notices, Notice("property_reserved", message))
    made.put_all(
        {name: value for name, value in free.items() if name not in reserved}, "ticket_properties", Tier.PROPERTY
    )
    return notices
