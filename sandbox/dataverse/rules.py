"""What particular tables insist on, and what they fill in by themselves."""

from __future__ import annotations

import random
import string

from sandbox.dataverse.errors import DataverseError
from sandbox.dataverse.rows import Ref, Row, Store
from sandbox.dataverse.schema import Table

_LETTERS = string.ascii_uppercase + string.digits


class Rules:
    """The rules of cases, contacts, queue items and notes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reset()

    def reset(self) -> None:
        """Starts the case numbers again."""
        self._number = 1000
        self._dice = random.Random(2)

    def apply(self, table: Table, row: Row, old: Row | None) -> None:
        """Checks a row that is about to be stored and completes it. `old` is None on create."""
        check_status(table, row)
        if table.logical == "incident":
            self._incident(row, old)
        elif table.logical in {"contact", "systemuser"} and (table.logical == "contact" or "fullname" not in row):
            names = (row.get(part) for part in ("firstname", "middlename", "lastname"))
            row["fullname"] = " ".join(name for name in names if name) or None
        elif table.logical == "queueitem":
            self._queue_item(row, old)
        elif table.logical == "annotation" and row.get("documentbody"):
            row["isdocument"] = True

    def open_item(self, target: Ref) -> tuple[str, Row] | None:
        """The active queue item of a row."""
        for item_id, item in self._store.where("queueitem", "objectid", target.id):
            if item.get("statecode") == 0 and item.get("objectid") == target:
                return item_id, item
        return None

    def _incident(self, row: Row, old: Row | None) -> None:
        customer = row.get("customerid")
        if customer is None:
            raise DataverseError(400, "0x80044410", "You should specify a parent contact or account.")
        if old is None and not row.get("ticketnumber"):
            suffix = "".join(self._dice.choices(_LETTERS, k=6))
            row["ticketnumber"] = f"CAS-{self._number:05d}-{suffix}"
            self._number += 1
        self._primary_contact(row, customer)

    def _primary_contact(self, row: Row, customer: Ref) -> None:
        """The contact of a case must be the customer, or belong to it.

        Codes and texts are Microsoft's (InvalidPrimaryContactBasedOnAccount and ...OnContact); that the
        Web API checks on every write is the stricter reading.
        """
        contact = row.get("primarycontactid")
        if contact is None or contact == customer:
            return
        held = self._store.get("contact", contact.id) or {}
        if held.get("parentcustomerid") == customer:
            return
        if customer.table == "account":
            raise DataverseError(
                400,
                "0x8004f864",
                "The specified contact doesn't belong to the account selected as the customer. Specify a "
                "contact that belongs to the selected account, and then try again.",
            )
        raise DataverseError(
            400,
            "0x8004f865",
            "The specified contact doesn't belong to the contact that was specified in the customer field. "
            "Remove the value from the contact field, or select a contact associated to the selected "
            "customer, and then try again.",
        )

    def _queue_item(self, row: Row, old: Row | None) -> None:
        queue, target = row.get("queueid"), row.get("objectid")
        if queue is None:
            raise DataverseError(400, "0x80040528", "The queue id is not present.")
        if target is None:
            raise DataverseError(400, "0x80040529", "The queue item is not present.")
        held = self._store.get("queue", queue.id) or {}
        if held.get("statecode") != 0:
            text = "You cannot add items to an inactive queue. Select another queue and try again."
            raise DataverseError(400, "0x80040521", text)
        if old is None and self.open_item(target) is not None:
            text = "An active queue item already exists for the given object."
            raise DataverseError(400, "0x80040526", text)


def check_status(table: Table, row: Row) -> None:
    """Gives a row without statuscode its state's first one. Raises DataverseError 400 (0x80048408)."""
    column = table.columns.get("statuscode")
    if column is None:
        return
    state = row.get("statecode") or 0
    row["statecode"] = state
    reason = row.get("statuscode")
    if reason is None:
        row["statuscode"] = next(value for value, of in column.states.items() if of == state)
    elif column.states[reason] != state:
        text = (
            f"{reason} is not a valid status code for state code {table.schema_name}State.{state} on {table.logical}."
        )
        raise DataverseError(400, "0x80048408", text)
