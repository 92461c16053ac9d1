"""One operation on a resource: a whole request, or a part of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.dataverse.errors import DataverseError
from sandbox.wire import Response

ROOT = "/api/data/v9.2/"
JSON = "application/json; odata.metadata=minimal"


@dataclass(frozen=True, slots=True)
class Call:
    """An operation.

    Attributes:
        method: HTTP method.
        path: below the service root, still encoded.
        query: raw query.
        headers: by lower-case name.
        body: raw body.
        root: absolute URL of the service root, with its slash.
        references: URLs by Content-ID inside a change set, else None.
        written: the addresses that the operation wrote to, below the root; filled while it runs.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    root: str
    references: Mapping[str, str] | None = None
    written: list[str] = field(default_factory=list)


def answer(obj: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer of the service."""
    response = Response.json(obj, status)
    response.headers["Content-Type"] = JSON
    response.headers.update(headers or {})
    return response


def refusal(error: DataverseError) -> Response:
    """The error envelope."""
    body = {"error": {"code": error.code, "message": error.message}}
    response = answer(body, error.status, error.headers)
    response.note = f"{error.code} {error.message[:120]}"
    return response
