"""Create, update, upsert, delete and read: the effects of a request on rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.dataverse import address, errors, payload
from sandbox.dataverse.address import Key
from sandbox.dataverse.privileges import Access
from sandbox.dataverse.query import PAGE_LIMIT, Query
from sandbox.dataverse.representation import etag
from sandbox.dataverse.rows import Ref, Row, Store
from sandbox.dataverse.rules import Rules
from sandbox.dataverse.schema import Schema, Table
from sandbox.dataverse.seed import APPLICATION_USER_ID

_ME = Ref("systemuser", APPLICATION_USER_ID)
References = Mapping[str, str]


class Operations:
    """What requests do to rows. Every write is a transaction, or joins the one around it."""

    def __init__(self, schema: Schema, store: Store, access: Access, rules: Rules, clock: Callable[[], float]) -> None:
        self._schema = schema
        self._store = store
        self._access = access
        self._rules = rules
        self._clock = clock

    def now(self) -> str:
        """The time as rows hold it."""
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def locate(self, table: Table, key: Key) -> tuple[str | None, Row]:
        """The id that a key names, and the row values that the key implies. The id is None if absent.

        Raises DataverseError 400 (0x80060890) when the columns are no key of the table.
        """
        if isinstance(key, str):
            return key, {}
        if set(key) == {table.id}:
            return str(key[table.id]).lower(), {}
        stored = {self._stored(name): value for name, value in key.items()}
        if not key or not any(set(columns) == set(stored) for columns in table.keys.values()):
            raise errors.key_not_defined(table.logical)
        row_id = self._by_key(table, stored)
        values: Row = {}
        for name, value in stored.items():
            lookup = table.lookups.get(name)
            values[name] = Ref(next(iter(lookup.targets)), str(value)) if lookup else value
        return row_id, values

    def existing(self, table: Table, key: Key) -> tuple[str, Row]:
        """The row that a key names. Raises DataverseError 404."""
        row_id, _ = self.locate(table, key)
        row = self._store.get(table.logical, row_id) if row_id is not None else None
        if row_id is not None and row is not None:
            return row_id, row
        if isinstance(key, str) or set(key) == {table.id}:
            raise errors.not_found(table.schema_name, str(row_id))
        raise errors.not_found_by_key(table.logical)

    def create(
        self,
        table: Table,
        source: dict[str, Any],
        *,
        row_id: str | None = None,
        implied: Row | None = None,
        references: References | None = None,
        detect_duplicates: bool = False,
    ) -> str:
        """Creates a row and returns its id. `implied` are values from an alternate key in the URL.

        Raises DataverseError.
        """
        body = payload.read(table, source)
        self._access.require(table, "Create")
        values = {n: v for n, v in body.values.items() if table.columns[n].create}
        given = values.pop(table.id, None)
        if row_id is not None and given is not None and given != row_id:
            raise errors.invalid_argument(f"The id in the body ({given}) is not the id in the URL ({row_id}).")
        row_id = row_id or given or str(uuid.uuid4())
        with self._store.transaction():
            for lookup, target, nested in body.singles:
                made = self.create(self._schema.table(target), nested, references=references)
                values[lookup.name] = self._append(table, Ref(target, made))
            if self._store.get(table.logical, row_id) is not None:
                raise errors.duplicate_id()
            values.update(self._resolve(table, body, references, creating=True))
            payload.check(table, {n: v for n, v in values.items() if n in table.columns})
            row = {**self.defaults(table), **values, **(implied or {}), table.id: row_id}
            self._rules.apply(table, row, None)
            self._check_keys(table, row, row_id)
            if detect_duplicates:
                self._detect_duplicates(table, row)
            self._store.put(table.logical, row_id, row)
            for child, nav, bodies in body.children:
                for nested in bodies:
                    bound = {**nested, f"{nav}@odata.bind": f"/{table.set_name}({row_id})"}
                    self.create(self._schema.table(child), bound, references=references)
        return row_id

    def update(
        self,
        table: Table,
        row_id: str,
        source: dict[str, Any],
        *,
        if_match: str | None = None,
        references: References | None = None,
    ) -> None:
        """Changes a row that is there. Raises DataverseError."""
        body = payload.read(table, source)
        if body.singles or body.children:
            raise errors.payload(table.set_name, "A deep update is not supported; use a deep insert (POST).")
        self._access.require(table, "Write")
        with self._store.transaction():
            old = self._store.get(table.logical, row_id)
            if old is None:
                raise errors.not_found(table.schema_name, row_id)
            if if_match not in {None, "*", etag(old)}:
                raise errors.version_mismatch()
            values = {n: v for n, v in body.values.items() if table.columns[n].update or n == table.id}
            if values.pop(table.id, row_id) != row_id:
                raise errors.invalid_argument(f"The id in the body is not the id in the URL ({row_id}).")
            values.update(self._resolve(table, body, references, creating=False))
            # Dataverse lets a caller set statecode by update although it is not valid for create.
            payload.check(table, {n: v for n, v in values.items() if n in table.columns})
            row = {**old, **values, "modifiedon": self.now(), "modifiedby": _ME}
            if "statecode" in values and "statuscode" not in values:
                row["statuscode"] = None  # the new state brings its own
            self._rules.apply(table, row, old)
            self._check_keys(table, row, row_id)
            self._store.put(table.logical, row_id, row)

    def delete(self, table: Table, key: Key, *, if_match: str | None = None) -> None:
        """Deletes a row, with the notes and queue items that hang on it. Raises DataverseError."""
        self._access.require(table, "Delete")
        with self._store.transaction():
            row_id, row = self.existing(table, key)
            if if_match not in {None, "*", etag(row)}:
                raise errors.version_mismatch()
            target = Ref(table.logical, row_id)
            for child in ("annotation", "queueitem"):
                for child_id, held in self._store.where(child, "objectid", row_id):
                    if held.get("objectid") == target:
                        self._store.remove(child, child_id)
            self._store.remove(table.logical, row_id)

    def find(self, table: Table, query: Query) -> list[Row]:
        """The rows that a query selects, in order, neither paged nor cut. Raises DataverseError 403."""
        self._access.require(table, "Read")
        with self._store.lock:
            found = query.filter
            if found is not None and found.equalities:
                rows = [row for _, row in self._store.narrow(table.logical, found.equalities)]
            else:
                rows = [row for _, row in self._store.all(table.logical)]
        if found is not None:
            rows = [row for row in rows if found.matches(row)]
        for column, descending in reversed(query.order):
            rows.sort(key=lambda row, c=column: _sort_key(row.get(c)), reverse=descending)  # type: ignore[misc]
        return rows[: query.top] if query.top is not None else rows

    def reference(self, text: str, references: References | None) -> tuple[Table, Key]:
        """The table and key that a reference such as `/contacts(id)`, a full URL or `$1` names.

        Raises DataverseError 400 or 404.
        """
        if text.startswith("$"):
            known = (references or {}).get(text[1:])
            if known is None:
                message = f"Content-ID Reference: '{text}' does not exist in the batch context."
                raise errors.DataverseError(400, "0x80060888", message)
            text = known
        path = text.split("/api/data/v9.2/", 1)[-1].strip("/")
        segments = address.parse(path)
        table = self._schema.by_set(segments[0].name) if len(segments) == 1 else None
        if table is None:
            raise errors.segment_not_found(segments[0].name if segments else text)
        key = segments[0].key
        if key is None:
            raise errors.query(f"'{text}' names a set; a key in parentheses is needed.")
        return table, key

    def target(self, text: str, tables: list[str], references: References | None) -> Ref:
        """The row that a reference names, of one of these tables. Raises DataverseError."""
        table, key = self.reference(text, references)
        if table.logical not in tables:
            text = f"Resource '{table.set_name}' is not of the type that is expected here ({', '.join(tables)})."
            raise errors.payload(table.set_name, text)
        row_id, _ = self.existing(table, key)
        return Ref(table.logical, row_id)

    def _resolve(self, table: Table, body: payload.Body, references: References | None, *, creating: bool) -> Row:
        """The lookups that the binds set."""
        values: Row = {}
        for bind in body.binds:
            lookup = bind.lookup
            if not (lookup.create if creating else lookup.update):
                continue
            if bind.reference is None:
                values.setdefault(lookup.name, None)
                continue
            if values.get(lookup.name) is not None:
                raise errors.DataverseError(
                    400, "0x8004440f", "You can either specify a parent contact or account, but not both."
                )
            reference = self.target(bind.reference, bind.tables, references)
            if lookup.type == "Owner":
                self._access.require(self._schema.table(reference.table), "Read")
                if reference != _ME:
                    self._access.require(table, "Assign")
                values[lookup.name] = reference
            else:
                values[lookup.name] = self._append(table, reference)
        return values

    def _append(self, table: Table, reference: Ref) -> Ref:
        self._access.require(table, "Append")
        self._access.require(self._schema.table(reference.table), "AppendTo")
        return reference

    def defaults(self, table: Table) -> Row:
        """What a new row has before anybody gives it anything."""
        now = self.now()
        row: Row = {n: c.default for n, c in table.columns.items() if c.default is not None}
        row.update(createdon=now, modifiedon=now, createdby=_ME, modifiedby=_ME)
        if table.owned:
            row["ownerid"] = _ME
        if table.logical == "queueitem":
            row["enteredon"] = now
        return row

    def _stored(self, name: str) -> str:
        return name[1:-6] if name.startswith("_") and name.endswith("_value") else name

    def _by_key(self, table: Table, stored: Mapping[str, Any]) -> str | None:
        (first, value), *rest = stored.items()
        for row_id, row in self._store.where(table.logical, first, value):
            if all(_sort_key(row.get(n)) == _sort_key(v) for n, v in rest):
                return row_id
        return None

    def _check_keys(self, table: Table, row: Row, row_id: str) -> None:
        for key, columns in table.keys.items():
            values = {column: row.get(column) for column in columns}
            if None in values.values():
                continue
            if self._by_key(table, values) not in {None, row_id}:
                raise errors.duplicate_key(key, ", ".join(columns))

    def _detect_duplicates(self, table: Table, row: Row) -> None:
        mail = row.get("emailaddress1")
        if table.logical == "contact" and mail and self._store.where("contact", "emailaddress1", mail):
            raise errors.DataverseError(
                412,
                "0x80040333",
                "A record was not created or updated because a duplicate of the current record already exists.",
            )


def _sort_key(value: object) -> tuple[bool, Any]:
    """Nulls first, text without case."""
    if isinstance(value, Ref):
        return True, value.id
    if isinstance(value, str):
        return True, value.casefold()
    return (value is not None), (0 if value is None else value)


def page(rows: list[Row], start: int, size: int | None) -> tuple[list[Row], int | None]:
    """One page from `start`, and where the next one starts (None after the last)."""
    limit = min(size or PAGE_LIMIT, PAGE_LIMIT)
    end = start + limit
    return rows[start:end], end if end < len(rows) else None
