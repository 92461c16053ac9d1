"""The wire between the service and everything outside: every call is named and numbered, and may be given a fault.

All of them go through ``requests``: our own sessions, and the SDKs of azure-identity, Key Vault and Tables.
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from tests.faults.clock import SimClock

type Send = Callable[..., requests.Response]
type Fault = Callable[["Call"], requests.Response]
type Plan = Callable[["Call"], Fault | None]

DATAVERSE, TABLES, ENTRA, VAULT, OPENCX = "dataverse", "tables", "entra", "vault", "opencx"
SALESFORCE, MESSAGING, QUEUES = "salesforce", "messaging", "queue"

_IDS = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-f]{32,}")


class Killed(BaseException):
    """The process dies here: no handler of the service may catch it."""


@dataclass(frozen=True)
class Call:
    """One outgoing call.

    Attributes:
        system: what it goes to.
        name: system, method and what is asked, without ids.
        ordinal: its number, from 0, among the calls of the same scope.
        scope: whose work it is: a handoff's id, or empty.
    """

    clock: SimClock
    adapter: HTTPAdapter
    request: requests.PreparedRequest
    options: Mapping[str, Any]
    original: Send
    system: str
    name: str
    ordinal: int
    scope: str

    @property
    def is_batch(self) -> bool:
        """Whether it is a Dataverse or table batch."""
        return urlsplit(str(self.request.url)).path.endswith("$batch")

    def work(self) -> requests.Response:
        """Let the call be done; the answer is read whole."""
        response = self.original(self.adapter, self.request, **self.options)
        assert response.content is not None
        return response

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        """An answer that nobody sent."""
        return answer(self.adapter, self.request, status, body, headers)

    def wait(self) -> None:
        """Wait as long as this call waits for an answer."""
        timeout = self.options.get("timeout")
        seconds = timeout[1] if isinstance(timeout, tuple) else timeout
        self.clock.sleep(float(seconds or 60.0))


def answer(
    adapter: HTTPAdapter, request: requests.PreparedRequest, status: int, body: bytes, headers: Mapping[str, str]
) -> requests.Response:
    """A response without a line. Fewer bytes than a ``Content-Length`` says break off, as on a real one."""
    raw = urllib3.HTTPResponse(
        body=io.BytesIO(body),
        headers={"Content-Length": str(len(body)), **headers},
        status=status,
        version=11,
        reason=HTTPStatus(status).phrase,
        preload_content=False,
        enforce_content_length=True,
        request_method=str(request.method),
    )
    return adapter.build_response(request, raw)


class Wire:
    """Stands between the service and the stand-ins.

    Attributes:
        systems: the system behind each ``host:port``.
        substitutes: what answers for a system instead of a server.
        trace: the names of the calls since the last `begin`.
    """

    def __init__(self, clock: SimClock) -> None:
        self.clock = clock
        self.systems: dict[str, str] = {}
        self.substitutes: dict[str, Send] = {}
        self.trace: list[str] = []
        self._plan: Plan | None = None
        self._local = threading.local()
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def begin(self, plan: Plan | None = None) -> None:
        """Number the calls anew, and give them the faults that the plan says."""
        with self._lock:
            self.trace = []
            self._counts = {}
            self._plan = plan

    def clear(self) -> None:
        """No more faults; the trace and the numbers go on."""
        self._plan = None

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """The calls of this thread belong to that handoff."""
        before = getattr(self._local, "scope", "")
        self._local.scope = name
        try:
            yield
        finally:
            self._local.scope = before

    @contextmanager
    def silence(self) -> Iterator[None]:
        """The calls of this thread are not the service's: no faults, no trace."""
        before = getattr(self._local, "silent", False)
        self._local.silent = True
        try:
            yield
        finally:
            self._local.silent = before

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand in the way of every call of this process."""
        original: Send = HTTPAdapter.send

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            return self._send(original, adapter, request, options)

        with patch.object(HTTPAdapter, "send", send):
            yield

    def _send(
        self, original: Send, adapter: HTTPAdapter, request: requests.PreparedRequest, options: Mapping[str, Any]
    ) -> requests.Response:
        system = self.systems.get(urlsplit(str(request.url)).netloc, "")
        original = self.substitutes.get(system, original)
        if not system or getattr(self._local, "silent", False):
            return original(adapter, request, **options)
        scope = getattr(self._local, "scope", "")
        name = _name(system, request)
        with self._lock:
            self.trace.append(name)
            ordinal = self._counts.get(scope, 0)
            self._counts[scope] = ordinal + 1
            plan = self._plan
        call = Call(self.clock, adapter, request, options, original, system, name, ordinal, scope)
        fault = plan(call) if plan else None
        return fault(call) if fault else original(adapter, request, **options)


def _name(system: str, request: requests.PreparedRequest) -> str:
    path = _IDS.sub("*", urlsplit(str(request.url)).path)
    body = request.body or b""
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    what = path.rpartition(_ROOTS.get(system, "devstoreaccount1/"))[2]
    if path.endswith("$batch"):
        what = "write" if "PATCH " in text or "PUT " in text or "POST http" in text else "read"
    elif system == ENTRA and "scope=" in text:
        what = "token of the vault" if "vault" in text else "token of Dataverse"
        what = "token of Messaging" if quote(_MESSAGING_SCOPE, safe="") in text else what
    elif system == TABLES and "RowKey='" in what:
        key = what.partition("RowKey='")[2]
        kinds = (name for start, name in _ROWS.items() if unquote(key).startswith(start))
        what = "lane" if "PartitionKey='lanes'" in what else next(kinds, "record")
    elif system == TABLES and what.endswith("()"):
        what = "range"
    elif system == QUEUES:
        what = "put" if request.method == "POST" else "update" if "/messages/" in what else "make"
    elif system in (OPENCX, VAULT):
        what = "/".join("*" if part.startswith(("session-", "talk-")) else part for part in what.split("/"))
    return f"{system} {request.method} {what}"


_ROOTS = {
    DATAVERSE: "/api/data/v9.2/",
    SALESFORCE: "/iamessage/api/v2/",
    MESSAGING: "/api/v1.0/consumer/",
}
_ROWS = {
    "sys'": "system",
    "o:": "conversation",
    "t:": "trace",
    "i:": "inbox",
    "salesforce:": "index",
    "dynamics365:": "index",
}
_MESSAGING_SCOPE = "-c.crm.dynamics.com"
