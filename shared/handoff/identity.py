"""Ids that we choose: the same handoff always writes the same rows, so that repeating is harmless.

A row's id is a name-based GUID (RFC 9562, version 5) of the target, the kind of row and the handoff. A contact's id
comes from who the contact is, not from the session: two sessions of one new customer meet at one row.
"""

import uuid

from shared.handoff.model import Contact

_NAMESPACE = uuid.UUID("0b5d1cb6-7a3e-5c53-9d5a-5d1f6f7a2c11")


def record_id(*, environment: str, kind: str, handoff_id: str, part: int = 0) -> str:
    """The GUID of the ``part``-th row of this kind that this handoff writes in this environment."""
    return _derive(environment, kind, handoff_id, str(part))


def contact_id(*, environment: str, contact: Contact, session_id: str) -> str:
    """The GUID of the row that we create for this customer: by e-mail, else phone, else session."""
    if contact.email:
        identity = ("email", contact.email.casefold())
    elif contact.phone:
        identity = ("phone", contact.phone)
    else:
        identity = ("session", session_id)
    return _derive(environment, "contact", *identity)


def _derive(*names: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(names)))
