"""Reads what a handoff request leaves out from OpenCX.

Facts: docs.open.cx, API reference: ``GET /chat/sessions/{id}`` and its ``/history`` (items in no stated order, paged by
``next``); errors are ErrorDto; 100 requests a minute.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import requests

from shared import http
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff import channel as channels
from shared.handoff.message import turns_of
from shared.handoff.model import Contact, Handoff, Turn
from shared.handoff.request import contact_of
from shared.handoff.text import clean
from shared.opencx import SYSTEM

MOST_PAGES = 500


class ApiKey(Protocol):
    """Where the key comes from."""

    def __call__(self, *, deadline: float, is_refused: bool) -> str:
        """The key; with ``is_refused`` a newer one, if there is one.

        Raises:
            ConfigurationFault, TransientFailure: it cannot be had by the deadline.
        """


class OpenCXClient:
    """OpenCX's API with one key. Implements `shared.handoff.desk.Source`."""

    def __init__(
        self,
        origin: str,
        *,
        api_key: ApiKey,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        session: requests.Session | None = None,
    ) -> None:
        self._origin = origin
        self._api_key = api_key
        self._monotonic = monotonic
        self._now = now
        self._session = session or http.session(origin)

    def complete(self, handoff: Handoff, *, deadline: float) -> Handoff:
        """The handoff with channel, contact, summary and transcript read where they are missing.

        Raises:
            TransientFailure, ConfigurationFault, PermanentFailure: OpenCX does not give it.
        """
        path = f"/chat/sessions/{quote(handoff.session_id, safe='')}"
        known = _filled(handoff, self._get(path, deadline=deadline))
        if known.transcript is not None:
            return known
        return replace(known, transcript=self._history(path, deadline))

    def ping(self, *, deadline: float) -> None:
        """Ask for one page of sessions, to see whether the key works."""
        self._get("/chat/sessions", deadline=deadline)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _history(self, path: str, deadline: float) -> tuple[Turn, ...]:
        items: list[Any] = []
        cursor: str | None = None
        seen: set[str] = set()
        while len(seen) < MOST_PAGES:
            query = f"?cursor={quote(cursor, safe='')}" if cursor else ""
            page = self._get(f"{path}/history{query}", deadline=deadline)
            items.extend(page.get("items") or [])
            cursor = page.get("next")
            if not cursor:
                return turns_of(items)
            if cursor in seen:
                break
            seen.add(cursor)
        raise TransientFailure("OpenCX's history does not end.", code="opencx_bad_answer", system=SYSTEM)

    def _get(self, path: str, *, deadline: float) -> dict[str, Any]:
        key = self._key(deadline, is_refused=False)
        response = self._send(path, key, deadline)
        if response.status_code == 401:
            rotated = self._key(deadline, is_refused=True)
            if rotated != key:
                response = self._send(path, rotated, deadline)
        return self._judged(response)

    def _key(self, deadline: float, *, is_refused: bool) -> str:
        """The key; a vault that hangs may take half of the time, for without OpenCX a handoff can still land."""
        return self._api_key(deadline=deadline - self._left(deadline) / 2, is_refused=is_refused)

    def _send(self, path: str, key: str, deadline: float) -> requests.Response:
        try:
            return self._session.get(
                f"{self._origin}{path}",
                headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
                timeout=http.timeouts(self._left(deadline) / 2),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            message = f"OpenCX did not answer ({type(error).__name__})."
            raise TransientFailure(message, code="opencx_unreachable", system=SYSTEM, kind="unreachable") from None

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left < 1:
            message = "The time for this attempt was used up before OpenCX was asked."
            raise TransientFailure(message, code="budget_used_up", system=SYSTEM)
        return left

    def _judged(self, response: requests.Response) -> dict[str, Any]:
        status = response.status_code
        if status in (401, 403):
            raise ConfigurationFault(
                f"OpenCX refuses the API key (HTTP {status}).",
                code="opencx_key_refused",
                system=SYSTEM,
                fix="Make a key with scope chat-sessions:read and put it into Key Vault as opencx-api-key.",
            )
        if status in (408, 409, 412, 425, 429) or status >= 500:  # none says that there is no such session
            after = http.retry_after_seconds(response.headers, now=self._now())
            message = f"OpenCX answered HTTP {status}."
            raise TransientFailure(message, code="opencx_unavailable", system=SYSTEM, retry_after_seconds=after)
        if status != 200:
            message = f"OpenCX does not give the session (HTTP {status})."
            raise PermanentFailure(message, code="opencx_session_missing")
        try:
            data = response.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            message = "OpenCX sent an answer that is not a JSON object."
            raise TransientFailure(message, code="opencx_bad_answer", system=SYSTEM)
        return data


def _filled(handoff: Handoff, session: dict[str, Any]) -> Handoff:
    """The handoff with a session's facts where it has none of its own."""
    given = session.get("handoff")
    details = given if isinstance(given, dict) else {}
    channel = session.get("channel")
    kind = channel.get("type") if isinstance(channel, dict) else channel
    return replace(
        handoff,
        channel=handoff.channel or (channels.normalise(kind) if isinstance(kind, str) and kind else None),
        contact=_contact(handoff.contact, session.get("contact")),
        summary=handoff.summary or _text(details.get("summary")) or _text(session.get("summary")),
        sentiment=handoff.sentiment or _text(details.get("sentiment")) or _text(session.get("sentiment")),
        language=handoff.language or _text(session.get("language")),
        ticket_number=handoff.ticket_number or _text(session.get("ticket_number")),
    )


def _contact(own: Contact, data: Any) -> Contact:
    if not isinstance(data, dict):
        return own
    read = contact_of(data)
    # What OpenCX knows of an address says nothing of another one that the request brings.
    is_same = own.email is None or own.email.casefold() == (read.email or "").casefold()
    return Contact(
        name=own.name or read.name,
        email=own.email or read.email,
        phone=own.phone or read.phone,
        external_id=own.external_id,
        verified=read.verified if own.verified is None and is_same else own.verified,
    )


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return clean(str(value)).strip() or None
