"""The live work item: web, SMS and WhatsApp, as a row in the table that the preset names.

Facts: OpenCX's channel pages (subject is the AI's summary, ``sessionId`` and ``channel`` in the context variables);
msdyn_ocliveworkitem entity reference.
"""

from shared.dataverse.plan import Columns, Plan, TextPlace
from shared.dataverse.rows import BIND, Row, Tier, bind
from shared.dataverse.settings import Defaults, LiveWorkItemTable, as_json
from shared.handoff.document import Document, context, subject
from shared.handoff.identity import record_id
from shared.handoff.model import Handoff, Notice
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
) -> tuple[Plan, tuple[Notice, ...]]:
    """What to write for this chat; a contact is linked only when one was found or made by e-mail."""
    channel = handoff.channel or ""
    variables = {
        cut(name, CONTEXT_NAME_MAX): cut(value, CONTEXT_VALUE_MAX)
        for name, value in context(handoff, channel=channel).items()
    }
    made = Columns()
    made.put(table.subject_field, subject(handoff, channel=channel, limit=table.subject_max), "the summary", Tier.TEXT)
    made.put(table.channel_field, (table.channel_values or {}).get(channel, channel), "the channel", Tier.EXTRA)
    made.put(table.name_field, _short(handoff.contact.name), "contact.name", Tier.EXTRA)
    made.put(table.phone_field, _short(handoff.contact.phone), "contact.phone_number", Tier.EXTRA)
    made.put(table.email_field, _short(handoff.contact.email), "contact.email", Tier.EXTRA)
    made.put(table.language_field, _short(handoff.language), "language", Tier.EXTRA)
    priority = str(handoff.priority or defaults.priority)
    made.put(table.priority_field, (table.priority_values or {}).get(priority), "priority", Tier.EXTRA)
    made.put(table.context_field, as_json(variables), "the context variables", Tier.EXTRA, may_be_cut=False)
    workstream_id = handoff.workstream_id or defaults.workstream_id
    if workstream_id and table.workstream_bind:
        source = "workstream_id" if handoff.workstream_id else "DEFAULT_WORKSTREAM_ID"
        value = bind(table.workstream_entity_set, workstream_id)
        made.put(table.workstream_bind + BIND, value, source, Tier.LINK)
    if contact_id and table.contact_bind:
        made.put(table.contact_bind + BIND, bind("contacts", contact_id), "the linked contact", Tier.LINK)
    item_id = record_id(environment=environment, kind=table.logical_name, handoff_id=handoff.handoff_id)
    record = Row(table.entity_set, table.logical_name, item_id, made.columns, made.spare)
    written = Plan(
        record=record,
        document=document,
        place=TextPlace(table.description_field, table.description_max, table.note_bind, IN_NOTES),
        environment=environment,
        contact=contact,
        contact_id=contact_id,
        children=_items(variables, record, table, environment),
    ).fitted(table.description_max)
    return written, _notices(handoff, written)


def _notices(handoff: Handoff, written: Plan) -> tuple[Notice, ...]:
    """What a chat has no place for."""
    notices: tuple[Notice, ...] = ()
    if written.loses_text and (written.document.turns or written.place.description):
        message = "The live work item takes no notes: it holds the newest part of the transcript only."
        notices = (Notice("transcript_truncated", message),)
    asked = {
        "owner_id": handoff.owner_id,
        "queue_id": handoff.queue_id,
        "ticket_properties": handoff.ticket_properties,
    }
    ignored = [name for name, value in asked.items() if value]
    if ignored:
        message = f"A chat has no place for {', '.join(ignored)}: they are for incidents."
        notices = (*notices, Notice("not_for_chats", message))
    return notices


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
                "msdyn_name": name,
                "msdyn_value": value,
                table.context_items_bind + BIND: bind(record.entity_set, record.row_id),
            },
        )
        for number, (name, value) in enumerate(variables.items(), start=1)
    )


def _short(text: str | None) -> str | None:
    return cut(one_line(text), TEXT_MAX) if text else None
