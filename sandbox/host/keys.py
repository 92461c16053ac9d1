"""Function and master keys (reference: Azure Functions, "Work with access keys")."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

HEADER = "x-functions-key"
QUERY = "code"


@dataclass(frozen=True)
class Keys:
    """The keys of an app: the function key opens function routes, the master key everything."""

    function: str = field(repr=False)
    master: str = field(repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """`SANDBOX_FUNCTION_KEY` and `SANDBOX_MASTER_KEY`, each made up when it is not set."""
        return cls(
            function=environ.get("SANDBOX_FUNCTION_KEY") or secrets.token_urlsafe(40),
            master=environ.get("SANDBOX_MASTER_KEY") or secrets.token_urlsafe(40),
        )

    def open(self, auth_level: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether a request may pass a door of this level: `anonymous`, `function` or `admin`."""
        if auth_level == "anonymous":
            return True
        given = (headers.get(HEADER) or query.get(QUERY) or "").encode()
        allowed = [self.master] if auth_level == "admin" else [self.function, self.master]
        return any(hmac.compare_digest(given, key.encode()) for key in allowed)
