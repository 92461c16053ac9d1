"""OpenCX's REST API: one key, one pooled session, and what each answer means.

Facts: docs.open.cx, API reference: ``GET /chat/sessions/{id}`` and its ``/history`` (items in no stated order, paged by
``next``), ``POST …/send``, ``PATCH …``; errors are ErrorDto; 100 requests a minute; no key makes a send safe to repeat.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import requests
from urllib3.exceptions import NewConnectionError

from shared import http
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff import channel as channels
from shared.handoff.message import turns_of
from shared.handoff.model import Contact, Handoff
from shared.handoff.request import contact_of
from shared.handoff.text import clean
from shared.opencx import SYSTEM
from shared.opencx.pages import MOST_SESSIONS, Mark, Marks, Order, Page

MOST_PAGES = 500
REFUSED = "opencx_message_refused"
"""The code of a write whose content OpenCX does not take: with less in it, it may."""


class ApiKey(Protocol):
    """Where the key comes from."""

    def __call__(self, *, deadline: float, is_refused: bool) -> str:
        """The key; with ``is_refused`` a newer one, if there is one.

        Raises:
            ConfigurationFault, TransientFailure: it cannot be had by the deadline.
        """


class OpenCXClient:
    """OpenCX's API with one key. Implements `shared.handoff.hydration.Source`.

    Every ``deadline`` is the monotonic time, in seconds, by which a call must be over. Every call may raise:

    * TransientFailure: no answer, 408, 409, 412, 425, 429 or 5xx; ``is_unclear`` where it may have been done.
    * ConfigurationFault: the key is missing or refused, or the address is wrong.
    * PermanentFailure: OpenCX knows no such session, or refuses what was sent (code `REFUSED`).
    """

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
        self._marks = Marks(MOST_SESSIONS)

    def complete(self, handoff: Handoff, *, deadline: float) -> Handoff:
        """The handoff with channel, contact, summary and transcript read where they are missing.

        One call may take half of the time that is left, for without OpenCX a handoff can still land.
        """
        known = _filled(handoff, self._object("GET", _path(handoff.session_id), deadline=deadline, part=0.5))
        if known.transcript is not None:
            return known
        return replace(known, transcript=turns_of(self.history(handoff.session_id, deadline=deadline, part=0.5)))

    def ping(self, *, deadline: float) -> None:
        """Ask for one page of sessions, to see whether the key works."""
        self._object("GET", "/chat/sessions", deadline=deadline, part=0.5)

    def session(self, session_id: str, *, deadline: float) -> dict[str, Any]:
        """A session as it stands."""
        return self._object("GET", _path(session_id), deadline=deadline)

    def history(self, session_id: str, *, deadline: float, part: float = 1.0) -> list[Any]:
        """All items of a session's history, in OpenCX's order, which it does not state."""
        return self._read(session_id, since=None, deadline=deadline, part=part)

    def history_since(self, session_id: str, *, since: datetime, deadline: float) -> list[Any]:
        """All items of that time and later, and some before them, in OpenCX's order; of a long history a few pages.

        One that comes newest first is read until a whole page is older. One that comes oldest first is read to its
        end, from the last page on that is known to begin before that time; what was read is known also where the
        reading was cut short. One whose times do not tell its order is read as a whole.
        """
        mark = self._marks.before(session_id, since)
        items = self._resumed(session_id, mark, deadline=deadline) if mark else None
        return self._read(session_id, since=since, deadline=deadline) if items is None else items

    def _read(self, session_id: str, *, since: datetime | None, deadline: float, part: float = 1.0) -> list[Any]:
        """The history from its first page on."""
        items: list[Any] = []
        order = Order()
        for page in self._pages(session_id, None, deadline=deadline, part=part):
            items.extend(page.items)
            self._note(session_id, page, order)
            if since is not None and order.is_past(since):
                break
        return items

    def _resumed(self, session_id: str, mark: Mark, *, deadline: float) -> list[Any] | None:
        """The history from a known page on; None: the pages are not what they were."""
        items: list[Any] = []
        order = Order()
        try:
            for page in self._pages(session_id, mark.cursor, deadline=deadline):
                if not items and not mark.is_of(page):
                    break
                items.extend(page.items)
                self._note(session_id, page, order)
                if order.is_newest_first:  # it has been turned round: from here it goes back in time
                    break
            else:
                return items
        except PermanentFailure:
            pass  # the cursor is not known any more; or the session, which its first page will tell
        except TransientFailure as failure:
            if failure.code in ("opencx_unavailable", "opencx_bad_answer") and failure.kind == "server_error":
                self._marks.drop(session_id, mark)  # should it be for the cursor, the next look begins a page earlier
            raise
        self._marks.forget(session_id)
        return None

    def _note(self, session_id: str, page: Page, order: Order) -> None:
        """Read a page's times, and remember it where the history comes oldest first."""
        mark = order.take(page)
        if mark is not None:
            self._marks.add(session_id, mark)

    def _pages(self, session_id: str, cursor: str | None, *, deadline: float, part: float = 1.0) -> Iterator[Page]:
        """A history's pages from a cursor on; None: from the first on."""
        seen = {cursor}
        for _ in range(MOST_PAGES):
            query = f"?cursor={quote(cursor, safe='')}" if cursor else ""
            answer = self._object("GET", f"{_path(session_id)}/history{query}", deadline=deadline, part=part)
            found = answer.get("items")
            yield Page(cursor, found if isinstance(found, list) else [])
            following = answer.get("next")
            if not following:
                return
            cursor = str(following)
            if cursor in seen:
                break
            seen.add(cursor)
        raise TransientFailure("OpenCX's history does not end.", code="opencx_bad_answer", system=SYSTEM)

    def send(self, session_id: str, body: Mapping[str, Any], *, deadline: float) -> None:
        """Put a message into a session. It is not safe to repeat where it is unclear whether it was done."""
        self._write("POST", f"{_path(session_id)}/send", body, deadline=deadline)

    def change(self, session_id: str, body: Mapping[str, Any], *, deadline: float) -> None:
        """Change a session's status."""
        self._write("PATCH", _path(session_id), body, deadline=deadline)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _write(self, method: str, path: str, body: Mapping[str, Any], *, deadline: float) -> None:
        response = self._call(method, path, body, deadline=deadline)
        status = response.status_code
        if status in (404, 410):
            raise PermanentFailure(f"OpenCX knows no such session (HTTP {status}).", code="opencx_session_missing")
        if not 200 <= status < 300:
            raise PermanentFailure(f"OpenCX refuses what was sent (HTTP {status}).", code="opencx_message_refused")
        if response.content.strip() and _json(response) is None:
            message = "What was sent was answered by something other than OpenCX."
            raise TransientFailure(message, code="opencx_bad_answer", system=SYSTEM)

    def _object(self, method: str, path: str, *, deadline: float, part: float = 1.0) -> dict[str, Any]:
        response = self._call(method, path, None, deadline=deadline, part=part)
        if response.status_code != 200:
            message = f"OpenCX does not give the session (HTTP {response.status_code})."
            raise PermanentFailure(message, code="opencx_session_missing")
        data = _json(response)
        if data is None:
            message = "OpenCX sent an answer that is not a JSON object."
            raise TransientFailure(message, code="opencx_bad_answer", system=SYSTEM)
        return data

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, deadline: float, part: float = 1.0
    ) -> requests.Response:
        """One call, and another with the new key where the known one is refused; ``part``: of the time that is left."""
        key = self._key(deadline, is_refused=False)
        response = self._send(method, path, body, key, self._left(deadline) * part)
        if response.status_code == 401:
            rotated = self._key(deadline, is_refused=True)
            if rotated != key:
                response = self._send(method, path, body, rotated, self._left(deadline) * part)
        self._judge(response)
        return response

    def _key(self, deadline: float, *, is_refused: bool) -> str:
        """The key; a vault that hangs may take half of the time, for the call comes after it."""
        return self._api_key(deadline=deadline - self._left(deadline) / 2, is_refused=is_refused)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, key: str, seconds: float
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return http.send(
                self._session,
                method,
                f"{self._origin}{path}",
                body=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
                headers=headers,
                timeout=http.timeouts(seconds),
            )
        except requests.RequestException as error:
            raise TransientFailure(
                f"OpenCX did not answer ({type(error).__name__}).",
                code="opencx_unreachable",
                system=SYSTEM,
                kind="unreachable",
                is_unclear=not _is_unsent(error),
            ) from None

    def _left(self, deadline: float) -> float:
        left = deadline - self._monotonic()
        if left < 1:
            message = "The time for this attempt was used up before OpenCX was asked."
            raise TransientFailure(message, code="budget_used_up", system=SYSTEM, is_unclear=False)
        return left

    def _judge(self, response: requests.Response) -> None:
        """Raises for what says nothing about this session or message."""
        status = response.status_code
        if status in (401, 403):
            raise ConfigurationFault(
                f"OpenCX refuses the API key (HTTP {status}).",
                code="opencx_key_refused",
                system=SYSTEM,
                fix="Make a key with scopes chat-sessions:read and chat-sessions:write; store it as opencx-api-key.",
            )
        if 300 <= status < 400:
            raise ConfigurationFault(
                f"OpenCX's address answers with a redirect (HTTP {status}).",
                code="opencx_url_wrong",
                system=SYSTEM,
                fix="Check OPENCX_API_URL: https://api.open.cx and nothing more.",
            )
        if status in (408, 409, 412, 425, 429) or status >= 500:  # none says that there is no such session
            raise TransientFailure(
                f"OpenCX answered HTTP {status}.",
                code="opencx_unavailable",
                system=SYSTEM,
                kind="throttled" if status == 429 else "server_error",
                retry_after_seconds=http.retry_after_seconds(response.headers, now=self._now()),
                is_unclear=status >= 500,
            )


def _path(session_id: str) -> str:
    return f"/chat/sessions/{quote(session_id, safe='')}"


def _json(response: requests.Response) -> dict[str, Any] | None:
    """The object that an answer holds; None: it holds none."""
    try:
        data = response.json()
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _is_unsent(error: requests.RequestException) -> bool:
    """Whether no connection came about, so that nothing can have been done."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


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
