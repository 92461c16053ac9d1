"""Secrets from Key Vault, or from the environment where no vault is set; cached, and fetched again after a rotation.

Facts: azure-keyvault-secrets 4.12 (SecretClient); Key Vault limits call for a cache, a rotation for a way round it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from shared import events
from shared.config.clock import Clock
from shared.config.deadline import seconds_left, until
from shared.config.settings import Settings, is_loopback
from shared.config.turns import NoTurn, Turns
from shared.errors import ConfigurationFault, HandoffError, TransientFailure

FRESH_SECONDS = 600.0
REFETCH_SECONDS = 60.0
VAULT_TIMEOUT_SECONDS = 4
PATIENCE_SECONDS = 10.0
"""For a secret, where the caller says nothing else."""
LOOK_SECONDS = 2.0
"""For finding out whether a secret is there, while a caller waits to be refused or taken."""
MISSING = "secret_missing"
"""The code of a secret that the vault does not have."""


class SecretStore(Protocol):
    """The part of azure-keyvault-secrets' SecretClient that is used here."""

    def get_secret(self, name: str) -> Any:
        """The current version of a secret."""

    def close(self) -> None:
        """Close the connections."""


class Secrets:
    """Secrets by the name of their setting: ``DYNAMICS_CLIENT_SECRET`` is ``dynamics-client-secret`` in the vault."""

    def __init__(self, settings: Settings, *, clock: Clock, store: Callable[[str], SecretStore] | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._make_store = store or _vault
        self._store: SecretStore | None = None
        self._turns = Turns()
        self._cache: dict[str, tuple[str, float]] = {}
        self._missing: dict[str, float] = {}
        self._ask_again_at: dict[str, float] = {}

    def is_set(self, name: str) -> bool:
        """Whether the setting is there or a vault may hold it."""
        return bool(self._settings.text(name) or self._settings.text("KEY_VAULT_URL"))

    def has(self, name: str) -> bool | None:
        """Whether the secret is there, as far as it is known without a call; None: not known.

        That the vault lacks it is believed for ten minutes.
        """
        if self._settings.text("KEY_VAULT_URL") is None:
            return self._settings.text(name) is not None
        if name in self._cache:
            return True
        found_at = self._missing.get(name)
        return False if found_at is not None and self._clock.monotonic() - found_at < FRESH_SECONDS else None

    def may_have(self, name: str, *, system: str) -> bool:
        """Whether the secret is there; the vault is asked when that is not known.

        A vault that does not say may have it; it is then asked again after a minute.
        """
        known = self.has(name)
        now = self._clock.monotonic()
        if known is not None or now < self._ask_again_at.get(name, now):
            return known is not False
        try:
            self.get(name, system=system, deadline=now + LOOK_SECONDS)
        except HandoffError as error:
            if error.code == MISSING:
                return False
            self._ask_again_at[name] = now + REFETCH_SECONDS
        return True

    def get(self, name: str, *, system: str, is_refused: bool = False, deadline: float | None = None) -> str:
        """The secret.

        Args:
            name: the setting's name.
            system: whose handoffs wait while it cannot be had.
            is_refused: the target has just refused the cached value: fetch it again, at most once a minute.
            deadline: the monotonic time, in seconds, by which it must be over; None: in ten seconds.

        Raises:
            ConfigurationFault: it is missing, or the vault refuses us, or KEY_VAULT_URL is no address.
            TransientFailure: the vault does not answer and nothing is cached.
        """
        if self._settings.text("KEY_VAULT_URL") is None:
            fix = f"Set {name}, or KEY_VAULT_URL and the secret {_secret_name(name)} in that vault."
            return self._settings.required(name, system=system, fix=fix)
        fresh = self._fresh(name, is_refused=is_refused)
        if fresh is not None:
            return fresh
        known = self._cache.get(name)
        now = self._clock.monotonic()
        deadline = now + PATIENCE_SECONDS if deadline is None else deadline
        if known is not None:
            deadline = min(deadline, now + VAULT_TIMEOUT_SECONDS)  # there is a value to go on with
        try:
            return self._fetch_in_turn(name, system, is_refused=is_refused, deadline=deadline)
        except (TransientFailure, ConfigurationFault) as error:
            # A vault that is down or has shut us out does not make a value wrong; one that lacks it by now does.
            if known is None or error.code == MISSING:
                raise
            events.emit(events.SECRET_STALE, secret=_secret_name(name), code=error.code)
            self._cache[name] = (known[0], self._clock.monotonic())
            return known[0]

    def _fresh(self, name: str, *, is_refused: bool) -> str | None:
        cached = self._cache.get(name)
        lasts = REFETCH_SECONDS if is_refused else FRESH_SECONDS
        return cached[0] if cached and self._clock.monotonic() - cached[1] < lasts else None

    def _fetch_in_turn(self, name: str, system: str, *, is_refused: bool, deadline: float) -> str:
        vault_url = self._settings.origin(
            "KEY_VAULT_URL", system=system, example="https://my-vault.vault.azure.net", is_https=True, has_slash=True
        )
        left = deadline - self._clock.monotonic()
        try:
            with self._turns.take(name, timeout_seconds=left), until(deadline, self._clock.monotonic):
                value = self._fresh(name, is_refused=is_refused)
                if value is None:
                    value = self._fetch(vault_url, name, system)
                    self._cache[name] = (value, self._clock.monotonic())
                    self._missing.pop(name, None)
                return value
        except NoTurn:
            message = "Key Vault did not give a secret to another caller in time."
            raise TransientFailure(message, code="vault_unavailable", system=system) from None
        except ConfigurationFault as fault:
            if fault.code == MISSING:
                self._cache.pop(name, None)
                self._missing[name] = self._clock.monotonic()
            raise

    def close(self) -> None:
        """Close the vault's connections."""
        with self._turns.take("close"):
            if self._store is not None:
                self._store.close()
                self._store = None

    def _fetch(self, vault_url: str, name: str, system: str) -> str:
        from azure.core import exceptions  # noqa: PLC0415 - Azure's SDKs are loaded when a handoff needs them

        secret = _secret_name(name)
        try:
            value = self._opened(vault_url, system).get_secret(secret).value
        except exceptions.ResourceNotFoundError:
            message = f"Key Vault has no secret {secret}."
            fix = f"Add the secret {secret} to the vault in KEY_VAULT_URL."
            raise ConfigurationFault(message, code="secret_missing", system=system, fix=fix) from None
        except exceptions.ClientAuthenticationError:
            if (seconds_left() or 0.0) <= 0:
                message = "The service's identity got no token for Key Vault in time."
                raise TransientFailure(message, code="vault_unavailable", system=system) from None
            message = "The service's identity cannot get a token for Key Vault."
            fix = "Check the managed identity (AZURE_CLIENT_ID) of the function app."
            raise ConfigurationFault(message, code="vault_identity", system=system, fix=fix) from None
        except exceptions.HttpResponseError as error:
            status = error.status_code or 0
            if status in (401, 403):
                message = f"Key Vault refuses the service's identity (HTTP {status})."
                fix = "Give the identity the role Key Vault Secrets User on the vault, and allow its network."
                raise ConfigurationFault(message, code="vault_forbidden", system=system, fix=fix) from None
            message = f"Key Vault answered HTTP {status}."
            raise TransientFailure(message, code="vault_unavailable", system=system) from None
        except (exceptions.AzureError, ValueError) as error:
            message = f"Key Vault cannot be reached ({type(error).__name__})."
            raise TransientFailure(message, code="vault_unreachable", system=system, kind="unreachable") from None
        if not value:
            fix = f"Give the secret {secret} a value."
            raise ConfigurationFault(f"Secret {secret} is empty.", code="secret_missing", system=system, fix=fix)
        return str(value)

    def _opened(self, vault_url: str, system: str) -> SecretStore:
        if self._store is None:
            try:
                self._store = self._make_store(vault_url)
            except ValueError:  # the SDKs look at what they are given before they call anybody
                message = "No sign-in to Key Vault can be made of KEY_VAULT_URL and AZURE_AUTHORITY_HOST."
                fix = (
                    "Set KEY_VAULT_URL to the vault's address, and AZURE_AUTHORITY_HOST to an https address or nothing."
                )
                raise ConfigurationFault(message, code="setting_malformed", system=system, fix=fix) from None
        return self._store


def _secret_name(setting: str) -> str:
    return setting.lower().replace("_", "-")


def _vault(vault_url: str) -> SecretStore:
    from azure.keyvault.secrets import SecretClient  # noqa: PLC0415

    from shared.config.identity import default_credential  # noqa: PLC0415
    from shared.config.transport import Transport  # noqa: PLC0415

    return SecretClient(
        vault_url=vault_url,
        credential=default_credential(),
        # A vault on this machine cannot carry the cloud's domain name; every other vault must.
        verify_challenge_resource=not is_loopback(vault_url),
        retry_total=0,  # an attempt has tries of its own, and counts their time
        transport=Transport(connection_timeout=VAULT_TIMEOUT_SECONDS, read_timeout=VAULT_TIMEOUT_SECONDS),
    )
