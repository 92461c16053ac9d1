"""A stand-in on a port with a client that holds a token: an organisation to try things on."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import requests

from sandbox.dataverse.call import ROOT
from sandbox.dataverse.limits import Allowance
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.server import Server
from sandbox.tokens import TokenRefused

TOKEN = "good"


class OneToken:
    """Accepts the one token `good`, for any audience."""

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """Claims that say nothing but the audience. Raises TokenRefused."""
        if token != TOKEN:
            raise TokenRefused(f"the token is not {TOKEN!r}")
        return {"aud": audience, "appid": "opencx"}


class Organisation:
    """Starts and stops with a `with` statement.

    Attributes:
        standin: the stand-in, open to change.
        server: the server it is on.
        session: sends the token and the usual OData headers; reads no proxy settings.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        allowance: Allowance | None = None,
    ) -> None:
        """`clock` returns seconds since the epoch."""
        self.standin = DataverseStandIn(tokens=OneToken(), clock=clock, allowance=allowance)
        self.server = Server(self.standin, tls=tls, clock=clock)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(
            {
                "Authorization": f"Bearer {TOKEN}",
                "Accept": "application/json",
                "OData-Version": "4.0",
                "OData-MaxVersion": "4.0",
            }
        )

    @property
    def root(self) -> str:
        """The absolute URL of the service root, with its slash."""
        return f"{self.server.url}{ROOT}"

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.server.stop()

    def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Sends one request below the service root; `body` is sent as JSON unless it is None."""
        return self.session.request(method, f"{self.root}{path}", json=body, headers=dict(headers or {}), timeout=30)

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Sends one request to the control door."""
        return self.session.request(method, f"{self.server.url}/_sandbox/{path}", json=body, timeout=30)

    def create(self, set_name: str, body: Mapping[str, Any]) -> str:
        """Creates a row and returns its id. Raises requests.HTTPError."""
        answered = self.call("POST", set_name, body)
        answered.raise_for_status()
        return answered.headers["OData-EntityId"].rpartition("(")[2].rstrip(")")

    def batch(self, body: str, *, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Sends a batch whose boundary is `b`; every line end of `body` becomes CRLF."""
        return self.session.post(
            f"{self.root}$batch",
            data=body.replace("\n", "\r\n").encode(),
            headers={"Content-Type": "multipart/mixed; boundary=b", **(headers or {})},
            timeout=30,
        )
