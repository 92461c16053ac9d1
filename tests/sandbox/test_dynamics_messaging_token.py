"""The token of the Messaging stand-in's webhook: its two shapes, and how it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import requests

from sandbox.certificates import Authority
from sandbox.dataverse.seed import ORGANIZATION_ID
from sandbox.dynamics_messaging import CHANNEL_ID, DynamicsMessaging
from sandbox.dynamics_messaging.webhook_token import FLAWS
from sandbox.entra import App, Entra
from sandbox.server import Request, Server, StandIn
from sandbox.tokens import Tokens
from tests.sandbox.messaging_world import CLIENT, TENANT, Receiver, World, accepted, texts

Json = dict[str, Any]
_ONLY_SIGNATURE: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """The stand-in and its surroundings, on ports."""
    with World() as made:
        yield made


@pytest.fixture
def world(running: World) -> World:
    """The same as at the start."""
    return running.fresh()


def claims(world: World) -> Json:
    """The claims of the last token that came, unchecked."""
    token = world.receiver.seen[-1].headers["authorization"].removeprefix("Bearer ")
    found: Json = jwt.decode(token, options={"verify_signature": False})
    return found


def an_event(standin: DynamicsMessaging, tokens: Tokens) -> None:
    """A conversation that a representative accepts, without HTTP."""
    headers = {
        "Authorization": f"Bearer {tokens.issue(TENANT, CLIENT, 'x')}",
        "channel-id": CHANNEL_ID,
        "organization-id": ORGANIZATION_ID,
        "Content-Type": "application/json",
    }
    answer = standin.handle(Request.make("POST", "/api/v1.0/consumer/conversation/create", headers, b"{}"))
    standin.rep.accept(str(json.loads(answer.body)["conversationId"]))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            "v2",
            {"ver": "2.0", "aud": CLIENT, "azp": CLIENT, "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0"},
        ),
        (
            "v1",
            {"ver": "1.0", "aud": f"api://{CLIENT}", "appid": CLIENT, "iss": f"https://sts.windows.net/{TENANT}/"},
        ),
    ],
)
def test_the_token_is_the_apps(world: World, shape: str, expected: Json) -> None:
    """Both shapes name app, tenant and issuer, are signed with Entra's key, and are kept for their life."""
    world.standin.switch(webhook_token=shape)
    made = accepted(world)
    for _ in range(2):
        world.act(made, "say", text="x")
        assert world.standin.wait_idle()
    found = claims(world)
    assert found.items() >= {**expected, "tid": TENANT}.items()
    assert "scp" not in found
    tokens = [request.headers["authorization"] for request in world.receiver.seen]
    assert tokens[0] == tokens[1]
    world.tokens.verify(tokens[0].removeprefix("Bearer "), expected["aud"])
    world.clock.now += 3600
    world.act(made, "say", text="x")
    assert world.standin.wait_idle()
    assert claims(world)["exp"] > world.clock.now
    world.standin.switch(webhook_audience="api://other")
    world.act(made, "say", text="x")
    assert world.standin.wait_idle()
    assert claims(world)["aud"] == "api://other"


def test_without_a_federated_credential_there_is_no_token(world: World) -> None:
    """The switch `none` sends no header at all."""
    world.standin.switch(webhook_token="none")
    world.act(accepted(world), "say", text="x")
    assert world.standin.wait_idle()
    assert "authorization" not in world.receiver.seen[0].headers


@pytest.mark.parametrize("shape", ["v1", "v2"])
@pytest.mark.parametrize("flaw", FLAWS)
def test_wrong_tokens(world: World, flaw: str, shape: str) -> None:
    """Each fault spoils one thing and nothing else, once; a strict reader refuses it and takes the next."""
    world.standin.switch(webhook_token=shape)
    made = accepted(world)
    world.door("POST", "webhook-faults", [{"fault": flaw}])
    world.act(made, "say", text="bad")
    world.act(made, "say", text="good")
    assert texts(world) == ["bad", "good"]
    bad, good = world.receiver.seen
    audience, caller = (f"api://{CLIENT}", "appid") if shape == "v1" else (CLIENT, "azp")
    base = "https://sts.windows.net" if shape == "v1" else "https://login.microsoftonline.com"
    issuer = f"{base}/{TENANT}/" + ("" if shape == "v1" else "v2.0")

    def faults(header: str | None) -> list[str]:
        if header is None:
            return ["no_token"]
        token = header.removeprefix("Bearer ")
        if jwt.get_unverified_header(token)["alg"] == "none":
            return ["unsigned"]
        try:
            jwt.decode(token, jwt.PyJWK(world.tokens.jwks()["keys"][0]), algorithms=["RS256"], options=_ONLY_SIGNATURE)
        except jwt.InvalidSignatureError:
            return ["bad_signature"]
        found = jwt.decode(token, options={"verify_signature": False})
        wrong = {
            "expired": found["exp"] < world.clock.now,
            "other_app": found[caller] != CLIENT,
            "other_tenant": found["tid"] != TENANT,
            "other_audience": found["aud"] != audience,
            "other_issuer": found["iss"] != issuer and found["tid"] == TENANT,
        }
        return [name for name, is_wrong in wrong.items() if is_wrong]

    expected = "bad_signature" if flaw == "unknown_key" else flaw
    assert faults(bad.headers.get("authorization")) == [expected]
    assert faults(good.headers.get("authorization")) == []


def test_entra_publishes_the_keys(authority: Authority, serve_tls: Callable[[StandIn], Server], clock: Any) -> None:
    """Discovery leads to the key: a token of the webhook verifies by what Entra serves, over TLS."""
    entra = Entra([App(TENANT, CLIENT)], clock=clock)
    server, receiver = serve_tls(entra), Receiver()
    receiving = serve_tls(receiver)
    standin = DynamicsMessaging(
        tokens=entra.tokens,
        tenant_id=TENANT,
        client_id=CLIENT,
        audience="x",
        webhook=receiving.url,
        ca_file=str(authority.ca_file),
        authority=server.url,
        clock=clock,
    )
    found = requests.get(f"{server.url}/{TENANT}/v2.0/.well-known/openid-configuration", timeout=5).json()
    keys = requests.get(found["jwks_uri"], timeout=5).json()
    assert found["jwks_uri"] == f"{server.url}/{TENANT}/discovery/v2.0/keys"
    an_event(standin, entra.tokens)
    assert standin.wait_idle()
    token = receiver.seen[0].headers["authorization"].removeprefix("Bearer ")
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    key = jwt.PyJWK(keys["keys"][0])
    decoded = jwt.decode(token, key, algorithms=["RS256"], audience=CLIENT, issuer=found["issuer"], options=options)
    assert decoded["azp"] == CLIENT
