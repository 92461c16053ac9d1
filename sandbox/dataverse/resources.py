"""From a call to its effect: which resource, which method, which conditions."""

from __future__ import annotations

from typing import Any

from sandbox.dataverse import errors, payload, query
from sandbox.dataverse.actions import Actions
from sandbox.dataverse.address import Key, Segment, parse
from sandbox.dataverse.call import Call, answer
from sandbox.dataverse.metadata import Metadata
from sandbox.dataverse.operations import Operations, page
from sandbox.dataverse.privileges import Access
from sandbox.dataverse.query import Preferences
from sandbox.dataverse.representation import Representation, etag
from sandbox.dataverse.rows import Row, Store
from sandbox.dataverse.schema import Schema, Table
from sandbox.wire import Response


class Resources:
    """Dispatches calls. Raises DataverseError, which the caller turns into an answer."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        access: Access,
        operations: Operations,
        actions: Actions,
    ) -> None:
        self._schema = schema
        self._store = store
        self._access = access
        self._operations = operations
        self._actions = actions
        self._metadata = Metadata(schema)
        self._rows = Representation(schema, store)

    def dispatch(self, call: Call) -> Response:
        """Does what a call asks for."""
        path = call.path
        if path.startswith("$") and call.references is not None:
            name, slash, rest = path[1:].partition("/")
            self._operations.reference(f"${name}", call.references)
            path = f"{call.references[name]}{slash}{rest}"
        segments = parse(path)
        if not segments:
            raise errors.segment_not_found(path)
        first, *rest_of_path = segments
        if first.name == "EntityDefinitions":
            return self._metadata.read(segments, call)
        table_found = self._schema.by_set(first.name)
        if table_found is None:
            found = None if rest_of_path else self._actions.unbound(first, call)
            if found is None:
                raise errors.segment_not_found(first.name)
            return found
        if rest_of_path:
            return self._below(table_found, first, rest_of_path, call)
        if first.key is None:
            return self._set(table_found, call)
        return self._row(table_found, first.key, path, call)

    def _below(self, table: Table, owner: Segment, rest: list[Segment], call: Call) -> Response:
        name = rest[0].name
        found = table.navigation(name)
        if found is None or len(rest) > 1:
            return self._actions.bound(table, owner, name, call)
        if call.method != "GET":
            raise errors.method_not_allowed(call.method)
        self._access.require(table, "Read")
        _, row = self._operations.existing(table, owner.key or {})
        reference = row.get(found[0].name)
        if reference is None or reference.table not in found[1]:
            return Response(204)
        return self._read(self._schema.table(reference.table), reference.id, call)

    def _set(self, table: Table, call: Call) -> Response:
        if call.method == "GET":
            return self._list(table, call)
        if call.method != "POST":
            raise errors.method_not_allowed(call.method)
        source = payload.decode(call.body, call.headers.get("content-type", ""), table.set_name)
        with self._store.transaction():
            row_id = self._operations.create(
                table, source, references=call.references, detect_duplicates=_detects(call)
            )
            # Inside the transaction: a bad $select must not leave a row behind.
            return self._written(table, row_id, call, created=True)

    def _list(self, table: Table, call: Call) -> Response:
        chosen = query.options(call.query)
        asked = query.parse(chosen, table)
        prefer = Preferences.parse(call.headers.get("prefer", ""))
        rows = self._operations.find(table, asked)
        shown, following = page(rows, asked.skip, prefer.page_size)
        names = f"({','.join(asked.select)})" if asked.select else ""
        body: dict[str, Any] = {"@odata.context": f"{call.root}$metadata#{table.set_name}{names}"}
        if asked.count:
            body["@odata.count"] = min(len(rows), query.PAGE_LIMIT)
        body["value"] = [self._rows.entity(table, row, select=asked.select, prefer=prefer) for row in shown]
        if following is not None:
            kept = "&".join(part for part in call.query.split("&") if part and "skiptoken=" not in part)
            body["@odata.nextLink"] = f"{call.root}{table.set_name}?{kept}{'&' if kept else ''}$skiptoken={following}"
        return answer(body, headers={"Preference-Applied": prefer.applied} if prefer.applied else None)

    def _row(self, table: Table, key: Key, path: str, call: Call) -> Response:
        match call.method:
            case "GET":
                return self._read(table, key, call)
            case "PATCH":
                return self._upsert(table, key, path, call)
            case "DELETE":
                self._operations.delete(table, key, if_match=call.headers.get("if-match"))
                return Response(204)
        raise errors.method_not_allowed(call.method)

    def _read(self, table: Table, key: Key, call: Call) -> Response:
        self._access.require(table, "Read")
        _, row = self._operations.existing(table, key)
        if call.headers.get("if-none-match") == etag(row):
            return Response(304, {"ETag": etag(row)})
        return self._entity(table, row, call, 200)

    def _entity(self, table: Table, row: Row, call: Call, status: int) -> Response:
        asked = query.parse(query.options(call.query), table)
        prefer = Preferences.parse(call.headers.get("prefer", ""))
        names = f"({','.join(asked.select)})" if asked.select else ""
        headers = {"ETag": etag(row)}
        if prefer.applied:
            headers["Preference-Applied"] = prefer.applied
        context = f"{call.root}$metadata#{table.set_name}{names}/$entity"
        shown = self._rows.entity(table, row, select=asked.select, prefer=prefer)
        return answer({"@odata.context": context, **shown}, status, headers)

    def _upsert(self, table: Table, key: Key, path: str, call: Call) -> Response:
        source = payload.decode(call.body, call.headers.get("content-type", ""), table.set_name)
        if_match = call.headers.get("if-match")
        create_only = call.headers.get("if-none-match") == "*"
        if create_only and if_match is not None:
            raise errors.query("If-Match and If-None-Match exclude each other.")
        if create_only and any(isinstance(value, dict | list) for value in source.values()):
            # Microsoft: a conditional create cannot be a deep insert.
            raise errors.payload(table.set_name, "A deep insert cannot be conditional.")
        if if_match is None:
            # Whether an upsert that creates needs Write too is not documented: the stricter reading.
            self._access.require(table, "Create", "Write")
        with self._store.transaction():
            row_id, implied = self._operations.locate(table, key)
            there = row_id is not None and self._store.get(table.logical, row_id) is not None
            if there and create_only:
                raise errors.duplicate_id()
            if not there and if_match is not None:
                self._operations.existing(table, key)
            if there and row_id is not None:
                self._operations.update(table, row_id, source, if_match=if_match, references=call.references)
            else:
                row_id = self._operations.create(
                    table,
                    source,
                    row_id=row_id,
                    implied=implied,
                    references=call.references,
                    detect_duplicates=_detects(call),
                )
            url = path if isinstance(key, dict) else None
            return self._written(table, row_id, call, created=not there, url=url)

    def _written(self, table: Table, row_id: str, call: Call, *, created: bool, url: str | None = None) -> Response:
        """204 with the address, or the representation without it."""
        call.written.append(url or f"{table.set_name}({row_id})")
        if Preferences.parse(call.headers.get("prefer", "")).representation:
            self._access.require(table, "Read")
            row = self._store.get(table.logical, row_id)
            assert row is not None
            return self._entity(table, row, call, 201 if created else 200)
        return Response(204, {"OData-EntityId": f"{call.root}{call.written[0]}"})


def _detects(call: Call) -> bool:
    """Duplicate detection is off unless this header says otherwise."""
    return call.headers.get("mscrm.suppressduplicatedetection", "").lower() == "false"
