"""The control door: rows, role, limits, schema and availability of a running stand-in."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sandbox.dataverse.limits import Allowance
from sandbox.dataverse.rows import Ref, Row
from sandbox.dataverse.schema import Table
from sandbox.wire import Request, Response

if TYPE_CHECKING:
    from sandbox.dataverse.standin import DataverseStandIn

_PREFIX = "/_sandbox/"


class ControlError(ValueError):
    """A control request is wrong; the text says how."""


def control(standin: DataverseStandIn, request: Request) -> Response | None:
    """Answers a control request; None when the route is unknown."""
    route = unquote(request.path.removeprefix(_PREFIX)).strip("/").split("/")
    try:
        match request.method, route:
            case "GET", ["rows", set_name]:
                return Response.json(standin.rows(set_name))
            case "POST", ["rows", set_name]:
                return Response.json({"id": standin.insert(set_name, _object(request.body))}, 201)
            case "DELETE", ["rows", set_name, row_id]:
                standin.remove(set_name, row_id.lower())
                return Response(204)
            case "POST", ["role"]:
                _role(standin, _object(request.body))
                return Response(204)
            case "POST", ["limits"]:
                return _limits(standin, _object(request.body))
            case "POST", ["schema"]:
                _schema(standin, _object(request.body))
                return Response(204)
            case "GET", ["availability"]:
                return Response.json(asdict(standin.availability.now))
            case "POST", ["availability"]:
                return _availability(standin, _object(request.body))
    except ControlError as error:
        return Response.json({"error": str(error)}, 400)
    return None


def stored(table: Table, values: dict[str, Any], row_id: str) -> Row:
    """A row from loose JSON: columns, and lookups as `_x_value` or as `x@odata.bind`-like `/set(id)`.

    Raises ControlError for a name that the table does not have.
    """
    row: Row = {table.id: row_id}
    for name, value in values.items():
        if "@" in name or name == table.id:
            continue
        if name in table.columns:
            row[name] = value
            continue
        lookup = table.lookups.get(name[1:-6]) if name.startswith("_") and name.endswith("_value") else None
        if lookup is None:
            raise ControlError(f"table {table.logical} has no column or lookup property {name!r}")
        target = values.get(f"{name}@Microsoft.Dynamics.CRM.lookuplogicalname", next(iter(lookup.targets)))
        row[lookup.name] = Ref(target, str(value).lower()) if value is not None else None
    return row


def new_id(values: dict[str, Any], table: Table) -> str:
    """The id in the values, or a new one."""
    return str(values.get(table.id) or uuid.uuid4()).lower()


def _object(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise ControlError(f"the body is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ControlError("the body must be a JSON object")
    return decoded


def _role(standin: DataverseStandIn, wanted: dict[str, Any]) -> None:
    unknown = set(wanted) - {"missing", "application_user", "roles"}
    if unknown:
        raise ControlError(f"unknown field {min(unknown)!r}; known: missing, application_user, roles")
    if "missing" in wanted:
        standin.access.missing = frozenset(wanted["missing"])
    standin.access.application_user = bool(wanted.get("application_user", standin.access.application_user))
    standin.access.roles = bool(wanted.get("roles", standin.access.roles))


def _limits(standin: DataverseStandIn, wanted: dict[str, Any]) -> Response:
    known = {entry.name for entry in fields(Allowance)}
    unknown = set(wanted) - known
    if unknown:
        raise ControlError(f"unknown field {min(unknown)!r}; known: {', '.join(sorted(known))}")
    standin.limits.set(replace(standin.limits.allowance, **wanted))
    return Response.json(asdict(standin.limits.allowance))


def _availability(standin: DataverseStandIn, wanted: dict[str, Any]) -> Response:
    try:
        standin.availability.change(wanted)
    except ValueError as error:
        raise ControlError(str(error)) from error
    return Response.json(asdict(standin.availability.now))


def _schema(standin: DataverseStandIn, wanted: dict[str, Any]) -> None:
    """Removes a table, adds an alternate key, or changes the length or options of a column.

    `{"table", "remove": true}`, `{"table", "key": [...]}`, `{"table", "column", "max_length" | "options"}`.
    """
    table = standin.schema.find(str(wanted.get("table")))
    if table is None:
        raise ControlError(f"there is no table {wanted.get('table')!r}")
    if wanted.get("remove"):
        standin.schema.remove(table.logical)
        return
    if "key" in wanted:
        table.add_key(*wanted["key"])
        return
    column = table.columns.get(str(wanted.get("column")))
    if column is None:
        raise ControlError(f"table {table.logical} has no column {wanted.get('column')!r}")
    if "max_length" in wanted:
        column.max_length = int(wanted["max_length"])
    if "options" in wanted:
        column.options = {int(value): str(label) for value, label in wanted["options"].items()}
