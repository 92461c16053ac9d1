"""Access tokens of the messaging API: real RS256 JWTs, for guests and for verified users."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.types import Options

from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.switches import Switches

Key = str | bytes | RSAPublicKey

ALGORITHMS = ["RS256", "RS512"]
_UNCHECKED: Options = {
    # Times are checked by our own clock, audience and issuer by our own switches.
    "verify_aud": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_iss": False,
}
_WINDOW_SECONDS = 60.0
_MOST_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds an access token; `expires` is in seconds since the epoch."""

    subject: str
    client_id: str
    device_id: str
    verified: bool
    expires: int


@cache
def _signing_key() -> RSAPrivateKey:
    # One for the process: making a key takes longer than most tests.
    return generate_private_key(public_exponent=65537, key_size=2048)


def public_key(given: Key) -> RSAPublicKey:
    """The RSA key in a PEM public key or certificate. Raises ValueError."""
    if isinstance(given, RSAPublicKey):
        return given
    pem = given.encode() if isinstance(given, str) else given
    key = load_pem_x509_certificate(pem).public_key() if b"BEGIN CERT" in pem else load_pem_public_key(pem)
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"an RSA key is needed, not {type(key).__name__}")  # noqa: TRY004 - the PEM is wrong
    return key


class Rate:
    """At most so many in any 60 seconds. What is refused does not count."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def allows(self, most: int, now: float) -> bool:
        """Whether one more fits at `now` (seconds); if it does it is counted."""
        while self._times and self._times[0] <= now - _WINDOW_SECONDS:
            self._times.popleft()
        if len(self._times) >= most:
            return False
        self._times.append(now)
        return True


class Tokens:
    """Issues and verifies access tokens, and judges identity tokens. Safe for threads."""

    def __init__(
        self,
        *,
        org_id: str,
        issuer: str,
        keys: Mapping[str, Key],
        switches: Switches,
        clock: Callable[[], float],
    ) -> None:
        self._org_id = org_id
        self._issuer = issuer
        self._seed = {kid: public_key(key) for kid, key in keys.items()}
        self._switches = switches
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: set[str] = set()
        self._known: dict[str, Holder] = {}
        self.reset()

    def reset(self) -> None:
        """Back to the first keys; tokens stay good, as nothing but time and a revocation ends one."""
        with self._lock:
            self._keys = dict(self._seed)
            self._dead: dict[str, str] = {}
            self._requests, self._renewals = Rate(), Rate()

    def set_key(self, kid: str, key: Key | None) -> None:
        """Upload a key, or delete it with None. Raises ValueError when it is not an RSA key."""
        with self._lock:
            if key is None:
                self._keys.pop(kid, None)
            else:
                self._keys[kid] = public_key(key)

    def count(self, *, renewal: bool) -> None:
        """Count a request for a token. Raises Refused (429) over the limit of the org."""
        rate = self._renewals if renewal else self._requests
        with self._lock:
            allowed = rate.allows(self._switches.token_requests_per_minute, self._clock())
        if not allowed:
            wait = self._switches.retry_after_seconds
            raise Refused(429, "Too many requests for access tokens", retry_after_seconds=wait)

    def guest(self, device_id: str) -> tuple[str, Holder]:
        """A token for somebody new whom nobody knows."""
        subject = f"v2/iamessage/UNAUTH/NA/uid:{uuid.uuid4()}"
        return self._issue(subject, device_id, int(self._clock() + self._switches.guest_token_seconds))

    def identified(self, identity: str, device_id: str) -> tuple[str, Holder, str]:
        """A token for whom an identity token names; a guest's when it is not good.

        Returns:
            The token, its holder, and why the identity was refused (empty when it was not).
        """
        try:
            who = self._identity(identity)
        except jwt.InvalidTokenError as error:
            return (*self.guest(device_id), str(error))
        subject = f"v2/iamessage/AUTH/{self._switches.keyset}/uid:{who}"
        return (*self._issue(subject, device_id, int(self._clock() + self._switches.verified_token_seconds)), "")

    def continued(self, holder: Holder) -> tuple[str, Holder]:
        """A new token with another client id; it expires when the old one does."""
        return self._issue(holder.subject, holder.device_id, holder.expires)

    def holder(self, authorization: str | None) -> Holder:
        """Who holds the token in an `Authorization` header. Raises Refused (401)."""
        holder = self._known.get(authorization or "")
        if holder is None:
            holder = self._read(authorization or "")
        if self._dead and (why := self._dead.get((authorization or "").removeprefix("Bearer "))):
            raise Refused(401, why)
        if holder.expires <= self._clock():
            raise Refused(401, "Jwt is expired")
        return holder

    def revoke(self, authorization: str) -> None:
        """Make the token in an `Authorization` header useless."""
        with self._lock:
            self._dead[authorization.removeprefix("Bearer ")] = "Jwt is revoked"

    def expire_all(self) -> int:
        """Have every token expire now; how many there were."""
        with self._lock:
            self._dead.update(dict.fromkeys(self._issued, "Jwt is expired"))
            return len(self._issued)

    def _issue(self, subject: str, device_id: str, expires: int) -> tuple[str, Holder]:
        client = str(uuid.uuid4())
        claims: dict[str, Any] = {
            "iss": "iamessage",
            "sub": subject,
            "orgId": self._org_id,
            "clientId": client,
            "deviceId": device_id,
            "jti": str(uuid.uuid4()),
            "iat": int(self._clock()),
            "exp": expires,
        }
        token = jwt.encode(claims, _signing_key(), algorithm="RS256", headers={"kid": self._org_id})
        holder = Holder(subject, client, device_id, "/AUTH/" in subject, expires)
        with self._lock:
            self._issued.add(token)
            self._remember(f"Bearer {token}", holder)
        return token, holder

    def _read(self, authorization: str) -> Holder:
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            raise Refused(401, "Jwt is missing")
        try:
            claims = jwt.decode(token, _signing_key().public_key(), algorithms=["RS256"], options=_UNCHECKED)
        except jwt.InvalidTokenError as error:
            raise Refused(401, "Jwt verification fails") from error
        if claims["orgId"] != self._org_id:
            raise Refused(401, "Jwt issuer is not configured")
        subject = claims["sub"]
        holder = Holder(subject, claims["clientId"], claims["deviceId"], "/AUTH/" in subject, claims["exp"])
        with self._lock:
            self._remember(authorization, holder)
        return holder

    def _remember(self, authorization: str, holder: Holder) -> None:
        if len(self._known) >= _MOST_CACHED:
            self._known.clear()
        self._known[authorization] = holder

    def _identity(self, identity: str) -> str:
        """Whom an identity token names. Raises jwt.InvalidTokenError with the reason."""
        kid = jwt.get_unverified_header(identity).get("kid")
        with self._lock:
            key = self._keys.get(str(kid))
        if key is None:
            raise jwt.InvalidTokenError("no key with the kid of the identity token")
        claims = jwt.decode(identity, key, algorithms=ALGORITHMS, options=_UNCHECKED)
        if claims.get("iss") != self._issuer:
            raise jwt.InvalidIssuerError("iss is not the issuer of the keyset")
        expires = claims.get("exp")
        if not isinstance(expires, (int, float)) or expires <= self._clock():
            raise jwt.ExpiredSignatureError("the identity token has no exp, or has expired")
        audience = self._switches.identity_audience
        if audience is not None and claims.get("aud") != audience:
            raise jwt.InvalidAudienceError("aud is not the one that is configured")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise jwt.InvalidTokenError("sub is missing")
        return subject
