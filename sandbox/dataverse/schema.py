"""What tables look like: columns, lookups, keys. Data that tests may change on a running stand-in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal[
    "String",
    "Memo",
    "Integer",
    "BigInt",
    "Double",
    "Boolean",
    "Picklist",
    "State",
    "Status",
    "MultiSelectPicklist",
    "DateTime",
    "Uniqueidentifier",
]
_METADATA = uuid.UUID("b5a9e6f4-5d0c-4f5e-9a57-0c1ff2b1a001")

EDM = {
    "String": "Edm.String",
    "Memo": "Edm.String",
    "MultiSelectPicklist": "Edm.String",
    "Integer": "Edm.Int32",
    "Picklist": "Edm.Int32",
    "State": "Edm.Int32",
    "Status": "Edm.Int32",
    "BigInt": "Edm.Int64",
    "Double": "Edm.Double",
    "Boolean": "Edm.Boolean",
    "DateTime": "Edm.DateTimeOffset",
    "Uniqueidentifier": "Edm.Guid",
}


@dataclass
class Column:
    """A column that is no lookup.

    Attributes:
        name: logical name.
        type: attribute type as metadata names it.
        max_length: for text, in UTF-16 units; more is refused.
        options: for choices, value to label.
        default: stored on create when the caller gives nothing.
        create: a value given on create counts; otherwise it is ignored.
        update: the same for update.
        states: for a Status column, which statecode each value belongs to.
    """

    name: str
    type: ColumnType
    max_length: int | None = None
    options: dict[int, str] = field(default_factory=dict)
    default: object = None
    create: bool = True
    update: bool = True
    states: dict[int, int] = field(default_factory=dict)


@dataclass
class Lookup:
    """A lookup column.

    Attributes:
        name: logical name; reads as `_name_value`.
        targets: logical name of each table it may point to, with the navigation property that binds it.
        type: Lookup, Customer or Owner.
        create: a bind on create counts.
        update: a bind on update counts.
    """

    name: str
    targets: dict[str, str]
    type: Literal["Lookup", "Customer", "Owner"] = "Lookup"
    create: bool = True
    update: bool = True

    @property
    def property(self) -> str:
        """The read-only property that holds the id."""
        return f"_{self.name}_value"


@dataclass
class Table:
    """One table.

    Attributes:
        logical: logical name.
        set_name: entity set name, as URLs have it (case-sensitive).
        id: primary key column.
        name: primary name column.
        schema_name: the name that error messages use.
        privilege: last part of privilege names (prvCreate<privilege>).
        code: object type code.
        label: localized name.
        activity: an activity table.
        owned: rows have an owner.
        columns: by logical name.
        lookups: by logical name.
        keys: alternate keys, name to columns. None by default, as on a stock organisation.
        children: collection-valued navigation properties that a deep insert may fill: property to
            (child table, navigation property of the child).
    """

    logical: str
    set_name: str
    id: str
    name: str
    schema_name: str
    privilege: str
    code: int
    label: str
    activity: bool = False
    owned: bool = True
    columns: dict[str, Column] = field(default_factory=dict)
    lookups: dict[str, Lookup] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, str]] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        """The column of this name. Raises KeyError."""
        return self.columns[name]

    def add(self, *columns: Column | Lookup) -> Table:
        """Adds or replaces columns and lookups."""
        for column in columns:
            if isinstance(column, Lookup):
                self.lookups[column.name] = column
            else:
                self.columns[column.name] = column
        return self

    def add_key(self, *columns: str) -> None:
        """Defines an alternate key."""
        self.keys["_".join(columns)] = columns

    def navigation(self, name: str) -> tuple[Lookup, list[str]] | None:
        """The lookup behind a navigation property and the tables it reaches; names are case-sensitive."""
        for lookup in self.lookups.values():
            tables = [table for table, nav in lookup.targets.items() if nav == name]
            if tables:
                return lookup, tables
        return None

    def edm_type(self, name: str) -> str | None:
        """The EDM type of a property as queries see it (`_x_value` for lookups); None if there is none."""
        column = self.columns.get(name)
        if column is not None:
            return EDM[column.type]
        if name.startswith("_") and name.endswith("_value") and name[1:-6] in self.lookups:
            return "Edm.Guid"
        return None

    @property
    def metadata_id(self) -> str:
        """The MetadataId, fixed for a name."""
        return str(uuid.uuid5(_METADATA, self.logical))


class Schema:
    """All tables, by logical name and by set name."""

    def __init__(self, tables: list[Table]) -> None:
        self._by_name: dict[str, Table] = {}
        self._by_set: dict[str, Table] = {}
        self.replace(tables)

    def replace(self, tables: list[Table]) -> None:
        """Starts over with these tables."""
        self._by_name.clear()
        self._by_set.clear()
        for table in tables:
            self.add(table)

    def add(self, table: Table) -> None:
        """Adds or replaces a table."""
        self._by_name[table.logical] = table
        self._by_set[table.set_name] = table

    def remove(self, logical: str) -> None:
        """Takes a table away, as on an organisation that does not have the solution. Raises KeyError."""
        table = self._by_name.pop(logical)
        del self._by_set[table.set_name]

    def table(self, logical: str) -> Table:
        """The table of this logical name. Raises KeyError."""
        return self._by_name[logical]

    def find(self, logical: str) -> Table | None:
        """The table of this logical name, or None."""
        return self._by_name.get(logical)

    def by_set(self, set_name: str) -> Table | None:
        """The table of this entity set, or None."""
        return self._by_set.get(set_name)

    def tables(self) -> list[Table]:
        """Every table."""
        return list(self._by_name.values())
