"""What a token endpoint's answer grants: a token, for whom, for how long, and how large its files may be.

Facts: the endpoint answers 200 with a *guest's* token when an identity token is not good (``/AUTH/`` in the subject
tells); the token's own ``exp`` counts, whatever the documented defaults are.
"""

import base64
from dataclasses import dataclass
from typing import Any

from shared.handoff.text import parse_json

RENEWED_AFTER = 0.8
"""Of a token's life."""
UNKNOWN_LIFE_SECONDS = 900.0
"""Where the token does not say: a quarter of the shortest life that can be set."""
LARGEST_FILE_BYTES = 5 * 1024 * 1024
"""What a channel takes at most (``maxFileSize``, 1 to 5 MB)."""


@dataclass(frozen=True)
class Token:
    """An access token; times are monotonic, in seconds."""

    value: str
    renew_at: float
    expires_at: float
    max_file_bytes: int = LARGEST_FILE_BYTES


def token_of(answer: dict[str, Any], *, wall_seconds: float, monotonic: float) -> Token:
    """The token of an answer, or of one that was kept: ``{"accessToken": ...}``.

    A fresh token's life is read from its own claims, so that our clock need not be right.

    Args:
        answer: has an ``accessToken``.
        wall_seconds: the time of day, in seconds since 1970.
        monotonic: the time that `Token` counts in.
    """
    value: str = answer["accessToken"]
    claims = _claims(value)
    expires, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    if expires is None:
        life = UNKNOWN_LIFE_SECONDS
    elif "context" in answer and issued is not None:
        life = expires - issued
    else:
        life = expires - wall_seconds
    return Token(value, monotonic + life * RENEWED_AFTER, monotonic + life, _largest_file(answer))


def is_verified(answer: dict[str, Any]) -> bool:
    """Whether it is for the customer whom the identity token names, and not for a guest."""
    user = _part(_part(answer, "context"), "endUser")
    subject = user.get("subject") or _claims(answer["accessToken"]).get("sub")
    return "/AUTH/" in str(subject)


def _largest_file(answer: dict[str, Any]) -> int:
    service = _part(_part(_part(answer, "context"), "configuration"), "embeddedServiceConfig")
    megabytes = _number(_part(service, "attachments").get("maxFileSize"))
    if megabytes is None or not 1 <= megabytes <= 5:
        return LARGEST_FILE_BYTES
    return int(megabytes * 1024 * 1024)


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself; it comes from Salesforce over TLS, so nobody's signature is at stake."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = parse_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)).decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
