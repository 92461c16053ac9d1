"""The Entra stand-in, met by the real azure-identity."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
)

from sandbox.entra import App, Entra, TokenRefused, Tokens
from sandbox.server import Fault, Server, StandIn

pytestmark = pytest.mark.conformance

TENANT = "11111111-2222-4333-8444-555555555555"
CLIENT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
IDENTITY = "99999999-bbbb-4ccc-8ddd-eeeeeeeeeeee"
RESOURCE = "https://org.crm.dynamics.com"
SCOPE = f"{RESOURCE}/.default"

Serve = Callable[[StandIn], Server]


@pytest.fixture
def entra() -> Entra:
    """A tenant with one app and one managed identity."""
    return Entra(
        [
            App(TENANT, CLIENT, secrets=("good",), expired_secrets=("old",), resources=(RESOURCE,)),
            App(TENANT, IDENTITY, resources=(RESOURCE,), managed_identity=True),
        ]
    )


@pytest.fixture
def server(entra: Entra, serve_tls: Serve) -> Server:
    """The stand-in on its port."""
    return serve_tls(entra)


def credential(server: Server, *, secret: str = "good", client: str = CLIENT, tenant: str = TENANT) -> Any:
    """The real credential, pointed at the stand-in."""
    return ClientSecretCredential(
        tenant, client, secret, authority=server.url, disable_instance_discovery=True, retry_total=0
    )


def token_calls(server: Server) -> int:
    """How many token requests arrived."""
    return sum("/oauth2/v2.0/token" in entry["path"] for entry in server.journal.as_json())


def test_a_secret_buys_a_token_for_the_resource(server: Server, entra: Entra) -> None:
    """The token names app, tenant and resource, verifies for that resource and for no other."""
    token = credential(server).get_token(SCOPE).token
    claims = entra.tokens.verify(token, RESOURCE)
    assert (claims["appid"], claims["tid"], claims["aud"]) == (CLIENT, TENANT, RESOURCE)
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    with pytest.raises(TokenRefused, match="not for"):
        entra.tokens.verify(token, "https://other.crm.dynamics.com")


def test_one_credential_asks_once(server: Server) -> None:
    """azure-identity keeps a token for its life, and the journal counts token calls."""
    one = credential(server)
    assert one.get_token(SCOPE).token == one.get_token(SCOPE).token
    assert token_calls(server) == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret": "bad"}, "AADSTS7000215"),
        ({"secret": "old"}, "AADSTS7000222"),
        ({"client": "00000000-0000-4000-8000-000000000000"}, "AADSTS700016"),
    ],
)
def test_a_wrong_credential_is_refused_with_entras_code(server: Server, wrong: dict[str, str], code: str) -> None:
    """The error text has the AADSTS code that tells an administrator what to fix."""
    with pytest.raises(ClientAuthenticationError, match=code):
        credential(server, **wrong).get_token(SCOPE)


def test_an_unknown_resource_is_refused(server: Server) -> None:
    """A resource that is not registered is AADSTS500011, one more slash included."""
    for scope in ("https://elsewhere.crm.dynamics.com/.default", f"{RESOURCE}//.default"):
        with pytest.raises(ClientAuthenticationError, match="AADSTS500011"):
            credential(server).get_token(scope)


def test_an_unknown_tenant_is_refused(server: Server) -> None:
    """Discovery of an unknown tenant fails as azure-identity reports it; the code is AADSTS90002."""
    other = "00000000-0000-4000-8000-00000000000f"
    with pytest.raises(ClientAuthenticationError, match="authority configuration"):
        credential(server, tenant=other).get_token(SCOPE)
    answer = requests.get(f"{server.url}/{other}/v2.0/.well-known/openid-configuration", timeout=5)
    assert answer.status_code == 400
    assert answer.json()["error_codes"] == [90002]


@pytest.mark.parametrize("status", [429, 503])
def test_an_entra_that_is_busy_shows_its_status(server: Server, status: int) -> None:
    """A fault at the token endpoint surfaces as an authentication error, and the next try goes well."""
    server.faults.add(Fault(path="/oauth2/v2.0/token", status=status, headers={"Retry-After": "0"}))
    one = credential(server)
    with pytest.raises(ClientAuthenticationError):
        one.get_token(SCOPE)
    assert one.get_token(SCOPE).token


def test_settings_of_the_environment_lead_here(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """EnvironmentCredential and DefaultAzureCredential follow AZURE_AUTHORITY_HOST and its kin."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", server.url)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "good")
    one: Any
    for one in (
        EnvironmentCredential(disable_instance_discovery=True),
        DefaultAzureCredential(disable_instance_discovery=True),
    ):
        assert one.get_token(SCOPE).token


def test_a_managed_identity_gets_its_token(server: Server, entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """ManagedIdentityCredential meets App Service's endpoint; an identity that is not assigned is refused."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", entra.identity_header)
    token = ManagedIdentityCredential(client_id=IDENTITY).get_token(SCOPE)
    assert entra.tokens.verify(token.token, RESOURCE)["appid"] == IDENTITY
    assert token.expires_on == pytest.approx(time.time() + 3599, abs=5)
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential(client_id=CLIENT, retry_total=0).get_token(SCOPE)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential(client_id=IDENTITY, retry_total=0).get_token(SCOPE)


def test_a_secret_can_be_rotated_and_expire(server: Server) -> None:
    """What the control door changes holds at once, and a reset brings the first state back."""
    change = {"client_id": CLIENT, "secrets": ["new"], "expired_secrets": ["good"]}
    assert requests.post(f"{server.url}/_sandbox/apps", json=change, timeout=5).status_code == 200
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000222"):
        credential(server).get_token(SCOPE)
    assert credential(server, secret="new").get_token(SCOPE).token
    assert requests.post(f"{server.url}/_sandbox/reset", timeout=5).status_code == 204
    assert credential(server).get_token(SCOPE).token
    misspelt = requests.post(f"{server.url}/_sandbox/apps", json={"client": CLIENT}, timeout=5)
    assert misspelt.status_code == 400


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"grant_type": "password"}, 70003),
        ({"scope": RESOURCE}, 1002012),
        ({"client_secret": None}, 7000218),
        ({"client_id": None}, 900144),
    ],
)
def test_a_malformed_request_is_refused(server: Server, change: dict[str, str | None], code: int) -> None:
    """A field that is missing or wrong has its own code, and the answer the OAuth error shape."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": "good", "scope": SCOPE}
    answer = requests.post(f"{server.url}/{TENANT}/oauth2/v2.0/token", data={**form, **change}, timeout=5)
    assert answer.status_code in {400, 401}
    assert answer.json()["error_codes"] == [code]
    assert answer.json()["error_description"].startswith(f"AADSTS{code}: ")


def test_tokens_can_be_verified_by_their_published_key(server: Server, entra: Entra) -> None:
    """The key set has the key that a token's header names."""
    token = entra.tokens.issue(TENANT, CLIENT, RESOURCE)
    keys = requests.get(f"{server.url}/{TENANT}/discovery/v2.0/keys", timeout=5).json()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["RS256"], audience=RESOURCE)["appid"] == CLIENT


def test_a_token_ends_with_its_life_and_cannot_be_forged(clock: Any) -> None:
    """A token is refused from its expiry on, also when it was verified before; a foreign one always."""
    tokens = Tokens(clock=clock)
    token = tokens.issue(TENANT, CLIENT, RESOURCE, lifetime_s=60)
    assert tokens.verify(token, RESOURCE)["exp"] == clock.now + 60
    clock.now += 60
    with pytest.raises(TokenRefused, match="expired"):
        tokens.verify(token, RESOURCE)
    for foreign in (Tokens(clock=clock).issue(TENANT, CLIENT, RESOURCE), "no token", ""):
        with pytest.raises(TokenRefused, match="not one of ours"):
            tokens.verify(foreign, RESOURCE)
