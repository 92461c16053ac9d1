"""Query options and `Prefer`, as they come over the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote_plus

from sandbox.dataverse import errors
from sandbox.dataverse.filter import Filter, compile_filter
from sandbox.dataverse.schema import Table

_KNOWN = {"$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken"}
_PREFERENCE = re.compile(r"""\s*([\w.-]+)\s*(?:=\s*("[^"]*"|[^,;\s]+))?\s*(?:[,;]|$)""")
_OTHER_LANGUAGES = {"sql", "fetchXml", "savedQuery", "userQuery"}
PAGE_LIMIT = 5000


def options(raw: str) -> dict[str, str]:
    """Decodes a query string: `+` and `%20` are spaces. An unknown `$option` is a DataverseError 400."""
    found: dict[str, str] = {}
    if not raw:
        return found
    for pair in raw.split("&"):
        name, _, value = pair.partition("=")
        name = unquote_plus(name)
        if name.startswith("$") and name not in _KNOWN:
            raise errors.query(f"The query parameter '{name}' is not supported.")
        if name in _OTHER_LANGUAGES:
            raise errors.query(f"'{name}' queries are not supported by this stand-in; use $filter.")
        if name in found:
            raise errors.query(
                f"Query option '{name}' was specified more than once, but it must be specified at most once."
            )
        if name:
            found[name] = unquote_plus(value)
    return found


@dataclass(frozen=True)
class Preferences:
    """The `Prefer` header.

    Attributes:
        representation: return=representation.
        continue_on_error: odata.continue-on-error.
        page_size: odata.maxpagesize.
        annotations: patterns of odata.include-annotations.
        applied: what Preference-Applied echoes.
    """

    representation: bool = False
    continue_on_error: bool = False
    page_size: int | None = None
    annotations: tuple[str, ...] = ()
    applied: str = ""

    @classmethod
    def parse(cls, header: str) -> Preferences:
        """Reads a header value; unknown preferences are ignored, as RFC 7240 says."""
        if not header:
            return _NONE
        wishes = {name.lower(): value.strip('"') for name, value in _PREFERENCE.findall(header) if name}
        size = wishes.get("odata.maxpagesize", "")
        annotations = wishes.get("odata.include-annotations", "")
        representation = wishes.get("return") == "representation"
        applied = ["return=representation"] if representation else []
        if size.isdigit():
            applied.append(f"odata.maxpagesize={size}")
        if annotations:
            applied.append(f'odata.include-annotations="{annotations}"')
        return cls(
            representation=representation,
            continue_on_error=wishes.get("odata.continue-on-error", "false") in {"", "true"},
            page_size=int(size) if size.isdigit() and int(size) > 0 else None,
            annotations=tuple(pattern.strip() for pattern in annotations.split(",") if pattern.strip()),
            applied=",".join(applied),
        )

    def wants(self, annotation: str) -> bool:
        """Whether an annotation was asked for."""
        return any(fnmatchcase(annotation, pattern) for pattern in self.annotations)


_NONE = Preferences()


@dataclass(frozen=True)
class Query:
    """The options of a read, checked against the table."""

    select: tuple[str, ...] | None
    filter: Filter | None
    order: tuple[tuple[str, bool], ...]
    top: int | None
    count: bool
    skip: int


def parse(found: dict[str, str], table: Table) -> Query:
    """Checks options against a table. Raises DataverseError 400 (0x80060888)."""
    if "$expand" in found:
        # The project never expands rows; refusing is better than answering without the nested data.
        raise errors.query("$expand on rows is not supported by this stand-in; read the related row instead.")
    select = None
    if "$select" in found:
        select = tuple(part.strip() for part in found["$select"].split(",") if part.strip())
        for name in select:
            _known(name, table)
    text = found.get("$filter")
    return Query(
        select=select,
        filter=compile_filter(text, table) if text is not None else None,
        order=_order(found.get("$orderby", ""), table),
        top=_number(found["$top"], "$top") if "$top" in found else None,
        count=found.get("$count") == "true",
        skip=_number(found["$skiptoken"], "$skiptoken") if "$skiptoken" in found else 0,
    )


def _known(name: str, table: Table) -> None:
    if table.edm_type(name) is None:
        raise errors.unknown_query_property(name, table.logical)


def _number(text: str, option: str) -> int:
    if not text.isdigit():
        raise errors.query(f"Invalid value '{text}' for {option} query option found. A non-negative integer is needed.")
    return int(text)


def _order(text: str, table: Table) -> tuple[tuple[str, bool], ...]:
    order: list[tuple[str, bool]] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        name, _, direction = part.partition(" ")
        _known(name, table)
        if direction.strip() not in {"", "asc", "desc"}:
            raise errors.query(f"Syntax error at position {len(name) + 1} in '{part}'.")
        stored = name if name in table.columns else name[1:-6]
        order.append((stored, direction.strip() == "desc"))
    return tuple(order)
