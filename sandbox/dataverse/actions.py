"""Actions and functions: WhoAmI, AddToQueue, ApplyRoutingRule, RetrieveUserPrivileges, availability."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.dataverse import errors, payload
from sandbox.dataverse.address import GUID, Segment
from sandbox.dataverse.availability import ACTION, Availability
from sandbox.dataverse.call import Call, answer
from sandbox.dataverse.operations import Operations
from sandbox.dataverse.privileges import Access
from sandbox.dataverse.rows import Ref, Store
from sandbox.dataverse.rules import Rules
from sandbox.dataverse.schema import Schema, Table
from sandbox.dataverse.seed import APPLICATION_USER_ID, BUSINESS_UNIT_ID, ORGANIZATION_ID
from sandbox.wire import Response

NAMESPACE = "Microsoft.Dynamics.CRM."
_QUEUED = ("incident", "msdyn_ocliveworkitem")
# Recommended parallelism; the real value depends on the organisation.
_DOP_HINT = "4"


class Actions:
    """The operations that are no plain create, read, update or delete.

    Attributes:
        availability: what the availability action answers, open to change.
    """

    def __init__(self, schema: Schema, store: Store, access: Access, rules: Rules, operations: Operations) -> None:
        self._schema = schema
        self._store = store
        self._access = access
        self._rules = rules
        self._operations = operations
        self.availability = Availability()

    def unbound(self, segment: Segment, call: Call) -> Response | None:
        """Runs an unbound operation; None when there is none of this name."""
        match segment.name:
            case "WhoAmI":
                self._method(call, "GET")
                return self._who_am_i(call)
            case "ApplyRoutingRule":
                self._method(call, "POST")
                arguments = payload.decode(call.body, call.headers.get("content-type", ""), segment.name)
                self._target(arguments.get("Target"), _QUEUED)
                return Response(204)
            case name if name == ACTION:
                self._method(call, "POST")
                arguments = payload.decode(call.body, call.headers.get("content-type", ""), name)
                return self.availability.answer(arguments, call, self._schema, self._store)
            case "AddToQueue":
                raise errors.segment_not_found(segment.name)
        return None

    def bound(self, table: Table, owner: Segment, name: str, call: Call) -> Response:
        """Runs an operation bound to a row. Raises DataverseError 400 for an unknown one."""
        if not name.startswith(NAMESPACE):
            if name in {"AddToQueue", "RetrieveUserPrivileges"}:
                raise errors.query("Request message has unresolved parameters.")
            raise errors.segment_not_found(name)
        operation = name.removeprefix(NAMESPACE)
        if table.logical == "queue" and operation == "AddToQueue":
            self._method(call, "POST")
            return self._add_to_queue(table, owner, call)
        if table.logical == "systemuser" and operation == "RetrieveUserPrivileges":
            self._method(call, "GET")
            self._operations.existing(table, owner.key or {})
            context = f"{call.root}$metadata#{NAMESPACE}RetrieveUserPrivilegesResponse"
            return answer({"@odata.context": context, "RolePrivileges": self._access.as_json()})
        raise errors.query(f"Resource not found for the segment '{name}'.")

    @staticmethod
    def _method(call: Call, method: str) -> None:
        if call.method != method:
            raise errors.method_not_allowed(call.method)

    @staticmethod
    def _who_am_i(call: Call) -> Response:
        return answer(
            {
                "@odata.context": f"{call.root}$metadata#{NAMESPACE}WhoAmIResponse",
                "BusinessUnitId": BUSINESS_UNIT_ID,
                "UserId": APPLICATION_USER_ID,
                "OrganizationId": ORGANIZATION_ID,
            },
            headers={"x-ms-dop-hint": _DOP_HINT},
        )

    def _add_to_queue(self, queues: Table, owner: Segment, call: Call) -> Response:
        """Queues a row, or moves its active queue item here.

        The parameters and privileges are those of Microsoft's page; that a repeat keeps the id of the
        queue item is the stand-in's choice.
        """
        arguments = payload.decode(call.body, call.headers.get("content-type", ""), "AddToQueue")
        unknown = set(arguments) - {"Target", "SourceQueue", "QueueItemProperties"}
        if unknown:
            text = f"The parameter '{min(unknown)}' in the request payload is not a valid parameter."
            raise errors.payload("AddToQueue", text)
        items = self._schema.table("queueitem")
        self._access.require(queues, "Read", "AppendTo")
        self._access.require(items, "Create", "Write", "Append")
        with self._store.transaction():
            queue_id, queue = self._operations.existing(queues, owner.key or {})
            target = self._target(arguments.get("Target"), _QUEUED)
            self._access.require(self._schema.table(target.table), "Read", "Append", "AppendTo")
            if queue.get("statecode") != 0:
                text = "You cannot add items to an inactive queue. Select another queue and try again."
                raise errors.DataverseError(400, "0x80040521", text)
            held = self._rules.open_item(target)
            source = arguments.get("SourceQueue")
            if source is not None:
                wanted = self._target(source, ("queue",))
                if held is None or held[1].get("queueid") != wanted:
                    text = "The object is not in the source queue."
                    raise errors.DataverseError(400, "0x80040524", text)
            properties = arguments.get("QueueItemProperties") or {}
            values = payload.read(items, properties).values
            payload.check(items, values)
            item_id = self._place(Ref("queue", queue_id), target, held, values)
        context = f"{call.root}$metadata#{NAMESPACE}AddToQueueResponse"
        return answer({"@odata.context": context, "QueueItemId": item_id})

    def _place(self, queue: Ref, target: Ref, held: tuple[str, dict[str, Any]] | None, values: dict[str, Any]) -> str:
        now = self._operations.now()
        if held is not None:
            item_id, row = held
            if row.get("queueid") != queue:
                # A case that changes queues has no worker there yet.
                moved = {"queueid": queue, "workerid": None, "enteredon": now, "modifiedon": now}
                self._store.put("queueitem", item_id, {**row, **values, **moved})
            return item_id
        item_id = str(uuid.uuid4())
        table = self._schema.table(target.table)
        queued = self._store.get(target.table, target.id) or {}
        me = Ref("systemuser", APPLICATION_USER_ID)
        row = {
            **values,
            "queueitemid": item_id,
            "queueid": queue,
            "objectid": target,
            "objecttypecode": table.code,
            "title": queued.get(table.name),
            "enteredon": now,
            "createdon": now,
            "modifiedon": now,
            "createdby": me,
            "modifiedby": me,
            "ownerid": me,
            "statecode": 0,
            "statuscode": 1,
        }
        self._store.put("queueitem", item_id, row)
        return item_id

    def _target(self, value: object, tables: tuple[str, ...]) -> Ref:
        """The row that an action's entity parameter names."""
        if not isinstance(value, dict):
            raise errors.invalid_argument("Required field 'Target' is missing or is no entity.")
        kind = value.get("@odata.type")
        missing = "EdmEntityObject passed should have the key property value set."
        if not isinstance(kind, str):
            raise errors.query(missing)
        logical = kind.removeprefix("#").removeprefix(NAMESPACE)
        table = self._schema.find(logical)
        if table is None or not kind.removeprefix("#").startswith(NAMESPACE):
            raise errors.query(f"A resource with the name '{kind}' was not found in the model.")
        if logical not in tables:
            raise errors.invalid_argument(f"Entity '{logical}' cannot be used here; use {' or '.join(tables)}.")
        row_id = value.get(table.id)
        if not isinstance(row_id, str) or not GUID.fullmatch(row_id):
            raise errors.query(missing)
        self._operations.existing(table, row_id.lower())
        return Ref(logical, row_id.lower())
