"""Rules for what the webhook does wrong on purpose."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sandbox.dynamics_messaging.webhook_token import FLAWS

KINDS = (
    "duplicate",  # once more, after it was acknowledged
    "swap",  # after the next one of the conversation
    "late",  # after the end of the conversation
    "delay",  # `seconds` late
    "lose",  # never
    "unknown_event",  # after an event whose name nobody knows
    "wrong_conversation",  # the body names another conversation than the path
    *FLAWS,
)


@dataclass(frozen=True, kw_only=True)
class WebhookFault:
    """One rule.

    Attributes:
        fault: what goes wrong, one of `KINDS`.
        activity: which activities: `message`, `typing`, `event`, or the name of an event; empty for all.
        conversation_id: of which conversation; empty for all.
        times: how often; 0 means always.
        skip: how many matching activities pass first.
        seconds: of a delay.
    """

    fault: str
    activity: str = ""
    conversation_id: str = ""
    times: int = 1
    skip: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, rule: object) -> WebhookFault:
        """Reads one JSON object. Raises ValueError or TypeError naming the first wrong field."""
        if not isinstance(rule, Mapping):
            raise TypeError(f"a rule is a JSON object, not {type(rule).__name__}")
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(rule) - known)
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if rule.get("fault") not in KINDS:
            raise ValueError(f"fault is {rule.get('fault')!r}; use one of {', '.join(KINDS)}")
        given: dict[str, Any] = dict(rule)
        for name, kind in _TYPES.items():
            if name in given and (isinstance(given[name], bool) or not isinstance(given[name], kind)):
                raise ValueError(f"{name} has the wrong type ({type(given[name]).__name__})")
        return cls(**given)

    def matches(self, conversation_id: str, kind: str, name: str) -> bool:
        """Whether the rule is about this activity."""
        return self.activity in {"", kind, name} and self.conversation_id in {"", conversation_id}


_TYPES: dict[str, tuple[type, ...]] = {
    "activity": (str,),
    "conversation_id": (str,),
    "times": (int,),
    "skip": (int,),
    "seconds": (int, float),
}


class WebhookFaults:
    """The rules in force. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[tuple[WebhookFault, list[int]]] = []

    def add(self, *rules: WebhookFault) -> None:
        """Puts rules in force."""
        with self._lock:
            self._rules += [(rule, [0]) for rule in rules]

    def clear(self) -> None:
        """Nothing goes wrong from now on."""
        with self._lock:
            self._rules = []

    def pick(self, conversation_id: str, kind: str, name: str) -> list[WebhookFault]:
        """The rules that hit this activity; counts them."""
        hit = []
        with self._lock:
            for rule, seen in self._rules:
                if not rule.matches(conversation_id, kind, name):
                    continue
                seen[0] += 1
                if seen[0] > rule.skip and (rule.times == 0 or seen[0] <= rule.skip + rule.times):
                    hit.append(rule)
        return hit
