"""Stand-in for Key Vault: secrets and their versions, behind a challenge (reference: Key Vault REST API)."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox.server import Request, Response
from sandbox.tokens import TokenRefused

RESOURCE = "https://vault.azure.net"
_CONTROL = "/_sandbox/"
_HELP = "please see https://go.microsoft.com/fwlink/?linkid=2125182"


class Verifier(Protocol):
    """What verifies access tokens: `sandbox.tokens.Tokens`."""

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims, or TokenRefused."""
        ...


@dataclass(frozen=True)
class _Version:
    """One version of a secret."""

    id: str
    value: str = field(repr=False)
    created: int
    enabled: bool = True


class KeyVault:
    """The stand-in.

    Attributes:
        readers: client ids with the role Key Vault Secrets User.
    """

    name = "key_vault"

    def __init__(
        self,
        tokens: Verifier,
        *,
        authority: str,
        secrets: Mapping[str, str] | None = None,
        readers: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`authority` is the tenant's address at Entra, `https://…/{tenant}`: the challenge names it."""
        self._tokens = tokens
        self._authority = authority
        self._seed = dict(secrets or {})
        self._seed_readers = frozenset(readers)
        self._clock = clock
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Back to the first version of the first secrets, and to the first readers."""
        with self._lock:
            self.readers = set(self._seed_readers)
            self._secrets: dict[str, list[_Version]] = {}
        for name, value in self._seed.items():
            self.put(name, value)

    def put(self, name: str, value: str, *, enabled: bool = True) -> str:
        """Add a version, which is then the current one; its id."""
        version = _Version(uuid.uuid4().hex, value, int(self._clock()), enabled)
        with self._lock:
            self._secrets.setdefault(name.lower(), []).append(version)
        return version.id

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        refusal = self._refuse(request)
        if refusal is not None:
            return refusal
        if "api-version=" not in request.query:
            return _error(400, "BadParameter", "AKV10099: The request is missing the api-version query parameter.")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["secrets", name]:
                return self._get(request, name, None)
            case "GET", ["secrets", name, version]:
                return self._get(request, name, version)
        return _error(404, "NotFound", f"{request.method} {request.path}: the stand-in knows only GET of a secret")

    def control(self, request: Request) -> Response | None:
        """`POST secrets/{name}` `{"value", "enabled"?}` and `POST readers` `{"client_ids"}`."""
        match request.method, request.path.removeprefix(_CONTROL).split("/"):
            case "POST", ["secrets", name]:
                given = json.loads(request.body)
                version = self.put(name, str(given["value"]), enabled=bool(given.get("enabled", True)))
                return Response.json({"version": version}, 201)
            case "POST", ["readers"]:
                with self._lock:
                    self.readers = set(json.loads(request.body)["client_ids"])
                return Response(204)
        return None

    def _refuse(self, request: Request) -> Response | None:
        """401 without a good token, 403 without the role, else None."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        challenge = f'Bearer authorization="{self._authority}", resource="{RESOURCE}"'
        if kind != "Bearer" or not token:
            text = "AKV10000: Request is missing a Bearer or PoP token."
            return _error(401, "Unauthorized", text, headers={"WWW-Authenticate": challenge})
        try:
            claims = self._tokens.verify(token, RESOURCE)
        except TokenRefused as refused:
            headers = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
            return _error(401, "Unauthorized", f"AKV10032: {refused}", headers=headers)
        with self._lock:
            allowed = claims["appid"] in self.readers
        if allowed:
            return None
        text = f"Caller is not authorized to perform action on resource.\r\nCaller: appid={claims['appid']}"
        return _error(403, "Forbidden", text, inner="ForbiddenByRbac")

    def _get(self, request: Request, name: str, version: str | None) -> Response:
        with self._lock:
            versions = list(self._secrets.get(name.lower(), ()))
        found = versions[-1:] if version is None else [one for one in versions if one.id == version]
        if not found:
            text = f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted"
            text += f" this secret you may be able to recover it. For help resolving this issue, {_HELP}"
            return _error(404, "SecretNotFound", text)
        one = found[0]
        if not one.enabled:
            text = "Operation get is not allowed on a disabled secret."
            return _error(403, "Forbidden", text, inner="SecretDisabled")
        attributes = {
            "enabled": True,
            "created": one.created,
            "updated": one.created,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        }
        address = f"https://{request.headers.get('host', 'localhost')}/secrets/{name}/{one.id}"
        return Response.json({"value": one.value, "id": address, "attributes": attributes})


def _error(status: int, code: str, text: str, *, inner: str = "", headers: Mapping[str, str] | None = None) -> Response:
    error: dict[str, Any] = {"code": code, "message": text}
    if inner:
        error["innererror"] = {"code": inner}
    return Response.json({"error": error}, status, headers)
