"""HTTP in, HTTP out: the statuses that Dynamics' webhook sees; the rules are in `shared.dynamics_messaging.events`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import azure.functions as func

from doors import body_of, guarded

if TYPE_CHECKING:
    from shared.app import Application


def receive(app: Application, req: func.HttpRequest) -> func.HttpResponse:
    """``POST …/activities``: 200 stored or nothing to do; 401, 404, 400 and 413 refused; 503 to be sent again."""

    def perform() -> func.HttpResponse:
        app.dynamics_events.receive(
            lock=req.route_params["lock"],
            authorization=req.headers.get("authorization"),
            conversation_id=req.route_params["conversation_id"],
            body=lambda: body_of(app, req),
        )
        return func.HttpResponse(status_code=200)

    return guarded("POST /api/dynamics", perform)
