"""Routing attributes: what an Omni-Channel flow can decide by, and what ends up on the messaging session.

Facts: names are case-sensitive, unknown ones vanish silently, values are texts of at most 255 characters (the custom
parameter's Max Length). ``OpencxSessionId`` and ``Chat_Consumer_Type`` are OpenCX's names.
"""

from collections.abc import Mapping

from shared.handoff import document
from shared.handoff.model import Contact, Handoff
from shared.handoff.text import cut, one_line
from shared.salesforce.settings import Access

LONGEST = 255
LASTING = ("sessionId", "handoffId", "phone", "channel", "language", "priority", "consumerType")
"""What each further session of a conversation begins with, and so is kept: ids and numbers, no text of anybody's."""


def attributes(handoff: Handoff, access: Access, *, channel: str, is_verified: bool) -> dict[str, str]:
    """The routing attributes of a handoff.

    Args:
        handoff: what is known.
        access: names them.
        channel: where the customer is.
        is_verified: whether Salesforce knows the customer by an identity token.
    """
    contact = handoff.contact
    first, last = _names(contact)
    is_known = is_verified and contact.verified is True
    values = {
        "sessionId": handoff.session_id,
        "handoffId": handoff.handoff_id,
        "channel": channel,
        "language": handoff.language,
        "priority": str(handoff.priority or access.priority),
        "consumerType": "Authenticated" if is_known else "Unauthenticated",
        "phone": contact.phone,
        "email": contact.email,
        "name": contact.name,
        "firstName": first,
        "lastName": last,
        "subject": document.subject(handoff, channel=channel, limit=LONGEST),
        "summary": handoff.summary,
        "classification": handoff.classification,
        "sentiment": handoff.sentiment,
        "reason": handoff.reason,
        "ticketNumber": handoff.ticket_number,
        "sessionUrl": handoff.session_url,
        "externalId": contact.external_id,
        "organizationId": handoff.organization_id,
    }
    known = {name: cut(one_line(value), LONGEST) for name, value in values.items() if value}
    return {attribute: known[ours] for ours, attribute in access.attributes.items() if known.get(ours)}


def lasting(attributes: Mapping[str, str], access: Access) -> dict[str, str]:
    """What is kept of a handoff's attributes while its conversation is open."""
    names = {access.attributes[ours] for ours in LASTING if ours in access.attributes}
    return {name: value for name, value in attributes.items() if name in names}


def _names(contact: Contact) -> tuple[str, str]:
    """First and last name; a name of one word is a first name."""
    words = one_line(contact.name or "").split(" ")
    return (words[0], "") if len(words) == 1 else (" ".join(words[:-1]), words[-1])
