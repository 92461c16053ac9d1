"""Stand-in for the OpenCX API: sessions, history, sending, closing (reference: docs.open.cx/api-reference).

Where the documentation is silent the stricter reading is taken: unknown fields of a body are refused, history
comes newest first, its pages are small, and taking a session over from the AI is told as a handoff.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from sandbox.opencx_bodies import CHANNELS, MADE, BadBodyError, Json, check_patch, check_send, item_of, only, parse
from sandbox.opencx_control import control
from sandbox.opencx_webhooks import Webhooks
from sandbox.server import Request, Response

HANDED_OFF = "conversation.handoff_to_human"
CONTACT_WROTE = "conversation.contact_response"
CLOSED = "conversation.closed"
TAKEN_OVER = "human_agent_decided_to_take_over"
ORGANIZATION_ID = "0c3a0000-0000-4000-8000-000000000001"


class OpenCX:
    """The stand-in. Sessions are made by `add_session` or `POST /_sandbox/sessions`.

    Attributes:
        page_size: history items a page.
        newest_first: the order of history; OpenCX does not say which it is.
        requests_per_minute: over it the answer is 429.
        webhooks: what tells the service of handoffs, messages and closed sessions.
        data_as_array: whether an event's `data` is an array; OpenCX's documentation shows both.
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
        webhook_url: str | None = None,
        webhook_secret: str = "",
        webhook_retry_seconds: Sequence[float] = (0.2, 1.0, 5.0, 15.0),
    ) -> None:
        self._api_key = api_key
        self.page_size = page_size
        self.newest_first = newest_first
        self.requests_per_minute = requests_per_minute
        self._clock = clock
        self._lock = threading.RLock()
        self.data_as_array = True
        self.webhooks = Webhooks(
            url=webhook_url,
            secret=webhook_secret,
            organization_id=ORGANIZATION_ID,
            retry_seconds=webhook_retry_seconds,
            clock=clock,
        )
        self.reset()

    def reset(self) -> None:
        """No sessions, and no requests counted."""
        with self._lock:
            self._sessions: dict[str, Json] = {}
            self._history: dict[str, list[Json]] = {}
            self._recent: deque[float] = deque()
            self._tickets = 1000
        self.webhooks.reset()

    def add_session(self, given: Mapping[str, Any]) -> Json:
        """Make a session from `{id, channel, contact, language, handoff, history, …}`.

        Raises ValueError for unknown fields or an unknown channel.
        """
        only(given, MADE, "session")
        kind = given.get("channel", "web")
        kind = kind["type"] if isinstance(kind, dict) else kind
        if kind not in CHANNELS:
            raise BadBodyError(f"channel {kind!r} is unknown; use one of {', '.join(sorted(CHANNELS))}")
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
            self._history[session["id"]] = [item_of(one, now) for one in given.get("history", ())]
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
            item = item_of({"event": event}, self._now())
            self._history[session_id].append(item)
            self._sessions[session_id]["updated_at"] = item["created_at"]
        return item

    def contact_says(
        self, session_id: str, text: str, *, name: str = "", attachments: Sequence[Mapping[str, Any]] = ()
    ) -> Json:
        """The customer writes, and the service is told. Raises KeyError for an unknown session."""
        with self._lock:
            item = self.says(session_id, text, name=name)
            if attachments:
                item["event"]["attachments"] = [{"id": str(uuid.uuid4()), **one} for one in attachments]
        self._tell(CONTACT_WROTE, session_id, {})
        return item

    def hand_off(self, session_id: str, **facts: Any) -> Json:
        """The AI gives up, and the service is told; `facts` replace what the event says by itself; what it says.

        Raises KeyError for an unknown session.
        """
        with self._lock:
            session = self._sessions[session_id]
            given = session.get("handoff") or {"summary": "The customer asks for a person.", "sentiment": "neutral"}
            if facts.get("reason") != TAKEN_OVER:
                session |= {"handoff": given, "ai_closure_type": "handed_off"}
            known = {
                "customer_id": (session.get("contact") or {}).get("id"),
                "reason": "ai_decided_to_handoff_the_conversation",
                "summary": given.get("summary"),
                "user_sentiment": given.get("sentiment"),
                "was_handedoff_to_third_party": False,
                "third_party_name": None,
                "language": session.get("language"),
                "message_count": len(self._history[session_id]),
            }
        return self._tell(HANDED_OFF, session_id, {**known, **facts})

    def close(self, session_id: str, *, status: str = "closed_resolved", closed_by: Json | None = None) -> None:
        """The session is closed, and the service is told, if it was open. Raises KeyError for an unknown session."""
        with self._lock:
            session = self._sessions[session_id]
            was_open = session["status"] == "open"
            session["status"] = status
            session["updated_at"] = self._now()
            contact = session.get("contact")
        if was_open and status != "open":
            resolved = "resolved" if status == "closed_resolved" else "not_resolved"
            data = {
                "contact": contact,
                "human_resolution_status": resolved,
                "closed_by": closed_by or {"id": 7, "type": "human"},
                "is_from_third_party": False,
                "third_party_name": None,
            }
            self._tell(CLOSED, session_id, data)

    def _tell(self, event: str, session_id: str, data: Json) -> Json:
        told = {"conversation_id": session_id, "timestamp": self._now(), **data}
        self.webhooks.send(event, session_id, [told] if self.data_as_array else told)
        return told

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
            case ["chat", "sessions"] if request.method == "GET":
                return Response.json({"items": list(self._sessions.values())[: self.page_size], "next": None})
            case ["chat", "sessions", session_id, *rest] if session_id in self._sessions:
                return self._session(request, session_id, rest)
            case ["chat", "sessions", _, *_]:
                return _error(404, "Not Found", "Session not found")
        return _error(404, "Not Found", f"Cannot {request.method} {request.path}")

    def control(self, request: Request) -> Response | None:
        """See `sandbox.opencx_control`."""
        return control(self, request)

    def session(self, session_id: str) -> Json:
        """A session with its history, oldest first. Raises KeyError for an unknown session."""
        with self._lock:
            return {**self._sessions[session_id], "history": self.history(session_id)}

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
                    return self._send(session_id, parse(request))
                case "PATCH", []:
                    return self._patch(session_id, parse(request))
        except BadBodyError as error:
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
                raise BadBodyError("cursor is not valid")
            start = places[0]
        following = items[start + self.page_size :]
        page = items[start : start + self.page_size]
        return Response.json({"items": page, "next": following[0]["id"] if following else None})

    def _send(self, session_id: str, body: Json) -> Response:
        check_send(body)
        message = body["message"]
        sender, speaker = ("human_agent", "agent") if body["sender"] == "agent" else ("contact", "contact")
        name = str((body.get(speaker) or {}).get("name") or "")
        with self._lock:
            item = self.says(session_id, str(message.get("text") or ""), sender=sender, name=name)
            item["event"]["attachments"] = [
                {
                    "id": str(uuid.uuid4()),
                    "name": one.get("name"),
                    "type": one.get("mime_type"),
                    "url": one.get("url"),
                }
                for one in message.get("attachments") or []
            ]
            session = self._sessions[session_id]
            session["custom_data"].update(body.get("custom_data") or {})
            takes_over = bool(body.get("should_take_over_session_from_ai")) and "assignee_id" not in session
            if takes_over:
                session["assignee_id"] = str((body.get("agent") or {}).get("id", "api"))
        if takes_over:
            self.hand_off(session_id, reason=TAKEN_OVER)
        if body["sender"] == "contact":
            self._tell(CONTACT_WROTE, session_id, {})
        return Response.json({"success": True, "data": {"message": {"id": item["id"]}}}, 201)

    def _patch(self, session_id: str, body: Json) -> Response:
        check_patch(body)
        if "status" in body:
            self.close(session_id, status=body["status"], closed_by={"type": "api"})
        return Response(200)


def _error(status: int, error: str, message: str) -> Response:
    return Response.json({"statusCode": status, "message": message, "error": error}, status)
