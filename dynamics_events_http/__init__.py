"""The door for Dynamics 365's messaging webhook. It reads the request, calls one function, and writes the answer."""

import azure.functions as func

from dynamics_events_http import door
from shared.app import application

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.route(
    route="dynamics/{lock}/v3/conversations/{conversation_id}/activities",
    methods=["POST"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
def dynamics_events(req: func.HttpRequest) -> func.HttpResponse:
    """Take one activity; the lock in the path and the token are its keys."""
    return door.receive(application(), req)
