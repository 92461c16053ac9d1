"""The door that OpenCX and operators call. It reads the request, calls one function, and writes the answer."""

import azure.functions as func

from handoff_http import door
from shared.app import application

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.route(route="handoff", methods=["POST"])
def post_handoff(req: func.HttpRequest) -> func.HttpResponse:
    """Perform one handoff."""
    return door.post(application(), req)


@bp.route(route="handoff/{handoff_id}", methods=["GET"])
def get_handoff(req: func.HttpRequest) -> func.HttpResponse:
    """Show the record of a handoff."""
    return door.show(application(), req)


@bp.route(route="handoff/{handoff_id}/replay", methods=["POST"])
def replay_handoff(req: func.HttpRequest) -> func.HttpResponse:
    """Try a handoff again now."""
    return door.replay(application(), req)


@bp.route(route="handoffs", methods=["GET"])
def list_handoffs(req: func.HttpRequest) -> func.HttpResponse:
    """List handoffs by state."""
    return door.page(application(), req)


@bp.route(route="connections", methods=["GET"])
def get_connections(req: func.HttpRequest) -> func.HttpResponse:
    """Test every configured system."""
    return door.connections(application(), req)


@bp.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def get_health(req: func.HttpRequest) -> func.HttpResponse:
    """Say that the service is up; touch nothing else."""
    return door.health(req)


@bp.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def get_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe the routes as OpenAPI 3.1."""
    return door.openapi(req)
