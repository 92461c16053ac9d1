"""Is Dynamics 365 set up? One row a check, each with the fix in words: the "Active" card."""

from collections.abc import Callable, Iterator
from typing import Any

from shared.check import Check, failed, passed, skipped, warned
from shared.dataverse.batch import Operation, Reply
from shared.dataverse.client import DataverseClient, error_of
from shared.dataverse.metadata import QUESTIONS, CaseTable, Metadata
from shared.dataverse.rows import BIND
from shared.dataverse.settings import Defaults, LiveWorkItemTable
from shared.errors import ConfigurationFault, HandoffError

INCIDENT_RIGHTS: dict[str, tuple[str, ...]] = {
    "Contact": ("Read", "Create", "Write", "Append", "AppendTo"),
    "Incident": ("Read", "Create", "Write", "Append", "AppendTo"),
    "Note": ("Read", "Create", "Write", "Append"),
    "Queue": ("Read", "AppendTo"),
    "QueueItem": ("Read", "Create", "Write", "Append", "AppendTo"),
}
"""What an incident with contact, notes and queue needs; a chat needs its own table instead of the last three."""

ACTIVITIES = frozenset({"msdyn_ocliveworkitem"})
"""Activity tables have no privileges of their own: prvCreateActivity serves them all."""


def privileges(table: LiveWorkItemTable | None, defaults: Defaults | None = None) -> tuple[str, ...]:
    """The names of the privileges that handoffs need: of chats where their table is known, of what is configured."""
    rights = dict(INCIDENT_RIGHTS)
    if defaults and defaults.owner_id:
        rights["Incident"] = (*rights["Incident"], "Assign")
    if defaults and (defaults.fallback_customer or "").startswith("accounts"):
        rights["Account"] = ("Read", "AppendTo")
    if table is not None:
        item = "Activity" if table.logical_name in ACTIVITIES else table.logical_name
        rights[item] = ("Read", "Create", "Write", "Append", "AppendTo")
        rights[table.workstream_entity_set.removesuffix("s")] = ("Read", "AppendTo")
        if table.context_items:
            rights[table.context_items.removesuffix("s")] = ("Create", "Write", "Append")
    return tuple(f"prv{right}{name}" for name, each in rights.items() for right in each)


class DynamicsChecks:
    """The checks, in the order in which one needs the other."""

    def __init__(
        self,
        client: Callable[[], DataverseClient],
        *,
        defaults: Callable[[], Defaults],
        live_work_items: Callable[[], LiveWorkItemTable],
        makes_conversations: bool,
        deadline: float,
    ) -> None:
        self._make_client = client
        self._defaults = defaults
        self._live_work_items = live_work_items
        self._makes_conversations = makes_conversations
        self._deadline = deadline

    def run(self) -> Iterator[Check]:
        """All rows; after the first that nothing else can do without, the rest is skipped."""
        try:
            client = self._make_client()
            defaults = self._defaults()
        except ConfigurationFault as fault:
            yield failed("dynamics365.settings", fault)
            return
        if defaults.notices:
            for notice in defaults.notices:
                yield warned("dynamics365.settings", notice.message, "Correct the setting.")
        else:
            yield passed("dynamics365.settings", f"Environment {client.origin}.")
        name = "dynamics365.token"
        try:
            client.sign_in()
            yield passed(name, "Secret and token are accepted.")
            name = "dynamics365.who_am_i"
            who = client.classed(client.get("WhoAmI", deadline=self._deadline)).json()
        except HandoffError as error:
            yield failed(name, error)
            return
        user_id = str(who.get("UserId", ""))
        yield passed("dynamics365.who_am_i", f"Signed in as user {user_id}.")
        for check in (self._privileges, self._rows, self._case_table, self._live_work_item):
            try:
                yield from check(client, defaults, user_id)
            except HandoffError as error:
                yield failed(f"dynamics365.{check.__name__.strip('_')}", error)

    def _privileges(self, client: DataverseClient, defaults: Defaults, user_id: str) -> Iterator[Check]:
        name = "dynamics365.privileges"
        path = f"systemusers({user_id})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
        reply = client.get(path, deadline=self._deadline)
        held = {str(each.get("PrivilegeName", "")).lower() for each in reply.json().get("RolePrivileges") or []}
        if not reply.is_success or not held:
            yield skipped(name, "Dataverse does not tell the service its privileges.")
            return
        needed = privileges(self._table_or_none(), defaults)
        missing = [privilege for privilege in needed if privilege.lower() not in held]
        if missing:
            fix = f"Add to the Application User's security role: {', '.join(missing)}."
            yield Check(name, "failed", f"The role lacks {len(missing)} of {len(needed)} privileges.", fix)
        else:
            yield passed(name, f"All {len(needed)} privileges that handoffs need are there.")

    def _rows(self, client: DataverseClient, defaults: Defaults, _: str) -> Iterator[Check]:
        """Do the queue, workstream, owner and fallback customer of the settings exist?"""
        table = self._table_or_none()
        workstreams = table.workstream_entity_set if table else "msdyn_liveworkstreams"
        owner = defaults.owner_id
        owner_path = (owner if "(" in owner else f"systemusers({owner})") if owner else None
        wanted = (
            ("queue", "DEFAULT_QUEUE_ID", f"queues({defaults.queue_id})" if defaults.queue_id else None),
            (
                "workstream",
                "DEFAULT_WORKSTREAM_ID" if defaults.has_workstream else "DEFAULT_QUEUE_ID",
                f"{workstreams}({defaults.workstream_id})" if defaults.workstream_id else None,
            ),
            ("owner", "DEFAULT_OWNER_ID", owner_path),
            ("fallback_customer", "FALLBACK_CUSTOMER", defaults.fallback_customer),
        )
        for what, setting, path in wanted:
            name = f"dynamics365.{what}"
            if what == "workstream" and self._makes_conversations:
                yield skipped(name, "The channel of the Messaging APIs names the workstream.")
                continue
            if path is None:
                yield skipped(name, f"{setting} is not set.")
                continue
            reply = client.get(path, deadline=self._deadline)
            if reply.is_success:
                yield passed(name, f"{setting} exists.")
            elif what == "workstream" and not defaults.has_workstream:
                fix = (
                    "Set DEFAULT_WORKSTREAM_ID, if chats go to Dynamics 365; they land without a workstream meanwhile."
                )
                yield warned(name, "DEFAULT_WORKSTREAM_ID is not set, and DEFAULT_QUEUE_ID is no workstream.", fix)
            else:
                fix = f"Put the GUID of an existing row into {setting}; handoffs land without it meanwhile."
                yield Check(name, "failed", f"{setting} points at nothing ({_why(reply)}).", fix)

    def _case_table(self, client: DataverseClient, defaults: Defaults, _: str) -> Iterator[Check]:
        """Does the case table take the default priority and the ticket properties?"""
        metadata = Metadata(lambda: 0.0)
        replies = [part[0] for part in client.batch(QUESTIONS, deadline=self._deadline, go_on=True)]
        metadata.learn([client.classed(reply) for reply in replies])
        table: CaseTable = metadata.case_table
        name = "dynamics365.priority"
        if defaults.priority in table.priorities:
            yield passed(name, f"Priority {defaults.priority} is in the option set.")
        else:
            options = ", ".join(str(value) for value in sorted(table.priorities))
            message = f"DEFAULT_PRIORITY {defaults.priority} is not in the option set ({options})."
            yield warned(name, message, f"Set it to one of {options}; {max(table.priorities)} is written meanwhile.")
        name = "dynamics365.ticket_properties"
        if not defaults.properties:
            yield skipped(name, "TICKET_PROPERTIES is not set.")
            return
        columns, links = _columns(client, "incident", self._deadline)
        unknown = [
            key
            for key in defaults.properties
            if key.removesuffix(BIND).lower() not in (links if BIND in key else columns)
        ]
        if unknown:
            message = f"The case table has no {', '.join(unknown)}."
            yield Check(name, "failed", message, "Correct TICKET_PROPERTIES; they are left out meanwhile.")
        else:
            yield passed(name, f"All {len(defaults.properties)} columns exist.")

    def _live_work_item(self, client: DataverseClient, _: Defaults, __: str) -> Iterator[Check]:
        """Do the preset's table, columns and navigation properties exist?"""
        name = "dynamics365.live_work_item"
        table = self._live_work_items()
        definition = _definition(client, table.logical_name, self._deadline)
        if definition is None:
            fix = "Set LIVE_WORK_ITEM_PRESET (opencx or msdyn) or LIVE_WORK_ITEM_LOGICAL_NAME to a table that exists."
            yield Check(name, "failed", f"There is no table {table.logical_name}.", fix)
            return
        columns, links = _names(definition)
        asked = {
            "SUBJECT_FIELD": table.subject_field,
            "DESCRIPTION_FIELD": table.description_field,
            "CHANNEL_FIELD": table.channel_field,
            "NAME_FIELD": table.name_field,
            "PHONE_FIELD": table.phone_field,
            "EMAIL_FIELD": table.email_field,
            "LANGUAGE_FIELD": table.language_field,
            "PRIORITY_FIELD": table.priority_field,
            "CONTEXT_FIELD": table.context_field,
        }
        wrong = [f"{key} ({value})" for key, value in asked.items() if value and value.lower() not in columns]
        bound = {"CONTACT_BIND": table.contact_bind, "WORKSTREAM_BIND": table.workstream_bind}
        wrong += [f"{key} ({value})" for key, value in bound.items() if value and value.lower() not in links]
        if definition.get("EntitySetName") not in (None, table.entity_set):
            wrong.append(f"ENTITY_SET ({table.entity_set}; it is {definition['EntitySetName']})")
        if definition.get("PrimaryIdAttribute") not in (None, table.id_field):
            wrong.append(f"ID_FIELD ({table.id_field}; it is {definition['PrimaryIdAttribute']})")
        if wrong:
            fix = "Set LIVE_WORK_ITEM_<NAME> to the table's own name, or to none; refused parts are left out meanwhile."
            yield Check(name, "failed", f"Not in {table.logical_name}: {', '.join(wrong)}.", fix)
        else:
            yield passed(name, f"Table {table.logical_name} has every column that is written.")

    def _table_or_none(self) -> LiveWorkItemTable | None:
        try:
            return self._live_work_items()
        except ConfigurationFault:
            return None  # its own check reports it


def _definition(client: DataverseClient, logical_name: str, deadline: float) -> dict[str, Any] | None:
    path = (
        f"EntityDefinitions(LogicalName='{logical_name}')?$select=EntitySetName,PrimaryIdAttribute"
        "&$expand=Attributes($select=LogicalName),"
        "ManyToOneRelationships($select=ReferencingEntityNavigationPropertyName)"
    )
    reply = client.call(Operation("GET", path), deadline=deadline)
    return reply.json() if reply.is_success else None


def _names(definition: dict[str, Any]) -> tuple[set[str], set[str]]:
    columns = {str(each.get("LogicalName", "")).lower() for each in definition.get("Attributes") or []}
    links = {
        str(each.get("ReferencingEntityNavigationPropertyName", "")).lower()
        for each in definition.get("ManyToOneRelationships") or []
    }
    return columns, links


def _columns(client: DataverseClient, logical_name: str, deadline: float) -> tuple[set[str], set[str]]:
    return _names(_definition(client, logical_name, deadline) or {})


def _why(reply: Reply) -> str:
    return error_of(reply)[0] or f"HTTP {reply.status}"
