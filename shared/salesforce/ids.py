"""Ids that we choose: the same handoff always makes the same conversation and the same messages.

Salesforce takes random UUIDs only (RFC 9562, version 4, in lower case), so a digest is put into that shape.
"""

import hashlib
import uuid

_NAMESPACE = "opencx-handoff/salesforce"


def derived(*names: str) -> str:
    """The id of what these names name."""
    text = "\x1f".join((_NAMESPACE, *names))
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], version=4))


def digest(text: str | bytes) -> str:
    """A short name of a text or a file: changed content gets another id, and so is sent."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.sha256(data).hexdigest()[:24]
