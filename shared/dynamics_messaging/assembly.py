"""Puts the Messaging APIs' side together from the settings."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.config.clock import Clock
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.dataverse import settings as dataverse_settings
from shared.dataverse.client import DataverseClient
from shared.dataverse.settings import Access
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import MESSAGING, settings
from shared.dynamics_messaging.availability import Availability
from shared.dynamics_messaging.checks import MessagingChecks
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.destination import MessagingDestination
from shared.dynamics_messaging.events import DynamicsEvents
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.organization import Organization
from shared.dynamics_messaging.people import People
from shared.dynamics_messaging.side import MessagingSide
from shared.dynamics_messaging.webhook import Verifier
from shared.relay.model import Conversation, CustomerMessage, CustomerSide
from shared.relay.relay import Relay

ORGANIZATION_SECONDS = 10.0


@dataclass(frozen=True)
class MessagingParts:
    """One organization: where chats go, and where messages are carried to and from."""

    client: MessagingClient
    destination: MessagingDestination
    side: MessagingSide

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def assemble(
    given: Settings, secrets: Secrets, *, dataverse: DataverseClient, customer: Callable[[], CustomerSide], clock: Clock
) -> MessagingParts:
    """The organization that the settings name. Raises ConfigurationFault while one is wrong."""
    messaging = settings.messaging(given)
    defaults = dataverse_settings.defaults(given)
    client = _client(given, secrets, messaging, dataverse=dataverse, clock=clock)
    people = People(dataverse, contact_match=defaults.contact_match)
    destination = MessagingDestination(
        client,
        people=people,
        settings=lambda: messaging,
        availability=Availability(dataverse, mode=settings.availability(given), workstream_id=defaults.workstream_id),
        environment=dataverse.origin,
        monotonic=clock.monotonic,
        priority=defaults.priority,
        notices=defaults.notices,
    )

    def written(conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        return customer().messages(conversation, since=since, deadline=deadline)

    side = MessagingSide(
        client,
        settings=lambda: messaging,
        written=written,
        status=people.status,
        now=clock.now,
        home=dataverse.origin,
    )
    return MessagingParts(client, destination, side)


class KeyRing:
    """Entra's keys, one set for each way in which the webhook is set up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[settings.Webhook, SigningKeys] = {}

    def __call__(self, webhook: settings.Webhook) -> SigningKeys:
        """The keys for that."""
        known = self._made.get(webhook)
        if known is None:
            made = SigningKeys(authority=webhook.authority, tenant=webhook.tenant, monotonic=self._clock.monotonic)
            known = self._made.setdefault(webhook, made)
        return known

    def close(self) -> None:
        """Close the connections."""
        for keys in self._made.values():
            keys.close()
        self._made.clear()


def checks(
    given: Settings, secrets: Secrets, *, client: Callable[[], MessagingClient], keys: KeyRing, deadline: float
) -> MessagingChecks:
    """The rows of ``/api/connections``."""
    return MessagingChecks(
        client,
        settings=lambda: settings.messaging(given),
        webhook=lambda: settings.webhook(given),
        keys=keys,
        lock=lambda: secrets.get(settings.LOCK, system=MESSAGING),
        deadline=deadline,
    )


def events(
    given: Settings, secrets: Secrets, *, relay: Callable[[], Relay], keys: KeyRing, clock: Clock
) -> DynamicsEvents:
    """What takes the webhook's requests."""

    @functools.cache
    def wanted() -> settings.Webhook:
        return settings.webhook(given)

    lock = functools.partial(settings.lock, secrets)
    verifier = Verifier(wanted, keys=keys, lock=lock, now=clock.now)
    return DynamicsEvents(
        verifier=verifier, relay=relay, automated_senders=lambda: wanted().automated_senders, now=clock.now
    )


def _client(
    given: Settings, secrets: Secrets, messaging: settings.Messaging, *, dataverse: DataverseClient, clock: Clock
) -> MessagingClient:
    access = dataverse_settings.access(given)
    organization = Organization(messaging.organization_id, dataverse=lambda: dataverse)

    def resource() -> Access:
        found = messaging.resource
        if found is None:
            organization_id = organization.id(deadline=clock.monotonic() + ORGANIZATION_SECONDS)
            found = settings.derived_resource(organization_id=organization_id, environment=access.origin)
        return replace(access, origin=found)

    tokens = TokenSource(resource, secrets=secrets, clock=clock, wall_seconds=lambda: clock.now().timestamp())
    return MessagingClient(
        messaging.origin, organization=organization, tokens=tokens, monotonic=clock.monotonic, now=clock.now
    )
