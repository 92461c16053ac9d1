"""One message, told twice: pushed by the webhook, and listed by GET messages.

Whether both spell it alike is not documented. Both are read by `shared.dynamics_messaging.activity`, so white space at
the ends, Markdown and files come out alike; what is left are entities, which one of them may have written.
"""

import html
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from shared.relay.cursor import short
from shared.relay.model import RepEntry
from shared.relay.words import entry_text


def as_known(listed: Iterable[RepEntry], known: Container[str]) -> list[RepEntry]:
    """Listed messages as they are, but in the spelling in which they are known already.

    Args:
        listed: from a listing.
        known: digests of the texts that were pushed or said, by `shared.relay.words.entry_text`.
    """
    return [next((each for each in _spellings(entry) if short(entry_text(each)) in known), entry) for entry in listed]


def _spellings(entry: RepEntry) -> Iterator[RepEntry]:
    """The entry as it is, with its entities resolved, and with such written into it."""
    yield entry
    yield replace(entry, text=html.unescape(entry.text))
    yield replace(entry, text=html.escape(entry.text, quote=False))
    yield replace(entry, text=html.escape(entry.text))
