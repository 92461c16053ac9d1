"""Ways to break the service, each a patch: whoever judges it must see it."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from shared.dataverse import contacts, incidents, live_work_items, notes
from shared.dataverse.batch import Operation
from shared.dataverse.rows import Row
from shared.errors import ConfigurationFault
from shared.handoff.attempt import Answer, Attempt
from shared.handoff.gate import Admission, Gate
from shared.handoff.model import Outcome
from shared.handoff.record import COMPLETED, Record
from shared.ledger import keys
from shared.ledger.ledger import TableLedger

type Mutation = Callable[[], AbstractContextManager[Any]]


def no_if_none_match() -> AbstractContextManager[Any]:
    """Rows are upserted: a repeat overwrites."""
    create = property(lambda row: Operation("PATCH", f"{row.entity_set}({row.row_id})", row.columns))
    return patch.object(Row, "create", create)


@contextmanager
def random_ids() -> Iterator[None]:
    """Ids are drawn, not derived."""
    with (
        patch.object(incidents, "record_id", _random),
        patch.object(live_work_items, "record_id", _random),
        patch.object(notes, "record_id", _random),
        patch.object(contacts, "contact_id", _random),
    ):
        yield


def last_write_wins() -> AbstractContextManager[Any]:
    """The ledger writes over whatever stands.

    Leaving out the ETag alone is not enough: the marker that is deleted with each change is a second condition.
    """
    original = TableLedger.change

    def change(ledger: TableLedger, record: Record, *, payload: bytes | None = None) -> Record | None:
        now = ledger.get(record.handoff_id) or record
        record = replace(record, version=now.version, marker=now.marker, payload_rows=now.payload_rows)
        return original(ledger, record, payload=payload)

    return patch.object(TableLedger, "change", change)


@contextmanager
def stored_late() -> Iterator[None]:
    """The handoff is stored after it was delivered, not before."""
    really_open, deliver = TableLedger.open, Attempt._deliver
    kept: dict[str, Callable[[], object]] = {}

    def open_(ledger: TableLedger, record: Record, payload: bytes) -> tuple[Record, bool]:
        if ledger.get(record.handoff_id) is not None:
            return really_open(ledger, record, payload)
        kept[record.handoff_id] = lambda: really_open(ledger, record, payload)
        return replace(record, version='W/"0"'), True

    def then_store(attempt: Attempt, record: Record, *rest: Any, **more: Any) -> Outcome:
        outcome = deliver(attempt, record, *rest, **more)
        kept.pop(record.handoff_id, lambda: None)()
        return outcome

    with patch.object(TableLedger, "open", open_), patch.object(Attempt, "_deliver", then_store):
        yield


def payload_kept() -> AbstractContextManager[Any]:
    """The customer's text stays in the ledger after the handoff is completed."""
    original = TableLedger.change

    def change(ledger: TableLedger, record: Record, *, payload: bytes | None = None) -> Record | None:
        stored = original(ledger, record, payload=payload)
        if stored is not None and stored.state == COMPLETED:
            key = keys.digest(record.handoff_id)
            row = {"PartitionKey": keys.shard(key), "RowKey": keys.payload_row(key, "kept", 1), "P00": b"text"}
            ledger._table.transact([("upsert", row)])
        return stored

    return patch.object(TableLedger, "change", change)


def lease_ignored() -> AbstractContextManager[Any]:
    """A handoff that is being tried is taken by whoever comes."""
    return patch.object(Record, "is_leased", lambda _record, _now: False)


def no_marker() -> AbstractContextManager[Any]:
    """A handoff that waits is not in the list of what is due."""
    original = keys.marker

    def marker(record: Record) -> str:
        return original(replace(record, due_at=None)).replace("d:", "x:") if record.due_at else original(record)

    return patch.object(keys, "marker", marker)


def no_probe() -> AbstractContextManager[Any]:
    """A closed gate never opens."""
    return patch.object(Gate, "succeeded", lambda _gate, _system: None)


def every_handoff_probes() -> AbstractContextManager[Any]:
    """A closed gate lets everybody through."""
    return patch.object(Gate, "admit", lambda _gate, _system: Admission(is_open=True))


def attempts_counted() -> AbstractContextManager[Any]:
    """Waiting for an administrator uses up attempts."""
    original = Attempt._wait

    def wait(attempt: Attempt, record: Record, fault: ConfigurationFault) -> Answer:
        return original(attempt, replace(record, attempts=record.attempts + 2), fault)

    return patch.object(Attempt, "_wait", wait)


def transcript_cut() -> AbstractContextManager[Any]:
    """Only the first note is written."""
    original = notes.rows

    def rows(*args: Any, **options: Any) -> tuple[Row, ...]:
        return original(*args, **options)[:1]

    return patch.object(notes, "rows", rows)


def _random(**_: object) -> str:
    return str(uuid.uuid4())
