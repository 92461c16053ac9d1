"""Are chats through the Messaging APIs set up? One row a check, each with the fix in words."""

from collections.abc import Callable, Iterator

from shared.check import Check, failed, passed, warned
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.settings import LEAST_LOCK_CHARACTERS, LOCK, Messaging, Webhook, lock_is_strong
from shared.errors import HandoffError

_NAME = "dynamics365.messaging"


class MessagingChecks:
    """The checks, in the order in which one needs the other.

    Args:
        client: makes the client; raises ConfigurationFault while a setting is wrong.
        settings: how to reach the APIs.
        webhook: what the webhook's token must say.
        keys: Entra's keys for that.
        lock: gives the unguessable part of the webhook's path.
        deadline: the monotonic time, in seconds, by which all must be over.
    """

    def __init__(
        self,
        client: Callable[[], MessagingClient],
        *,
        settings: Callable[[], Messaging],
        webhook: Callable[[], Webhook],
        keys: Callable[[Webhook], SigningKeys],
        lock: Callable[[], str],
        deadline: float,
    ) -> None:
        self._client = client
        self._settings = settings
        self._webhook = webhook
        self._keys = keys
        self._lock = lock
        self._deadline = deadline

    def run(self) -> Iterator[Check]:
        """All rows; what cannot be tested for want of an earlier one is left out."""
        yield from self._reach()
        yield from self._webhook_rows()

    def _reach(self) -> Iterator[Check]:
        name = f"{_NAME}.settings"
        try:
            settings = self._settings()
            client = self._client()
            yield passed(name, f"Messaging APIs at {settings.origin}, {len(settings.channels)} channel row(s).")
            name = f"{_NAME}.token"
            client.sign_in(deadline=self._deadline)
            yield passed(name, "Entra gives a token for the Messaging APIs.")
            for channel, channel_id in settings.channels.items():
                name = f"{_NAME}.channel.{channel}"
                client.ping(channel_id=channel_id, deadline=self._deadline)
                yield passed(name, f"Channel row {channel_id} takes the token, and has a workstream.")
        except HandoffError as error:
            yield failed(name, error)

    def _webhook_rows(self) -> Iterator[Check]:
        name = f"{_NAME}.webhook_lock"
        try:
            if lock_is_strong(self._lock()):
                yield passed(name, f"{LOCK} is set.")
            else:
                fix = f"Make it {LEAST_LOCK_CHARACTERS} or more letters and digits, also in msdyn_webhookurl."
                yield Check(name, "failed", f"{LOCK} is too short, or holds characters that change in a path.", fix)
            name = f"{_NAME}.webhook_token"
            webhook = self._webhook()
            self._keys(webhook).get("")
            if webhook.needs_token:
                yield passed(name, f"Tokens of app {webhook.app_id} can be checked.")
            else:
                fix = "Give the channel row a managed identity, then remove DYNAMICS_WEBHOOK_AUTH."
                yield warned(name, "The webhook is open to whoever knows the lock.", fix)
        except HandoffError as error:
            yield failed(name, error)
