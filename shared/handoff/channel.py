"""Channels: where the customer was talking, and whether a rep answers there live."""

CHATS = frozenset({"web", "sms", "whatsapp"})
"""Channels that become a live work item; all others become an incident (OpenCX: Conversations in Dynamics 365)."""
REST = "*"
"""In HANDOFF_ROUTES: every channel that is not named."""

_ALIASES = {
    "widget": "web",
    "webchat": "web",
    "phone_voice": "phone",
    "web_voice": "phone",
    "voice": "phone",
    "call": "phone",
}


def normalise(name: str) -> str:
    """The channel's own name for any of its spellings; unknown names come back in lower case."""
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)


def is_chat(channel: str) -> bool:
    """Whether this channel becomes a live work item."""
    return channel in CHATS
