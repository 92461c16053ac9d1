"""What finding due work costs, beside few and beside many completed records."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any

import requests

from shared.app import Application
from shared.handoff.record import COMPLETED, RETRYING, Record
from shared.ledger import keys
from shared.ledger.entity import to_entity
from tests.faults.oracle import WRONG, Finding
from tests.faults.report import Result
from tests.faults.wire import TABLES, Call
from tests.faults.world import World

DUE = 20
LOOKS = 9
A_TRANSACTION = 50
LIMIT = 64


@dataclass
class Cost:
    """Of one look: requests sent, entities read; wall seconds on the emulator (median)."""

    requests: float
    entities: float
    seconds: float


def run(world: World, *, few: int, many: int) -> Result:
    """The same look at the same due handoffs, beside ``few`` and then beside ``many`` completed ones."""
    result = Result("cost of due work")
    world.reset()
    app = world.application()
    _fill(world, 0, DUE, state=RETRYING)
    _fill(world, 0, few, state=COMPLETED)
    small = _look(world, app)
    _fill(world, few, many, state=COMPLETED)
    large = _look(world, app)
    result.cases = few + many
    for name in ("requests", "entities"):
        before, after = getattr(small, name), getattr(large, name)
        if after > before:
            result.findings.append(("ledger", Finding(WRONG, "-", f"{name} grew from {before} to {after}")))
    return result.done(
        f"beside {few:,} → {many:,} completed: {small.requests:g} → {large.requests:g} requests, "
        f"{small.entities:g} → {large.entities:g} entities; on Azurite, which has no clustered index, "
        f"{small.seconds * 1000:.0f} → {large.seconds * 1000:.0f} ms"
    )


def _look(world: World, app: Application) -> Cost:
    """`due` as the timer asks for it, several times."""
    counts: list[int] = []
    entities: list[int] = []

    def counted(call: Call) -> requests.Response:
        response = call.work()
        entities.append(len(json.loads(response.content).get("value", [])))
        return response

    seconds = []
    for _ in range(LOOKS):
        world.wire.begin(lambda call: counted if call.system == TABLES else None)
        began = perf_counter()
        found = app.ledger.due(now=world.clock.now(), limit=LIMIT)
        seconds.append(perf_counter() - began)
        counts.append(len(world.wire.trace))
        assert len(found) == DUE, f"{len(found)} due handoffs found of {DUE}"
    world.wire.clear()
    return Cost(median(counts), sum(entities) / LOOKS, median(seconds))


def _fill(world: World, first: int, last: int, *, state: str) -> None:
    """Records with their markers, put in by entity group transactions."""
    with world.wire.silence():
        table = world.table()
        shards: dict[str, list[tuple[str, dict[str, Any]]]] = {name: [] for name in keys.SHARDS}
        for partition, rows in _rows(world, first, last, state):
            waiting = shards[partition]
            waiting += [("upsert", row) for row in rows]
            if len(waiting) >= 2 * A_TRANSACTION:
                table.submit_transaction(waiting)
                waiting.clear()
        for waiting in shards.values():
            if waiting:
                table.submit_transaction(waiting)


def _rows(world: World, first: int, last: int, state: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for number in range(first, last):
        moment = datetime.fromtimestamp(world.clock.time() - 1000 - number, UTC)
        record = Record(
            handoff_id=f"{state}-{number}",
            session_id=f"{state}-{number}",
            state=state,
            target="dynamics365",
            channel="web",
            attempts=1,
            created_at=moment,
            updated_at=moment,
            due_at=moment if state == RETRYING else None,
            token=uuid.uuid4().hex,
        )
        key = keys.digest(record.handoff_id)
        partition = keys.shard(key)
        marker = {
            "PartitionKey": partition,
            "RowKey": keys.marker(record),
            "State": state,
            "Target": record.target,
            "CreatedAt": moment.isoformat(),
        }
        row = {
            "PartitionKey": partition,
            "RowKey": keys.record_row(key),
            **to_entity(record),
            "Write": uuid.uuid4().hex,
            "Marker": marker["RowKey"],
        }
        yield partition, [row, marker]
