"""The names that we give things in Dynamics, derived from the handoff, so that repeating is harmless."""

import hashlib

from shared.handoff.identity import record_id
from shared.handoff.text import size

CUSTOMER_ID_MAX = 100
"""Of msdyn_customengagementctx.msdyn_customsenderid, though the APIs take 200: it must not be cut."""

_PREFIX = "opencx:"


def customer_id(handoff_id: str) -> str:
    """``customerid`` of the create call: while a conversation with it is active, a second create finds that one.

    Not who the customer is: a second, deliberate handoff is a conversation of its own.
    """
    named = f"{_PREFIX}{handoff_id}"
    return named if size(named) <= CUSTOMER_ID_MAX else f"{_PREFIX}{hashlib.sha256(handoff_id.encode()).hexdigest()}"


def request_id(handoff_id: str, *, environment: str) -> str:
    """``conversationrequestid``: a GUID that is the same at every repeat."""
    return record_id(environment=environment, kind="messaging_conversation", handoff_id=handoff_id)


def reference(handoff_id: str) -> str:
    """Eight digits by which we know our own texts again among a conversation's messages."""
    return hashlib.sha256(handoff_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
