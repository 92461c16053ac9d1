"""Request bodies: JSON into values, binds and nested rows, refusing what the table does not declare."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from sandbox.dataverse import errors
from sandbox.dataverse.address import GUID
from sandbox.dataverse.filter import normal_date
from sandbox.dataverse.schema import EDM, Column, Lookup, Table

_BIND = "@odata.bind"
# What XML 1.0 cannot hold. Dataverse refuses it in any text (0x80040278).
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass
class Bind:
    """A lookup to set: the reference as written, None to clear it."""

    lookup: Lookup
    tables: list[str]
    reference: str | None
    nav: str


@dataclass
class Body:
    """A checked body.

    Attributes:
        values: by column; wrong types are already refused, lengths and options not yet.
        binds: lookups to set.
        singles: nested rows that become the target of a lookup.
        children: nested rows that point back: child table, its navigation property, their bodies.
    """

    values: dict[str, Any] = field(default_factory=dict)
    binds: list[Bind] = field(default_factory=list)
    singles: list[tuple[Lookup, str, dict[str, Any]]] = field(default_factory=list)
    children: list[tuple[str, str, list[dict[str, Any]]]] = field(default_factory=list)


def decode(body: bytes, content_type: str, set_name: str) -> dict[str, Any]:
    """Decodes a JSON object. Raises DataverseError 400."""
    if not content_type.lower().startswith("application/json"):
        raise errors.payload(set_name, f"A content type of application/json is needed, not '{content_type}'.")
    try:
        decoded = json.loads(body)
    except ValueError as error:
        raise errors.payload(set_name, f"Microsoft.OData.ODataException: Invalid JSON. {error}") from error
    if not isinstance(decoded, dict):
        raise errors.payload(set_name, "Microsoft.OData.ODataException: A JSON object is needed.")
    return decoded


def read(table: Table, source: dict[str, Any]) -> Body:
    """Sorts the properties of a body. Raises DataverseError 400 (0x80048d19) for the first that is wrong."""
    body = Body()
    for name, value in source.items():
        if name.endswith(_BIND):
            body.binds.append(_bind(table, name[: -len(_BIND)], value))
        elif "@" in name:
            continue  # annotations such as @odata.type or @odata.etag
        elif name in table.columns:
            body.values[name] = _value(table, table.columns[name], value)
        else:
            _nested(table, name, value, body)
    return body


def _bind(table: Table, nav: str, value: object) -> Bind:
    found = table.navigation(nav)
    if found is None:
        raise errors.undeclared_bind(table.set_name, nav)
    if value is not None and not isinstance(value, str):
        raise errors.wrong_type(table.set_name, f"{nav}{_BIND}", value, "Edm.String")
    lookup, tables = found
    return Bind(lookup, tables, value, nav)


def _nested(table: Table, name: str, value: object, body: Body) -> None:
    found = table.navigation(name)
    if found is not None and isinstance(value, dict):
        lookup, tables = found
        body.singles.append((lookup, tables[0], value))
        return
    if found is not None and value is None:
        body.binds.append(Bind(*found, None, name))
        return
    if name in table.children and isinstance(value, list) and all(isinstance(row, dict) for row in value):
        child, nav = table.children[name]
        body.children.append((child, nav, value))
        return
    if name in table.lookups or (name.startswith("_") and table.edm_type(name) is not None):
        raise errors.payload(
            table.set_name,
            f"Microsoft.Crm.CrmException: '{name}': CRM do not support direct update of Entity Reference "
            "properties, Use Navigation properties instead.",
        )
    raise errors.unknown_property(table.set_name, name, table.logical)


def _value(table: Table, column: Column, value: object) -> Any:
    """The value as rows hold it, of the right type."""
    if value is None:
        return None
    wrong = errors.wrong_type(table.set_name, column.name, value, EDM[column.type])
    match column.type:
        case "String" | "Memo" | "MultiSelectPicklist":
            if not isinstance(value, str):
                raise wrong
            return value or None  # Dataverse stores an empty text as null
        case "Boolean":
            if not isinstance(value, bool):
                raise wrong
            return value
        case "Integer" | "BigInt" | "Picklist" | "State" | "Status":
            if not isinstance(value, int) or isinstance(value, bool):
                raise wrong
            return value
        case "Double":
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise wrong
            return float(value)
        case "Uniqueidentifier":
            if not isinstance(value, str) or not GUID.fullmatch(value):
                raise wrong
            return value.lower()
        case "DateTime":
            if not isinstance(value, str):
                raise wrong
            try:
                return normal_date(value)
            except ValueError as error:
                raise wrong from error


def check(table: Table, values: dict[str, Any]) -> None:
    """Checks characters, lengths and options. Raises DataverseError 400."""
    for name, value in values.items():
        column = table.columns[name]
        if value is None:
            continue
        if column.max_length is not None:
            _check_text(table, column, value)
        elif column.type == "MultiSelectPicklist":
            for part in value.split(","):
                if not part.strip().isdigit() or int(part) not in column.options:
                    raise _out_of_range(table, column, part)
        elif column.options and value not in column.options:
            raise _out_of_range(table, column, value)


def _check_text(table: Table, column: Column, value: str) -> None:
    forbidden = _FORBIDDEN.search(value)
    if forbidden is not None:
        raise errors.invalid_character(column.name, forbidden[0])
    limit = column.max_length
    assert limit is not None
    # .NET counts UTF-16 units: an emoji is two.
    length = len(value) if value.isascii() else len(value.encode("utf-16-le")) // 2
    if length > limit:
        raise errors.too_long(column.name, table.logical, limit)


def _out_of_range(table: Table, column: Column, value: object) -> errors.DataverseError:
    accepted = ",".join(str(option) for option in sorted(column.options))
    return errors.out_of_range(value, column.name, table.logical, accepted)
