"""Takes what Dynamics pushes: let in, stored, and woken; carried by the relay.

Microsoft's page "Webhook" promises no order: an activity may come after the end of its conversation. It is
acknowledged then, for nothing would change if it came again; 404 asks Dynamics to come again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from shared import events
from shared.dynamics_messaging import webhook
from shared.dynamics_messaging.webhook import Verifier
from shared.errors import NotFound
from shared.relay.model import Conversation, RepEntry

SYSTEM = "dynamics365"


class Relay(Protocol):
    """What carries messages; `shared.relay.relay.Relay`. Every method may raise LedgerUnavailable."""

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """The open conversation with that id of the system's."""

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """Whether a conversation with that id was carried, and is over."""

    def pushed(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """The rep's system has pushed something: it is stored when this returns."""


class DynamicsEvents:
    """The webhook. Nothing is read of a request before its lock and token are good.

    Args:
        verifier: lets requests in.
        relay: knows the open conversations.
        automated_senders: see `shared.dynamics_messaging.settings.Webhook`.
        now: the time of day, for activities that bring none.
    """

    def __init__(
        self,
        *,
        verifier: Verifier,
        relay: Callable[[], Relay],
        automated_senders: Callable[[], frozenset[str]],
        now: Callable[[], datetime],
    ) -> None:
        self._verifier = verifier
        self._relay = relay
        self._automated_senders = automated_senders
        self._now = now

    def receive(self, *, lock: str, authorization: str | None, conversation_id: str, body: Callable[[], bytes]) -> None:
        """Take one activity; when this returns it is stored durably, or means nothing to the customer.

        Raises:
            NotFound: the lock is wrong, or no conversation of that id is known.
            Unauthorized: the token is missing, or not good.
            InvalidRequest, PayloadTooLarge: it is no activity.
            LedgerUnavailable, ConfigurationFault, TransientFailure: not now; Dynamics tries again.
        """
        self._verifier.verify(lock=lock, authorization=authorization)
        data = webhook.read(body(), conversation_id=conversation_id)
        relay = self._relay()
        conversation = relay.find(SYSTEM, conversation_id.lower())
        if conversation is None:
            if relay.has_ended(SYSTEM, conversation_id.lower()):
                events.emit(events.DYNAMICS_MESSAGING_IGNORED, code="conversation_ended")
                return
            raise NotFound("No conversation of that id is open.", code="conversation_not_open")
        entries = webhook.parse(data, conversation, arrived_at=self._now(), automated_senders=self._automated_senders())
        if entries:
            relay.pushed(conversation, entries)
