"""Rows to write: create-only, under ids that we choose, with parts that can be left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from shared.dataverse.batch import Operation
from shared.handoff.text import cut

BIND = "@odata.bind"


class Tier(IntEnum):
    """What goes first when something has to go and the refusal does not say what."""

    PROPERTY = 1
    OWNER = 2
    EXTRA = 3
    LINK = 4
    CONTACT = 5
    TEXT = 9
    """Only when it is named: a rep needs it more than anything else."""


@dataclass(frozen=True)
class Spare:
    """A column that may be left out.

    Attributes:
        source: the setting or field that it comes from, for the warning.
        tier: when it goes.
        may_be_cut: whether a part of the text is better than none.
    """

    source: str
    tier: Tier
    may_be_cut: bool = True


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        entity_set: the table's name in addresses; ``logical_name`` the one in error messages.
        columns: what is written; navigation properties end in ``@odata.bind``.
        spare: the columns that may be left out.
    """

    entity_set: str
    logical_name: str
    row_id: str
    columns: Mapping[str, Any]
    spare: Mapping[str, Spare] = field(default_factory=dict)

    @property
    def create(self) -> Operation:
        """Create it, or learn that it is there already (412).

        Fact: Microsoft's page "Perform conditional operations", section on limiting upserts to creates.
        """
        headers = {"If-None-Match": "*"}
        return Operation("PATCH", f"{self.entity_set}({self.row_id})", self.columns, headers)

    def with_column(self, name: str, value: Any, spare: Spare | None = None) -> "Row":
        """The row with one column set."""
        known = {**self.spare, name: spare} if spare else self.spare
        return replace(self, columns={**self.columns, name: value}, spare=known)

    def without(self, *names: str) -> "Row":
        """The row without some columns."""
        return replace(
            self,
            columns={key: value for key, value in self.columns.items() if key not in names},
            spare={key: value for key, value in self.spare.items() if key not in names},
        )

    def shortened(self, name: str, limit: int) -> "Row":
        """The row with one text cut to a length."""
        return self.with_column(name, cut(str(self.columns[name]), limit))

    def column_named(self, word: str) -> str | None:
        """The column that an error message calls ``word``: itself, its navigation property, or in another case."""
        for name in (word, word + BIND):
            if name in self.columns:
                return name
        lowered = word.lower()
        return next((name for name in self.columns if name.lower().removesuffix(BIND) == lowered), None)

    def column_bound_to(self, row_id: str) -> str | None:
        """The navigation property that points at this id."""
        for name, value in self.columns.items():
            if name.endswith(BIND) and row_id.lower() in str(value).lower():
                return name
        return None

    def spare_of(self, tier: Tier) -> tuple[str, ...]:
        """The columns of one tier that are still written."""
        return tuple(name for name, each in self.spare.items() if each.tier == tier and name in self.columns)


def bind(entity_set: str, row_id: str) -> str:
    """The value of a navigation property."""
    return f"/{entity_set}({row_id})"


def literal(text: str) -> str:
    """A text as an OData literal, inside its quotes (OData URL conventions, 5.1.1.6.1)."""
    return "'" + text.replace("'", "''") + "'"
