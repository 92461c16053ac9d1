"""A blueprint in a module of its own."""

import azure.functions as func

bp = func.Blueprint()


@bp.route(route="admin-only", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
def admin_only(req: func.HttpRequest) -> str:
    """Opens to the master key."""
    return "admin"
