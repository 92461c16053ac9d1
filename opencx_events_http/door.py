"""HTTP in, HTTP out: the statuses that OpenCX's webhooks see; the rules are in `shared.opencx.events`."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import azure.functions as func

from doors import body_of, guarded

if TYPE_CHECKING:
    from shared.opencx.events import OpenCXEvents


class Service(Protocol):
    """The part of `shared.app.Application` that this door needs."""

    @property
    def max_body_bytes(self) -> int:
        """MAX_BODY_BYTES."""

    @property
    def opencx_events(self) -> OpenCXEvents:
        """What takes deliveries."""


def receive(app: Service, req: func.HttpRequest) -> func.HttpResponse:
    """``POST /api/opencx/events``: 204 done or stored; 401, 400 and 413 refused; 503 to be sent again."""

    def perform() -> func.HttpResponse:
        app.opencx_events.receive(req.headers, body_of(app, req))
        return func.HttpResponse(status_code=int(HTTPStatus.NO_CONTENT))

    return guarded("POST /api/opencx/events", perform)
