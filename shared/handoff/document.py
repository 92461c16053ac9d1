"""What a rep reads: title, header, transcript; fitted into the columns that the target has, with nothing cut away.

The title's form and the header's labels are OpenCX's (docs: Conversations in Dynamics 365).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from shared.handoff import transcript
from shared.handoff.model import Contact, Handoff
from shared.handoff.text import clean, cut, one_line, size, split

NOTE_LIMIT = 100_000
"""UTF-16 units that a note's text holds (annotation.notetext)."""

_MAX_CUSTOM = 50


@dataclass(frozen=True)
class Document:
    """A handoff as text: the header lines and one block a turn of the transcript."""

    title: str
    header: str
    turns: tuple[str, ...]

    @property
    def whole(self) -> str:
        """Header and transcript in one text."""
        heading = f"\n\nTranscript ({_messages(len(self.turns))}, times in UTC)\n" if self.turns else ""
        return self.header + heading + "\n".join(self.turns)

    def description(self, limit: int) -> str | None:
        """The whole text if it fits into ``limit`` UTF-16 units, else None."""
        return self.whole if size(self.whole) <= limit else None

    def opening(self, limit: int, *, where: str) -> str:
        """The header and a sentence that says where the whole text is, within ``limit`` UTF-16 units."""
        what = f"The transcript ({_messages(len(self.turns))})" if self.turns else "The text"
        notice = f"\n\n{what} is too long for this field. {where}"
        return cut(cut(self.header, max(1, limit - size(notice))) + notice, limit)

    def notes(self, limit: int = NOTE_LIMIT) -> list[str]:
        """The whole text in notes of at most ``limit`` UTF-16 units, in order, nothing lost."""
        return list(_packed([self.header + "\n", *self.turns], limit))

    def newest(self, limit: int) -> str:
        """The header and the newest messages that fit: for a target that takes no notes. Says what is missing."""
        if not self.turns:
            return cut(self.header, limit)
        kept: list[str] = []
        header = cut(self.header, max(1, limit // 2))
        room = limit - size(header) - 120
        for block in reversed(self.turns):
            room -= size(block) + 1
            if room < 0:
                break
            kept.insert(0, block)
        heading = f"\n\nTranscript (the last {len(kept)} of {_messages(len(self.turns))}, times in UTC)\n"
        return cut(header + heading + "\n".join(kept), limit)


def document(handoff: Handoff, *, channel: str) -> Document:
    """The text of a handoff."""
    return Document(
        title=title(handoff, channel=channel),
        header="\n".join(_header(handoff, channel)),
        turns=tuple(transcript.lines(handoff.transcript or ())),
    )


def title(handoff: Handoff, *, channel: str, limit: int = 200) -> str:
    """``<classification> - <name or e-mail>``; a caller's phone number stands before the e-mail."""
    contact = handoff.contact
    second = (contact.phone, contact.email) if channel == "phone" else (contact.email, contact.phone)
    who = next((text for text in (contact.name, *second) if text), "Anonymous")
    return cut(f"{one_line(handoff.classification or '') or 'Support'} - {one_line(who)}", limit)


def subject(handoff: Handoff, *, channel: str, limit: int) -> str:
    """A chat's subject: the AI's summary on one line, else the title."""
    return cut(one_line(handoff.summary or "") or title(handoff, channel=channel), limit)


def context(handoff: Handoff, *, channel: str) -> dict[str, str]:
    """The context variables of a chat: ``sessionId``, ``channel`` and what else is known, as text."""
    known = {
        "sessionId": handoff.session_id,
        "channel": channel,
        "handoffId": handoff.handoff_id if handoff.handoff_id != handoff.session_id else None,
        "classification": handoff.classification,
        "sentiment": handoff.sentiment,
        "reason": handoff.reason,
        "language": handoff.language,
        "ticketNumber": handoff.ticket_number,
        "sessionUrl": handoff.session_url,
        "externalId": handoff.contact.external_id,
    }
    return {name: one_line(value) for name, value in known.items() if value}


def _header(handoff: Handoff, channel: str) -> Iterator[str]:
    contact = handoff.contact
    yield f"Channel: {one_line(channel)}"
    facts = (
        ("Summary", handoff.summary),
        ("Classification", handoff.classification),
        ("Sentiment", handoff.sentiment),
        ("Reason", handoff.reason),
        ("Language", handoff.language),
    )
    yield from (f"{label}: {one_line(value)}" for label, value in facts if value)
    yield ""
    yield "Customer Details"
    yield from _customer(contact)
    yield ""
    yield f"Session: {handoff.session_id}"
    more = (
        ("Handoff", handoff.handoff_id if handoff.handoff_id != handoff.session_id else None),
        ("OpenCX ticket", handoff.ticket_number),
        ("Organization", handoff.organization_id),
        ("Link", handoff.session_url),
    )
    yield from (f"{label}: {one_line(value)}" for label, value in more if value)
    for name, value in itertools.islice(handoff.custom_data.items(), _MAX_CUSTOM):
        if isinstance(value, str | int | float) and str(value).strip():
            yield f"{one_line(str(name))[:100]}: {one_line(str(value))[:500]}"


def _customer(contact: Contact) -> Iterator[str]:
    if contact.is_empty:
        yield "Nothing is known of the customer."
    for label, value in (
        ("Name", contact.name),
        ("Email", contact.email),
        ("Phone", contact.phone),
        ("External id", contact.external_id),
    ):
        if value:
            yield f"{label}: {one_line(value)}"
    if contact.verified is not None and not contact.is_empty:
        yield f"Identity: {'verified' if contact.verified else 'not verified'}"


def _packed(blocks: list[str], limit: int) -> Iterator[str]:
    """The blocks joined by line breaks into as few texts as possible; only an over-long block is split."""
    current: list[str] = []
    used = 0
    for block in blocks:
        for piece in split(clean(block), limit):
            needed = size(piece) + 1
            if current and used + needed > limit:
                yield "\n".join(current)
                current, used = [], 0
            current.append(piece)
            used += needed
    yield "\n".join(current)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
