"""HTTP/1.1 messages and their bytes, for the stand-ins.

Requests are read here and not by `BaseHTTPRequestHandler`, which parses headers with the `email` package
and writes line by line: that costs more than most answers of a stand-in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

_MAX_LINE = 131_072
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class ByteStream(Protocol):
    """The two reads that a request needs, both buffered."""

    def readline(self, size: int, /) -> bytes:
        """One line with its end, at most `size` bytes."""
        ...

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end of the stream."""
        ...


class BadRequestError(ValueError):
    """What came over the wire is not an HTTP/1.1 request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire.

    Attributes:
        method: HTTP method.
        target: raw `path?query`.
        path: raw path, not decoded.
        query: raw query, not decoded, without the question mark.
        headers: header values by lower-case name.
        body: the whole body.
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def make(cls, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
        """Builds a request from its target; header names are lower-cased."""
        path, _, query = target.partition("?")
        names = {name.lower(): value for name, value in (headers or {}).items()}
        return cls(method, target, path, query, names, body)


@dataclass(slots=True)
class Response:
    """One answer. `note` goes to the journal and not over the wire."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    note: str = ""

    @classmethod
    def json(cls, obj: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """An answer with a JSON body; `headers` may replace the content type."""
        body = json.dumps(obj, ensure_ascii=False).encode()
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)


def read_request(stream: ByteStream, send: Callable[[bytes], object]) -> tuple[Request, bool] | None:
    """Reads one request; returns it and whether the client keeps the connection.

    `send` is for `100 Continue`. None when the client has closed the connection.
    Raises BadRequestError and ConnectionError.
    """
    line = stream.readline(_MAX_LINE)
    if not line:
        return None
    try:
        method, target, version = line.decode("latin-1").split()
        headers = _read_headers(stream)
        if headers.get("expect", "").lower() == "100-continue":
            send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _read_body(stream, headers)
    except ValueError as error:
        raise BadRequestError(f"bad request: {error}") from error
    path, _, query = target.partition("?")
    stays = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return Request(method, target, path, query, headers, body), stays


def _read_headers(stream: ByteStream) -> dict[str, str]:
    headers: dict[str, str] = {}
    while True:
        line = stream.readline(_MAX_LINE)
        if line in {b"\r\n", b"\n"}:
            return headers
        if not line:
            raise ConnectionError("the client closed the connection inside the headers")
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise ValueError(f"header without a colon: {name[:40]!r}")
        name = name.lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value


def _read_body(stream: ByteStream, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        chunks: list[bytes] = []
        while True:
            size = int(stream.readline(_MAX_LINE).split(b";")[0], 16)
            chunk = _exactly(stream, size)
            stream.readline(_MAX_LINE)
            if not size:
                return b"".join(chunks)
            chunks.append(chunk)
    return _exactly(stream, int(headers.get("content-length") or 0))


def _exactly(stream: ByteStream, size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) < size:
        raise ConnectionError("the client closed the connection inside the body")
    return data


def reason(status: int) -> str:
    """The phrase of a status."""
    return _REASONS.get(status, "Unknown")


def to_wire(response: Response, *, head: bool, cut: int | None = None) -> bytes:
    """The bytes of an answer; `cut` sends only that many bytes of the body."""
    lines = [f"HTTP/1.1 {response.status} {reason(response.status)}"]
    lines.extend(f"{name}: {value}" for name, value in response.headers.items())
    bare = response.status in {204, 304} or response.status < 200
    if not bare:
        lines.append(f"Content-Length: {len(response.body)}")
    top = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if bare or head:
        return top
    return top + (response.body if cut is None else response.body[:cut])
