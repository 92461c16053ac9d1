"""The query of ``GET /api/handoffs``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import FieldError, InvalidRequest
from shared.handoff.record import FAILED, STATES

DEFAULT_LIMIT = 50


@dataclass(frozen=True)
class Query:
    """Which records, how many, and from where on."""

    state: str
    limit: int
    cursor: str | None


def query(parameters: Mapping[str, str], *, most: int) -> Query:
    """Read the query. Raises InvalidRequest with every wrong parameter."""
    details = []
    state = parameters.get("state", FAILED)
    if state not in STATES:
        details.append(FieldError("state", f"must be one of {', '.join(STATES)}"))
    text = parameters.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if re.fullmatch(r"\d{1,4}", text) else 0
    if not 1 <= limit <= most:
        details.append(FieldError("limit", f"must be a number from 1 to {most}"))
    cursor = parameters.get("cursor")
    if cursor is not None and not re.fullmatch(r"\d{16}:[0-9a-f]{64}", cursor):
        details.append(FieldError("cursor", "must be the value of next in the page before"))
    if details:
        raise InvalidRequest("The query is wrong.", details=tuple(details))
    return Query(state, limit, cursor)
