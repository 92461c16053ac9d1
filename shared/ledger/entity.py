"""A record as a Table Storage entity, and back.

Limits: 64 KiB a property, 1 MiB an entity (Microsoft's page on the Table service data model).
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shared.handoff.model import LinkedContact, Notice, Outcome
from shared.handoff.record import LastError, Record

CHUNK_BYTES = 60 * 1024
CHUNKS_A_ROW = 11

FIELDS = (
    "PartitionKey",
    "RowKey",
    "HandoffId",
    "SessionId",
    "State",
    "Target",
    "Channel",
    "Attempts",
    "CreatedAt",
    "UpdatedAt",
    "DueAt",
    "CompletedAt",
    "Outcome",
    "ErrorCode",
    "ErrorMessage",
    "ErrorFix",
    "Token",
    "Write",
    "Marker",
    "PayloadRows",
    "PayloadKey",
)
"""Everything but the payload, which is read only when it is needed."""

PAYLOAD_FIELDS = tuple(f"P{number:02d}" for number in range(CHUNKS_A_ROW))


def to_entity(record: Record) -> dict[str, Any]:
    """The properties of a record, without keys and payload. None is written as an empty text, so a merge clears it."""
    error = record.last_error
    return {
        "HandoffId": record.handoff_id,
        "SessionId": record.session_id,
        "State": record.state,
        "Target": record.target,
        "Channel": record.channel or "",
        "Attempts": record.attempts,
        "CreatedAt": _text(record.created_at),
        "UpdatedAt": _text(record.updated_at),
        "DueAt": _text(record.due_at),
        "CompletedAt": _text(record.completed_at),
        "Outcome": json.dumps(asdict(record.outcome)) if record.outcome else "",
        "ErrorCode": error.code if error else "",
        "ErrorMessage": error.message if error else "",
        "ErrorFix": (error.fix or "") if error else "",
        "Token": record.token,
        "PayloadRows": record.payload_rows,
        "PayloadKey": record.payload_key,
    }


def from_entity(entity: Mapping[str, Any], *, version: str) -> Record:
    """The record that an entity holds; ``version`` is its ETag."""
    created = _time(entity["CreatedAt"])
    updated = _time(entity["UpdatedAt"])
    assert created is not None and updated is not None  # noqa: PT018 - written with every record
    error = LastError(entity["ErrorCode"], entity["ErrorMessage"], entity["ErrorFix"] or None)
    return Record(
        handoff_id=entity["HandoffId"],
        session_id=entity["SessionId"],
        state=entity["State"],
        target=entity["Target"],
        channel=entity["Channel"] or None,
        attempts=entity["Attempts"],
        created_at=created,
        updated_at=updated,
        due_at=_time(entity["DueAt"]),
        completed_at=_time(entity["CompletedAt"]),
        outcome=_outcome(entity["Outcome"]),
        last_error=error if error.code else None,
        token=entity["Token"],
        version=version,
        marker=entity["Marker"],
        payload_rows=entity["PayloadRows"],
        payload_key=entity["PayloadKey"],
    )


def payload_chunks(payload: bytes) -> list[dict[str, bytes]]:
    """The payload, compressed, as the binary properties of one row or several."""
    packed = gzip.compress(payload, compresslevel=6, mtime=0)
    chunks = [packed[start : start + CHUNK_BYTES] for start in range(0, len(packed), CHUNK_BYTES)]
    return [
        dict(zip(PAYLOAD_FIELDS, chunks[start : start + CHUNKS_A_ROW], strict=False))
        for start in range(0, len(chunks), CHUNKS_A_ROW)
    ]


def payload_bytes(rows: list[Mapping[str, Any]]) -> bytes:
    """The payload that rows hold. Raises OSError, EOFError or zlib.error when it is damaged."""
    packed = b"".join(bytes(row[name]) for row in rows for name in PAYLOAD_FIELDS if row.get(name))
    return gzip.decompress(packed)


def _outcome(text: str) -> Outcome | None:
    if not text:
        return None
    data = json.loads(text)
    contact = LinkedContact(**data.pop("contact"))
    warnings = tuple(Notice(**notice) for notice in data.pop("warnings"))
    return Outcome(**data, contact=contact, warnings=warnings)


def _text(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if moment else ""


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
