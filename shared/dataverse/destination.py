"""Dynamics 365 as a destination: at most one reading and one writing round trip a handoff."""

from collections.abc import Callable
from dataclasses import replace

from shared.dataverse import SYSTEM, contacts, incidents, live_work_items
from shared.dataverse.batch import Operation, Reply
from shared.dataverse.client import DataverseClient
from shared.dataverse.contacts import Found
from shared.dataverse.metadata import Metadata
from shared.dataverse.rows import Row
from shared.dataverse.settings import (
    CALLER_CONTACT,
    FALLBACK_CUSTOMER,
    Defaults,
    LiveWorkItemTable,
)
from shared.dataverse.writer import CustomerNeeded, Writer, Written
from shared.errors import TransientFailure
from shared.handoff import channel as channels
from shared.handoff import document
from shared.handoff.model import Contact, Handoff, LinkedContact, Notice, Outcome


class DynamicsDestination:
    """Makes sure that a handoff's incident or live work item stands in one environment.

    Implements `shared.handoff.desk.Destination`.
    """

    def __init__(
        self,
        client: DataverseClient,
        *,
        metadata: Metadata,
        defaults: Defaults,
        live_work_items: Callable[[], LiveWorkItemTable],
    ) -> None:
        self._client = client
        self._writer = Writer(client)
        self._metadata = metadata
        self._defaults = defaults
        self._live_work_items = live_work_items

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Write the handoff, or find that it stands already."""
        outcome = self._deliver_chat if channels.is_chat(handoff.channel or "") else self._deliver_incident
        return outcome(handoff, deadline)

    def _deliver_incident(self, handoff: Handoff, deadline: float) -> Outcome:
        unlinked = self._defaults.unlinked
        contact = contacts.usable(handoff.contact)
        is_caller = contact.email is None
        order = self._defaults.contact_match
        if is_caller and unlinked == CALLER_CONTACT and "phone" not in order:
            order = (*order, "phone")  # a caller's own contact is found again by the number
        text = document.document(handoff, channel=handoff.channel or "")
        wants_limits = text.description(2000) is None or (handoff.priority or self._defaults.priority) > 3
        questions = self._metadata.questions() if wants_limits else ()
        found = self._read(contact, order, questions, deadline)
        wanted = Defaulting(self._defaults, found, is_caller=is_caller)
        try:
            return self._write_incident(handoff, text, wanted, deadline)
        except CustomerNeeded as refused:
            notice = Notice(refused.code, f"{refused.message} A contact for the caller is linked instead.")
            return self._write_incident(handoff, text, wanted.as_caller_contact(notice), deadline)

    def _write_incident(
        self, handoff: Handoff, text: document.Document, wanted: "Defaulting", deadline: float
    ) -> Outcome:
        new = contacts.new_row(handoff, environment=self._client.origin) if wanted.makes_contact else None
        contact_id = wanted.found.contact_id or (new.row_id if new else None)
        plan, notices = incidents.plan(
            handoff,
            text,
            environment=self._client.origin,
            defaults=wanted.defaults,
            table=self._metadata.case_table,
            contact=new,
            contact_id=contact_id,
        )
        written = self._writer.write(plan, deadline=deadline)
        linked = written.row.get("_primarycontactid_value") or (contact_id if written.created else None)
        return self._outcome(
            handoff,
            kind="incident",
            row=plan.record,
            written=written,
            contact=_linked(linked, new, created=written.contact_created),
            notices=(*self._defaults.notices, *wanted.found.notices, *notices),
        )

    def _deliver_chat(self, handoff: Handoff, deadline: float) -> Outcome:
        table = self._live_work_items()
        contact = contacts.usable(handoff.contact)
        order = tuple(kind for kind in self._defaults.contact_match if kind == "email" or contact.phone)
        found = self._read(contact, order, (), deadline)
        new = None
        if contact.email and found.contact_id is None:
            new = contacts.new_row(handoff, environment=self._client.origin)
        contact_id = found.contact_id or (new.row_id if new else None)
        plan = live_work_items.plan(
            handoff,
            document.document(handoff, channel=handoff.channel or ""),
            environment=self._client.origin,
            defaults=self._defaults,
            table=table,
            contact=new,
            contact_id=contact_id,
        )
        written = self._writer.write(plan, deadline=deadline)
        return self._outcome(
            handoff,
            kind="live_work_item",
            row=plan.record,
            written=written,
            contact=_linked(contact_id, new, created=written.contact_created),
            notices=(*self._defaults.notices, *found.notices),
        )

    def _read(
        self, contact: Contact, order: tuple[str, ...], questions: tuple[Operation, ...], deadline: float
    ) -> Found:
        """Look the contact up, and ask for the case table's limits in the same round trip."""
        asked = contacts.lookups(contact, order)
        replies = self._ask((*asked, *questions), deadline)
        if questions:
            self._metadata.learn(replies[len(asked) :])
        answers = [self._client.classed(reply) for reply in replies[: len(asked)]]
        unknown = next((reply.status for reply in answers if not reply.is_success and reply.status != 400), None)
        if unknown is not None:  # "not found" would make a second contact for a customer who has one
            message = f"Dataverse did not say whether the contact exists (HTTP {unknown})."
            raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM)
        return contacts.choose(answers)

    def _ask(self, operations: tuple[Operation, ...], deadline: float) -> list[Reply]:
        if not operations:
            return []
        if len(operations) == 1:
            return [self._client.get(operations[0].path, deadline=deadline)]
        return [part[0] for part in self._client.batch(operations, deadline=deadline, go_on=True)]

    def _outcome(
        self,
        handoff: Handoff,
        *,
        kind: str,
        row: Row,
        written: Written,
        contact: LinkedContact,
        notices: tuple[Notice, ...],
    ) -> Outcome:
        url = f"{self._client.origin}/main.aspx?etn={row.logical_name}&pagetype=entityrecord&id={row.row_id}"
        return Outcome(
            system=SYSTEM,
            kind=kind,
            channel=handoff.channel or "",
            record_id=row.row_id,
            ticket_number=written.row.get("ticketnumber"),
            url=url,
            contact=contact,
            warnings=(*notices, *written.notices),
        )


class Defaulting:
    """Who an incident's customer is: the contact that was found, a new one, the fallback, or nobody."""

    def __init__(self, defaults: Defaults, found: Found, *, is_caller: bool) -> None:
        self.found = found
        unlinked = CALLER_CONTACT if not is_caller else defaults.unlinked
        self.makes_contact = found.contact_id is None and unlinked == CALLER_CONTACT
        uses_fallback = found.contact_id is None and unlinked == FALLBACK_CUSTOMER
        self.defaults = defaults if uses_fallback else replace(defaults, fallback_customer=None)

    def as_caller_contact(self, notice: Notice) -> "Defaulting":
        """The same, with a contact made for the caller, since a case needs a customer."""
        found = Found(self.found.contact_id, (*self.found.notices, notice))
        return Defaulting(replace(self.defaults, unlinked=CALLER_CONTACT), found, is_caller=True)


def _linked(contact_id: str | None, new: Row | None, *, created: bool) -> LinkedContact:
    is_new = new is not None and contact_id is not None and contact_id.lower() == new.row_id
    return LinkedContact(contact_id, linked=contact_id is not None, created=is_new and created)
