"""A customer's message as the activities that carry it: texts of 6,000 characters, and one for each file.

Files are attached by their address; Dynamics refuses them where the channel row does not allow files from customers,
and then the address is in the text (Microsoft's page "Send activity").
"""

import html
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.briefing import TEXT_UNITS
from shared.handoff.text import clean, cut, one_line, split
from shared.relay.model import CustomerMessage, File

NAME_MAX, TYPE_MAX = 256, 256
_ANY = "application/octet-stream"


@dataclass(frozen=True)
class Piece:
    """One activity of a message.

    Attributes:
        id: the message's, with a number when there are several.
        text: what it says; of a file, what says the same without an attachment.
        file: what it attaches.
    """

    id: str
    text: str
    file: File | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return _name(self.file) if self.file else ""

    def activity(self, *, sender: Mapping[str, str], as_link: bool = False) -> dict[str, Any]:
        """The activity; with ``as_link`` a file's address is in the text."""
        base = {"type": "message", "id": self.id, "from": dict(sender)}
        if self.file is None or as_link:
            return {**base, "text": self.text}
        kind = self.file.content_type or mimetypes.guess_type(self.name)[0] or _ANY
        attached = {"contentType": cut(kind, TYPE_MAX), "contentUrl": self.file.url, "name": self.name}
        return {**base, "attachments": [attached]}

    def is_in(self, activity: Activity) -> bool:
        """Whether a listed message is this piece, as far as its words tell."""
        if self.file is not None and any(file.name == self.name for file in activity.files):
            return True
        return not activity.files and same(activity.text) == same(self.text)


def pieces(message: CustomerMessage) -> list[Piece]:
    """The activities of a message, in order; none when it says nothing."""
    texts = [text for text in split(clean(message.text), TEXT_UNITS) if text.strip()]
    found: list[tuple[str, File | None]] = [(text, None) for text in texts]
    for file in message.files:
        is_reachable = (file.url or "").startswith("https://")
        said = f"{_name(file)}: {file.url}" if file.url else f"[{_name(file)}]"
        found.append((cut(said, TEXT_UNITS), file if is_reachable else None))
    if len(found) == 1:
        return [Piece(cut(message.id, NAME_MAX), *found[0])]
    return [Piece(cut(f"{message.id}-{place}", NAME_MAX), *each) for place, each in enumerate(found, start=1)]


def same(text: str) -> str:
    """What two texts are compared by: letters and digits, whatever Dynamics does to spaces, marks and entities."""
    plain = html.unescape(clean(text))
    bare = "".join(character for character in plain.casefold() if character.isalnum())
    return bare or "".join(plain.split())


def _name(file: File | None) -> str:
    named = file.name or (file.url or "").partition("?")[0].rpartition("/")[2] if file else ""
    return cut(one_line(named or "file"), NAME_MAX)
