"""What the rep is told at the start: one start message, and the older messages in parts, with nothing lost.

Facts: Microsoft's pages "Create conversation" (a start message holds 27 KB, and is shown to the representative alone)
and "Send activity" (a message's text holds 6,000 characters). The start message is processed when the conversation is
made, so the parts can only follow it.

Each text begins with a line of its own, such as ``OpenCX handoff 3f9a1c2b-77e0, part 2 of 5``: by it we know our own
texts again, and a repeat knows which of them are there. The digits after the dash change when the text changes: a
transcript that has grown between two tries is told again as a whole, rather than with a hole.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.dynamics_messaging.names import reference
from shared.handoff.document import Document
from shared.handoff.text import clean, size, split
from shared.relay.model import digest

START_BYTES = 27_000
"""Of 27 KB, in UTF-8."""
TEXT_UNITS = 6_000
"""Of one message, in UTF-16 units, as .NET counts."""
HEADER_BYTES = 9_000
"""What the header may take of the start message; the rest of a longer one goes into the parts."""

_LABEL_UNITS = 120
_LABEL_BYTES = 200
_START = "start"
_PART = "part"
_LABEL = re.compile(r"OpenCX handoff ([0-9a-f]{8})-([0-9a-f]{4})(?:, (start|part) (\d{1,4}) of (\d{1,4}))?(?!\w)")
_WITHIN = 200


@dataclass(frozen=True)
class Briefing:
    """The texts of one handoff.

    Attributes:
        start: the start message.
        parts: the older messages, to be sent in this order after it.
        again: the start message as ordinary messages, for a conversation that did not take it.
    """

    start: str
    parts: tuple[str, ...]
    again: tuple[str, ...]

    def missing(self, listed: Iterable[str]) -> list[str]:
        """What has to be sent to a conversation that has these texts."""
        there = {label for label in map(_label, listed) if label}
        start = () if _label(self.start) in there else self.again
        return [text for text in (*start, *self.parts) if _label(text) not in there]


def briefing(document: Document, *, handoff_id: str) -> Briefing:
    """The texts of a handoff."""
    name = f"OpenCX handoff {reference(handoff_id)}-{digest(document.whole)[:4]}"
    header, header_rest = _divided(clean(document.header), HEADER_BYTES)
    turns = [clean(turn) for turn in document.turns]
    room = START_BYTES - _LABEL_BYTES - 2 * _LABEL_BYTES - _bytes(header)
    newest = _newest(turns, room)
    older = turns[: len(turns) - newest]
    bodies = _packed([*(header_rest.split("\n") if header_rest else []), *older], TEXT_UNITS - _LABEL_UNITS)
    start = "\n".join([name, header, *_heading(len(turns), newest, len(bodies)), *turns[len(older) :]])
    return Briefing(start, _labelled(name, _PART, bodies), _again(name, start))


def is_ours(text: str, handoff_id: str) -> bool:
    """Whether a text is one of this handoff's, whatever its version."""
    found = _LABEL.search(text[:_WITHIN])
    return found is not None and found[1] == reference(handoff_id)


def _again(name: str, start: str) -> tuple[str, ...]:
    body = start.removeprefix(f"{name}\n")
    return _labelled(name, _START, _packed(body.split("\n"), TEXT_UNITS - _LABEL_UNITS))


def _label(text: str) -> str | None:
    found = _LABEL.search(text[:_WITHIN])
    return found[0] if found else None


def _heading(count: int, shown: int, parts: int) -> list[str]:
    """What stands between header and messages, and says where the rest is."""
    if not count and not parts:
        return []
    where = f"in the {_count(parts, 'message')} from the AI assistant after this one"
    if not count:
        return ["", f"The rest of these details is {where}."]
    if shown == count:
        rest = [f"The rest of the details is {where}."] if parts else []
        return ["", *rest, f"Transcript ({_count(count, 'message')}, times in UTC)"]
    older = _count(count - shown, "older message")
    if not shown:
        return ["", f"The transcript ({_count(count, 'message')}, times in UTC) is {where}."]
    return ["", f"Transcript (the last {shown} of {count} messages, times in UTC; the {older} {where})"]


def _newest(turns: Sequence[str], room: int) -> int:
    """How many of the newest turns fit, each whole."""
    count = 0
    for turn in reversed(turns):
        room -= _bytes(turn) + 1
        if room < 0:
            break
        count += 1
    return count


def _divided(text: str, limit: int) -> tuple[str, str]:
    """The text's first lines that fit into so many bytes, and the rest; one over-long line is split."""
    if _bytes(text) <= limit:
        return text, ""
    kept, used = 0, 0
    lines = text.split("\n")
    for line in lines:
        used += _bytes(line) + 1
        if used > limit:
            break
        kept += 1
    if kept:
        return "\n".join(lines[:kept]), "\n".join(lines[kept:])
    first, *others = split(text, limit // 4)  # four bytes a character at most
    return first, "".join(others)


def _packed(blocks: Sequence[str], limit: int) -> list[str]:
    """The blocks joined by line breaks into as few texts as possible; only an over-long block is split."""
    texts: list[str] = []
    current: list[str] = []
    used = 0
    for block in blocks:
        for piece in split(block, limit):
            needed = size(piece) + 1
            if current and used + needed > limit:
                texts.append("\n".join(current))
                current, used = [], 0
            current.append(piece)
            used += needed
    return [*texts, "\n".join(current)] if current else texts


def _labelled(name: str, kind: str, bodies: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}, {kind} {place} of {len(bodies)}\n{body}" for place, body in enumerate(bodies, start=1))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
