"""The bare minimum: the very bytes that the service sends, sent again by nothing but `http.client`.

What the service sends is recorded while it performs handoffs; then all that was written is forgotten, and the floor
sends the same requests under the same ids.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from tests.bench.work import BenchError

_ETAG = re.compile(rb"W/\"datetime'[^']*'\"")
_NOT_OURS = frozenset({"content-length", "connection", "accept-encoding"})


@dataclass(frozen=True)
class Call:
    """One request as it was sent, and the ETag that its answer began with, if any."""

    origin: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    etag: bytes | None


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """All that `requests` sends from this process meanwhile, whoever asked it to."""
    calls: list[Call] = []
    send = HTTPAdapter.send

    def record(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = send(adapter, request, **options)
        calls.append(_call(request, response))
        return response

    with patch.object(HTTPAdapter, "send", record):
        yield calls


class Floor:
    """One kept-alive connection an origin; requests go out as they were recorded.

    The second write of a ledger needs the ETag of the first: that one is put in.
    """

    def __init__(self, ca_file: str) -> None:
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections.values():
            connection.close()

    def send(self, calls: list[Call]) -> None:
        """Send the calls of one handoff in order. Raises BenchError when one is refused."""
        recorded_etag = fresh_etag = b""
        for call in calls:
            body = call.body
            if body and recorded_etag:
                body = body.replace(recorded_etag, fresh_etag)
            connection = self._connection(call.origin)
            connection.request(call.method, call.target, body=body, headers=call.headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 300 or b"HTTP/1.1 4" in answer:
                raise BenchError(f"{call.method} {call.target[:60]} got {response.status}: {answer[:400]!r}")
            if call.etag and (found := _ETAG.search(answer)):
                recorded_etag, fresh_etag = call.etag, found[0]

    def _connection(self, origin: str) -> http.client.HTTPConnection:
        found = self._connections.get(origin)
        if found is None:
            parts = urlsplit(origin)
            assert parts.hostname is not None
            if parts.scheme == "https":
                found = http.client.HTTPSConnection(parts.hostname, parts.port, context=self._tls)
            else:
                found = http.client.HTTPConnection(parts.hostname, parts.port)
            self._connections[origin] = found
        return found


def _call(request: requests.PreparedRequest, response: requests.Response) -> Call:
    parts = urlsplit(request.url or "")
    body = request.body.encode() if isinstance(request.body, str) else request.body
    if body is not None and not isinstance(body, bytes):
        raise BenchError(f"{request.method} {request.url}: a body of type {type(body).__name__} cannot be recorded")
    etag = _ETAG.search(response.content)
    return Call(
        origin=f"{parts.scheme}://{parts.netloc}",
        method=request.method or "",
        target=f"{parts.path}?{parts.query}" if parts.query else parts.path,
        headers={name: value for name, value in request.headers.items() if name.lower() not in _NOT_OURS},
        body=body,
        etag=etag[0] if etag else None,
    )
