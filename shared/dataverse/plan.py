"""What to write for one handoff: the record, its contact, its text; and how the text moves when it does not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.dataverse import notes
from shared.dataverse.rows import Row, Spare, Tier
from shared.handoff.document import Document


@dataclass(frozen=True)
class TextPlace:
    """Where a record keeps a handoff's text.

    Attributes:
        description: the column for it; None: there is none.
        limit: what that column holds, in UTF-16 units.
        note_bind: the navigation property with which a note points at the record; None: it takes no notes.
        in_notes: the sentence that tells a rep to look there.
    """

    description: str | None
    limit: int
    note_bind: str | None
    in_notes: str


@dataclass(frozen=True)
class Plan:
    """The rows of one round trip.

    Attributes:
        record: the incident or live work item.
        contact: the contact to create, or None when it is there already.
        contact_id: the contact that the record points at.
        notes: the transcript's notes.
        children: further rows of the record; they may be left out together.
        queue_id: the queue for the record, and where that was said.
        select: the columns to read back; none: the record is not read.
        refusals: how often something had to be left out.
    """

    record: Row
    document: Document
    place: TextPlace
    environment: str
    contact: Row | None = None
    contact_id: str | None = None
    notes: tuple[Row, ...] = ()
    children: tuple[Row, ...] = ()
    queue_id: str | None = None
    queue_source: str = "DEFAULT_QUEUE_ID"
    select: tuple[str, ...] = ()
    refusals: int = 0

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order in which they can point at each other."""
        return (*((self.contact,) if self.contact else ()), self.record, *self.notes, *self.children)

    @property
    def loses_text(self) -> bool:
        """Whether a rep cannot read the whole conversation in what is written."""
        written = self.record.columns.get(self.place.description or "")
        return not self.notes and written != self.document.whole

    def fitted(self, limit: int) -> "Plan":
        """The plan for a description of that length: what does not fit goes whole into notes; nothing is cut.

        Only where there are no notes the description holds the newest messages, and says so.
        """
        place = replace(self.place, limit=limit)
        whole = self.document.description(limit) if place.description else None
        made: tuple[Row, ...] = ()
        if whole is None and place.note_bind:
            made = notes.rows(self.document, self.record, environment=self.environment, bind_name=place.note_bind)
        record = self.record
        if place.description:
            text = whole or (
                self.document.opening(limit, where=place.in_notes) if made else self.document.newest(limit)
            )
            record = record.with_column(place.description, text, Spare("the description", Tier.TEXT))
        return replace(self, place=place, record=record, notes=made)

    def without_notes(self) -> "Plan":
        """The plan for a record that takes no notes."""
        return replace(self, place=replace(self.place, note_bind=None)).fitted(self.place.limit)

    def without_description(self) -> "Plan":
        """The plan for a record whose description is refused: the text goes into notes."""
        bare = replace(self, place=replace(self.place, description=None))
        return replace(bare, record=self.record.without(self.place.description or "")).fitted(self.place.limit)


class Columns:
    """Collects a row's columns with what each comes from."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {}
        self.spare: dict[str, Spare] = {}

    def put(self, name: str | None, value: Any, source: str, tier: Tier, *, may_be_cut: bool = True) -> None:
        """Write a column, unless it has no name or no value."""
        if name and value is not None:
            self.columns[name] = value
            self.spare[name] = Spare(source, tier, may_be_cut)

    def put_all(self, values: Mapping[str, Any], source: str, tier: Tier) -> None:
        """Write several columns of one source."""
        for name, value in values.items():
            self.columns[name] = value
            self.spare[name] = Spare(source, tier)
