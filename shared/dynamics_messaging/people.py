"""What Dataverse knows before a conversation is made: the contact, and whether this handoff had a conversation before.

Dynamics links a contact by the e-mail address of the create call if exactly one matches, so the contact must be there
first (Microsoft's page "Enable fields to identify customers").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.dataverse import contacts, refusal
from shared.dataverse.batch import Operation, Reply
from shared.dataverse.client import DataverseClient, error_of
from shared.dataverse.leave_out import named_column
from shared.dataverse.rows import Row, literal
from shared.dynamics_messaging import SYSTEM
from shared.dynamics_messaging.names import customer_id
from shared.errors import TransientFailure
from shared.handoff.model import Handoff, LinkedContact, Notice

HANDOFF_VARIABLE = "handoffId"
"""The context variable that holds the handoff's id."""
OVER = frozenset({4, 5})
"""statuscode of msdyn_ocliveworkitem: closed, wrap-up."""

_MOST_REFUSALS = 8
_IS_THERE = "0x80040237"


@dataclass(frozen=True)
class Known:
    """What was found.

    Attributes:
        contact: whom Dynamics will link.
        ended_id: a conversation of this very handoff that is over already.
        open_id: one that is not.
        notices: what was noticed on the way.
    """

    contact: LinkedContact
    ended_id: str | None = None
    open_id: str | None = None
    notices: tuple[Notice, ...] = ()


class People:
    """Looks up and creates in one environment."""

    def __init__(self, client: DataverseClient, *, contact_match: tuple[str, ...]) -> None:
        self._client = client
        self._order = contact_match

    @property
    def links_by_phone(self) -> bool:
        """Whether a phone number may link a contact."""
        return "phone" in self._order

    def find(self, handoff: Handoff, *, deadline: float) -> Known:
        """Look up, in one round trip, and create the contact when there is none.

        Raises:
            TransientFailure, ConfigurationFault: Dataverse does not say, or refuses the service.
        """
        contact = contacts.usable(handoff.contact)
        is_trusted = contact.verified is not False
        asked = contacts.lookups(contact, self._order) if is_trusted else ()
        before = _conversations(handoff.handoff_id)
        parts = self._client.batch([*asked, *before], deadline=deadline, go_on=True)
        replies = [part[0] for part in parts]
        earlier = self._earlier(replies[len(asked) :], deadline)
        linked = LinkedContact(None, linked=False, created=False)
        notices: tuple[Notice, ...] = ()
        if not is_trusted and contact.email:
            # Anybody can type an address into a chat; OpenCX links a contact only to one that was verified.
            message = "The e-mail address is not verified: no contact is linked."
            notices = (Notice("contact_not_verified", message),)
        elif is_trusted:
            linked, notices = self._contact(handoff, replies[: len(asked)], deadline)
        ended_id, open_id = earlier
        return Known(linked, ended_id, open_id, notices)

    def status(self, conversation_id: str, *, deadline: float) -> int | None:
        """The ``statuscode`` of a conversation's work item; None when there is no such row (yet).

        Raises:
            TransientFailure, ConfigurationFault: Dataverse does not say, or refuses the service.
        """
        path = f"msdyn_ocliveworkitems({conversation_id})?$select=statuscode"
        value = self._client.get(path, deadline=deadline).json().get("statuscode")
        return value if isinstance(value, int) else None

    def _contact(
        self, handoff: Handoff, replies: Sequence[Reply], deadline: float
    ) -> tuple[LinkedContact, tuple[Notice, ...]]:
        answers = [self._client.classed(reply) for reply in replies]
        unknown = next((reply.status for reply in answers if not reply.is_success and reply.status != 400), None)
        if unknown is not None:  # "not found" would make a second contact for a customer who has one
            message = f"Dataverse did not say whether the contact exists (HTTP {unknown})."
            raise TransientFailure(message, code="dynamics_bad_answer", system=SYSTEM)
        found = contacts.choose(answers)
        if found.contact_id is not None:
            if found.notices:
                message = "Several active contacts match: Dynamics 365 links none of them by itself."
                return LinkedContact(found.contact_id, linked=False, created=False), (
                    Notice("contact_ambiguous", message),
                )
            return LinkedContact(found.contact_id, linked=True, created=False), ()
        if not contacts.usable(handoff.contact).email:
            return LinkedContact(None, linked=False, created=False), ()
        return self._create(contacts.new_row(handoff, environment=self._client.origin), deadline)

    def _create(self, row: Row, deadline: float) -> tuple[LinkedContact, tuple[Notice, ...]]:
        """Create the contact. What is refused of it is left out; the conversation starts even without it."""
        why = ""
        for _ in range(_MOST_REFUSALS):
            reply = self._client.call(row.create, deadline=deadline)
            why, _ = error_of(reply)
            if reply.is_success:
                return LinkedContact(row.row_id, linked=True, created=True), ()
            if reply.status == 412:
                if why in ("", _IS_THERE):  # an earlier try, or another session of this customer
                    return LinkedContact(row.row_id, linked=True, created=False), ()
                message = f"Another contact has this identity already ({why}); no contact is linked."
                return LinkedContact(None, linked=False, created=False), (Notice("contact_taken", message),)
            refused = refusal.read(reply)
            column = named_column(row, refused)
            if column is None or column not in row.spare:
                break
            row = row.shortened(column, refused.limit) if refused.limit else row.without(column)
        message = f"Dataverse refuses the new contact ({why or 'no code'}); no contact is linked."
        return LinkedContact(None, linked=False, created=False), (Notice("contact_refused", message),)

    def _earlier(self, replies: Sequence[Reply], deadline: float) -> tuple[str | None, str | None]:
        """The conversation of an earlier try, over or not.

        Tables that do not exist here, or that the service may not read, are no reason to let a customer wait: the
        APIs themselves find a conversation that is still active.
        """
        for reply in replies:
            if reply.status == 429 or reply.status >= 500:
                self._client.classed(reply)
            rows = reply.json().get("value") if reply.is_success else None
            for row in rows if isinstance(rows, list) else []:
                found = row.get("_msdyn_ocliveworkitemid_value") or row.get("_msdyn_liveworkitemid_value")
                if isinstance(found, str) and found:
                    is_over = self.status(found, deadline=deadline) in OVER
                    return (found.lower(), None) if is_over else (None, found.lower())
        return None, None


def _conversations(handoff_id: str) -> tuple[Operation, ...]:
    """Two places that may name the conversation of an earlier try; which of them is filled is not documented."""
    named = f"msdyn_name eq {literal(HANDOFF_VARIABLE)} and msdyn_value eq {literal(handoff_id)}"
    sender = f"msdyn_customsenderid eq {literal(customer_id(handoff_id))}"
    return (
        Operation(
            "GET",
            "msdyn_ocliveworkitemcontextitems?$select=_msdyn_ocliveworkitemid_value"
            f"&$filter={quote(named, safe='()')}&$orderby=createdon%20desc&$top=1",
        ),
        Operation(
            "GET",
            "msdyn_customengagementctxes?$select=_msdyn_liveworkitemid_value"
            f"&$filter={quote(sender, safe='()')}&$orderby=createdon%20desc&$top=1",
        ),
    )
