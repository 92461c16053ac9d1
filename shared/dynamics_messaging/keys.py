"""The keys with which Entra signs, and the tenant's GUID: fetched when they are needed, and kept.

Facts: Microsoft's pages "Access tokens in the Microsoft identity platform" (keys roll over at any time; an unknown key
id means: fetch again) and "OpenID Connect on the Microsoft identity platform" (a tenant may be named by a domain).
"""

import json
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import requests

from shared import http
from shared.dynamics_messaging import MESSAGING
from shared.errors import ConfigurationFault, TransientFailure

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH_SECONDS = 24 * 3600.0
REFETCH_SECONDS = 60.0
TIMEOUT_SECONDS = 4.0
"""Dynamics waits ten seconds for its webhook's answer."""


class SigningKeys:
    """One tenant's keys.

    Args:
        authority: Entra's address.
        tenant: GUID or domain.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        *,
        authority: str,
        tenant: str,
        monotonic: Callable[[], float],
        session: requests.Session | None = None,
    ) -> None:
        self._base = f"{authority}/{tenant}"
        self._monotonic = monotonic
        self._session = session or http.session(authority)
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] | None = None
        self._fetched_at = 0.0
        self._failure: TransientFailure | None = None
        self._tenant_id = _guid(tenant)

    def tenant_id(self) -> str:
        """The tenant's GUID, which ``tid`` and ``iss`` hold.

        Raises:
            TransientFailure: Entra does not answer.
            ConfigurationFault: there is no such tenant.
        """
        known = self._tenant_id
        if known is None:
            with self._lock:
                known = self._tenant_id = self._tenant_id or self._ask_tenant()
        return known

    def get(self, key_id: str) -> "PyJWK | None":
        """The key of that id; None when Entra has no such key.

        Whoever sends ids of their own invention causes one look at Entra a minute, no more.

        Raises:
            TransientFailure: Entra does not answer, and no key is known.
            ConfigurationFault: there is no such tenant.
        """
        with self._lock:
            if self._is_stale(key_id):
                try:
                    self._keys = self._fetch()
                    self._failure = None
                except TransientFailure as failure:
                    self._failure = failure
                self._fetched_at = self._monotonic()
            if self._keys is None:
                raise self._failure or TransientFailure(
                    "Entra's keys are not known.", code="entra_unavailable", system=MESSAGING
                )
            return self._keys.get(key_id)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _is_stale(self, key_id: str) -> bool:
        if self._keys is None and self._failure is None:
            return True
        age = self._monotonic() - self._fetched_at
        return age >= (FRESH_SECONDS if self._keys and key_id in self._keys else REFETCH_SECONDS)

    def _fetch(self) -> "dict[str, PyJWK]":
        from jwt import PyJWK  # noqa: PLC0415 - loaded when the first webhook comes
        from jwt.exceptions import PyJWTError  # noqa: PLC0415

        found: dict[str, PyJWK] = {}
        given = self._get("/discovery/v2.0/keys").get("keys")
        for each in given if isinstance(given, list) else []:
            if not isinstance(each, dict) or each.get("kty") != "RSA" or each.get("use", "sig") != "sig":
                continue
            try:
                found[str(each.get("kid"))] = PyJWK({**each, "alg": "RS256"})
            except (PyJWTError, ValueError):
                continue  # a key of a kind that is new to us signs nothing that we could check
        if not found:
            message = "Entra gives no keys."
            raise TransientFailure(message, code="entra_unavailable", system=MESSAGING)
        return found

    def _ask_tenant(self) -> str:
        issuer = str(self._get("/v2.0/.well-known/openid-configuration").get("issuer"))
        found = next((each for each in map(_guid, issuer.split("/")) if each), None)
        if found is None:
            message = "Entra does not say the GUID of the tenant in DYNAMICS_TENANT_ID."
            fix = "Set DYNAMICS_TENANT_ID to the Directory (tenant) ID."
            raise ConfigurationFault(message, code="dynamics_tenant_unknown", system=MESSAGING, fix=fix)
        return found

    def _get(self, path: str) -> dict[str, Any]:
        try:
            response = http.send(
                self._session,
                "GET",
                f"{self._base}{path}",
                body=None,
                headers={"Accept": "application/json"},
                timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
            )
            data = json.loads(response.content) if response.status_code == 200 else None
        except requests.RequestException as error:
            message = f"Entra does not answer ({type(error).__name__})."
            raise TransientFailure(message, code="entra_unavailable", system=MESSAGING, kind="unreachable") from None
        except ValueError:
            data = None
        if response.status_code in (400, 404):
            message = f"Entra does not know the tenant (HTTP {response.status_code})."
            fix = "Check DYNAMICS_TENANT_ID: the Directory (tenant) ID."
            raise ConfigurationFault(message, code="dynamics_tenant_unknown", system=MESSAGING, fix=fix)
        if not isinstance(data, dict):
            message = f"Entra answered HTTP {response.status_code}."
            raise TransientFailure(message, code="entra_unavailable", system=MESSAGING)
        return data


def _guid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
