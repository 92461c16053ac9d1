"""The settings of the Dynamics 365 side, checked when a handoff needs them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from shared.config.settings import Settings
from shared.dataverse import CHATS, SYSTEM
from shared.errors import ConfigurationFault
from shared.handoff.fields import properties
from shared.handoff.model import Notice, Scalar

CALLER_CONTACT, FALLBACK_CUSTOMER, OMIT = "caller_contact", "fallback_customer", "omit"
_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


@dataclass(frozen=True)
class Access:
    """How to reach the environment and who we are there. ``origin`` is scheme and host."""

    origin: str
    uses_managed_identity: bool
    tenant_id: str | None
    client_id: str | None

    @property
    def scope(self) -> str:
        """The OAuth scope of the environment."""
        return f"{self.origin}/.default"


@dataclass(frozen=True)
class Defaults:
    """What is written when the handoff does not say otherwise."""

    queue_id: str | None
    workstream_id: str | None
    has_workstream: bool
    owner_id: str | None
    priority: int
    properties: Mapping[str, Scalar]
    contact_match: tuple[str, ...]
    unlinked: str
    fallback_customer: str | None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class LiveWorkItemTable:
    """Where a live work item is written: the names of a table and its columns; None: not written.

    Everything beyond ``oc_liveworkitem`` and ``oc_liveworkitemid`` in the ``opencx`` preset is a guess, for OpenCX
    does not document it; each name can be set with ``LIVE_WORK_ITEM_<NAME>``. The ``msdyn`` preset is Microsoft's
    table msdyn_ocliveworkitem (entity reference).
    """

    entity_set: str = "oc_liveworkitems"
    logical_name: str = "oc_liveworkitem"
    id_field: str = "oc_liveworkitemid"
    subject_field: str | None = "oc_subject"
    subject_max: int = 200
    description_field: str | None = "oc_description"
    description_max: int = 2000
    channel_field: str | None = "oc_channel"
    channel_values: Mapping[str, Scalar] = field(default_factory=dict)
    name_field: str | None = "oc_name"
    phone_field: str | None = "oc_phone"
    email_field: str | None = "oc_email"
    language_field: str | None = None
    priority_field: str | None = None
    priority_values: Mapping[str, Scalar] = field(default_factory=dict)
    context_field: str | None = "oc_contextvariables"
    context_items: str | None = None
    context_items_bind: str | None = None
    contact_bind: str | None = "oc_contactid"
    workstream_bind: str | None = "oc_workstreamid"
    workstream_entity_set: str = "msdyn_liveworkstreams"
    note_bind: str | None = "objectid_oc_liveworkitem"


PRESETS = {
    "opencx": LiveWorkItemTable(),
    "msdyn": LiveWorkItemTable(
        entity_set="msdyn_ocliveworkitems",
        logical_name="msdyn_ocliveworkitem",
        id_field="activityid",
        subject_field="subject",
        description_field="description",
        channel_field="msdyn_channel",
        channel_values={"web": "192360000", "sms": "192340000", "whatsapp": "192300000"},
        name_field=None,
        phone_field=None,
        email_field=None,
        language_field="msdyn_customerlocale",
        priority_field="prioritycode",
        priority_values={"1": 2, "2": 1, "3": 0, "4": 0},
        context_field=None,
        context_items="msdyn_ocliveworkitemcontextitems",
        context_items_bind="msdyn_ocliveworkitemid",
        contact_bind="msdyn_customer_msdyn_ocliveworkitem_contact",
        workstream_bind="msdyn_liveworkstreamid_msdyn_ocliveworkitem",
        note_bind="objectid_msdyn_ocliveworkitem",
    ),
}


def access(settings: Settings) -> Access:
    """The environment and the identity. Raises ConfigurationFault that names the setting and the fix."""
    origin = settings.origin("DYNAMICS_ENVIRONMENT_URL", system=SYSTEM)
    auth = settings.choice("DYNAMICS_AUTH", "client_secret", ("client_secret", "managed_identity"), system=SYSTEM)
    if auth == "managed_identity":
        return Access(
            origin=origin,
            uses_managed_identity=True,
            tenant_id=None,
            client_id=settings.text("AZURE_CLIENT_ID"),
        )
    return Access(
        origin=origin,
        uses_managed_identity=False,
        tenant_id=_tenant(settings),
        client_id=settings.required(
            "DYNAMICS_CLIENT_ID",
            system=SYSTEM,
            fix="Set it to the Application (client) ID of the app registration.",
        ),
    )


def defaults(settings: Settings) -> Defaults:
    """What is written by default. A malformed optional setting is left out, with a notice: it costs no handoff."""
    notices: list[Notice] = []

    def optional[T](read: Any, *args: Any, default: T) -> T:
        try:
            return read(*args) or default
        except ConfigurationFault as fault:
            notices.append(Notice(fault.code, f"{fault.message} {fault.fix}"))
            return default

    def guid(name: str) -> str | None:
        return settings.guid(name, system=SYSTEM)

    queue_id = optional(guid, "DEFAULT_QUEUE_ID", default=None)
    workstream_id = optional(guid, "DEFAULT_WORKSTREAM_ID", default=None)
    return Defaults(
        queue_id=queue_id,
        # A lone DEFAULT_QUEUE_ID is the workstream of chats: OpenCX's own settings have one field for both.
        workstream_id=workstream_id or queue_id,
        has_workstream=workstream_id is not None,
        owner_id=optional(_owner, settings, default=None),
        priority=int(settings.number("DEFAULT_PRIORITY", 2, least=1, most=4)),
        properties=optional(_properties, settings, default={}),
        contact_match=optional(_contact_match, settings, default=("email",)),
        unlinked=optional(_unlinked, settings, default=CALLER_CONTACT),
        fallback_customer=optional(_fallback_customer, settings, default=None),
        notices=tuple(notices),
    )


def live_work_items(settings: Settings) -> LiveWorkItemTable:
    """The live work item's table: a preset, with single names set by ``LIVE_WORK_ITEM_<NAME>``."""
    preset = settings.choice("LIVE_WORK_ITEM_PRESET", "opencx", (*PRESETS, "messaging"), system=CHATS)
    if preset == "messaging":  # conversations; the row that a rep works on is Microsoft's
        preset = "msdyn"
    changes: dict[str, Any] = {}
    for each in fields(LiveWorkItemTable):
        name = f"LIVE_WORK_ITEM_{each.name.upper()}"
        value = settings.text(name)
        if value is None:
            continue
        if each.name.endswith("_max"):
            changes[each.name] = int(settings.number(name, 200, least=10, most=1_000_000))
        elif each.name.endswith("_values"):
            changes[each.name] = settings.json_object(name, system=CHATS)
        elif value.lower() == "none":
            changes[each.name] = None
        elif re.fullmatch(r"[A-Za-z_]\w{0,127}", value):
            changes[each.name] = value
        else:
            fix = f"Set {name} to a column, table or navigation property name, or to none."
            raise ConfigurationFault(f"Setting {name} is not a name.", code="setting_malformed", system=CHATS, fix=fix)
    return replace(PRESETS[preset], **changes)


def _tenant(settings: Settings) -> str:
    fix = "Set it to the Directory (tenant) ID of the app registration."
    value = settings.required("DYNAMICS_TENANT_ID", system=SYSTEM, fix=fix)
    if re.fullmatch(r"[A-Za-z0-9.-]+", value):  # what azure-identity takes: a GUID or a domain
        return value
    message = "Setting DYNAMICS_TENANT_ID is no tenant."
    raise ConfigurationFault(message, code="setting_malformed", system=SYSTEM, fix=fix)


def _owner(settings: Settings) -> str | None:
    value = settings.text("DEFAULT_OWNER_ID")
    if value is None or re.fullmatch(rf"(?:(?:systemusers|teams)\({_GUID}\)|{_GUID})", value):
        return value
    raise _malformed("DEFAULT_OWNER_ID", "Set it to a systemuser's GUID, or to teams(<guid>).")


def _fallback_customer(settings: Settings) -> str | None:
    value = settings.text("FALLBACK_CUSTOMER")
    if value is None or re.fullmatch(rf"(?:contacts|accounts)\({_GUID}\)", value):
        return value
    raise _malformed("FALLBACK_CUSTOMER", "Set it to contacts(<guid>) or accounts(<guid>).")


def _contact_match(settings: Settings) -> tuple[str, ...]:
    value = settings.text("CONTACT_MATCH") or "email"
    order = tuple(part.strip().lower() for part in value.split(","))
    if set(order) <= {"email", "phone"}:
        return order
    raise _malformed("CONTACT_MATCH", "Set it to email, phone, or both in the wanted order: email,phone.")


def _unlinked(settings: Settings) -> str:
    choices = (CALLER_CONTACT, FALLBACK_CUSTOMER, OMIT)
    return settings.choice("UNLINKED_INCIDENTS", CALLER_CONTACT, choices, system=SYSTEM)


def _properties(settings: Settings) -> dict[str, Scalar]:
    try:
        return properties(settings.json_object("TICKET_PROPERTIES", system=SYSTEM))
    except ValueError as error:
        raise _malformed("TICKET_PROPERTIES", f"It {error}.") from None


def _malformed(name: str, fix: str) -> ConfigurationFault:
    return ConfigurationFault(
        f"Setting {name} is malformed and left out.", code="setting_malformed", system=SYSTEM, fix=fix
    )


def as_json(value: Mapping[str, str]) -> str:
    """A JSON text of context variables, readable by people: nothing is escaped that need not be."""
    return json.dumps(dict(value), ensure_ascii=False)
