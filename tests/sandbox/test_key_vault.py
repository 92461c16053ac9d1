"""The Key Vault stand-in, met by the real azure-keyvault-secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

from sandbox.entra import App, Entra
from sandbox.key_vault import RESOURCE, KeyVault
from sandbox.server import Server, StandIn

pytestmark = pytest.mark.conformance

TENANT = "11111111-2222-4333-8444-555555555555"
CLIENT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

Serve = Callable[[StandIn], Server]


@pytest.fixture
def entra(serve_tls: Serve) -> Server:
    """Entra with one app that may ask for the vault."""
    return serve_tls(Entra([App(TENANT, CLIENT, secrets=("good",), resources=(RESOURCE,))]))


@pytest.fixture
def vault(entra: Server, serve_tls: Serve) -> Server:
    """A vault with one secret."""
    standin = entra.standin
    assert isinstance(standin, Entra)
    return serve_tls(
        KeyVault(standin.tokens, authority=f"{entra.url}/{TENANT}", secrets={"the-secret": "one"}, readers=[CLIENT])
    )


@pytest.fixture
def client(entra: Server, vault: Server) -> Iterator[SecretClient]:
    """The real client. The resource check is off: localhost is not under vault.azure.net."""
    credential = ClientSecretCredential(TENANT, CLIENT, "good", authority=entra.url, disable_instance_discovery=True)
    with SecretClient(vault.url, credential, verify_challenge_resource=False, retry_total=0) as one:
        yield one


def test_the_client_answers_the_challenge_and_reads(client: SecretClient, vault: Server) -> None:
    """A first call without a token is a 401 with a challenge; the client follows it and reads the secret."""
    assert client.get_secret("the-secret").value == "one"
    assert [entry["status"] for entry in vault.journal.as_json()] == [401, 200]


def test_a_new_version_is_current_at_once_and_the_old_one_stays(client: SecretClient, vault: Server) -> None:
    """A rotated secret is the current one; the old one can be read by its version."""
    old = client.get_secret("the-secret")
    added = requests.post(f"{vault.url}/_sandbox/secrets/the-secret", json={"value": "two"}, timeout=5)
    new = client.get_secret("the-secret")
    assert (new.value, new.properties.version) == ("two", added.json()["version"])
    assert client.get_secret("the-secret", old.properties.version).value == "one"


def test_a_secret_that_is_not_there_is_404(client: SecretClient) -> None:
    """A missing secret and a missing version are SecretNotFound."""
    with pytest.raises(ResourceNotFoundError, match="SecretNotFound"):
        client.get_secret("another")
    with pytest.raises(ResourceNotFoundError, match="SecretNotFound"):
        client.get_secret("the-secret", "0" * 32)


def test_without_the_role_it_is_403(client: SecretClient, vault: Server) -> None:
    """A caller who lost the role is refused, and let in again after a reset."""
    assert requests.post(f"{vault.url}/_sandbox/readers", json={"client_ids": []}, timeout=5).ok
    with pytest.raises(HttpResponseError, match="ForbiddenByRbac") as refused:
        client.get_secret("the-secret")
    assert refused.value.status_code == 403
    assert requests.post(f"{vault.url}/_sandbox/reset", timeout=5).ok
    assert client.get_secret("the-secret").value == "one"


def test_a_disabled_secret_is_403(client: SecretClient, vault: Server) -> None:
    """A disabled version cannot be read."""
    body = {"value": "off", "enabled": False}
    assert requests.post(f"{vault.url}/_sandbox/secrets/the-secret", json=body, timeout=5).ok
    with pytest.raises(HttpResponseError, match="disabled secret"):
        client.get_secret("the-secret")


def test_a_foreign_token_is_401(vault: Server) -> None:
    """A token that Entra did not issue for the vault is refused with a challenge."""
    answer = requests.get(
        f"{vault.url}/secrets/the-secret?api-version=7.4", headers={"Authorization": "Bearer x"}, timeout=5
    )
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
