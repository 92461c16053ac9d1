"""HTTP in, HTTP out: bodies, headers and statuses of the contract; the rules are in `shared`."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import azure.functions as func

from shared.app import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

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

    return _guarded(perform, lambda: handoff_id)


def show(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/handoff/{handoff_id}``."""
    from shared.handoff import answer  # noqa: PLC0415

    handoff_id = req.route_params["handoff_id"]
    return _guarded(lambda: _json(answer.record_body(app.desk.look(handoff_id))), lambda: handoff_id)


def replay(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``POST /api/handoff/{handoff_id}/replay``."""
    handoff_id = req.route_params["handoff_id"]
    return _guarded(lambda: _handoff(app, req, app.desk.replay(handoff_id)), lambda: handoff_id)


def page(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/handoffs``."""
    from shared.handoff import answer  # noqa: PLC0415
    from shared.handoff.listing import query  # noqa: PLC0415

    def perform() -> func.HttpResponse:
        asked = query(req.params, most=MOST_LISTED)
        found = app.desk.page(state=asked.state, limit=asked.limit, cursor=asked.cursor)
        return _json({"items": [answer.record_body(record) for record in found.records], "next": found.cursor})

    return _guarded(perform)


def connections(app: Application, req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - one shape for all
    """``GET /api/connections``."""
    from shared.connections import connections as test_all  # noqa: PLC0415

    return _guarded(lambda: _json(test_all(app)))


def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001
    """``GET /api/health``."""
    return _json({"status": "up", "version": VERSION})


def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """``GET /api/openapi.json``, with the address it was asked at as the server."""
    from handoff_http.openapi import document  # noqa: PLC0415

    parts = urlsplit(req.url)
    return _json(document(f"{parts.scheme}://{parts.netloc}/api"))


def _json_body(app: Application, req: func.HttpRequest) -> bytes:
    from shared.errors import PayloadTooLarge, UnsupportedMediaType  # noqa: PLC0415

    media_type = (req.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType
    body = req.get_body()
    if len(body) > app.max_body_bytes:
        raise PayloadTooLarge(limit_bytes=app.max_body_bytes)
    return body


def _handoff(app: Application, req: func.HttpRequest, given: Answer) -> func.HttpResponse:
    """The answer to a handoff, with ``Location`` and ``Retry-After`` while it is under way."""
    from shared.handoff import answer  # noqa: PLC0415

    status = answer.status_of(given)
    if status == HTTPStatus.BAD_GATEWAY:
        return _json(answer.failure_body(given.record), status)
    headers = {}
    if status == HTTPStatus.ACCEPTED:
        parts = urlsplit(req.url)
        record = quote(given.record.handoff_id, safe="")
        wait = (given.record.due_at - app.clock.now()).total_seconds() if given.record.due_at else 0
        headers = {
            "Location": f"{parts.scheme}://{parts.netloc}/api/handoff/{record}",
            "Retry-After": str(max(1, round(wait))),
        }
    return _json(answer.handoff_body(given), status, headers)


def _guarded(
    perform: Callable[[], func.HttpResponse], handoff_id: Callable[[], str | None] = lambda: None
) -> func.HttpResponse:
    """The answer, or the error in the contract's shape; a bug is a 500 that gives nothing away."""
    from shared import events  # noqa: PLC0415
    from shared.errors import HandoffError  # noqa: PLC0415
    from shared.handoff import answer  # noqa: PLC0415

    try:
        return perform()
    except HandoffError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - the platform would answer 500 with an empty body
        events.emit(events.HANDOFF_CRASHED, exc_info=True, handoff_id=handoff_id(), error=type(error).__name__)
        failure = HandoffError("The service itself failed; the log says where.", code="internal_error")
    events.emit(events.REQUEST_REFUSED, code=failure.code, handoff_id=handoff_id())
    headers = {"Retry-After": "5"} if failure.http_status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return _json(answer.error_body(failure, handoff_id=handoff_id()), failure.http_status, headers)


def _json(
    body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    text = json.dumps(body, ensure_ascii=False)
    return func.HttpResponse(text, status_code=int(status), headers=headers, mimetype="application/json")
