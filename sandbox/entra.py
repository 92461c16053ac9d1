"""Stand-in for Entra ID: client credentials, discovery, and the managed identity endpoint of App Service.

It refuses what Entra refuses, with Entra's own codes (reference: "Microsoft Entra authentication and
authorization error codes"). Where Entra's answer is not known the stricter reading is taken: a resource must
be registered letter by letter.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.server import Request, Response
from sandbox.tokens import LIFETIME_SECONDS, TokenRefused, Tokens

__all__ = ["App", "Entra", "TokenRefused", "Tokens"]

_DEFAULT_SCOPE = "/.default"
_JSON_CONTROL = "/_sandbox/apps"


@dataclass(frozen=True)
class App:
    """A registered app, or a managed identity.

    Attributes:
        tenant_id: GUID of the tenant.
        client_id: GUID of the app.
        secrets: client secrets that are good.
        expired_secrets: client secrets that were good once.
        resources: what it may ask tokens for, for instance `https://vault.azure.net`.
        managed_identity: whether `/msi/token` knows it, by its client id.
        lifetime_seconds: how long its tokens live.
    """

    tenant_id: str
    client_id: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    expired_secrets: tuple[str, ...] = field(default=(), repr=False)
    resources: tuple[str, ...] = ()
    managed_identity: bool = False
    lifetime_seconds: float = LIFETIME_SECONDS


class _RefusalError(Exception):
    """Entra's no: a status, an OAuth error, an AADSTS code and its text."""

    def __init__(self, status: int, error: str, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.error, self.code = status, error, code


class Entra:
    """The stand-in. Its apps can be changed while it runs, by `register` or by `POST /_sandbox/apps`.

    Attributes:
        tokens: what it signs with; give it to the stand-ins that verify.
        identity_header: the secret that `/msi/token` wants in `X-IDENTITY-HEADER`.
    """

    name = "entra"

    def __init__(
        self,
        apps: Iterable[App] = (),
        *,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.time,
        identity_header: str = "sandbox-identity-header",
    ) -> None:
        self._clock = clock
        self.tokens = tokens or Tokens(clock=clock)
        self.identity_header = identity_header
        self._seed = {app.client_id: app for app in apps}
        self._apps = dict(self._seed)
        self._lock = threading.Lock()

    def register(self, app: App) -> None:
        """Add an app, or replace the one of this client id. It stays after a reset."""
        with self._lock:
            self._seed[app.client_id] = app
            self._apps[app.client_id] = app

    def reset(self) -> None:
        """Back to the apps that were registered."""
        with self._lock:
            self._apps = dict(self._seed)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        base = f"https://{request.headers.get('host', 'localhost')}"
        try:
            match request.method, parts:
                case "POST", [tenant, "oauth2", "v2.0", "token"]:
                    return self._token(tenant, dict(parse_qsl(request.body.decode())))
                case "GET", [tenant, "v2.0", ".well-known", "openid-configuration"]:
                    self._check_tenant(tenant)
                    return Response.json(_configuration(base, tenant))
                case "GET", [tenant, "discovery", "v2.0", "keys"]:
                    self._check_tenant(tenant)
                    return Response.json(self.tokens.jwks())
                case "GET", [_, "discovery", "instance"]:
                    return Response.json(_instances(base, request.headers.get("host", "localhost")))
                case "GET", ["msi", "token"]:
                    return self._managed_identity(request)
        except _RefusalError as refusal:
            return self._refuse(refusal)
        return Response(404)

    def control(self, request: Request) -> Response | None:
        """`GET` and `POST /_sandbox/apps`: see the apps, add one, or change fields of one (a secret, say)."""
        if request.path != _JSON_CONTROL or request.method not in {"GET", "POST"}:
            return None
        if request.method == "POST":
            given: dict[str, Any] = json.loads(request.body)
            known = {one.name for one in fields(App)}
            if unknown := sorted(set(given) - known):
                return Response.json({"error": f"unknown field {unknown[0]}; known: {', '.join(sorted(known))}"}, 400)
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
            }
            with self._lock:
                app = self._apps.get(str(given.get("client_id")))
                try:
                    app = replace(app, **values) if app else App(**values)
                except TypeError as error:
                    return Response.json({"error": str(error)}, 400)
                self._apps[app.client_id] = app
        with self._lock:
            apps = list(self._apps.values())
        shown = [{"tenant_id": app.tenant_id, "client_id": app.client_id, "resources": app.resources} for app in apps]
        return Response.json(shown)

    def _check_tenant(self, tenant: str) -> None:
        with self._lock:
            known = any(app.tenant_id == tenant for app in self._apps.values())
        if not known:
            text = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID"
            raise _RefusalError(400, "invalid_request", 90002, f"{text} and are signing into the correct cloud.")

    def _token(self, tenant: str, form: dict[str, str]) -> Response:
        self._check_tenant(tenant)
        for name in ("grant_type", "client_id", "scope"):
            if name not in form:
                text = f"The request body must contain the following parameter: '{name}'."
                raise _RefusalError(400, "invalid_request", 900144, text)
        if form["grant_type"] != "client_credentials":
            text = f"The app requested an unsupported grant type '{form['grant_type']}'."
            raise _RefusalError(400, "unsupported_grant_type", 70003, text)
        app = self._authenticate(tenant, form["client_id"], form.get("client_secret"))
        resource = form["scope"].removesuffix(_DEFAULT_SCOPE)
        if resource == form["scope"]:
            text = f"The provided value for scope {resource} is not valid. Client credential flows must have a"
            text += " scope value with /.default suffixed to the resource identifier (application ID URI)."
            raise _RefusalError(400, "invalid_scope", 1002012, text)
        token = self._issue(app, resource)
        seconds = int(app.lifetime_seconds)
        answer = {
            "token_type": "Bearer",
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": token,
        }
        return Response.json(answer, headers={"Cache-Control": "no-store, no-cache"})

    def _authenticate(self, tenant: str, client_id: str, secret: str | None) -> App:
        with self._lock:
            app = self._apps.get(client_id)
        if app is None or app.tenant_id != tenant:
            text = f"Application with identifier '{client_id}' was not found in the directory '{tenant}'."
            text += " This can happen if it has not been installed by the administrator of the tenant."
            raise _RefusalError(400, "unauthorized_client", 700016, text)
        if secret is None:
            text = "The request body must contain: 'client_assertion' or 'client_secret'."
            raise _RefusalError(401, "invalid_client", 7000218, text)
        if secret in app.expired_secrets:
            text = f"The provided client secret keys for app '{client_id}' are expired. Visit the"
            raise _RefusalError(401, "invalid_client", 7000222, f"{text} Azure portal to create new keys for your app.")
        if secret not in app.secrets:
            text = "Invalid client secret provided. Ensure the secret being sent in the request is the client"
            text += f" secret value, not the client secret ID, for a secret added to app '{client_id}'."
            raise _RefusalError(401, "invalid_client", 7000215, text)
        return app

    def _issue(self, app: App, resource: str) -> str:
        if resource not in app.resources:
            text = f"The resource principal named {resource} was not found in the tenant named"
            text += f" {app.tenant_id}. This can happen if it has not been installed by the administrator."
            raise _RefusalError(400, "invalid_resource", 500011, text)
        return self.tokens.issue(app.tenant_id, app.client_id, resource, app.lifetime_seconds)

    def _managed_identity(self, request: Request) -> Response:
        """As App Service does it (reference: "Managed identities for App Service", REST endpoint)."""
        query = dict(parse_qsl(request.query))
        if request.headers.get("x-identity-header") != self.identity_header:
            return Response.json({"statusCode": 401, "message": "Unauthorized"}, 401)
        if query.get("api-version") != "2019-08-01" or "resource" not in query:
            return Response.json({"statusCode": 400, "message": "api-version=2019-08-01 and resource are needed"}, 400)
        with self._lock:
            app = self._apps.get(query.get("client_id", ""))
        if app is None or not app.managed_identity:
            text = "No User Assigned or Delegated Managed Identity found for specified"
            text += " ClientId/ResourceId/PrincipalId."
            return Response.json({"statusCode": 400, "message": text, "correlationId": str(uuid.uuid4())}, 400)
        token = self._issue(app, query["resource"].rstrip("/"))
        answer = {
            "access_token": token,
            "expires_on": str(int(self._clock() + app.lifetime_seconds)),
            "resource": query["resource"],
            "token_type": "Bearer",
            "client_id": app.client_id,
        }
        return Response.json(answer)

    def _refuse(self, refusal: _RefusalError) -> Response:
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
        text = f"AADSTS{refusal.code}: {refusal}"
        answer = {
            "error": refusal.error,
            "error_description": f"{text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [refusal.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
        }
        return Response.json(answer, refusal.status)


def _configuration(base: str, tenant: str) -> dict[str, Any]:
    return {
        "issuer": f"{base}/{tenant}/v2.0",
        "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
        "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _instances(base: str, host: str) -> dict[str, Any]:
    return {
        "tenant_discovery_endpoint": f"{base}/common/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }
