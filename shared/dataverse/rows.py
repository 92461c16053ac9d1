"""Rows to write: create-only, under ids that we choose, with parts that can be left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.dataverse.batch import Operation
from shared.handoff.text import cut

BIND = "@odata.bind"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        entity_set: the table's name in addresses; ``logical_name`` the one in error messages.
        columns: what is written; navigation properties end in ``@odata.bind``.
        optional: the columns that may be left out, each with the setting or field it comes from.
    """

    entity_set: str
    logical_name: str
    row_id: str
    columns: Mapping[str, Any]
    optional: Mapping[str, str] = field(default_factory=dict)

    @property
    def create(self) -> Operation:
        """Create it, or learn that it is there already (412).

        Fact: Microsoft's page "Perform conditional operations", section on limiting upserts to creates.
        """
        headers = {"If-None-Match": "*"}
        return Operation("PATCH", f"{self.entity_set}({self.row_id})", self.columns, headers)

    def without(self, name: str) -> "Row":
        """The row without one column."""
        return replace(
            self,
            columns={key: value for key, value in self.columns.items() if key != name},
            optional={key: value for key, value in self.optional.items() if key != name},
        )

    def shortened(self, name: str, limit: int) -> "Row":
        """The row with one text cut to a length."""
        return replace(self, columns={**self.columns, name: cut(str(self.columns[name]), limit)})

    def column_named(self, word: str) -> str | None:
        """The column that an error message calls ``word``: itself, or its navigation property."""
        lowered = word.lower()
        for name in self.columns:
            if lowered in (name.lower(), name.lower().removesuffix(BIND)):
                return name
        return None

    def column_bound_to(self, row_id: str) -> str | None:
        """The navigation property that points at this id."""
        for name, value in self.columns.items():
            if name.endswith(BIND) and row_id.lower() in str(value).lower():
                return name
        return None


def bind(entity_set: str, row_id: str) -> str:
    """The value of a navigation property."""
    return f"/{entity_set}({row_id})"


def literal(text: str) -> str:
    """A text as an OData literal, inside its quotes (OData URL conventions, 5.1.1.6.1)."""
    return "'" + text.replace("'", "''") + "'"
