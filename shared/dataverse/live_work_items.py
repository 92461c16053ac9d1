"""The live work item: web, SMS and WhatsApp, as a row in the table that the preset names.

Facts: OpenCX's channel pages (subject is the AI's summary, ``sessionId`` and ``channel`` in the context variables);
msdyn_ocliveworkitem entity reference.
"""

from dataclasses import replace
from typing import Any

from shared.dataverse import notes
from shared.dataverse.rows import BIND, Row, bind
from shared.dataverse.settings import Defaults, LiveWorkItemTable, as_json
from shared.dataverse.writer import Plan
from shared.handoff.document import Document, context, subject
from shared.handoff.identity import record_id
from shared.handoff.model import Handoff
from shared.handoff.text import cut, one_line

IN_NOTES = "It is complete in the notes."
CONTEXT_NAME_MAX, CONTEXT_VALUE_MAX = 100, 512
TEXT_MAX = 100
"""UTF-16 units of a text column by default (Power Apps: a new column of type text)."""


def plan(
    handoff: Handoff,
    document: Document,
    *,
    environment: str,
    defaults: Defaults,
    table: LiveWorkItemTable,
    contact: Row | None,
    contact_id: str | None,
) -> Plan:
    """What to write for this chat; a contact is linked only when one was found or made by e-mail."""
    channel = handoff.channel or ""
    item_id = record_id(environment=environment, kind=table.logical_name, handoff_id=handoff.handoff_id)
    whole = document.description(table.description_max) if table.description_field else None
    description = whole or document.opening(table.description_max, where=IN_NOTES)
    variables = context(handoff, channel=channel)
    columns: dict[str, Any] = {}
    optional: dict[str, str] = {}

    def write(name: str | None, value: Any, source: str) -> None:
        if name and value is not None:
            columns[name] = value
            optional[name] = source

    write(table.subject_field, subject(handoff, channel=channel, limit=table.subject_max), "the summary")
    write(table.description_field, description, "the description")
    write(table.channel_field, (table.channel_values or {}).get(channel, channel), "the channel")
    write(table.name_field, _short(handoff.contact.name), "contact.name")
    write(table.phone_field, _short(handoff.contact.phone), "contact.phone_number")
    write(table.email_field, _short(handoff.contact.email), "contact.email")
    write(table.language_field, _short(handoff.language), "language")
    priority = str(handoff.priority or defaults.priority)
    write(table.priority_field, (table.priority_values or {}).get(priority), "priority")
    write(table.context_field, as_json(variables), "the context variables")
    workstream_id = handoff.workstream_id or defaults.workstream_id
    if workstream_id and table.workstream_bind:
        source = "workstream_id" if handoff.workstream_id else "DEFAULT_WORKSTREAM_ID"
        write(table.workstream_bind + BIND, bind(table.workstream_entity_set, workstream_id), source)
    if contact_id and table.contact_bind:
        write(table.contact_bind + BIND, bind("contacts", contact_id), "the linked contact")
    record = Row(table.entity_set, table.logical_name, item_id, columns, optional)
    transcript: tuple[Row, ...] = ()
    if whole is None and document.turns and table.note_bind:
        transcript = notes.rows(document, record, environment=environment, bind_name=table.note_bind)
    return Plan(
        record=record,
        contact=contact,
        contact_id=contact_id,
        notes=transcript,
        description_column=table.description_field,
        refit=lambda limit: plan(
            handoff,
            document,
            environment=environment,
            defaults=defaults,
            table=replace(table, description_max=limit),
            contact=contact,
            contact_id=contact_id,
        ),
        without_notes=document.newest(table.description_max),
        children=_items(variables, record, table, environment),
    )


def _items(variables: dict[str, str], record: Row, table: LiveWorkItemTable, environment: str) -> tuple[Row, ...]:
    """The context variables as rows, for a table that keeps them so."""
    if not table.context_items or not table.context_items_bind:
        return ()
    logical_name = table.context_items.removesuffix("s")
    return tuple(
        Row(
            entity_set=table.context_items,
            logical_name=logical_name,
            row_id=record_id(environment=environment, kind=logical_name, handoff_id=record.row_id, part=number),
            columns={
                "msdyn_name": cut(name, CONTEXT_NAME_MAX),
                "msdyn_value": cut(value, CONTEXT_VALUE_MAX),
                table.context_items_bind + BIND: bind(record.entity_set, record.row_id),
            },
        )
        for number, (name, value) in enumerate(variables.items(), start=1)
    )


def _short(text: str | None) -> str | None:
    return cut(one_line(text), TEXT_MAX) if text else None
