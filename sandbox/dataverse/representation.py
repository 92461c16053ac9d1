"""How a row reads: columns, lookups as `_x_value`, ETag, and the annotations that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.dataverse.query import Preferences
from sandbox.dataverse.rows import Ref, Row, Store
from sandbox.dataverse.schema import Schema, Table

_FORMATTED = "OData.Community.Display.V1.FormattedValue"
_LOGICAL = "Microsoft.Dynamics.CRM.lookuplogicalname"
_NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"


def etag(row: Row) -> str:
    """The weak ETag of a row."""
    return f'W/"{row["versionnumber"]}"'


class Representation:
    """Renders rows of one schema and store."""

    def __init__(self, schema: Schema, store: Store) -> None:
        self._schema = schema
        self._store = store

    def entity(
        self,
        table: Table,
        row: Row,
        *,
        select: Sequence[str] | None = None,
        prefer: Preferences | None = None,
    ) -> dict[str, Any]:
        """One row as JSON. `$select` always brings the ETag and the primary key along."""
        shown: dict[str, Any] = {"@odata.etag": etag(row)}
        for name in self._names(table, select):
            if name in table.columns:
                shown[name] = row.get(name)
                if prefer is not None and prefer.annotations:
                    self._annotate_choice(shown, table, name, row.get(name), prefer)
            else:
                reference = row.get(name[1:-6])
                shown[name] = reference.id if isinstance(reference, Ref) else None
                if prefer is not None and prefer.annotations and isinstance(reference, Ref):
                    self._annotate_lookup(shown, table, name, reference, prefer)
        return shown

    def raw(self, table: Table, row: Row) -> dict[str, Any]:
        """One row with everything, and the table that each lookup points to."""
        shown = self.entity(table, row)
        for lookup in table.lookups.values():
            reference = row.get(lookup.name)
            if isinstance(reference, Ref):
                shown[f"{lookup.property}@{_LOGICAL}"] = reference.table
        return shown

    @staticmethod
    def _names(table: Table, select: Sequence[str] | None) -> list[str]:
        if select is None:
            return [*table.columns, *(lookup.property for lookup in table.lookups.values())]
        return [*select, *([] if table.id in select else [table.id])]

    @staticmethod
    def _annotate_choice(shown: dict[str, Any], table: Table, name: str, value: object, prefer: Preferences) -> None:
        column = table.columns[name]
        if isinstance(value, int) and value in column.options and prefer.wants(_FORMATTED):
            shown[f"{name}@{_FORMATTED}"] = column.options[value]
        elif column.type == "Boolean" and value is not None and prefer.wants(_FORMATTED):
            shown[f"{name}@{_FORMATTED}"] = "Yes" if value else "No"

    def _annotate_lookup(
        self, shown: dict[str, Any], table: Table, name: str, reference: Ref, prefer: Preferences
    ) -> None:
        if prefer.wants(_NAVIGATION):
            shown[f"{name}@{_NAVIGATION}"] = table.lookups[name[1:-6]].targets.get(reference.table)
        if prefer.wants(_LOGICAL):
            shown[f"{name}@{_LOGICAL}"] = reference.table
        target = self._schema.find(reference.table)
        held = self._store.get(reference.table, reference.id)
        if prefer.wants(_FORMATTED) and target is not None and held is not None:
            shown[f"{name}@{_FORMATTED}"] = held.get(target.name)
