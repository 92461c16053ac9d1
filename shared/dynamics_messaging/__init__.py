"""Dynamics 365 conversations through the Messaging APIs: started from outside, with the rep's replies coming back."""

from shared.dataverse import CHATS, SYSTEM

__all__ = ["MESSAGING", "SYSTEM"]

MESSAGING = CHATS
"""Names this set-up in failures: incidents go on while chats wait for it."""
