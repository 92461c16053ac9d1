"""One delivery of a handoff into its conversation: what has arrived, and what is sent."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.errors import PermanentFailure, TransientFailure
from shared.handoff.model import Notice
from shared.salesforce.client import SalesforceClient, Session
from shared.salesforce.entry import ids_of
from shared.salesforce.ids import derived
from shared.salesforce.parts import Part
from shared.salesforce.token import Identity

SETTLES_SECONDS = 2.0
"""How long to wait before looking whether a message has arrived whose send was cut off."""
LATE_SECONDS = 10.0
"""The same where there was no answer in time: Salesforce may still be at it."""
THROTTLED_SECONDS = 10.0
"""The wait after a 429 that does not say how long."""


@dataclass
class Delivery:
    """Writes into one conversation, each thing once: ids derive from the conversation and the thing's name.

    Attributes:
        session: what a new messaging session begins with.
        deadline: the monotonic time, in seconds, by which it must be over.
        notices: what went other than asked.
        has_arrived: whether the rep has something of this handoff.
        sent: how many messages and files were sent now.
    """

    client: SalesforceClient
    conversation_id: str
    identity: Identity
    session: Session
    deadline: float
    notices: list[Notice]
    has_arrived: bool = False
    sent: int = 0
    _arrived: set[str] = field(default_factory=set)

    def learn(self, entries: Iterable[dict[str, Any]]) -> None:
        """An earlier try has been here: these entries are there."""
        self._arrived.update(each for entry in entries for each in ids_of(entry))

    def has(self, name: str) -> bool:
        """Whether the thing of that name is there."""
        return derived(self.conversation_id, name) in self._arrived

    def send(self, part: Part) -> bool:
        """Send a message unless it is there; False when it is refused for good, which a notice tells.

        Raises:
            TransientFailure: not now; with the wait after which it is known what became of it.
            ConversationEnded: see `SalesforceClient`.
        """
        if not self.has(part.name):
            try:
                self.client.send_text(
                    self.conversation_id,
                    derived(self.conversation_id, part.name),
                    part.text,
                    identity=self.identity,
                    deadline=self.deadline,
                    session=self.session,
                    reopens=True,  # nobody has seen it yet
                )
            except TransientFailure as failure:
                raise _later(failure) from failure
            except PermanentFailure as failure:
                message = f"One message of the transcript was refused and is missing. {failure.message}"
                self.notices.append(Notice("transcript_part_refused", message))
                return False
            self.sent += 1
        self.has_arrived = True
        return True

    def send_file(self, slot: str, *, name: str, content: bytes) -> None:
        """Send a file unless it is there. Raises as `send`, and PermanentFailure when it is refused for good."""
        if not self.has(slot):
            try:
                self.client.send_file(
                    self.conversation_id,
                    derived(self.conversation_id, slot),
                    name=name,
                    content=content,
                    identity=self.identity,
                    deadline=self.deadline,
                    session=self.session,
                    reopens=True,
                )
            except TransientFailure as failure:
                raise _later(failure) from failure
            self.sent += 1
        self.has_arrived = True


def _later(failure: TransientFailure) -> TransientFailure:
    """The failure, with the wait that it takes to know what became of the message."""
    after = failure.retry_after_seconds
    if failure.is_unclear:
        after = max(after or 0.0, LATE_SECONDS if failure.code == "salesforce_timeout" else SETTLES_SECONDS)
    elif failure.kind == "throttled" and after is None:
        after = THROTTLED_SECONDS
    return TransientFailure(
        failure.message,
        code=failure.code,
        system=failure.system,
        kind=failure.kind,
        retry_after_seconds=after,
        is_unclear=failure.is_unclear,
    )
