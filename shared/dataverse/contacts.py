"""The customer's contact row: looked up by what is known, else created under an id derived from that.

Facts: contact entity reference; OpenCX's page "Conversations in Dynamics 365" (look-up by ``emailaddress1``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.dataverse.batch import Operation, Reply
from shared.dataverse.plan import Columns
from shared.dataverse.rows import Row, Tier, literal
from shared.handoff.identity import contact_id
from shared.handoff.model import Contact, Handoff, Notice
from shared.handoff.text import cut, one_line, size

NAME_MAX, EMAIL_MAX, PHONE_MAX = 50, 100, 50

_SELECT = "contacts?$select=contactid,statecode&$filter={filter}&$orderby=createdon%20asc,contactid%20asc&$top=2"


@dataclass(frozen=True)
class Found:
    """The contact that the look-ups gave, if any, and what was noticed on the way."""

    contact_id: str | None
    notices: tuple[Notice, ...] = ()


def lookups(contact: Contact, order: Sequence[str], *, active_only: bool = True) -> tuple[Operation, ...]:
    """One query for each identity that is known, in the order in which a match counts.

    Active rows, the oldest first: a deactivated or merged duplicate must not win.
    """
    active = " and statecode eq 0" if active_only else ""
    filters = {"email": _email_filter(contact), "phone": _phone_filter(contact)}
    asked = (filters[kind] for kind in order)
    return tuple(
        Operation("GET", _SELECT.format(filter=quote(f"({each}){active}", safe="()"))) for each in asked if each
    )


def choose(replies: Sequence[Reply]) -> Found:
    """The first match; where one query has several, the oldest row, with a notice."""
    for reply in replies:
        rows = reply.json().get("value") or []
        if rows:
            notices: tuple[Notice, ...] = ()
            if len(rows) > 1:
                message = "Several active contacts match; the oldest one is linked."
                notices = (Notice("contact_ambiguous", message),)
            return Found(str(rows[0]["contactid"]).lower(), notices)
    return Found(None)


def new_row(handoff: Handoff, *, environment: str) -> Row:
    """The contact to create: by e-mail, else by phone, else for this session alone."""
    contact = usable(handoff.contact)
    first, last = split_name(contact)
    phone = contact.phone if contact.phone and size(contact.phone) <= PHONE_MAX else None
    made = Columns()
    made.put("firstname", first, "contact.name", Tier.CONTACT)
    made.columns["lastname"] = last or f"Caller {handoff.session_id[:36]}"
    if contact.email:
        made.columns["emailaddress1"] = contact.email
    made.put("mobilephone", phone, "contact.phone_number", Tier.CONTACT)
    note = f"Created from chat session {handoff.session_id}"
    made.put("description", note, "the contact's description", Tier.CONTACT)
    row_id = contact_id(environment=environment, contact=contact, session_id=handoff.session_id)
    return Row("contacts", "contact", row_id, made.columns, made.spare)


def usable(contact: Contact) -> Contact:
    """The contact without an e-mail address that the column cannot hold."""
    if contact.email and size(contact.email) > EMAIL_MAX:
        return Contact(name=contact.name, phone=contact.phone, external_id=contact.external_id)
    return contact


def split_name(contact: Contact) -> tuple[str | None, str | None]:
    """First and last name: the last word is the last name, all before it the first; one word is the last name.

    Without a name the last name is the e-mail address or the phone number, so that a rep's list shows something.
    """
    words = one_line(contact.name or "").split(" ")
    first, last = " ".join(words[:-1]), words[-1]
    last = last or contact.email or contact.phone or ""
    return cut(first, NAME_MAX) or None, cut(last, NAME_MAX) or None


def _email_filter(contact: Contact) -> str | None:
    email = usable(contact).email
    return f"emailaddress1 eq {literal(email)}" if email else None


def _phone_filter(contact: Contact) -> str | None:
    phone = contact.phone
    if not phone or size(phone) > PHONE_MAX:
        return None
    spellings = dict.fromkeys((phone, phone.removeprefix("+")))
    return " or ".join(
        f"{column} eq {literal(spelling)}" for column in ("mobilephone", "telephone1") for spelling in spellings
    )
