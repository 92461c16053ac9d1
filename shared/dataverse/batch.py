"""``$batch``: several operations in one round trip, change sets as all or nothing.

Facts: Microsoft's page "Execute batch operations using the Web API". CRLF is required everywhere; a body with bare LF
can be read as nothing at all and answered 200, so the parts of an answer must be counted.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CRLF = "\r\n"


class MalformedAnswer(ValueError):
    """The body of a ``$batch`` answer cannot be read."""


@dataclass(frozen=True)
class Operation:
    """One request inside a batch. ``path`` is relative to the Web API's root."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChangeSet:
    """Operations that all happen or all do not."""

    operations: tuple[Operation, ...]


type Part = Operation | ChangeSet


@dataclass(frozen=True)
class Reply:
    """The answer to one operation."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the operation was done."""
        return 200 <= self.status < 300

    def json(self) -> dict[str, Any]:
        """The body as an object; empty when there is none, or it is something else."""
        try:
            data = json.loads(self.body) if self.body.strip() else {}
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}


def encode(parts: Sequence[Part], *, root: str) -> tuple[str, bytes]:
    """The content type and body of a batch request."""
    boundary = f"batch_{uuid.uuid4()}"
    out: list[str] = []
    for part in parts:
        out.append(f"--{boundary}")
        if isinstance(part, ChangeSet):
            inner = f"changeset_{uuid.uuid4()}"
            out += [f"Content-Type: multipart/mixed; boundary={inner}", ""]
            for number, operation in enumerate(part.operations, start=1):
                out += [f"--{inner}", *_operation(operation, root, content_id=number)]
            out += [f"--{inner}--", ""]
        else:
            out += _operation(part, root, content_id=None)
    out += [f"--{boundary}--", ""]
    return f"multipart/mixed; boundary={boundary}", CRLF.join(out).encode("ascii")


def decode(content_type: str, body: bytes) -> list[list[Reply]]:
    """The replies, one list a part of the request: a change set's list holds all its replies or one failure.

    Raises:
        MalformedAnswer: it is not a multipart body, or it is cut off.
    """
    parts = []
    for headers, content in _parts(content_type, body):
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/mixed"):
            parts.append([_reply(inner) for _, inner in _parts(kind, content)])
        else:
            parts.append([_reply(content)])
    return parts


def is_complete(parts: Sequence[Part], replies: Sequence[Sequence[Reply]]) -> bool:
    """Whether every operation has an answer, or the last one explains why there are no more."""
    for index, part in enumerate(parts):
        if index >= len(replies):
            return False
        wanted = len(part.operations) if isinstance(part, ChangeSet) else 1
        given = replies[index]
        failed = any(not reply.is_success for reply in given)
        if failed:
            if index == len(replies) - 1:
                return True
        elif len(given) != wanted:
            return False
    return True


def _operation(operation: Operation, root: str, *, content_id: int | None) -> list[str]:
    out = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        out.append(f"Content-ID: {content_id}")
    out += ["", f"{operation.method} {root}{operation.path} HTTP/1.1", "Accept: application/json"]
    out += [f"{name}: {value}" for name, value in operation.headers.items()]
    if operation.body is not None:
        # ASCII only: no character of a customer's text can end a line or a part.
        out += ["Content-Type: application/json; type=entry", "", json.dumps(operation.body)]
    else:
        out += ["", ""]
    return out


def _parts(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    boundary = next(
        (
            value.strip().strip('"')
            for name, _, value in (item.partition("=") for item in content_type.split(";"))
            if name.strip().lower() == "boundary"
        ),
        None,
    )
    if not boundary:
        raise MalformedAnswer("no boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("ascii", "replace"))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise MalformedAnswer("the last boundary is missing")
    return [_head(piece.removeprefix(b"\r\n")) for piece in pieces[1:-1]]


def _head(piece: bytes) -> tuple[dict[str, str], bytes]:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise MalformedAnswer("a part has no end of its headers")
    return _headers(head.split(b"\r\n")), content


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _reply(content: bytes) -> Reply:
    head, _, body = content.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    words = status_line.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise MalformedAnswer("a part has no status line")
    return Reply(int(words[1]), _headers(lines), body)
