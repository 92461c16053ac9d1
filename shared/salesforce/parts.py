"""A handoff as messages that a rep reads in the chat: few, labelled, in order, none longer than Salesforce takes.

Facts: 22 messages a minute and conversation; no limit of a text's length is documented, 4,000 characters (and 8 KB of
body) are what live clients keep to; an address at the start or end of a message becomes an entry of its own.
"""

import collections
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.handoff.document import Document
from shared.handoff.model import Handoff
from shared.handoff.text import clean, cut, one_line, size
from shared.salesforce.ids import digest

MOST_PARTS = 18
"""Messages a handoff; what is left of the minute's 22 is the customer's."""
LIMIT = 4000
"""UTF-16 units of a message, label included."""
LIMIT_BYTES = 6400
"""Bytes of a message as JSON: 8 KB, less the rest of the body with its routing attributes."""
NEWEST_PARTS = 3
"""Messages with the newest part of a transcript that is whole in a file."""
FILE_NAME = "transcript.txt"
HEADING = "Transcript (times in UTC)"
"""Without the number of messages: a transcript that has grown meanwhile begins as before, and is not sent anew."""

_ADDRESS = re.compile(r"(?i)[(\[<\"']*(?:[a-z][a-z0-9+.-]*://|www\.)\S+|\S*\w\.[a-z]{2,}\S*")
_BREAK = re.compile(r"\s(?=\S*\Z)")
_LOOK_BACK = 300
_RESERVE = 60


@dataclass(frozen=True)
class Part:
    """One message. ``name`` is what its id derives from: the same text in the same place is the same message."""

    name: str
    text: str


def label(handoff: Handoff) -> str:
    """What every part begins with: whose conversation it is, for it all shows as written by the customer."""
    phone = f", phone {one_line(handoff.contact.phone)}" if handoff.contact.phone else ""
    return f"AI conversation (OpenCX session {cut(one_line(handoff.session_id), 128)}{cut(phone, 60)})"


def whole(document: Document, label: str) -> list[Part] | None:
    """Header and transcript: one message where that is enough, else the header by itself. None: it is too long."""
    limit = _room(label)
    if weight(document.whole) <= limit:
        return _labelled("whole", [document.whole], label)
    blocks = itertools.chain(_packed(document.header.split("\n"), limit), _transcript(document, limit))
    bodies = list(itertools.islice(blocks, MOST_PARTS + 1))
    return _labelled("whole", bodies, label) if len(bodies) <= MOST_PARTS else None


def newest(document: Document, label: str, *, most: int, where: str) -> list[Part]:
    """The header and the newest part of the transcript, in at most so many messages.

    Args:
        document: the handoff as text.
        label: what every part begins with.
        most: how many messages.
        where: says where the rest is, or that it is nowhere.
    """
    limit = _room(label)
    kept = collections.deque(_transcript(document, limit), maxlen=most - 1)
    notice = f"\n\n{where}"
    header = _prefix(document.header, limit - weight(notice) - 2)
    header += "…" if header != document.header else ""
    return _labelled(f"newest{most}", [header + notice, *kept], label)


def text_files(document: Document, *, limit_bytes: int) -> list[tuple[str, bytes]]:
    """The whole text as files of at most so many bytes, by name."""
    pieces = _cut_bytes(document.whole.encode("utf-8"), limit_bytes)
    if len(pieces) == 1:
        return [(FILE_NAME, pieces[0])]
    stem, _, ending = FILE_NAME.partition(".")
    return [(f"{stem}-{number}.{ending}", piece) for number, piece in enumerate(pieces, 1)]


def split(text: str, limit: int = LIMIT) -> list[str]:
    """A text in pieces of at most that weight, cut at white space where there is some; nothing is lost."""
    pieces = []
    start = 0
    while len(text) - start > limit or weight(text[start:]) > limit:
        head = _prefix(text[start : start + limit], limit)
        found = _BREAK.search(head, max(0, len(head) - _LOOK_BACK)) if len(head) > _LOOK_BACK else None
        end = found.end() if found else len(head)
        pieces.append(head[:end])
        start += end
    pieces.append(text[start:])
    return pieces


def weight(text: str) -> int:
    """The length by the stricter of the two limits, in units of `LIMIT`."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return len(text)
    encoded = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return max(size(text), math.ceil(encoded * LIMIT / LIMIT_BYTES))


def ends_with_address(text: str) -> bool:
    """Whether the last word is an address, which Salesforce would cut off."""
    words = text[-2000:].split()
    return bool(words) and _ADDRESS.fullmatch(words[-1]) is not None


def _room(label: str) -> int:
    return LIMIT - weight(label) - _RESERVE


def _transcript(document: Document, limit: int) -> Iterator[str]:
    if not document.turns:
        return
    yield from _packed([HEADING, *document.turns], limit)


def _packed(blocks: list[str], limit: int) -> Iterator[str]:
    """The blocks in as few texts as possible, in order; only one that is longer than a text is cut."""
    current: list[str] = []
    used = 0
    for block in blocks:
        for piece in split(clean(block), limit):
            needed = weight(piece) + 2  # a line break is two bytes of JSON
            if current and used + needed > limit:
                yield "\n".join(current)
                current, used = [], 0
            current.append(piece)
            used += needed
    if current:
        yield "\n".join(current)


def _labelled(plan: str, bodies: list[str], label: str) -> list[Part]:
    parts = []
    for number, body in enumerate(bodies, 1):
        which = f", part {number} of {len(bodies)}" if len(bodies) > 1 else ""
        text = f"--- {label}{which} ---\n{body}"
        if ends_with_address(text):
            text += f"\n(end of part {number})" if which else "\n(end)"
        parts.append(Part(f"{plan}:{number}:{digest(body)}", text))
    return parts


def _prefix(text: str, limit: int) -> str:
    """As much of the text as weighs no more than the limit, at least one character."""
    if weight(text) <= limit:
        return text
    least, most = 1, min(len(text), max(1, limit))
    while least < most:
        middle = (least + most + 1) // 2
        if weight(text[:middle]) <= limit:
            least = middle
        else:
            most = middle - 1
    return text[:least]


def _cut_bytes(data: bytes, limit: int) -> list[bytes]:
    """UTF-8 in pieces, cut at line ends where that can be, else between characters."""
    pieces = []
    while len(data) > limit:
        end = data.rfind(b"\n", 1, limit) + 1
        if end == 0:
            end = limit
            while end > 1 and data[end] & 0xC0 == 0x80:
                end -= 1
        pieces.append(data[:end])
        data = data[end:]
    pieces.append(data)
    return pieces
