"""Secrets from Key Vault, or from the environment where no vault is set; cached, and fetched again after a rotation.

Facts: azure-keyvault-secrets 4.12 (SecretClient); Key Vault limits call for a cache, a rotation for a way round it.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from shared import events
from shared.config.clock import Clock
from shared.config.settings import Settings, is_loopback
from shared.errors import ConfigurationFault, HandoffError, TransientFailure

FRESH_SECONDS = 600.0
REFETCH_SECONDS = 60.0
VAULT_TIMEOUT_SECONDS = 4


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
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[str, float]] = {}

    def is_set(self, name: str) -> bool:
        """Whether the setting is there or a vault may hold it."""
        return bool(self._settings.text(name) or self._settings.text("KEY_VAULT_URL"))

    def get(self, name: str, *, system: str, is_refused: bool = False) -> str:
        """The secret.

        Args:
            name: the setting's name.
            system: whose handoffs wait while it cannot be had.
            is_refused: the target has just refused the cached value: fetch it again, at most once a minute.

        Raises:
            ConfigurationFault: it is missing, or the vault refuses us.
            TransientFailure: the vault does not answer and nothing is cached.
        """
        vault_url = self._settings.text("KEY_VAULT_URL")
        if vault_url is None:
            fix = f"Set {name}, or KEY_VAULT_URL and the secret {_secret_name(name)} in that vault."
            return self._settings.required(name, system=system, fix=fix)
        with self._lock:
            now = self._clock.monotonic()
            cached = self._cache.get(name)
            if cached and now - cached[1] < (REFETCH_SECONDS if is_refused else FRESH_SECONDS):
                return cached[0]
            try:
                value = self._fetch(vault_url, name, system)
            except HandoffError as error:
                if cached is None or isinstance(error, ConfigurationFault):
                    raise
                events.emit(events.SECRET_STALE, secret=_secret_name(name), code=error.code)
                value = cached[0]
            self._cache[name] = (value, now)
            return value

    def close(self) -> None:
        """Close the vault's connections."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _fetch(self, vault_url: str, name: str, system: str) -> str:
        from azure.core import exceptions  # noqa: PLC0415 - Azure's SDKs are loaded when a handoff needs them

        secret = _secret_name(name)
        try:
            if self._store is None:
                self._store = self._make_store(vault_url)
            value = self._store.get_secret(secret).value
        except exceptions.ResourceNotFoundError:
            message = f"Key Vault has no secret {secret}."
            fix = f"Add the secret {secret} to the vault in KEY_VAULT_URL."
            raise ConfigurationFault(message, code="secret_missing", system=system, fix=fix) from None
        except exceptions.ClientAuthenticationError:
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


def _secret_name(setting: str) -> str:
    return setting.lower().replace("_", "-")


def _vault(vault_url: str) -> SecretStore:
    from azure.keyvault.secrets import SecretClient  # noqa: PLC0415

    from shared.config.identity import default_credential  # noqa: PLC0415

    return SecretClient(
        vault_url=vault_url,
        credential=default_credential(),
        # A vault on this machine cannot carry the cloud's domain name; every other vault must.
        verify_challenge_resource=not is_loopback(vault_url),
        retry_total=0,  # an attempt has tries of its own, and counts their time
        connection_timeout=VAULT_TIMEOUT_SECONDS,
        read_timeout=VAULT_TIMEOUT_SECONDS,
    )
