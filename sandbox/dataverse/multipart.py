"""The bytes of `$batch`: strict CRLF in, CRLF out."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.dataverse.errors import DataverseError
from sandbox.wire import Response, reason

_BOUNDARY = re.compile(r'multipart/mixed\s*;.*?boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE | re.DOTALL)
_MAX_URL = 65_536


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch. `content_id` is empty when the part has none."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    content_id: str


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Requests that succeed or fail together."""

    parts: list[Part]


def malformed(why: str) -> DataverseError:
    """What the service says to a batch that it cannot read, with our reason."""
    return DataverseError(400, "0x80048d19", f"Stream was not readable. {why}")


def parse(body: bytes, content_type: str) -> list[Part | ChangeSet]:
    """Reads a batch body. Raises DataverseError 400.

    A bare LF where CRLF belongs is refused; the service either does so or sees no parts at all.
    """
    found: list[Part | ChangeSet] = []
    for headers, content in _split(body, _boundary(content_type)):
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/mixed"):
            found.append(_change_set(content, kind))
        else:
            found.append(_part(headers, content))
    if not found:
        raise malformed("The batch has no parts.")
    return found


def _change_set(content: bytes, content_type: str) -> ChangeSet:
    parts: list[Part] = []
    names: set[str] = set()
    for headers, inner in _split(content, _boundary(content_type)):
        if headers.get("content-type", "").lower().startswith("multipart/"):
            raise malformed("A change set cannot hold a change set.")
        part = _part(headers, inner)
        if part.method == "GET":
            raise malformed("A change set cannot hold a GET.")
        if not part.content_id:
            raise malformed("Each request of a change set needs a Content-ID.")
        if part.content_id in names:
            raise malformed(f"Content-ID {part.content_id} occurs twice.")
        names.add(part.content_id)
        parts.append(part)
    return ChangeSet(parts)


def _boundary(content_type: str) -> str:
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise malformed(f"'{content_type}' has no multipart/mixed boundary.")
    return match[1] or match[2]


def _split(body: bytes, boundary: str) -> list[tuple[dict[str, str], bytes]]:
    """Cuts at the delimiter lines; each piece as its headers and the rest."""
    delimiter = b"\r\n--" + boundary.encode()
    preamble, *pieces = (b"\r\n" + body).split(delimiter)
    if preamble.strip():
        raise malformed("There is text before the first boundary, or line ends are not CRLF.")
    found: list[tuple[dict[str, str], bytes]] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return found
        line, separator, rest = piece.partition(b"\r\n")
        if line.strip() or not separator:
            raise malformed("A boundary line does not end with CRLF.")
        found.append(_headers(rest))
    raise malformed("The closing boundary is missing, or line ends are not CRLF.")


def _headers(block: bytes) -> tuple[dict[str, str], bytes]:
    if block.startswith(b"\r\n"):
        return {}, block[2:]
    top, _, rest = block.partition(b"\r\n\r\n")
    headers = {}
    for line in top.split(b"\r\n"):
        if b"\n" in line:
            raise malformed("A header line does not end with CRLF.")
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
        elif line.strip():
            raise malformed(f"'{line[:60].decode('latin-1')}' is no header.")
    return headers, rest


def _part(headers: Mapping[str, str], content: bytes) -> Part:
    if headers.get("content-type", "").lower() != "application/http":
        raise malformed("Each request needs Content-Type: application/http.")
    line, _, rest = content.lstrip(b"\r\n").partition(b"\r\n")
    words = line.decode("utf-8", "replace").split(" ")
    if len(words) < 3 or not words[-1].startswith("HTTP/") or b"\n" in line:
        raise malformed(f"'{line[:80].decode('utf-8', 'replace')}' is no request line.")
    # Microsoft's own Python client leaves the spaces of a filter unencoded here.
    url = " ".join(words[1:-1])
    if len(url) > _MAX_URL:
        raise malformed(f"A URL may have {_MAX_URL} characters.")
    inner, body = _headers(rest) if rest else ({}, b"")
    return Part(words[0], url, inner, body, headers.get("content-id", ""))


def render(answers: list[tuple[str, Response] | list[tuple[str, Response]]]) -> tuple[str, bytes]:
    """The answer's content type and body. A list inside the list is a change set."""
    boundary = f"batchresponse_{uuid.uuid4()}"
    out: list[bytes] = []
    for item in answers:
        out.append(f"--{boundary}\r\n".encode())
        if isinstance(item, tuple):
            out.append(_render_part(*item))
            continue
        inner = f"changesetresponse_{uuid.uuid4()}"
        out.append(f"Content-Type: multipart/mixed; boundary={inner}\r\n\r\n".encode())
        for answered in item:
            out.append(f"--{inner}\r\n".encode())
            out.append(_render_part(*answered))
        out.append(f"--{inner}--\r\n".encode())
    out.append(f"--{boundary}--\r\n".encode())
    return f"multipart/mixed; boundary={boundary}", b"".join(out)


def _render_part(content_id: str, response: Response) -> bytes:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"HTTP/1.1 {response.status} {reason(response.status)}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body + b"\r\n"
