"""A client of the messaging API for the tests of its stand-in: thin, and without opinions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.salesforce import Salesforce
from sandbox.server import Server
from tests.sandbox.conftest import Clock

ORG_ID = "00Dxx0000000xxx"
DEPLOYMENT = "OpenCX_Custom_Client"
ISSUER = "https://issuer.test"
KID = "key-1"
API = "/iamessage/api/v2"
ATTRIBUTES = {"OpencxSessionId": "sess_1", "Phone": "+15550100"}

Json = dict[str, Any]


@cache
def private_key(name: str = KID) -> RSAPrivateKey:
    """A key for each name; made once a run."""
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(name: str = KID) -> str:
    """Its public half."""
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def new_id() -> str:
    """A UUID as Salesforce wants it."""
    return str(uuid.uuid4())


class Org:
    """A stand-in on its port.

    Attributes:
        standin: the stand-in; its `rep_…` methods are the rep.
        clock: its clock.
    """

    def __init__(self, standin: Salesforce, server: Server, clock: Clock) -> None:
        self.standin = standin
        self.server = server
        self.clock = clock
        self._http = requests.Session()

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> requests.Response:
        """One request; `path` is from the root of the server."""
        headers = {**options.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self._http.request(method, f"{self.server.url}{path}", headers=headers, timeout=5, **options)

    def door(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request to the control door."""
        return self.call(method, f"/_sandbox/{path}", **options)

    def ask_token(self, identity: str | None = None, **change: Any) -> requests.Response:
        """Ask for a token: a guest's, or a verified user's. A change to None leaves the field out."""
        kind = "unauthenticated" if identity is None else "authenticated"
        body = {
            "orgId": ORG_ID,
            "esDeveloperName": DEPLOYMENT,
            "capabilitiesVersion": "1",
            "platform": "Web",
            "context": {"appName": "tests", "clientVersion": "1.0.0"},
        }
        if identity is not None:
            body |= {"authorizationType": "JWT", "customerIdentityToken": identity}
        sent = {name: value for name, value in {**body, **change}.items() if value is not None}
        return self.call("POST", f"{API}/authorization/{kind}/access-token", json=sent)

    def identity(self, *, key: str = KID, kid: str = KID, algorithm: str = "RS256", **change: Any) -> str:
        """An identity token; a change to None leaves the claim out."""
        claims = {"iss": ISSUER, "sub": "customer-1", "iat": int(self.clock()), "exp": int(self.clock()) + 300}
        claims = {name: value for name, value in {**claims, **change}.items() if value is not None}
        return jwt.encode(claims, private_key(key), algorithm=algorithm, headers={"kid": kid})

    def guest(self) -> str:
        """A guest's token."""
        return str(self.ask_token().json()["accessToken"])

    def verified(self, subject: str = "customer-1") -> str:
        """A verified user's token."""
        return str(self.ask_token(self.identity(sub=subject)).json()["accessToken"])

    def create(self, token: str, **change: Any) -> requests.Response:
        """Ask for a conversation; a change to None leaves the field out."""
        body = {
            "conversationId": new_id(),
            "esDeveloperName": DEPLOYMENT,
            "language": "en_US",
            "routingAttributes": ATTRIBUTES,
        }
        sent = {name: value for name, value in {**body, **change}.items() if value is not None}
        return self.call("POST", f"{API}/conversation", token, json=sent)

    def opened(self, token: str, **change: Any) -> str:
        """A conversation; its id."""
        conversation_id = new_id()
        answer = self.create(token, conversationId=conversation_id, **change)
        assert answer.status_code == 201, answer.text
        return conversation_id

    def send(self, token: str, conversation_id: str, text: str = "Hello", **change: Any) -> requests.Response:
        """Send a text; `change` is to the outer body, `message` and `content` are changes inside."""
        content = {"formatType": "Text", "text": text, **change.pop("content", {})}
        message = {"id": new_id(), "messageType": "StaticContentMessage", "staticContent": content}
        body = {"message": {**message, **change.pop("message", {})}, "esDeveloperName": DEPLOYMENT, **change}
        return self.call("POST", f"{API}/conversation/{conversation_id}/message", token, json=body)

    def upload(
        self, token: str, conversation_id: str, name: str = "a.pdf", content: bytes = b"%PDF", **change: Any
    ) -> requests.Response:
        """Send a file."""
        message = {"id": new_id(), "fileId": new_id(), **change.pop("message", {})}
        entry = json.dumps({"esDeveloperName": DEPLOYMENT, "message": message, **change})
        form = {
            "messageEntry": (None, entry, "application/json"),
            "fileData": (name, content, "application/octet-stream"),
        }
        return self.call("POST", f"{API}/conversation/{conversation_id}/file", token, files=form)

    def entries(self, token: str, conversation_id: str, **query: Any) -> list[Json]:
        """A page of entries as it comes."""
        answer = self.call("GET", f"{API}/conversation/{conversation_id}/entries", token, params=query)
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["conversationEntries"]
        return found

    def texts(self, token: str, conversation_id: str) -> list[tuple[str, str]]:
        """(role, text) of every message, oldest first."""
        found = self.entries(token, conversation_id, limit=50, direction="FromStart", entryTypeFilter="Message")
        return [(one["sender"]["role"], str(content(one).get("text"))) for one in found]

    def statuses(self, token: str, conversation_id: str) -> list[str]:
        """The statuses that the sessions took, oldest first."""
        kind = "SessionStatusChanged"
        found = self.entries(token, conversation_id, limit=50, direction="FromStart", entryTypeFilter=kind)
        return [one["entryPayload"]["sessionStatus"] for one in found]

    def routing(self, token: str, conversation_id: str) -> str:
        """The routing status."""
        return str(self.call("GET", f"{API}/conversation/{conversation_id}", token).json()["routingStatus"])


def content(entry: Json) -> Json:
    """The static content of a message entry."""
    static: Json = entry["entryPayload"]["abstractMessage"]["staticContent"]
    return static


@contextmanager
def serve(clock: Clock, **switches: Any) -> Iterator[Org]:
    """A fresh org on a free port."""
    standin = Salesforce(
        org_id=ORG_ID,
        developer_name=DEPLOYMENT,
        issuer=ISSUER,
        keys={KID: public_pem()},
        clock=clock,
        **switches,
    )
    with Server(standin, tls=None, clock=clock) as server:
        yield Org(standin, server, clock)
