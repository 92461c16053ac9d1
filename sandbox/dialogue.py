"""`dev.py run` shows conversations: a chat rings at a rep's desk, the rep answers, the customer answers back.

An SMS conversation goes to Salesforce, a WhatsApp one to Dynamics 365's Messaging APIs. Both are of the samples.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from sandbox.samples import sample
from sandbox.standins import State

REP, CUSTOMER = "Hello, this is Sara. I can help you with that.", "Thank you, Sara!"
_WITHIN_SECONDS = 30.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Dialogue:
    """What became of one conversation.

    Attributes:
        name: channel and system.
        conversation_id: the system's id.
        to_customer, to_rep: seconds from writing to standing on the other side; None: it did not arrive.
        is_closed: whether OpenCX's session was closed when the rep had ended the conversation.
    """

    name: str
    conversation_id: str
    to_customer: float | None
    to_rep: float | None
    is_closed: bool

    @property
    def is_whole(self) -> bool:
        """Whether everything arrived."""
        return self.to_customer is not None and self.to_rep is not None and self.is_closed

    def cells(self) -> list[str]:
        """The row of the table."""
        times = ["-" if each is None else f"{each:.2f} s" for each in (self.to_customer, self.to_rep)]
        return [self.name, self.conversation_id or "-", *times, "closed" if self.is_closed else "NOT CLOSED"]


HEADINGS = ("conversation", "id", "rep -> customer", "customer -> rep", "OpenCX session")


class Stage:
    """The running sandbox, and one host on it."""

    def __init__(self, state: State, functions: Mapping[str, str]) -> None:
        self._state = state
        self._functions = functions
        self._session = requests.Session()
        self._session.trust_env = False  # an authority that the environment names would come before ours
        self._session.verify = state["ca_file"]

    def play(self, channel: str, system: str, *, target: str) -> Dialogue:
        """One conversation from the handoff to its end."""
        session_id = f"dialogue-{channel}"
        self._door("POST", "opencx", "sessions", {"id": session_id, "channel": channel})
        body = {**sample(channel), "session_id": session_id, "handoff_id": session_id, "target": target}
        response = self._session.post(
            f"{self._functions['url']}/api/handoff",
            json=body,
            headers={"x-functions-key": self._functions["key"]},
            timeout=60,
        )
        answer = response.json()
        conversation_id = str(answer.get("salesforce_conversation_id") or answer.get("dynamics365_chat_id") or "")
        name = f"{channel} -> {target}"
        if response.status_code not in (200, 201) or answer.get("kind") != "messaging_conversation":
            return Dialogue(name, "", None, None, is_closed=False)
        self._rep(system, conversation_id, "accept", {})
        began = time.monotonic()
        self._rep(system, conversation_id, "say", {"text": REP})
        heard = self._seconds(
            began, lambda: REP in str(self._door("GET", "opencx", f"sessions/{session_id}")["history"])
        )
        began = time.monotonic()
        self._door("POST", "opencx", f"sessions/{session_id}/contact-says", {"text": CUSTOMER})
        seen = self._seconds(
            began, lambda: CUSTOMER in str(self._door("GET", system, f"conversations/{conversation_id}"))
        )
        self._rep(system, conversation_id, "end", {})
        closed = self._seconds(
            time.monotonic(), lambda: self._door("GET", "opencx", f"sessions/{session_id}")["status"] != "open"
        )
        return Dialogue(name, conversation_id, heard, seen, is_closed=closed is not None)

    def _rep(self, system: str, conversation_id: str, action: str, body: Mapping[str, str]) -> None:
        self._door("POST", system, f"rep/{conversation_id}/{action}", body)

    def _seconds(self, began: float, holds: Any) -> float | None:
        """How long it took until it held; None: too long."""
        pause = threading.Event()
        while time.monotonic() < began + _WITHIN_SECONDS:
            if holds():
                return time.monotonic() - began
            pause.wait(_LOOK_SECONDS)
        return None

    def _door(self, method: str, standin: str, route: str, body: object = None) -> Any:
        url = f"{self._state[standin]['url']}/_sandbox/{route}"
        response = self._session.request(method, url, json=body, timeout=30)
        response.raise_for_status()
        return response.json() if response.content else None
