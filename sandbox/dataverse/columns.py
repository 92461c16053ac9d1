"""Short ways to write a table down."""

from __future__ import annotations

from sandbox.dataverse.schema import Column, Lookup, Table

ACTIVE = {0: "Active", 1: "Inactive"}


def text(name: str, limit: int, *, create: bool = True, update: bool = True) -> Column:
    """A single line of text."""
    return Column(name, "String", max_length=limit, create=create, update=update)


def memo(name: str, limit: int) -> Column:
    """Several lines of text."""
    return Column(name, "Memo", max_length=limit)


def choice(name: str, options: dict[int, str], *, default: int | None = None) -> Column:
    """A picklist."""
    return Column(name, "Picklist", options=options, default=default)


def flag(name: str, *, default: bool | None = None, update: bool = True) -> Column:
    """A Boolean."""
    return Column(name, "Boolean", default=default, update=update)


def to(name: str, table: str, nav: str | None = None) -> Lookup:
    """A lookup to one table; the navigation property has the column's name unless given."""
    return Lookup(name, {table: nav or name})


def status(states: dict[int, str], reasons: dict[int, tuple[str, int]]) -> tuple[Column, Column]:
    """The statecode and statuscode columns. `reasons` maps a value to its label and its state."""
    return (
        Column("statecode", "State", options=states, create=False),
        Column(
            "statuscode",
            "Status",
            options={value: label for value, (label, _) in reasons.items()},
            states={value: state for value, (_, state) in reasons.items()},
        ),
    )


def define(table: Table, *columns: Column | Lookup, stateful: bool = True) -> Table:
    """Adds the columns that every table has, then its own."""
    suffix = f"_{table.logical}" if table.activity else ""
    owners = {"systemuser": f"ownerid{suffix}", "team": f"ownerid{suffix}"}
    table.add(
        Column(table.id, "Uniqueidentifier", update=False),
        Column("createdon", "DateTime", create=False, update=False),
        Column("modifiedon", "DateTime", create=False, update=False),
        Column("versionnumber", "BigInt", create=False, update=False),
        Lookup("createdby", {"systemuser": f"createdby{suffix}"}, create=False, update=False),
        Lookup("modifiedby", {"systemuser": f"modifiedby{suffix}"}, create=False, update=False),
    )
    if stateful:
        table.add(*status(ACTIVE, {1: ("Active", 0), 2: ("Inactive", 1)}))
    if table.owned:
        table.add(Lookup("ownerid", owners, type="Owner"))
    return table.add(*columns)
