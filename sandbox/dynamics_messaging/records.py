"""What Dataverse shows of conversations: the work item, its context, who the customer is, the channel's row.

Rows come late, as everything that Omnichannel writes, by `Switches.row_delay_seconds` of the stand-in's clock:
what is due is written when somebody looks.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.dataverse.channels import CHANNEL, ENGAGEMENT, MESSAGING_API
from sandbox.dataverse.rows import Ref, Row
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.conversation import Conversation, State

WORK_ITEM = "msdyn_ocliveworkitem"
ITEM = "msdyn_ocliveworkitemcontextitem"
_CUSTOM = 192350002
_ITEM_VALUE = 512  # what msdyn_value holds; the admin page says 4,000 for a variable
_SHORT = 100
_NAMES = uuid.UUID("6c1f0f10-4f7e-4b2e-8c3f-0c1ff2b1d002")
_IDENTITY = {"contact": ("emailaddress1", "mobilephone"), "account": ("emailaddress1", "telephone1")}


class Records:
    """Writes to the Dataverse stand-in; does nothing when there is none, or when a table is missing there."""

    def __init__(self, dataverse: DataverseStandIn | None, *, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since the epoch."""
        self._dataverse = dataverse
        self._clock = clock
        self._lock = threading.Lock()
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._channels: dict[str, Channel] = {}
        if dataverse is not None:
            dataverse.before.append(self.catch_up)
            dataverse.planters.append(self._plant)

    def reset(self) -> None:
        """Forgets what is not written yet."""
        with self._lock:
            self._due.clear()
        self._channels = {}

    def catch_up(self) -> None:
        """Writes what is due, in order."""
        if not self._due:
            return
        now = self._clock()
        with self._lock:
            while self._due and self._due[0][0] <= now:
                self._due.popleft()[1]()

    def identify(self, email: str, phone: str) -> tuple[str, str] | None:
        """The one active contact or account with this e-mail or phone: table and id. More than one is none.

        The stock rule of record identification; that e-mail and phone count as alternatives is the
        stand-in's choice.
        """
        if self._dataverse is None:
            return None
        store = self._dataverse.store
        found: set[tuple[str, str]] = set()
        for table, (email_column, phone_column) in _IDENTITY.items():
            for column, value in ((email_column, email), (phone_column, phone)):
                rows = store.where(table, column, value) if value else []
                found |= {(table, row_id) for row_id, row in rows if row.get("statecode") in {0, None}}
        return found.pop() if len(found) == 1 else None

    def name_of(self, record: tuple[str, str] | None) -> str:
        """The name of a contact or an account."""
        if self._dataverse is None or record is None:
            return ""
        row = self._dataverse.store.get(*record) or {}
        return str(row.get("fullname" if record[0] == "contact" else "name") or "")

    def is_open_for_business(self) -> bool:
        """Whether the hours that Dataverse knows say so; always without one."""
        return self._dataverse is None or self._dataverse.availability.now.open

    def channel(self, channel: Channel) -> None:
        """The channel's row, at once; it is there again after a reset of Dataverse."""
        self._channels[channel.id.lower()] = channel
        values: dict[str, Any] = {
            "msdyn_name": channel.name,
            "msdyn_occustomchannelid": MESSAGING_API,
            "msdyn_appid": channel.app_id,
            "msdyn_tenantid": channel.tenant_id,
            "msdyn_webhookurl": channel.webhook_url or None,
            "msdyn_enablefileattachmentsforcustomers": channel.attachments_from_customers,
            "msdyn_enablefileattachmentsforagents": channel.attachments_from_reps,
            "msdyn_liveworkstreamid": Ref("msdyn_liveworkstream", channel.workstream_id.lower())
            if channel.workstream_id
            else None,
        }
        self._write(CHANNEL, channel.id.lower(), values)

    def opened(self, conversation: Conversation, channel: Channel, *, delay_seconds: float, is_engaged: bool) -> None:
        """A new work item; `is_engaged` adds who the customer is."""
        stamp = _stamp(conversation.created_at)
        values: dict[str, Any] = {
            "createdon": stamp,
            "subject": conversation.customer_name[:200],
            "msdyn_title": conversation.customer_name,
            "msdyn_ocliveworkitemid": conversation.id,
            "msdyn_channel": str(_CUSTOM),
            **_status(conversation.state, stamp),
        }
        self._later(delay_seconds, lambda: self._open(conversation, channel, values))
        if is_engaged:
            self._later(delay_seconds, lambda: self._engage(conversation))

    def moved(self, conversation: Conversation, *, delay_seconds: float) -> None:
        """The state has changed."""
        values = _status(conversation.state, _stamp(self._clock()))
        self._later(delay_seconds, lambda: self._write(WORK_ITEM, conversation.id, values))

    def variable(
        self, conversation: Conversation, name: str, value: object, *, is_displayable: bool, delay_seconds: float
    ) -> None:
        """A context variable is new or has changed."""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        values: dict[str, Any] = {
            "msdyn_name": name[:_SHORT],
            "msdyn_value": text[:_ITEM_VALUE],
            "msdyn_isdisplayable": is_displayable,
            "msdyn_ocliveworkitemid": Ref(WORK_ITEM, conversation.id),
        }
        row_id = str(uuid.uuid5(_NAMES, f"{conversation.id} {name}"))
        self._later(delay_seconds, lambda: self._write(ITEM, row_id, values))

    def _plant(self) -> None:
        # Called with the store's lock, which comes after ours: so without ours.
        for channel in list(self._channels.values()):
            self.channel(channel)

    def _later(self, delay_seconds: float, write: Callable[[], None]) -> None:
        if self._dataverse is None:
            return
        with self._lock:
            self._due.append((self._clock() + delay_seconds, write))

    def _open(self, conversation: Conversation, channel: Channel, values: dict[str, Any]) -> None:
        assert self._dataverse is not None
        store = self._dataverse.store
        stream = store.get("msdyn_liveworkstream", channel.workstream_id.lower()) or {}
        values["msdyn_liveworkstreamid"] = Ref("msdyn_liveworkstream", channel.workstream_id.lower())
        values["msdyn_cdsqueueid"] = stream.get("msdyn_defaultqueue")
        if conversation.contact is not None:
            customer = Ref(*conversation.contact)
            values["msdyn_customer"] = customer
            cases = [
                row_id
                for row_id, row in store.where("incident", "customerid", customer.id)
                if row.get("statecode") == 0 and row.get("customerid") == customer
            ]
            # One active case is linked, too.
            values["msdyn_issueid"] = Ref("incident", cases[0]) if len(cases) == 1 else None
        self._write(WORK_ITEM, conversation.id, values)

    def _engage(self, conversation: Conversation) -> None:
        given = conversation.customer
        values: dict[str, Any] = {
            "msdyn_name": conversation.customer_name[:_SHORT],
            "msdyn_customsenderid": conversation.customer_id[:_SHORT] or None,
            "msdyn_customername": conversation.customer_name[:_SHORT],
            "msdyn_customeremailaddress": given.get("email", "")[:_SHORT] or None,
            "msdyn_customerphonenumber": given.get("phonenumber", "")[:_SHORT] or None,
            "msdyn_customchanneltype": str(_CUSTOM),
            "msdyn_liveworkitemid": Ref(WORK_ITEM, conversation.id),
        }
        self._write(ENGAGEMENT, str(uuid.uuid5(_NAMES, f"{conversation.id} engagement")), values)

    def _write(self, logical: str, row_id: str, values: Row) -> None:
        """Puts a row in, or changes one; columns that others have written stay."""
        dataverse = self._dataverse
        table = None if dataverse is None else dataverse.schema.find(logical)
        if dataverse is None or table is None:
            return
        with dataverse.store.transaction():
            if dataverse.store.get(logical, row_id) is None:
                dataverse.insert(table.set_name, {table.id: row_id})
            held = dataverse.store.get(logical, row_id) or {}
            dataverse.store.put(logical, row_id, {**held, **values})


def _status(state: State, stamp: str) -> dict[str, Any]:
    return {"statecode": state.statecode, "statuscode": state.statuscode, "modifiedon": stamp}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
