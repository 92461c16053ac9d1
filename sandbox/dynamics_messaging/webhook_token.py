"""The token that the webhook shows, and the wrong ones.

Its claims are not documented. It is obtained for the registered app by a federated credential, so it names
that app as the caller and as the audience (`api://{app}` in version 1.0, the client id in version 2.0).
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import jwt

from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.switches import Switches
from sandbox.tokens import LIFETIME_SECONDS, Tokens

STRANGER = "0badc0de-0000-4000-8000-000000000001"
FLAWS = (
    "no_token",
    "expired",
    "other_app",
    "other_tenant",
    "other_audience",
    "other_issuer",
    "bad_signature",
    "unknown_key",
    "unsigned",
)


class Signer:
    """Makes the tokens of the webhook."""

    def __init__(self, tokens: Tokens, *, authority: str, clock: Callable[[], float]) -> None:
        """`authority` is what comes before the tenant in the issuer of version 2.0; `clock` returns seconds."""
        self._tokens = tokens
        self._authority = authority
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}

    def token(self, channel: Channel, switches: Switches, flaw: str = "") -> str:
        """A token for the webhook of a channel; nothing when it is sent without one."""
        if switches.webhook_token == "none" or flaw == "no_token":
            return ""
        key = (channel.tenant_id, channel.app_id, switches.webhook_token, switches.webhook_audience)
        now = self._clock()
        held = self._kept.get(key)
        if flaw or held is None or held[0] < now or held[0] > now + LIFETIME_SECONDS:
            made = self._make(channel, switches, flaw)
            if flaw:
                return made
            held = (now + LIFETIME_SECONDS - 300, made)
            self._kept[key] = held
        return held[1]

    def _make(self, channel: Channel, switches: Switches, flaw: str) -> str:
        is_v1 = switches.webhook_token == "v1"
        audience = switches.webhook_audience or (f"api://{channel.app_id}" if is_v1 else channel.app_id)
        if flaw == "other_audience":
            audience = f"api://{STRANGER}" if is_v1 else STRANGER
        token = self._tokens.issue(
            STRANGER if flaw == "other_tenant" else channel.tenant_id,
            STRANGER if flaw == "other_app" else channel.app_id,
            audience,
            version="1.0" if is_v1 else "2.0",
            authority="https://login.example" if flaw == "other_issuer" else self._authority,
            issued_at=self._clock() - 2 * LIFETIME_SECONDS if flaw == "expired" else None,
        )
        match flaw:
            case "bad_signature":
                return _tampered(token)
            case "unknown_key":
                return Tokens(clock=self._clock).sign(_claims(token))
            case "unsigned":
                return jwt.encode(_claims(token), key="", algorithm="none")
            case "other_issuer" if is_v1:
                return self._tokens.sign({**_claims(token), "iss": f"https://sts.example/{uuid.uuid4()}/"})
        return token


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _tampered(token: str) -> str:
    """The same token with another signature of the same length."""
    head, body, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    raw[0] ^= 1
    return f"{head}.{body}.{base64.urlsafe_b64encode(bytes(raw)).rstrip(b'=').decode()}"
