"""Where a handoff lives: its partition, its row, and the one marker row beside it.

Partition = one of 16 shards of the handoff id's digest. In it, for each handoff:

=================================  ======================================================================
``h:<digest>``                     the record; stays until it is purged
``p:<digest>:<payload>:<n>``       more of the payload, when the record's own row cannot hold it
``d:<due time>:<digest>``          waiting or being tried: what is due is a range of keys
``f:<newest first>:<digest>``      failed: the list for operators
``c:<newest first>:<digest>``      completed: the list, and the range that is old enough to purge
=================================  ======================================================================

A record has exactly one marker, changed in one entity group transaction with it, so the two cannot disagree.
"""

import hashlib
from datetime import UTC, datetime

from shared.handoff.record import COMPLETED, FAILED, Record

SHARDS = tuple(f"{number:02x}" for number in range(16))
WAITING, FAILED_LIST, COMPLETED_LIST = "d", "f", "c"

_END_OF_TIME = 10**16
"""More microseconds than any date has since 1970; subtracting from it turns the order of keys round."""


def digest(handoff_id: str) -> str:
    """The id as a key: ids may hold characters that keys must not."""
    return hashlib.sha256(handoff_id.encode("utf-8", "surrogatepass")).hexdigest()


def shard(digest_: str) -> str:
    """The partition of a digest."""
    return f"{int(digest_[:2], 16) % len(SHARDS):02x}"


def record_row(digest_: str) -> str:
    """The row key of the record."""
    return f"h:{digest_}"


def payload_row(digest_: str, payload_key: str, number: int) -> str:
    """The row key of the ``number``-th further part of one payload: parts of two payloads are never mixed."""
    return f"{payload_rows(digest_)}{payload_key}:{number:02d}"


def payload_rows(digest_: str) -> str:
    """What the keys of all further parts of a handoff's payloads begin with."""
    return f"p:{digest_}:"


def marker(record: Record) -> str:
    """The row key of the record's marker, as its state wants it."""
    key = digest(record.handoff_id)
    if record.state == COMPLETED:
        return f"{COMPLETED_LIST}:{newest_first(record.updated_at)}:{key}"
    if record.state == FAILED:
        return f"{FAILED_LIST}:{newest_first(record.updated_at)}:{key}"
    return f"{WAITING}:{oldest_first(record.due_at or record.updated_at)}:{key}"


def oldest_first(moment: datetime) -> str:
    """A time as a key that sorts like the time."""
    return f"{_microseconds(moment):016d}"


def newest_first(moment: datetime) -> str:
    """A time as a key that sorts the other way round."""
    return f"{_END_OF_TIME - _microseconds(moment):016d}"


def _microseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
