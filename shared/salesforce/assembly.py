"""Puts the Salesforce side together from the settings."""

from dataclasses import dataclass

from shared.config.clock import Clock
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.salesforce.client import SalesforceClient
from shared.salesforce.destination import SalesforceDestination
from shared.salesforce.files import Fetch
from shared.salesforce.settings import access
from shared.salesforce.side import SalesforceSide
from shared.salesforce.token import GuestTokens, TokenSource
from shared.salesforce.wire import Wire


@dataclass(frozen=True)
class Salesforce:
    """One org: where handoffs go, and where messages are carried to and from."""

    wire: Wire
    tokens: TokenSource
    destination: SalesforceDestination
    side: SalesforceSide

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()


def assemble(
    settings: Settings, secrets: Secrets, *, guests: GuestTokens, fetch: Fetch | None, clock: Clock
) -> Salesforce:
    """The org that the settings name. Raises ConfigurationFault while one is wrong."""
    reached = access(settings)
    wire = Wire(reached.origin, monotonic=clock.monotonic, now=clock.now)
    tokens = TokenSource(reached, wire=wire, secrets=secrets, guests=guests, clock=clock)
    client = SalesforceClient(reached, wire=wire, tokens=tokens)
    return Salesforce(
        wire,
        tokens,
        SalesforceDestination(client, tokens=tokens, access=reached, fetch=fetch, monotonic=clock.monotonic),
        SalesforceSide(client, tokens=tokens, access=reached, fetch=fetch, clock=clock),
    )
