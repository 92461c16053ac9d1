"""The two anonymous doors under attack, through the Functions host: a clean 401 or 404, and nothing stored."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.host.app import Host
from sandbox.host.http import serve
from sandbox.host.keys import Keys
from sandbox.standins import DYNAMICS_CLIENT_ID, OPENCX_WEBHOOK_SECRET, TENANT_ID, WEBHOOK_LOCK
from shared import app
from shared.app import application
from shared.relay.model import Conversation
from tests.conftest import ROOT, World

pytestmark = pytest.mark.integration

APP = f"api://{DYNAMICS_CLIENT_ID}"
OTHER = "11111111-0000-4000-8000-000000000001"


@pytest.fixture
def url(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host without triggers: what is stored stays where it was put."""
    for name, value in world.environ.items():
        monkeypatch.setenv(name, value)
    application.cache_clear()
    with Host(ROOT, keys=Keys(function="k", master="m")) as host, serve(host, 0) as server:
        yield server.url
    app.application().close()
    application.cache_clear()


@pytest.fixture
def conversation(world: World, new_id: Callable[[], str]) -> Conversation:
    """An open conversation with Dynamics."""
    session_id = new_id()
    now = world.application().clock.now()
    return world.application().conversations.open(
        Conversation(session_id, session_id, "dynamics365", f"c-{session_id}", "whatsapp", opened_at=now)
    )


def tokens(world: World) -> dict[str, str | None]:
    """What an attacker may come with, by name."""
    issue = world.entra.tokens.issue
    good = issue(TENANT_ID, DYNAMICS_CLIENT_ID, APP)
    head, body, signature = good.split(".")
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = {"kid": str(jwt.get_unverified_header(good)["kid"])}
    return {
        "missing": None,
        "empty": "",
        "expired": issue(TENANT_ID, DYNAMICS_CLIENT_ID, APP, lifetime_s=-3600),
        "foreign tenant": issue(OTHER, DYNAMICS_CLIENT_ID, APP),
        "foreign app": issue(TENANT_ID, OTHER, APP),
        "wrong audience": issue(TENANT_ID, DYNAMICS_CLIENT_ID, world.standins.dataverse.url),
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "signed with the public key": jwt.encode(claims, "x" * 32, algorithm="HS256", headers=kid),
        "another key": jwt.encode(claims, own_key, algorithm="RS256", headers=kid),
        "unknown key": jwt.encode(claims, own_key, algorithm="RS256", headers={"kid": "nobody"}),
        "body changed": f"{head}.{body[:-2]}AA.{signature}",
        "no token": "abc",
        "three dots": "...",
        "long": "x" * 20_000,
    }


def rows(world: World) -> int:
    """How many rows the ledger has."""
    table = world.application().table
    return sum(len(table.query(f"r{n:02x}", after="", before="~", most=1000)) for n in range(16)) + len(
        table.query("w", after="", before="~", most=1000)
    )


def test_dynamics_door(url: str, world: World, conversation: Conversation) -> None:
    """Only Dynamics' own token, on the right path, for an open conversation gets in."""
    activity = {"type": "message", "text": "hi", "conversation": {"id": conversation.conversation_id}}
    path = f"{url}/api/dynamics/{WEBHOOK_LOCK}/v3/conversations/{conversation.conversation_id}/activities"
    before = rows(world)
    for name, token in tokens(world).items():
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        status = requests.post(path, json=activity, headers=headers, timeout=30).status_code
        assert status == 401, (name, status)
    good = {"Authorization": f"Bearer {world.entra.tokens.issue(TENANT_ID, DYNAMICS_CLIENT_ID, APP)}"}
    for wrong in (
        path.replace(WEBHOOK_LOCK, "wrong-lock-000000000"),
        path.replace(WEBHOOK_LOCK, WEBHOOK_LOCK[:-1]),
        path.replace(conversation.conversation_id, "c-unknown"),
        path.replace("/v3/", "/v2/"),
    ):
        body = activity | {"conversation": {"id": wrong.split("/")[-2]}}
        assert requests.post(wrong, json=body, headers=good, timeout=30).status_code == 404, wrong
    for garbage in (
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"type": 1}',
        json.dumps({**activity, "conversation": {"id": "x"}}).encode(),
    ):
        assert requests.post(path, data=garbage, headers=good, timeout=30).status_code == 400, garbage
    assert rows(world) == before
    assert requests.post(path, json=activity, headers=good, timeout=30).status_code == 200
    assert rows(world) == before + 1
    inbox = world.application().conversations.inbox(conversation)
    assert [entry.text for entry in inbox] == ["hi"]


def test_opencx_door(url: str, world: World, new_id: Callable[[], str]) -> None:
    """Only what is signed with our secret, now and whole, gets in; a repeat has no second effect."""
    from datetime import UTC, datetime, timedelta

    from standardwebhooks import Webhook

    body = json.dumps({"event": "conversation.handoff_to_human", "data": [{"conversation_id": new_id()}]})
    now = datetime.now(UTC)

    def signed(secret: str = OPENCX_WEBHOOK_SECRET, at: datetime = now, text: str = body) -> dict[str, str]:
        return {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", at, text),
        }

    good = signed()
    attacks: dict[str, dict[str, Any]] = {
        "nothing": {},
        "wrong secret": signed("whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXI="),
        "old": signed(at=now - timedelta(minutes=10)),
        "future": signed(at=now + timedelta(minutes=10)),
        "re-dated": good | {"webhook-timestamp": str(int(now.timestamp()) + 1)},
        "other id": good | {"webhook-id": "msg_2"},
        "other body": signed(text=body + " "),
        "other version": good | {"webhook-signature": good["webhook-signature"].replace("v1,", "v9,")},
        "bytes": good | {"webhook-signature": b"\xff\xfe\x80"},
        "no number": good | {"webhook-timestamp": "NaN"},
        "huge number": good | {"webhook-timestamp": "9" * 400},
    }
    before = rows(world)
    for name, headers in attacks.items():
        response = requests.post(f"{url}/api/opencx/events", data=body, headers=headers, timeout=30)
        assert response.status_code == 401, (name, response.status_code)
    assert rows(world) == before
    for _ in range(3):
        assert requests.post(f"{url}/api/opencx/events", data=body, headers=good, timeout=30).status_code == 204
    assert rows(world) == before + 2  # what was handled, and until when that is remembered
    replayed = requests.post(f"{url}/api/opencx/events", data=body + " ", headers=signed(text=body + " "), timeout=30)
    assert replayed.status_code == 401
    assert os.environ["OPENCX_API_URL"] not in replayed.text
