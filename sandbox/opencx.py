"""Stand-in for the OpenCX API: sessions, history, sending, closing (reference: docs.open.cx/api-reference).

Where the documentation is silent the stricter reading is taken: unknown fields of a body are refused, history
comes newest first, and its pages are small.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.server import Request, Response

_CONTROL = "/_sandbox/"
_CHANNELS = {
    "web",
    "email",
    "phone_voice",
    "slack",
    "sms",
    "whatsapp",
    "instagram",
    "messenger",
    "api",
    "web_voice",
}
_STATUSES = {"open", "closed_resolved", "closed_unresolved"}
_SEND = {"sender", "message", "contact", "custom_data", "agent", "should_take_over_session_from_ai"}
_MESSAGE = {"type", "text", "attachments"}
_ATTACHMENT = {"name", "url", "base64", "mime_type"}
_CONTACT = {"name", "email", "phone_number", "avatar_url", "custom_data"}
_AGENT = {"id", "name", "avatar_url"}
_PATCH = {
    "status",
    "generate_summary_and_sentiment_on_resolve",
    "reflect_status_change_for_integration",
    "session_closed_payload",
}
_MADE = {
    "id",
    "channel",
    "contact",
    "language",
    "handoff",
    "history",
    "custom_data",
    "sentiment",
    "assist_mode",
}

Json = dict[str, Any]


class _BadBodyError(ValueError):
    """A request body that OpenCX refuses; the text is its message."""


class OpenCX:
    """The stand-in. Sessions are made by `add_session` or `POST /_sandbox/sessions`.

    Attributes:
        page_size: history items a page.
        newest_first: the order of history; OpenCX does not say which it is.
        requests_per_minute: over it the answer is 429.
    """

    name = "opencx"

    def __init__(
        self,
        *,
        api_key: str,
        page_size: int = 50,
        newest_first: bool = True,
        requests_per_minute: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api_key = api_key
        self.page_size = page_size
        self.newest_first = newest_first
        self.requests_per_minute = requests_per_minute
        self._clock = clock
        self._lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """No sessions, and no requests counted."""
        with self._lock:
            self._sessions: dict[str, Json] = {}
            self._history: dict[str, list[Json]] = {}
            self._recent: deque[float] = deque()
            self._tickets = 1000

    def add_session(self, given: Mapping[str, Any]) -> Json:
        """Make a session from `{id, channel, contact, language, handoff, history, …}`.

        Raises ValueError for unknown fields or an unknown channel.
        """
        _only(given, _MADE, "session")
        kind = given.get("channel", "web")
        kind = kind["type"] if isinstance(kind, dict) else kind
        if kind not in _CHANNELS:
            raise _BadBodyError(f"channel {kind!r} is unknown; use one of {', '.join(sorted(_CHANNELS))}")
        now = self._now()
        with self._lock:
            self._tickets += 1
            session: Json = {
                "id": str(given.get("id") or uuid.uuid4()),
                "status": "open",
                "ai_closure_type": "handed_off" if "handoff" in given else None,
                "sentiment": given.get("sentiment"),
                "channel": {"type": kind},
                "ticket_number": self._tickets,
                "assist_mode": bool(given.get("assist_mode", False)),
                "created_at": now,
                "updated_at": now,
                "custom_data": dict(given.get("custom_data", {})),
            }
            session.update({name: given[name] for name in ("contact", "language", "handoff") if name in given})
            self._sessions[session["id"]] = session
            self._history[session["id"]] = [_item(one, now) for one in given.get("history", ())]
        return session

    def says(self, session_id: str, text: str, *, sender: str = "contact", name: str = "") -> Json:
        """Add a message to a session's history; the history item. Raises KeyError for an unknown session."""
        event: Json = {
            "type": "message",
            "sender": {"type": sender},
            "content": {"type": "text", "text": text},
        }
        if name:
            event["sender"]["name"] = name
        with self._lock:
            item = _item({"event": event}, self._now())
            self._history[session_id].append(item)
            self._sessions[session_id]["updated_at"] = item["created_at"]
        return item

    def history(self, session_id: str) -> list[Json]:
        """All history items of a session, oldest first. Raises KeyError for an unknown session."""
        with self._lock:
            return sorted(self._history[session_id], key=lambda item: str(item["created_at"]))

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return _error(401, "Unauthorized", "Unauthorized")
        if not self._within_limit():
            return _error(429, "Too Many Requests", "ThrottlerException: Too Many Requests")
        match request.path.strip("/").split("/"):
            case ["chat", "sessions", session_id, *rest] if session_id in self._sessions:
                return self._session(request, session_id, rest)
            case ["chat", "sessions", _, *_]:
                return _error(404, "Not Found", "Session not found")
        return _error(404, "Not Found", f"Cannot {request.method} {request.path}")

    def control(self, request: Request) -> Response | None:
        """`POST /_sandbox/sessions`; under it `POST {id}/contact-says` `{"text", "name"?}` and `GET {id}`."""
        match request.method, request.path.removeprefix(_CONTROL).split("/"):
            case "POST", ["sessions"]:
                try:
                    return Response.json(self.add_session(json.loads(request.body)), 201)
                except ValueError as error:
                    return Response.json({"error": str(error)}, 400)
            case _, ["sessions", session_id, *_] if session_id not in self._sessions:
                return Response.json({"error": f"no session {session_id}"}, 404)
            case "POST", ["sessions", session_id, "contact-says"]:
                given = json.loads(request.body)
                return Response.json(self.says(session_id, str(given["text"]), name=str(given.get("name", ""))), 201)
            case "GET", ["sessions", session_id]:
                return Response.json({**self._sessions[session_id], "history": self.history(session_id)})
        return None

    def _within_limit(self) -> bool:
        now = self._clock()
        with self._lock:
            while self._recent and self._recent[0] <= now - 60:
                self._recent.popleft()
            if len(self._recent) >= self.requests_per_minute:
                return False
            self._recent.append(now)
            return True

    def _session(self, request: Request, session_id: str, rest: list[str]) -> Response:
        try:
            match request.method, rest:
                case "GET", []:
                    return Response.json(self._sessions[session_id])
                case "GET", ["history"]:
                    return self._page(session_id, dict(parse_qsl(request.query)).get("cursor"))
                case "POST", ["send"]:
                    return self._send(session_id, _body(request))
                case "PATCH", []:
                    return self._patch(session_id, _body(request))
        except _BadBodyError as error:
            return _error(400, "Bad Request", str(error))
        return _error(404, "Not Found", f"Cannot {request.method} {request.path}")

    def _page(self, session_id: str, cursor: str | None) -> Response:
        items = self.history(session_id)
        if self.newest_first:
            items.reverse()
        start = 0
        if cursor is not None:
            places = [index for index, item in enumerate(items) if item["id"] == cursor]
            if not places:
                raise _BadBodyError("cursor is not valid")
            start = places[0]
        following = items[start + self.page_size :]
        page = items[start : start + self.page_size]
        return Response.json({"items": page, "next": following[0]["id"] if following else None})

    def _send(self, session_id: str, body: Json) -> Response:
        _only(body, _SEND, "body")
        sender = body.get("sender")
        if sender not in {"contact", "agent"}:
            raise _BadBodyError("sender must be contact or agent")
        message = _object(body, "message", _MESSAGE)
        attachments = message.get("attachments") or []
        for attachment in attachments:
            _only(attachment, _ATTACHMENT, "message.attachments")
        if message.get("type") != "text" or not (message.get("text") or attachments):
            raise _BadBodyError("message must have type text and a text or attachments")
        for name, known in (("contact", _CONTACT), ("agent", _AGENT)):
            if name in body:
                _object(body, name, known)
        custom_data = _flat(body.get("custom_data") or {}, "custom_data", (str, int, float, bool))
        _flat((body.get("contact") or {}).get("custom_data") or {}, "contact.custom_data", (str,))
        with self._lock:
            kind = "human_agent" if sender == "agent" else "contact"
            person = body.get("agent" if sender == "agent" else "contact") or {}
            item = self.says(
                session_id, str(message.get("text") or ""), sender=kind, name=str(person.get("name") or "")
            )
            item["event"]["attachments"] = [
                {
                    "id": str(uuid.uuid4()),
                    "name": one.get("name"),
                    "type": one.get("mime_type"),
                    "url": one.get("url"),
                }
                for one in attachments
            ]
            self._sessions[session_id]["custom_data"].update(custom_data)
            if body.get("should_take_over_session_from_ai"):
                self._sessions[session_id]["assignee_id"] = str((body.get("agent") or {}).get("id", "api"))
        return Response.json({"success": True, "data": {"message": {"id": item["id"]}}}, 201)

    def _patch(self, session_id: str, body: Json) -> Response:
        _only(body, _PATCH, "body")
        if "status" in body and body["status"] not in _STATUSES:
            raise _BadBodyError(f"status must be one of {', '.join(sorted(_STATUSES))}")
        with self._lock:
            session = self._sessions[session_id]
            session["status"] = body.get("status", session["status"])
            session["updated_at"] = self._now()
        return Response(200)


def _error(status: int, error: str, message: str) -> Response:
    return Response.json({"statusCode": status, "message": message, "error": error}, status)


def _body(request: Request) -> Json:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise _BadBodyError("Content-Type must be application/json")
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise _BadBodyError(f"body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadBodyError("body must be an object")
    return body


def _only(given: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(given) - known):
        raise _BadBodyError(f"{where}: property {unknown[0]} should not exist")


def _object(body: Json, name: str, known: set[str]) -> Json:
    value = body.get(name)
    if not isinstance(value, dict):
        raise _BadBodyError(f"{name} must be an object")
    _only(value, known, name)
    return value


def _flat(values: Mapping[str, Any], where: str, kinds: tuple[type, ...]) -> Mapping[str, Any]:
    for name, value in values.items():
        if not isinstance(value, kinds):
            raise _BadBodyError(f"{where}.{name} must be {' or '.join(kind.__name__ for kind in kinds)}, not nested")
    return values


def _item(given: Mapping[str, Any], now: str) -> Json:
    """A history item with what every item has."""
    item: Json = {"id": str(uuid.uuid4()), "created_at": now, **given}
    if "event" not in item:
        raise _BadBodyError("history: an item needs event {type, sender, content}")
    return item
