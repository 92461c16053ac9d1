"""Fault rules: what a stand-in does wrong on purpose, when, and how often."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


class FaultRuleError(ValueError):
    """A fault rule is malformed; the text names the field and what it may hold."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule. A request that matches it fails in the way that the rule says.

    Attributes:
        method: exact HTTP method; None matches any.
        path: regular expression, searched in `path?query` as it came over the wire.
        body_contains: text that the request body must contain.
        inner: match the parts inside a Dataverse `$batch` and not the outer request.
        status: HTTP status to answer with.
        body: text, or anything that JSON can hold.
        headers: response headers, for instance `Retry-After`.
        delay_seconds: wait before anything else, in seconds.
        drop: close the connection "before" or "after" the work is done, without an answer.
        after_work: do the work, then answer with `status` all the same.
        truncate: do the work, announce the real length, send this many bytes of the body, close.
        times: how often the rule applies; 0 means always.
        skip: how many matching requests pass first.
        probability: chance, 0 to 1, that a matching request is hit.
        seed: seed of this rule's own dice.
    """

    method: str | None = None
    path: str | None = None
    body_contains: str | None = None
    inner: bool = False
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    drop: Literal["before", "after"] | None = None
    after_work: bool = False
    truncate: int | None = None
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        """Raises FaultRuleError when the fields contradict each other."""
        if self.drop not in {None, "before", "after"}:
            raise FaultRuleError(f"drop is {self.drop!r}; use 'before' or 'after'")
        if self.after_work and self.status is None:
            raise FaultRuleError("after_work needs a status to answer with")
        if self.inner and (self.drop or self.after_work or self.truncate is not None or self.delay_seconds):
            raise FaultRuleError("inner takes only status, body, headers, times, skip, probability")
        if self.inner and self.status is None:
            raise FaultRuleError("an inner rule needs a status")
        if not 0 <= self.probability <= 1:
            raise FaultRuleError(f"probability is {self.probability}; use a number from 0 to 1")
        try:
            re.compile(self.path or "")
        except re.error as error:
            raise FaultRuleError(f"path is not a regular expression: {error}") from error

    @classmethod
    def parse(cls, rule: object) -> Fault:
        """Reads one JSON object. Raises FaultRuleError naming the first wrong field."""
        if not isinstance(rule, dict):
            raise FaultRuleError(f"a rule is a JSON object, not {type(rule).__name__}")
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(rule) - known)
        if unknown:
            raise FaultRuleError(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        for name, kinds in _KINDS.items():
            if rule.get(name) is not None and not isinstance(rule[name], kinds):
                raise FaultRuleError(f"{name} has the wrong type ({type(rule[name]).__name__})")
        return cls(**{name: value for name, value in rule.items() if value is not None})

    def body_bytes(self) -> tuple[bytes, str]:
        """The body to send and its media type."""
        if self.body is None:
            return b"", ""
        if isinstance(self.body, str):
            html = self.body.lstrip().startswith("<")
            return self.body.encode(), "text/html; charset=utf-8" if html else "text/plain; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json; charset=utf-8"


_KINDS: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "path": str,
    "body_contains": str,
    "inner": bool,
    "status": int,
    "headers": dict,
    "delay_seconds": (int, float),
    "drop": str,
    "after_work": bool,
    "truncate": int,
    "times": int,
    "skip": int,
    "probability": (int, float),
    "seed": int,
}


class _Live:
    """A rule with its counters."""

    __slots__ = ("dice", "fault", "left", "needle", "pattern", "skip")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.pattern = re.compile(fault.path) if fault.path is not None else None
        self.needle = fault.body_contains.encode() if fault.body_contains is not None else None
        self.left = fault.times
        self.skip = fault.skip
        self.dice = random.Random(fault.seed)

    def hits(self, method: str, target: str, body: bytes, *, inner: bool) -> bool:
        fault = self.fault
        if fault.inner is not inner or (fault.times and not self.left):
            return False
        if fault.method is not None and fault.method != method:
            return False
        if self.pattern is not None and not self.pattern.search(target):
            return False
        if self.needle is not None and self.needle not in body:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if fault.probability < 1 and self.dice.random() >= fault.probability:
            return False
        self.left -= 1
        return True


class Faults:
    """The rules of one stand-in, in order. The first that matches wins. Safe for threads.

    Attributes:
        used: how many requests have met a rule.
    """

    def __init__(self) -> None:
        self.used = 0
        self._lock = threading.Lock()
        self._rules: list[_Live] = []

    def add(self, *faults: Fault) -> None:
        """Appends rules."""
        with self._lock:
            self._rules.extend(_Live(fault) for fault in faults)

    def clear(self) -> None:
        """Drops every rule."""
        with self._lock:
            self._rules.clear()

    def pick(self, method: str, target: str, body: bytes, *, inner: bool = False) -> Fault | None:
        """The rule that this request meets, counted as used; None when it is to go well."""
        if not self._rules:
            return None
        with self._lock:
            for rule in self._rules:
                if rule.hits(method, target, body, inner=inner):
                    self.used += 1
                    return rule.fault
        return None
