"""Access tokens for Dataverse: one for its whole life, however many threads ask.

Facts (measured with azure-identity 1.27): every failure is a ClientAuthenticationError without a response, so the
class is read from the text, ``AADSTS<number>``; an unknown tenant has no number; no number at all is an outage.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from shared.config.clock import Clock
from shared.config.deadline import until
from shared.config.secrets import Secrets
from shared.config.turns import NoTurn, Turns
from shared.dataverse import SYSTEM
from shared.dataverse.settings import Access
from shared.errors import ConfigurationFault, HandoffError, TransientFailure

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

REFRESH_BEFORE_SECONDS = 300
REFRESH_AGAIN_SECONDS = 30
"""After a renewal that failed, while the token still works."""
TIMEOUT_SECONDS = 5
PATIENCE_SECONDS = 15.0
"""For a token, where the caller says nothing else."""

_NUMBER = re.compile(r"AADSTS(\d+)")
_NO_SUCH_TENANT = "Unable to get authority configuration"
_SECRET = frozenset({"7000215", "7000222"})
_OUTAGE = frozenset({"90006", "90024", "90033", "50196"})
_PUT_IT = "into Key Vault as dynamics-client-secret."
_FAULTS = {
    "7000215": ("secret_invalid", "Entra refuses the client secret.", f"Put its Value (not its ID) {_PUT_IT}"),
    "7000222": ("secret_expired", "The client secret has expired.", f"Make a new one and put it {_PUT_IT}"),
    "700016": (
        "client_unknown",
        "Entra does not know the application.",
        "Check DYNAMICS_CLIENT_ID and DYNAMICS_TENANT_ID.",
    ),
    "500011": (
        "url_unknown",
        "Entra does not know the environment's address.",
        "Check DYNAMICS_ENVIRONMENT_URL: up to .dynamics.com and no further.",
    ),
    "90002": (
        "tenant_unknown",
        "Entra does not know the tenant.",
        "Check DYNAMICS_TENANT_ID: the Directory (tenant) ID.",
    ),
}


class Credential(Protocol):
    """The part of azure-identity's credentials that is used here."""

    def get_token(self, *scopes: str) -> "AccessToken":
        """A token for the scopes."""

    def close(self) -> None:
        """Close the connections."""


class TokenSource:
    """Gives the current token; fetches a new one before it expires, and after Dataverse refused it."""

    def __init__(
        self,
        access: Callable[[], Access],
        *,
        secrets: Secrets,
        clock: Clock,
        wall_seconds: Callable[[], float],
        credential: Callable[[Access, str | None], Credential] | None = None,
    ) -> None:
        self._access = access
        self._secrets = secrets
        self._clock = clock
        self._wall_seconds = wall_seconds
        self._make_credential = credential or make_credential
        self._turns = Turns()
        self._token: AccessToken | None = None
        self._refresh_at = 0.0
        self._credential: Credential | None = None
        self._secret: str | None = None

    def get(self, *, deadline: float | None = None) -> str:
        """The token.

        Args:
            deadline: the monotonic time, in seconds, by which it must be over; None: in 15 s.

        Raises:
            ConfigurationFault: Entra refuses it, or a setting is wrong.
            TransientFailure: Entra or the vault did not give what is needed in time.
        """
        token = self._token
        now = self._clock.monotonic()
        deadline = now + PATIENCE_SECONDS if deadline is None else deadline
        if token is None or self._lasts_seconds(token) <= 0:
            with _in_time():
                return self._get_new(deadline, wait_seconds=deadline - now)
        if self._lasts_seconds(token) > REFRESH_BEFORE_SECONDS or now < self._refresh_at:
            return token.token
        try:
            return self._get_new(min(deadline, now + TIMEOUT_SECONDS), wait_seconds=0)
        except NoTurn:
            return token.token  # somebody is fetching the next one, and this one still works
        except HandoffError:
            self._refresh_at = self._clock.monotonic() + REFRESH_AGAIN_SECONDS
            return token.token

    def refuse(self, token: str, *, deadline: float | None = None) -> None:
        """Dataverse answered 401: forget this token, and look for a rotated secret.

        Args:
            token: the refused one; a newer one stays.
            deadline: as for `get`.

        Raises:
            TransientFailure: somebody is fetching a token all the time until the deadline.
        """
        wait_seconds = PATIENCE_SECONDS if deadline is None else deadline - self._clock.monotonic()
        with _in_time(), self._turns.take("refuse", timeout_seconds=wait_seconds):
            if self._token is not None and self._token.token == token:
                self._token = None
                self._drop()

    def close(self) -> None:
        """Close the credential's connections."""
        with self._turns.take("close"):
            self._drop()

    def _lasts_seconds(self, token: "AccessToken") -> float:
        return token.expires_on - self._wall_seconds()

    def _get_new(self, deadline: float, *, wait_seconds: float) -> str:
        with self._turns.take("token", timeout_seconds=wait_seconds), until(deadline, self._clock.monotonic):
            token = self._token
            if token is None or self._lasts_seconds(token) <= REFRESH_BEFORE_SECONDS:
                self._token = token = self._fetch(deadline)
            return token.token

    def _drop(self) -> None:
        if self._credential is not None:
            self._credential.close()
        self._credential = None

    def _fetch(self, deadline: float) -> "AccessToken":
        access = self._access()
        secret = self._read_secret(access, deadline, is_refused=False)
        try:
            return self._ask(access, secret)
        except ConfigurationFault as fault:
            if fault.code not in ("dynamics_secret_invalid", "dynamics_secret_expired"):
                raise
            rotated = self._read_secret(access, deadline, is_refused=True)
            if rotated == secret:
                raise
            return self._ask(access, rotated)

    def _read_secret(self, access: Access, deadline: float, *, is_refused: bool) -> str | None:
        if access.uses_managed_identity:
            return None
        return self._secrets.get("DYNAMICS_CLIENT_SECRET", system=SYSTEM, is_refused=is_refused, deadline=deadline)

    def _ask(self, access: Access, secret: str | None) -> "AccessToken":
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - loaded when a handoff needs it

        try:
            if self._credential is None or secret != self._secret:
                self._drop()
                self._credential, self._secret = self._made(access, secret), secret
            return self._credential.get_token(access.scope)
        except (AzureError, ValueError) as error:
            self._drop()
            raise classify(error) from None

    def _made(self, access: Access, secret: str | None) -> Credential:
        try:
            return self._make_credential(access, secret)
        except ValueError:  # azure-identity looks at what it is given before it calls anybody
            raise ConfigurationFault(
                "No sign-in can be made of DYNAMICS_TENANT_ID, DYNAMICS_CLIENT_ID and AZURE_AUTHORITY_HOST.",
                code="setting_malformed",
                system=SYSTEM,
                fix="Check these settings: two GUIDs, and an https address or nothing.",
            ) from None


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        yield
    except NoTurn:
        message = "Entra did not give another caller a token in time."
        raise TransientFailure(message, code="entra_unavailable", system=SYSTEM) from None


def classify(error: Exception) -> ConfigurationFault | TransientFailure:
    """What a failed token request means. The error's own text is read, never passed on."""
    text = str(error)
    found = _NUMBER.search(text)
    number = found[1] if found else "90002" if _NO_SUCH_TENANT in text else None
    if type(error).__name__ == "CredentialUnavailableError":
        fix = "Assign the managed identity to the function app and set AZURE_CLIENT_ID."
        message = "No managed identity is available to the service."
        return ConfigurationFault(message, code="dynamics_identity_missing", system=SYSTEM, fix=fix)
    if number is None or number in _OUTAGE:
        what = f"AADSTS{number}" if number else type(error).__name__
        kind = "server_error" if number else "unreachable"
        return TransientFailure(f"Entra gave no token ({what}).", code="entra_unavailable", system=SYSTEM, kind=kind)
    code, message, fix = _FAULTS.get(
        number,
        (
            "token_refused",
            "Entra refuses a token.",
            "Look the number up in Microsoft's AADSTS reference.",
        ),
    )
    return ConfigurationFault(f"{message} (AADSTS{number})", code=f"dynamics_{code}", system=SYSTEM, fix=fix)


def make_credential(access: Access, secret: str | None) -> Credential:
    """The real credential of azure-identity, with time-outs that fit a function's budget.

    Raises:
        ValueError: it can be made of no such tenant, client or authority.
    """
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential  # noqa: PLC0415

    from shared.config.identity import is_known_cloud  # noqa: PLC0415
    from shared.config.transport import Transport  # noqa: PLC0415

    transport = Transport(connection_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS)
    if access.uses_managed_identity:
        return ManagedIdentityCredential(client_id=access.client_id, transport=transport)
    return ClientSecretCredential(
        access.tenant_id or "",
        access.client_id or "",
        secret or "",
        disable_instance_discovery=not is_known_cloud(os.environ.get("AZURE_AUTHORITY_HOST")),
        retry_total=1,
        transport=transport,
    )
