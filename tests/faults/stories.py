"""The handoffs that are posted: one a channel, with a new or a known contact, a short or a long transcript."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.world import World

INCIDENTS, CHATS = "incidents", "oc_liveworkitems"
_BEGAN = datetime(2030, 1, 31, 9, 30, tzinfo=UTC)
_FILLER = "and so on, "


@dataclass(frozen=True)
class Story:
    """One kind of handoff.

    Attributes:
        contact: what is known of the customer; ``{}`` in a value becomes the handoff's number.
        is_known: whether the contact is in Dataverse already.
        turns: how many messages, each of about ``size`` characters.
        is_read: whether channel and transcript are read from OpenCX.
    """

    name: str
    channel: str
    contact: Mapping[str, str]
    is_known: bool = False
    turns: int = 4
    size: int = 60
    is_read: bool = False

    @property
    def entity_set(self) -> str:
        """Where its record must stand."""
        return CHATS if self.channel in ("web", "sms", "whatsapp") else INCIDENTS

    def texts(self, handoff_id: str) -> tuple[str, ...]:
        """The messages: each once in the world, with what HTML and line breaks could spoil."""
        filler = _FILLER * max(0, (self.size - 60) // len(_FILLER))
        return tuple(
            f'Message {number} of {handoff_id}: <b>5 & 6</b> "ü😀"\nsecond line {filler}end {number}.'
            for number in range(1, self.turns + 1)
        )

    def customer(self, number: int) -> dict[str, str]:
        """The contact of the handoff of that number."""
        return {name: value.format(f"{number:07d}") for name, value in self.contact.items()}

    def body(self, handoff_id: str, number: int = 1) -> dict[str, Any]:
        """The request body."""
        body: dict[str, Any] = {"session_id": handoff_id, "summary": f"Wants a refund ({handoff_id})."}
        if not self.is_read:
            body |= {"channel": self.channel, "contact": self.customer(number), "transcript": self._flat(handoff_id)}
        return body

    def prepare(self, world: World, handoff_id: str, number: int = 1) -> None:
        """What must be there before: a known contact, the session at OpenCX."""
        customer = self.customer(number)
        if self.is_known:
            columns = {"emailaddress1": customer.get("email"), "mobilephone": customer.get("phone_number")}
            known = {name: value for name, value in columns.items() if value}
            world.dataverse.insert("contacts", {"lastname": "Known", **known})
        if self.is_read:
            contact = {name: value for name, value in customer.items() if name != "name"}
            channel = {"phone": "phone_voice"}.get(self.channel, self.channel)
            session = {"id": handoff_id, "channel": channel, "contact": {**contact, "name": customer["name"]}}
            world.opencx.add_session(session)
            for number_, text in enumerate(self.texts(handoff_id)):
                world.clock.sleep(1)
                world.opencx.says(handoff_id, text, sender="ai" if number_ % 2 else "contact")

    def _flat(self, handoff_id: str) -> list[dict[str, str]]:
        return [
            {
                "role": "assistant" if number % 2 else "user",
                "text": text,
                "at": (_BEGAN + timedelta(seconds=number)).isoformat(),
            }
            for number, text in enumerate(self.texts(handoff_id))
        ]


EMAIL = {"name": "Jo Doe", "email": "jo{}@example.com"}
PHONE = {"name": "Jo Doe", "phone_number": "+1555{}"}
BOTH = EMAIL | PHONE

STORIES = (
    Story("web new", "web", EMAIL, turns=40, size=200),
    Story("web known", "web", EMAIL, is_known=True),
    Story("sms", "sms", PHONE),
    Story("whatsapp new", "whatsapp", BOTH),
    Story("whatsapp known", "whatsapp", BOTH, is_known=True),
    Story("phone new", "phone", PHONE, turns=60, size=5000),
    Story("phone known", "phone", PHONE, is_known=True),
    Story("email new", "email", EMAIL),
    Story("email known", "email", EMAIL, is_known=True, turns=30, size=200),
    Story("phone read", "phone", EMAIL, turns=60, is_read=True),
    Story("web read", "web", EMAIL, turns=120, is_read=True),
)


def story(name: str) -> Story:
    """The story of that name."""
    return next(each for each in STORIES if each.name == name)
