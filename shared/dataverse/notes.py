"""The transcript as notes (annotations) on a record's timeline: whole, in order, numbered.

Fact: annotation entity reference (subject 500, notetext 100,000). The timeline shows a note's text as HTML.
"""

import html

from shared.dataverse.rows import BIND, Row, bind
from shared.handoff.document import NOTE_LIMIT, Document
from shared.handoff.identity import record_id
from shared.handoff.text import size


def rows(document: Document, record: Row, *, environment: str, bind_name: str) -> tuple[Row, ...]:
    """One row a note. Escaping makes a text longer, so the notes are packed by what they become."""
    texts = document.notes()
    escaped = [html.escape(text, quote=False) for text in texts]
    if any(size(text) > NOTE_LIMIT for text in escaped):
        escaped = [html.escape(text, quote=False) for text in document.notes(NOTE_LIMIT // 5)]
    return tuple(
        Row(
            entity_set="annotations",
            logical_name="annotation",
            row_id=record_id(environment=environment, kind="annotation", handoff_id=record.row_id, part=number),
            columns={
                "subject": "Transcript" if len(escaped) == 1 else f"Transcript {number} of {len(escaped)}",
                "notetext": text,
                bind_name + BIND: bind(record.entity_set, record.row_id),
            },
        )
        for number, text in enumerate(escaped, start=1)
    )
