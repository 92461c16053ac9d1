"""The Dataverse stand-in: token, limits, dispatch, and the headers that every answer has."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from sandbox.dataverse import control as door
from sandbox.dataverse.actions import Actions
from sandbox.dataverse.batch import Batch
from sandbox.dataverse.call import ROOT, Call, refusal
from sandbox.dataverse.errors import DataverseError, method_not_allowed, segment_not_found
from sandbox.dataverse.limits import Allowance, Limits
from sandbox.dataverse.operations import Operations
from sandbox.dataverse.privileges import Access
from sandbox.dataverse.representation import Representation
from sandbox.dataverse.resources import Resources
from sandbox.dataverse.rows import Store
from sandbox.dataverse.rules import Rules, check_status
from sandbox.dataverse.schema import Schema, Table
from sandbox.dataverse.seed import APPLICATION_USER_ID, SEED
from sandbox.dataverse.tables import stock_tables
from sandbox.server import Server
from sandbox.tokens import TokenRefused
from sandbox.wire import Request, Response

_NOBODY = "00000000-0000-0000-0000-000000000000"


class TokenVerifier(Protocol):
    """Whoever can tell a good token."""

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a token for this audience. Raises TokenRefused."""
        ...


class DataverseStandIn:
    """An organisation with Customer Service, Omnichannel and one application user.

    Attributes:
        audience: the origin that tokens must be for; taken from the server when it is None.
        schema: the tables, open to change.
        store: the rows.
        access: the role of the application user.
        limits: the service protection limits.
        batch: how batches run.
        availability: what the availability action answers.
        before: called before each request and before `rows`; another stand-in brings its rows up to date there.
        planters: called after each reset; another stand-in plants its own seed there.
    """

    name = "dataverse"

    def __init__(
        self,
        *,
        tokens: TokenVerifier,
        base_url_audience: str | None = None,
        clock: Callable[[], float] = time.time,
        tenant_id: str = _NOBODY,
        application_id: str | None = None,
        authority: str = "https://login.microsoftonline.com",
        allowance: Allowance | None = None,
    ) -> None:
        """`application_id` limits entry to one `appid`; `clock` returns seconds since the epoch."""
        self.audience = base_url_audience
        self._tokens = tokens
        self._tenant_id = tenant_id
        self._application_id = application_id
        self._authority = authority
        self._allowance = allowance or Allowance()
        self.schema = Schema(stock_tables())
        self.store = Store()
        self.access = Access(self.schema)
        self.limits = Limits(clock, self._allowance)
        self._rules = Rules(self.store)
        self._operations = Operations(self.schema, self.store, self.access, self._rules, clock)
        self.before: list[Callable[[], None]] = []
        self.planters: list[Callable[[], None]] = []
        actions = Actions(self.schema, self.store, self.access, self._rules, self._operations)
        self.availability = actions.availability
        self._resources = Resources(self.schema, self.store, self.access, self._operations, actions)
        self.batch = Batch(self.store, self._resources.dispatch, _part_headers)
        self._representation = Representation(self.schema, self.store)
        self._affinity = uuid.uuid4().hex
        self._plant()

    def attach(self, server: Server) -> None:
        """Takes the origin and the inner faults from the server."""
        if self.audience is None:
            self.audience = server.url
        self.batch.faults = server.faults

    def reset(self) -> None:
        """Rows back to the seed; schema, role, limits and case numbers as at the start."""
        with self.store.lock:
            self.schema.replace(stock_tables())
            self.store.clear()
            self._rules.reset()
            self.availability.reset()
            self._plant()
            for plant in self.planters:
                plant()
        self.access.missing = frozenset()
        self.access.application_user = self.access.roles = True
        self.limits.set(self._allowance)

    def control(self, request: Request) -> Response | None:
        """Routes under `/_sandbox/`: rows, role, limits, schema, availability."""
        return door.control(self, request)

    def handle(self, request: Request) -> Response:
        """Answers one request of the Web API."""
        started = time.perf_counter()
        self._catch_up()
        try:
            self._admit(request)
            self.limits.enter()
        except DataverseError as error:
            response = self._unauthorized(error.message) if error.status == 401 else refusal(error)
        else:
            try:
                response = self._answer(request)
            except DataverseError as error:
                response = refusal(error)
            finally:
                self.limits.leave(time.perf_counter() - started)
        response.headers.update(_part_headers())
        response.headers.update(self.limits.headers())
        response.headers["Set-Cookie"] = f"ARRAffinity={self._affinity};Path=/;HttpOnly"
        response.headers["x-ms-service-request-id"] = response.headers["REQ_ID"]
        return response

    def rows(self, set_name: str) -> list[dict[str, Any]]:
        """All rows of a set, in the order of creation. Raises ControlError."""
        self._catch_up()
        table = self._table(set_name)
        return [self._representation.raw(table, row) for _, row in self.store.all(table.logical)]

    def insert(self, set_name: str, values: dict[str, Any]) -> str:
        """Puts a row in unchecked, for the set-up of a test; returns its id. Raises ControlError."""
        table = self._table(set_name)
        row_id = door.new_id(values, table)
        self._put(table, row_id, door.stored(table, values, row_id))
        return row_id

    def remove(self, set_name: str, row_id: str) -> None:
        """Takes a row out unchecked. Raises ControlError."""
        table = self._table(set_name)
        if self.store.get(table.logical, row_id) is None:
            raise door.ControlError(f"{set_name} has no row {row_id}")
        self.store.remove(table.logical, row_id)

    def _catch_up(self) -> None:
        for step in self.before:
            step()

    def _answer(self, request: Request) -> Response:
        if not request.path.startswith(ROOT):
            raise segment_not_found(request.path.strip("/").split("/")[-1])
        call = Call(
            request.method,
            request.path.removeprefix(ROOT),
            request.query,
            request.headers,
            request.body,
            f"{self.audience}{ROOT}",
        )
        if call.path == "$batch":
            if call.method != "POST":
                raise method_not_allowed(call.method)
            return self.batch.run(call)
        return self._resources.dispatch(call)

    def _admit(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise DataverseError(401, "", "no bearer token")
        try:
            claims = self._tokens.verify(token, self.audience or "")
        except TokenRefused as error:
            raise DataverseError(401, "", str(error)) from error
        if self._application_id is not None and claims.get("appid") != self._application_id:
            raise DataverseError(403, "0x80072560", "The user is not a member of the organization.")
        self.access.admit()

    def _unauthorized(self, reason: str) -> Response:
        challenge = (
            f"Bearer authorization_uri={self._authority}/{self._tenant_id}/oauth2/authorize, "
            f"resource_id={self.audience}/"
        )
        return Response(401, {"WWW-Authenticate": challenge}, note=f"401 {reason}")

    def _table(self, set_name: str) -> Table:
        table = self.schema.by_set(set_name)
        if table is None:
            raise door.ControlError(f"there is no entity set {set_name!r}")
        return table

    def _plant(self) -> None:
        for logical, row_id, values in SEED:
            table = self.schema.table(logical)
            row = {table.id: row_id, **values}
            if row_id == APPLICATION_USER_ID and self._application_id is not None:
                row["applicationid"] = self._application_id
            self._put(table, row_id, row)

    def _put(self, table: Table, row_id: str, row: dict[str, Any]) -> None:
        complete = {**self._operations.defaults(table), **row}
        check_status(table, complete)
        if table.logical == "contact":
            self._rules.apply(table, complete, None)
        self.store.put(table.logical, row_id, complete)


def _part_headers() -> dict[str, str]:
    return {"OData-Version": "4.0", "REQ_ID": str(uuid.uuid4())}
