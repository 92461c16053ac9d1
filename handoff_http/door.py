"""HTTP in, HTTP out: bodies, headers and statuses of the contract; the rules are in `shared`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import azure.functions as func

from doors import body_of, guarded, json_answer
from shared.app import VERSION

if TYPE_CHECKING:
    from shared.app import Application
    from shared.handoff.desk import Answer

SESSION_HEADER = "x-opencx-session-id"
MOST_LISTED = 200


def post(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``POST /api/handoff``."""
    from shared.handoff import request  # noqa: PLC0415 - loaded with the first handoff, not with the app

    handoff_id: str | None = None

    def perform() -> func.HttpResponse:
        nonlocal handoff_id
        body = _json_body(app, req)
        data = request.parse_body(body)
        session_id = (req.headers.get(SESSION_HEADER) or "").strip() or None
        handoff = request.parse(data, session_id=session_id, channel_may_be_read=app.may_read_opencx)
        handoff_id = handoff.handoff_id
        # What is stored must mean the same when the timer reads it without the header.
        if session_id:
            body = json.dumps({**data, "session_id": handoff.session_id}, allow_nan=False).encode()
        return _handoff(app, req, app.desk.accept(handoff, body))

    return guarded("POST /api/handoff", perform, lambda: handoff_id)


def show(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/handoff/{handoff_id}``."""
    from shared.handoff import answer  # noqa: PLC0415
    from shared.relay.answer import conversation_body  # noqa: PLC0415

    handoff_id = req.route_params["handoff_id"]

    def perform() -> func.HttpResponse:
        record = app.desk.look(handoff_id)
        return json_answer(answer.record_body(record) | conversation_body(app.relay.of_handoff, record))

    return guarded("GET /api/handoff", perform, lambda: handoff_id)


def replay(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``POST /api/handoff/{handoff_id}/replay``."""
    handoff_id = req.route_params["handoff_id"]
    return guarded(
        "POST /api/handoff/replay", lambda: _handoff(app, req, app.desk.replay(handoff_id)), lambda: handoff_id
    )


def page(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/handoffs``."""
    from shared.handoff import answer  # noqa: PLC0415
    from shared.handoff.listing import query  # noqa: PLC0415

    def perform() -> func.HttpResponse:
        asked = query(req.params, most=MOST_LISTED)
        found = app.desk.page(state=asked.state, limit=asked.limit, cursor=asked.cursor)
        return json_answer({"items": [answer.record_body(record) for record in found.records], "next": found.cursor})

    return guarded("GET /api/handoffs", perform)


def connections(app: Application, req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - one shape for all
    """``GET /api/connections``."""
    from shared.connections import connections as test_all  # noqa: PLC0415

    return guarded("GET /api/connections", lambda: json_answer(test_all(app)))


def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """``GET /api/health``."""
    return json_answer({"status": "up", "version": VERSION})


def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/openapi.json``, with the address it was asked at as the server."""
    from handoff_http.openapi import document  # noqa: PLC0415

    parts = urlsplit(req.url)
    return json_answer(document(f"{parts.scheme}://{parts.netloc}/api"))


def _json_body(app: Application, req: func.HttpRequest) -> bytes:
    from shared.errors import UnsupportedMediaType  # noqa: PLC0415

    media_type = (req.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType
    return body_of(app, req)


def _handoff(app: Application, req: func.HttpRequest, given: Answer) -> func.HttpResponse:
    """The answer to a handoff, with ``Location`` and ``Retry-After`` while it is under way."""
    from shared.handoff import answer  # noqa: PLC0415

    status = answer.status_of(given)
    if status == HTTPStatus.BAD_GATEWAY:
        return json_answer(answer.failure_body(given.record), status)
    headers = {}
    if status == HTTPStatus.ACCEPTED:
        parts = urlsplit(req.url)
        record = quote(given.record.handoff_id, safe="")
        wait = (given.record.due_at - app.clock.now()).total_seconds() if given.record.due_at else 0
        headers = {
            "Location": f"{parts.scheme}://{parts.netloc}/api/handoff/{record}",
            "Retry-After": str(max(1, round(wait))),
        }
    return json_answer(answer.handoff_body(given), status, headers)
