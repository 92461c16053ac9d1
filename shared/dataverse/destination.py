"""Dynamics 365 as a destination: at most one reading and one writing round trip a handoff."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.dataverse import SYSTEM, contacts, incidents, live_work_items
from shared.dataverse.batch import Operation, Reply
from shared.dataverse.client import DataverseClient
from shared.dataverse.contacts import Found
from shared.dataverse.leave_out import ContactTaken, CustomerNeeded
from shared.dataverse.metadata import Metadata
from shared.dataverse.plan import Plan
from shared.dataverse.rows import Row
from shared.dataverse.settings import CALLER_CONTACT, FALLBACK_CUSTOMER, Defaults, LiveWorkItemTable
from shared.dataverse.writer import Writer
from shared.errors import PermanentFailure, RefusedPart, TransientFailure
from shared.handoff import channel as channels
from shared.handoff import document
from shared.handoff.document import Document
from shared.handoff.model import Contact, Handoff, LinkedContact, Notice, Outcome

MOST_CUSTOMERS = 4


@dataclass(frozen=True)
class Customer:
    """Who a record's customer is.

    Attributes:
        contact_id: the contact to link; None: nobody, or the fallback.
        new: its row, when it has to be created.
        fallback: ``contacts(<guid>)`` or ``accounts(<guid>)``, for a case without a contact.
        notices: what was noticed while finding out.
    """

    contact_id: str | None
    new: Row | None = None
    fallback: str | None = None
    notices: tuple[Notice, ...] = ()


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
        self._unlinked = defaults.unlinked

    def deliver(self, handoff: Handoff, *, deadline: float, as_incident: bool = False) -> Outcome:
        """Write the handoff, or find that it stands already; with ``as_incident`` a chat becomes an incident too."""
        text = document.document(handoff, channel=handoff.channel or "")
        if channels.is_chat(handoff.channel or "") and not as_incident:
            return self._deliver_chat(handoff, text, deadline)
        return self._deliver_incident(handoff, text, deadline)

    def has_incident(self, handoff: Handoff, *, deadline: float) -> bool:
        """Whether an earlier try has written an incident for this handoff. One call."""
        incident_id = incidents.id_of(handoff, environment=self._client.origin)
        return self._client.get(f"incidents({incident_id})?$select=incidentid", deadline=deadline).is_success

    def _deliver_incident(self, handoff: Handoff, text: Document, deadline: float) -> Outcome:
        contact = contacts.usable(handoff.contact)
        is_caller = contact.email is None
        unlinked = self._unlinked if is_caller else CALLER_CONTACT
        order = self._defaults.contact_match
        if is_caller and unlinked == CALLER_CONTACT and "phone" not in order:
            order = (*order, "phone")  # a caller's own contact is found again by the number
        wants_limits = text.description(2000) is None or (handoff.priority or self._defaults.priority) > 3
        questions = self._metadata.questions() if wants_limits else ()
        found = self._read(contact, order, questions, deadline)
        customer = Customer(found.contact_id, notices=found.notices)
        if found.contact_id is None and unlinked == CALLER_CONTACT:
            customer = self._new(handoff, found.notices)
        elif found.contact_id is None and unlinked == FALLBACK_CUSTOMER:
            customer = replace(customer, fallback=self._defaults.fallback_customer)

        def write(customer: Customer) -> Outcome:
            plan, notices = incidents.plan(
                handoff,
                text,
                environment=self._client.origin,
                defaults=replace(self._defaults, fallback_customer=customer.fallback),
                table=self._metadata.case_table,
                contact=customer.new,
                contact_id=customer.contact_id,
            )
            return self._write(handoff, plan, customer, notices, deadline)

        return self._land(handoff, customer, write, deadline)

    def _deliver_chat(self, handoff: Handoff, text: Document, deadline: float) -> Outcome:
        table = self._live_work_items()
        contact = contacts.usable(handoff.contact)
        customer = Customer(None)
        if contact.verified is False and contact.email:
            # Anybody can type an address into a chat; OpenCX links a contact only to one that was verified.
            message = "The e-mail address is not verified: no contact is linked."
            customer = Customer(None, notices=(Notice("contact_not_verified", message),))
        else:
            found = self._read(contact, self._defaults.contact_match, (), deadline)
            customer = Customer(found.contact_id, notices=found.notices)
            if contact.email and found.contact_id is None:
                customer = self._new(handoff, found.notices)

        def write(customer: Customer) -> Outcome:
            plan, notices = live_work_items.plan(
                handoff,
                text,
                environment=self._client.origin,
                defaults=self._defaults,
                table=table,
                contact=customer.new,
                contact_id=customer.contact_id,
            )
            return self._write(handoff, plan, customer, notices, deadline)

        return self._land(handoff, customer, write, deadline)

    def _land(
        self, handoff: Handoff, customer: Customer, write: Callable[[Customer], Outcome], deadline: float
    ) -> Outcome:
        """Write; and when the customer's row is the trouble, write with another one."""
        for _ in range(MOST_CUSTOMERS):
            try:
                return write(customer)
            except RefusedPart as refused:
                customer = self._other(handoff, customer, refused, deadline)
        message = "Dataverse accepts no customer for this handoff."
        raise PermanentFailure(message, code="contact_refused")

    def _other(self, handoff: Handoff, customer: Customer, refused: RefusedPart, deadline: float) -> Customer:
        """Whom to link instead."""
        contact = contacts.usable(handoff.contact)
        if isinstance(refused, CustomerNeeded):
            if refused.code == "customer_needed":
                self._unlinked = CALLER_CONTACT  # this organisation's rule: it need not be asked again
            found = self._read(contact, ("phone",), (), deadline)
            message = f"{refused.message} A contact for the caller is linked instead."
            notices = (*customer.notices, *found.notices, Notice(refused.code, message))
            if found.contact_id:
                return Customer(found.contact_id, notices=notices)
            return self._new(handoff, notices)
        if isinstance(refused, ContactTaken) and customer.new is not None:
            found = self._read(contact, ("email", "phone"), (), deadline, active_only=False)
            if found.contact_id:
                return Customer(found.contact_id, notices=(*customer.notices, *found.notices))
        if not channels.is_chat(handoff.channel or "") and not self._defaults.fallback_customer:
            raise PermanentFailure(refused.message, code="dynamics_refused") from None
        message = f"{refused.message} No contact is linked."
        notices = (*customer.notices, Notice(refused.code, message))
        return Customer(None, fallback=self._defaults.fallback_customer, notices=notices)

    def _new(self, handoff: Handoff, notices: tuple[Notice, ...]) -> Customer:
        row = contacts.new_row(handoff, environment=self._client.origin)
        return Customer(row.row_id, new=row, notices=notices)

    def _write(
        self, handoff: Handoff, plan: Plan, customer: Customer, notices: tuple[Notice, ...], deadline: float
    ) -> Outcome:
        written = self._writer.write(plan, deadline=deadline)
        row = plan.record
        linked = written.linked_contact
        created = written.contact_created and customer.new is not None and linked == customer.new.row_id
        url = f"{self._client.origin}/main.aspx?etn={row.logical_name}&pagetype=entityrecord&id={row.row_id}"
        return Outcome(
            system=SYSTEM,
            kind="incident" if row.logical_name == "incident" else "live_work_item",
            channel=handoff.channel or "",
            record_id=row.row_id,
            ticket_number=written.row.get("ticketnumber"),
            url=url,
            contact=LinkedContact(linked, linked=linked is not None, created=created),
            warnings=(*self._defaults.notices, *customer.notices, *notices, *written.notices),
        )

    def _read(
        self,
        contact: Contact,
        order: tuple[str, ...],
        questions: tuple[Operation, ...],
        deadline: float,
        *,
        active_only: bool = True,
    ) -> Found:
        """Look the contact up, and ask for the case table's limits in the same round trip."""
        asked = contacts.lookups(contact, order, active_only=active_only)
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
