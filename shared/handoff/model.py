"""What the domain speaks of: a handoff, its contact, its transcript. Frozen, and free of any system."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

type Scalar = str | int | float | bool | None

CUSTOMER, AI, AGENT, SYSTEM = "customer", "ai", "agent", "system"


@dataclass(frozen=True)
class Attachment:
    """A file that was sent in the conversation; only its name and address are known."""

    name: str | None
    url: str | None


@dataclass(frozen=True)
class Turn:
    """One message of the conversation. ``role`` is customer, ai, agent, system or the source's own word."""

    role: str
    text: str
    at: datetime | None = None
    name: str | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Contact:
    """Who the customer is, as far as OpenCX knows. ``email`` is normalised, ``phone`` E.164 where it can be."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None
    external_id: str | None = None
    verified: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not (self.name or self.email or self.phone)


@dataclass(frozen=True)
class Handoff:
    """One conversation that the AI gives up. ``transcript`` is None while it has not been read from OpenCX."""

    handoff_id: str
    session_id: str
    channel: str | None
    contact: Contact = field(default_factory=Contact)
    transcript: tuple[Turn, ...] | None = None
    summary: str | None = None
    classification: str | None = None
    sentiment: str | None = None
    reason: str | None = None
    language: str | None = None
    priority: int | None = None
    queue_id: str | None = None
    workstream_id: str | None = None
    owner_id: str | None = None
    ticket_properties: Mapping[str, Scalar] = field(default_factory=dict)
    target: str | None = None
    session_url: str | None = None
    ticket_number: str | None = None
    organization_id: str | None = None
    custom_data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Notice:
    """Something that went other than asked, without stopping the handoff: a code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class LinkedContact:
    """The customer's row at the target."""

    id: str | None
    linked: bool
    created: bool


@dataclass(frozen=True)
class Outcome:
    """What stands at the target after a handoff. ``kind`` is the contract's word for the record.

    ``relay`` is what the relay needs to go on with a ``messaging_conversation``; it is not kept with the record.
    """

    system: str
    kind: str
    channel: str
    record_id: str
    ticket_number: str | None = None
    url: str | None = None
    contact: LinkedContact = field(default_factory=lambda: LinkedContact(None, linked=False, created=False))
    warnings: tuple[Notice, ...] = ()
    relay: Mapping[str, str] = field(default_factory=dict)
