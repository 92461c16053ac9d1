"""Is Salesforce set up? One row a check, each with the fix in words."""

from collections.abc import Callable, Iterator

from shared.check import Check, failed, passed, skipped, warned
from shared.config.settings import Settings
from shared.errors import HandoffError
from shared.salesforce.identity import read_key
from shared.salesforce.settings import Access, access
from shared.salesforce.token import Identity, TokenSource

PROBE = "session:connection-check"
"""The customer whose token is asked for; no conversation begins, so no rep sees it."""


class SalesforceChecks:
    """The checks, in the order in which one needs the other.

    Args:
        settings: the app settings.
        tokens: makes the token source for an access.
        deadline: the monotonic time, in seconds, by which it must be over.
    """

    def __init__(self, settings: Settings, *, tokens: Callable[[Access], TokenSource], deadline: float) -> None:
        self._settings = settings
        self._tokens = tokens
        self._deadline = deadline

    def run(self) -> Iterator[Check]:
        """All rows; after the first that nothing else can do without, the rest is skipped."""
        name = "salesforce.settings"
        if self._settings.text("SALESFORCE_SCRT_URL") is None:
            yield skipped(name, "SALESFORCE_SCRT_URL is not set: no handoff can go to Salesforce.")
            return
        try:
            reached = access(self._settings)
        except HandoffError as error:
            yield failed(name, error)
            return
        for notice in reached.notices:
            yield warned(name, notice.message, "Correct the setting.")
        if not reached.notices:
            yield passed(name, f"Deployment {reached.developer_name} at {reached.origin}.")
        name = "salesforce.key"
        try:
            tokens = self._tokens(reached)
            private_key = tokens.private_key(deadline=self._deadline)
            if private_key is None:
                yield _no_key(name, reached)
            else:
                bits = read_key(private_key).key_size
                yield passed(name, f"The private key can be read (RSA, {bits} bits).")
            name = "salesforce.token"
            yield self._token(name, tokens, is_guest=private_key is None)
        except HandoffError as error:
            yield failed(name, error)

    def _token(self, name: str, tokens: TokenSource, *, is_guest: bool) -> Check:
        identity = Identity(PROBE, is_guest=is_guest)
        tokens.get(identity, deadline=self._deadline, begins=True)
        tokens.forget(identity)
        if is_guest:
            return passed(name, "Salesforce gives guests a token.")
        return passed(name, "Salesforce accepts the identity token: customers are verified.")


def _no_key(name: str, reached: Access) -> Check:
    if reached.issuer or reached.key_id:
        message = "SALESFORCE_PRIVATE_KEY is not set: customers are guests, whose conversations end with their token."
        return warned(name, message, "Store the keyset's private key (PEM) as salesforce-private-key.")
    return skipped(name, "SALESFORCE_PRIVATE_KEY is not set: customers are guests.")
