"""Route templates of HTTP triggers, matched as ASP.NET does (reference: ASP.NET Core route templates)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote

from sandbox.host.worker import AppLoadError, Function

_PART = re.compile(r"\{(?P<rest>\*)?(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}")
_CONSTRAINTS = {
    "int": r"-?\d+",
    "guid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "alpha": r"[A-Za-z]+",
    "bool": r"(?:true|false)",
}
_LITERAL, _CONSTRAINED, _FREE, _REST = range(4)
ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Route:
    """A function's route: a pattern of whole paths, methods, and a rank (a literal comes before `{id}`)."""

    function: Function
    pattern: re.Pattern[str]
    methods: frozenset[str]
    auth_level: str
    rank: tuple[int, ...]

    @classmethod
    def of(cls, function: Function, prefix: str) -> Self:
        """From the metadata of an HTTP trigger. Raises AppLoadError for a template that is not understood."""
        trigger: Mapping[str, Any] = function.trigger
        template = str(trigger.get("route", function.name)).strip("/")
        segments = [part for part in f"{prefix}/{template}".split("/") if part]
        pattern = ""
        rank: list[int] = []
        for segment in segments:
            text, weight = _segment(segment)
            pattern += text
            rank.append(weight)
        methods = [str(method).upper() for method in trigger.get("methods") or ALL_METHODS]
        level = str(trigger.get("authLevel", "function")).lower()
        return cls(function, re.compile(pattern + "/?", re.IGNORECASE), frozenset(methods), level, tuple(rank))


def _segment(segment: str) -> tuple[str, int]:
    match = _PART.fullmatch(segment)
    if not match:
        if "{" in segment:
            raise AppLoadError(f"route part {segment!r}: a parameter must be a whole part between slashes here")
        return "/" + re.escape(segment), _LITERAL
    constraint = match["constraint"]
    if constraint and constraint not in _CONSTRAINTS:
        raise AppLoadError(f"route part {segment!r}: the constraint {constraint!r} is not known here")
    if match["rest"]:
        return f"(?:/(?P<{match['name']}>.*))?", _REST
    value = f"/(?P<{match['name']}>{_CONSTRAINTS[constraint] if constraint else '[^/]+'})"
    return f"(?:{value})?" if match["optional"] else value, _CONSTRAINED if constraint else _FREE


class Routes:
    """All HTTP functions of an app."""

    def __init__(self, functions: Sequence[Function], prefix: str) -> None:
        routes = [Route.of(function, prefix) for function in functions if function.kind == "httpTrigger"]
        self._routes = sorted(routes, key=lambda route: route.rank)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """A raw path's route and decoded parameters. None (404) for a wrong method too, as in Azure."""
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match and method in route.methods:
                return route, {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
        return None
