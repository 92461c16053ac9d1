"""EntityDefinitions: the part of the metadata that clients read before they write."""

from __future__ import annotations

import re
import uuid
from typing import Any

from sandbox.dataverse.address import Segment
from sandbox.dataverse.call import Call, answer
from sandbox.dataverse.errors import DataverseError, method_not_allowed, query, segment_not_found
from sandbox.dataverse.query import options
from sandbox.dataverse.schema import Column, Lookup, Schema, Table
from sandbox.wire import Response

_CAST = "Microsoft.Dynamics.CRM."
_EXPAND = re.compile(r"(\w+)(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?\s*(?:,|$)")
_CONDITION = re.compile(r"(\w+) eq (?:'((?:[^']|'')*)'|(true|false|\d+))")
# What every kind of attribute has; anything else needs a cast in the URL.
_SHARED = frozenset(
    {
        "MetadataId",
        "LogicalName",
        "SchemaName",
        "EntityLogicalName",
        "AttributeType",
        "AttributeTypeName",
        "AttributeOf",
        "DisplayName",
        "RequiredLevel",
        "IsCustomAttribute",
        "IsPrimaryId",
        "IsPrimaryName",
        "IsValidForCreate",
        "IsValidForUpdate",
        "IsValidForRead",
    }
)
_OPTION_SETS = {"Picklist", "State", "Status", "MultiSelectPicklist"}


class Metadata:
    """Answers EntityDefinitions queries from the schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def read(self, segments: list[Segment], call: Call) -> Response:
        """Answers a GET below EntityDefinitions. Raises DataverseError 400, 404 or 405."""
        if call.method != "GET":
            raise method_not_allowed(call.method)
        chosen = options(call.query)
        root, *rest = segments
        if root.key is None:
            return self._list(chosen, call)
        table = self._table(root)
        if not rest:
            obj = _project(_table_json(table), chosen)
            for nav, inner in _expansions(chosen.get("$expand", "")):
                known = _SHARED if nav == "Attributes" else None
                obj[nav] = [_project(row, inner, known=known) for row in self._collection(table, nav)]
            return answer({"@odata.context": f"{call.root}$metadata#EntityDefinitions/$entity", **obj})
        return self._below(table, rest, chosen, call)

    def _list(self, chosen: dict[str, str], call: Call) -> Response:
        rows = [_table_json(table) for table in self._schema.tables()]
        rows = [_project(row, chosen) for row in _where(rows, chosen.get("$filter"))]
        return answer({"@odata.context": f"{call.root}$metadata#EntityDefinitions", "value": rows})

    def _below(self, table: Table, rest: list[Segment], chosen: dict[str, str], call: Call) -> Response:
        collection, *casts = rest
        rows = self._collection(table, collection.name)
        if collection.key is not None:
            if not isinstance(collection.key, dict) or collection.name != "Attributes":
                raise segment_not_found(collection.name)
            name = str(collection.key.get("LogicalName", ""))
            rows = [row for row in rows if row["LogicalName"] == name]
            if not rows:
                text = f"Could not find an attribute with specified name: {name} in entity {table.logical}."
                raise DataverseError(404, "0x80040217", text)
        kind = casts[0].name.removeprefix(_CAST).removesuffix("AttributeMetadata") if casts else None
        if kind is not None:
            rows = [row for row in rows if row["@odata.type"] == f"#{_CAST}{kind}AttributeMetadata"]
            if not rows and collection.key is not None:
                raise segment_not_found(casts[0].name)
        sets = dict(_expansions(chosen.get("$expand", "")))
        known = _SHARED if collection.name == "Attributes" and kind is None else None
        shown = []
        for row in _where(rows, chosen.get("$filter")):
            slim = _project(row, chosen, always={"@odata.type", "MetadataId"}, known=known)
            if "OptionSet" in sets:
                slim["OptionSet"] = _project(row["_OptionSet"], sets["OptionSet"])
            shown.append(slim)
        context = f"{call.root}$metadata#EntityDefinitions('{table.logical}')/{collection.name}"
        if collection.key is not None:
            return answer({"@odata.context": f"{context}/$entity", **shown[0]})
        return answer({"@odata.context": context, "value": shown})

    def _table(self, segment: Segment) -> Table:
        if isinstance(segment.key, str):
            found = next((t for t in self._schema.tables() if t.metadata_id == segment.key), None)
            name = segment.key
        else:
            name = str((segment.key or {}).get("LogicalName", ""))
            found = self._schema.find(name)
        if found is None:
            text = f"The entity with a name = '{name}' with namemapping = 'Logical' was not found in the MetadataCache."
            raise DataverseError(404, "0x80040217", text)
        return found

    def _collection(self, table: Table, name: str) -> list[dict[str, Any]]:
        match name:
            case "Attributes":
                return [
                    *(_column_json(table, column) for column in table.columns.values()),
                    *(_lookup_json(table, lookup) for lookup in table.lookups.values()),
                ]
            case "ManyToOneRelationships":
                return [
                    {
                        "SchemaName": f"{table.logical}_{lookup.name}_{target}",
                        "ReferencingEntity": table.logical,
                        "ReferencingAttribute": lookup.name,
                        "ReferencingEntityNavigationPropertyName": nav,
                        "ReferencedEntity": target,
                        "ReferencedAttribute": self._schema.table(target).id,
                    }
                    for lookup in table.lookups.values()
                    for target, nav in lookup.targets.items()
                    if self._schema.find(target) is not None
                ]
            case "Keys":
                return [
                    {"LogicalName": key, "SchemaName": key, "KeyAttributes": list(columns)}
                    for key, columns in table.keys.items()
                ]
        raise segment_not_found(name)


def _label(text: str) -> dict[str, Any]:
    label = {"Label": text, "LanguageCode": 1033}
    return {"LocalizedLabels": [label], "UserLocalizedLabel": label}


def _table_json(table: Table) -> dict[str, Any]:
    return {
        "MetadataId": table.metadata_id,
        "LogicalName": table.logical,
        "SchemaName": table.schema_name,
        "EntitySetName": table.set_name,
        "LogicalCollectionName": table.set_name,
        "PrimaryIdAttribute": table.id,
        "PrimaryNameAttribute": table.name,
        "ObjectTypeCode": table.code,
        "IsActivity": table.activity,
        "IsCustomEntity": "_" in table.logical,
        "OwnershipType": "UserOwned" if table.owned else "BusinessOwned",
        "DisplayName": _label(table.label),
    }


def _column_json(table: Table, column: Column) -> dict[str, Any]:
    kind = column.type
    metadata: dict[str, Any] = {
        **_attribute(table, column.name, kind, create=column.create, update=column.update),
        "IsPrimaryId": column.name == table.id,
        "IsPrimaryName": column.name == table.name,
    }
    if column.max_length is not None:
        metadata["MaxLength"] = column.max_length
    if kind in _OPTION_SETS:
        metadata["_OptionSet"] = {
            "Options": [{"Value": value, "Label": _label(text)} for value, text in column.options.items()],
            "MetadataId": str(uuid.uuid5(uuid.UUID(table.metadata_id), f"{column.name}/options")),
            "Name": f"{table.logical}_{column.name}",
        }
    return metadata


def _lookup_json(table: Table, lookup: Lookup) -> dict[str, Any]:
    shared = _attribute(table, lookup.name, "Lookup", create=lookup.create, update=lookup.update)
    return {
        **shared,
        "AttributeType": lookup.type,
        "AttributeTypeName": {"Value": f"{lookup.type}Type"},
        "IsPrimaryId": False,
        "IsPrimaryName": False,
        "Targets": list(lookup.targets),
    }


def _attribute(table: Table, name: str, kind: str, *, create: bool, update: bool) -> dict[str, Any]:
    # A choice with several values is "Virtual" in AttributeType; its type name tells.
    return {
        "@odata.type": f"#{_CAST}{kind}AttributeMetadata",
        "MetadataId": str(uuid.uuid5(uuid.UUID(table.metadata_id), name)),
        "LogicalName": name,
        "SchemaName": name,
        "EntityLogicalName": table.logical,
        "AttributeType": "Virtual" if kind == "MultiSelectPicklist" else kind,
        "AttributeTypeName": {"Value": f"{kind}Type"},
        "AttributeOf": None,
        "DisplayName": _label(name),
        "RequiredLevel": {"Value": "SystemRequired" if name == "customerid" else "None"},
        "IsCustomAttribute": "_" in name,
        "IsValidForCreate": create,
        "IsValidForUpdate": update,
        "IsValidForRead": True,
    }


def _project(
    row: dict[str, Any],
    chosen: dict[str, str],
    *,
    always: set[str] | None = None,
    known: frozenset[str] | None = None,
) -> dict[str, Any]:
    """Keeps what `$select` names; what starts with an underscore comes only by `$expand`."""
    if "$select" not in chosen:
        return {name: value for name, value in row.items() if not name.startswith("_")}
    wanted = [name.strip() for name in chosen["$select"].split(",") if name.strip()]
    for name in wanted:
        # What only some kinds of attribute have (MaxLength, Targets) needs a cast, as OData demands.
        if name not in (known or row) or name.startswith("_"):
            raise query(f"Could not find a property named '{name}' on type '{_CAST}EntityMetadata'.")
    keep = {*wanted, *(always or {"MetadataId"})}
    return {name: value for name, value in row.items() if name in keep}


def _expansions(text: str) -> list[tuple[str, dict[str, str]]]:
    """Reads `A($select=x,y),B` into names and their options."""
    found = []
    for nav, inner in _EXPAND.findall(text):
        parts = (part.partition("=") for part in inner.split(";") if part)
        found.append((nav, {name.strip(): value for name, _, value in parts}))
    return found


def _where(rows: list[dict[str, Any]], text: str | None) -> list[dict[str, Any]]:
    """Filters by equalities joined with `and` or `or`, which is what clients send here."""
    if not text:
        return rows
    connective = any if " or " in text else all
    conditions = []
    for part in re.split(r" (?:and|or) ", text):
        match = _CONDITION.fullmatch(part.strip().strip("()"))
        if match is None:
            raise query(f"Syntax error in '{text}': only 'Name eq value' joined by and/or is supported here.")
        literal: object = match[2].replace("''", "'") if match[2] is not None else match[3]
        conditions.append((match[1], {"true": True, "false": False}.get(str(literal), literal)))
    return [row for row in rows if connective(_held(row, name) == value for name, value in conditions)]


def _held(row: dict[str, Any], name: str) -> object:
    if name not in row:
        raise query(f"Could not find a property named '{name}' on type '{_CAST}EntityMetadata'.")
    return row[name]
