"""The incident (case): phone, e-mail and every channel that is no chat.

Facts: incident entity reference; OpenCX's page "Conversations in Dynamics 365" for title and description.
"""

from dataclasses import replace
from typing import Any

from shared.dataverse import notes
from shared.dataverse.metadata import CaseTable
from shared.dataverse.rows import BIND, Row, bind
from shared.dataverse.settings import Defaults
from shared.dataverse.writer import Plan
from shared.handoff.document import Document
from shared.handoff.identity import record_id
from shared.handoff.model import Handoff, Notice

SELECT = ("incidentid", "ticketnumber", "statecode", "_customerid_value", "_primarycontactid_value")
IN_NOTES = "It is complete in the notes on the timeline."

_ORIGINS = {"phone": 1, "email": 2}
"""caseorigincode: 1 Phone, 2 Email, 3 Web."""


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
    incident_id = record_id(environment=environment, kind="incident", handoff_id=handoff.handoff_id)
    whole = document.description(table.description_limit)
    columns: dict[str, Any] = {
        "title": document.title,
        "description": whole or document.opening(table.description_limit, where=IN_NOTES),
    }
    optional = {"title": "the title", "description": "the description"}
    notices = _extras(columns, optional, handoff, defaults, table)
    if contact_id:
        columns["customerid_contact" + BIND] = columns["primarycontactid" + BIND] = bind("contacts", contact_id)
        optional["primarycontactid" + BIND] = "the linked contact"
    elif defaults.fallback_customer:
        kind = "account" if defaults.fallback_customer.startswith("accounts") else "contact"
        columns[f"customerid_{kind}{BIND}"] = f"/{defaults.fallback_customer}"
    record = Row("incidents", "incident", incident_id, columns, optional)
    written = Plan(
        record=record,
        contact=contact,
        contact_id=contact_id,
        notes=() if whole else notes.rows(document, record, environment=environment, bind_name="objectid_incident"),
        description_column="description",
        refit=lambda limit: plan(
            handoff,
            document,
            environment=environment,
            defaults=defaults,
            table=replace(table, description_limit=limit),
            contact=contact,
            contact_id=contact_id,
        )[0],
        without_notes=document.newest(table.description_limit),
        queue_id=handoff.queue_id or defaults.queue_id,
        queue_source="queue_id" if handoff.queue_id else "DEFAULT_QUEUE_ID",
        select=SELECT,
    )
    return written, notices


def _extras(
    columns: dict[str, Any],
    optional: dict[str, str],
    handoff: Handoff,
    defaults: Defaults,
    table: CaseTable,
) -> tuple[Notice, ...]:
    """Priority, origin, owner and the free properties: each may be refused without stopping the case."""
    notices: tuple[Notice, ...] = ()
    wanted = handoff.priority or defaults.priority
    columns["prioritycode"] = table.priority(wanted)
    optional["prioritycode"] = "priority" if handoff.priority else "DEFAULT_PRIORITY"
    if columns["prioritycode"] != wanted:
        message = f"The case table has no priority {wanted}; {columns['prioritycode']} was written."
        notices = (Notice("priority_out_of_range", message),)
    columns["caseorigincode"] = _ORIGINS.get(handoff.channel or "", 3)
    optional["caseorigincode"] = "the channel"
    owner = handoff.owner_id or defaults.owner_id
    if owner:
        columns["ownerid" + BIND] = f"/{owner}" if "(" in owner else bind("systemusers", owner)
        optional["ownerid" + BIND] = "owner_id" if handoff.owner_id else "DEFAULT_OWNER_ID"
    for name, value in {**defaults.properties, **handoff.ticket_properties}.items():
        if name.lower() == "incidentid" or name.lower().startswith("customerid"):
            message = f"ticket_properties may not set {name}."
            notices = (*notices, Notice("property_reserved", message))
            continue
        columns[name] = value
        optional[name] = "ticket_properties"
    return notices
