"""Access tokens as Entra ID makes them: signed JWTs that the other stand-ins verify."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

LIFETIME_SECONDS = 3599


class TokenRefused(Exception):
    """A token is not good for a resource; the text says why."""


class Tokens:
    """Issues and verifies RS256 tokens (reference: "Access tokens in the Microsoft identity platform")."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Make a new signing key. `clock` returns seconds since the epoch."""
        self._clock = clock
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._kid = uuid.uuid4().hex
        self._verified: dict[str, dict[str, Any]] = {}

    def issue(
        self,
        tenant: str,
        client_id: str,
        audience: str,
        lifetime_s: float = LIFETIME_SECONDS,
        *,
        version: Literal["1.0", "2.0"] = "1.0",
        authority: str = "https://login.microsoftonline.com",
        issued_at: float | None = None,
    ) -> str:
        """A token of an app for a resource, app-only.

        Args:
            tenant: GUID of the tenant, for `tid` and `iss`.
            client_id: the app; `appid` in a token of version 1.0, `azp` in one of version 2.0.
            audience: `aud`: `api://{app}` or a URL in version 1.0, the app's client id in version 2.0.
            lifetime_s: from `issued_at`, in seconds.
            version: the shape (reference: "Access token claims reference").
            authority: what comes before the tenant in the `iss` of version 2.0.
            issued_at: seconds since the epoch; now when it is None.
        """
        now = int(self._clock() if issued_at is None else issued_at)
        app = str(uuid.uuid5(uuid.UUID(int=0), client_id))
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime_s),
            "oid": app,
            "tid": tenant,
            "uti": uuid.uuid4().hex,
            "ver": version,
        }
        if version == "2.0":
            claims |= {"iss": f"{authority}/{tenant}/v2.0", "azp": client_id, "azpacr": "1", "sub": app}
        else:
            claims |= {"appid": client_id, "appidacr": "1", "idp": claims["iss"]}
        return self.sign(claims)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token that says exactly this."""
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._kid})

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a token for this resource. Raises TokenRefused."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._read(token)
            if len(self._verified) > 1000:
                self._verified.clear()
            self._verified[token] = claims
        if claims["aud"] != audience:
            raise TokenRefused(f"the token is for {claims['aud']}, not for {audience}")
        if claims["exp"] <= self._clock():
            raise TokenRefused("the token has expired")
        return claims

    def _read(self, token: str) -> dict[str, Any]:
        # Audience and times are checked on each use, by our own clock.
        options: Options = {
            "verify_aud": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "require": ["aud", "exp"],
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["RS256"],
                options=options,
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"the token is not one of ours: {error}") from error
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public key, as `/discovery/v2.0/keys` gives it."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self._kid, "use": "sig", "alg": "RS256"}]}
