"""The door for OpenCX's signed webhooks. It reads the request, calls one function, and writes the answer."""

import azure.functions as func

from opencx_events_http import door
from shared.app import application

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.route(route="opencx/events", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def opencx_events(req: func.HttpRequest) -> func.HttpResponse:
    """Take one event; its signature is its key."""
    return door.receive(application(), req)
