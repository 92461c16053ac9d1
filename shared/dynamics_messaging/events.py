"""Takes what Dynamics pushes: let in, stored, and woken; carried by the relay."""

from collections.abc import Callable
from datetime import datetime

from shared.dynamics_messaging import webhook
from shared.dynamics_messaging.webhook import Verifier
from shared.errors import NotFound
from shared.relay.relay import Relay

SYSTEM = "dynamics365"


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
            NotFound: the lock is wrong, or no conversation of that id is open.
            Unauthorized: the token is missing, or not good.
            InvalidRequest, PayloadTooLarge: it is no activity.
            LedgerUnavailable, ConfigurationFault, TransientFailure: not now; Dynamics tries again.
        """
        self._verifier.verify(lock=lock, authorization=authorization)
        data = webhook.read(body(), conversation_id=conversation_id)
        relay = self._relay()
        conversation = relay.find(SYSTEM, conversation_id.lower())
        if conversation is None:
            raise NotFound("No conversation of that id is open.", code="conversation_not_open")
        entries = webhook.parse(data, conversation, arrived_at=self._now(), automated_senders=self._automated_senders())
        if entries:
            relay.pushed(conversation, entries)
