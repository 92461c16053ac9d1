"""What all HTTP doors share: errors in the contract's shape, bodies, JSON. A bug is a 500 that gives nothing away."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import azure.functions as func

if TYPE_CHECKING:
    from collections.abc import Callable


class Limits(Protocol):
    """The part of `shared.app.Application` that reading a body needs."""

    @property
    def max_body_bytes(self) -> int:
        """MAX_BODY_BYTES."""


def guarded(
    route: str, perform: Callable[[], func.HttpResponse], handoff_id: Callable[[], str | None] = lambda: None
) -> func.HttpResponse:
    """The answer, or the error; errors are logged by their code and the route, such as ``POST /api/handoff``."""
    from shared import events  # noqa: PLC0415 - loaded with the first request, not with the app
    from shared.errors import HandoffError  # noqa: PLC0415
    from shared.handoff import answer  # noqa: PLC0415

    try:
        return perform()
    except HandoffError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - the platform would answer 500 with an empty body
        events.emit(events.HANDOFF_CRASHED, exc_info=True, handoff_id=handoff_id(), error=type(error).__name__)
        failure = HandoffError("The service itself failed; the log says where.", code="internal_error")
    events.emit(events.REQUEST_REFUSED, code=failure.code, route=route, handoff_id=handoff_id())
    headers = {"Retry-After": "5"} if failure.http_status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return json_answer(answer.error_body(failure, handoff_id=handoff_id()), failure.http_status, headers)


def body_of(app: Limits, req: func.HttpRequest) -> bytes:
    """The body. Raises PayloadTooLarge."""
    from shared.errors import PayloadTooLarge  # noqa: PLC0415

    body: bytes = req.get_body()
    if len(body) > app.max_body_bytes:
        raise PayloadTooLarge(limit_bytes=app.max_body_bytes)
    return body


def json_answer(
    body: dict[str, Any], status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    """An answer with a JSON body."""
    text = json.dumps(body, ensure_ascii=False)
    return func.HttpResponse(text, status_code=int(status), headers=headers, mimetype="application/json")
