"""The transcript: its order, its speakers, and how it reads to a rep."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from shared.handoff.model import AGENT, AI, CUSTOMER, SYSTEM, Turn
from shared.handoff.text import clean, one_line

_ROLES = {
    "contact": CUSTOMER,
    "user": CUSTOMER,
    "customer": CUSTOMER,
    "visitor": CUSTOMER,
    "caller": CUSTOMER,
    "ai": AI,
    "assistant": AI,
    "bot": AI,
    "human_agent": AGENT,
    "agent": AGENT,
    "human": AGENT,
    "system": SYSTEM,
}
_LABELS = {CUSTOMER: "Customer", AI: "AI", AGENT: "Agent", SYSTEM: "System"}
_START = datetime.min.replace(tzinfo=UTC)


def role_of(word: str) -> str:
    """Our role for a sender type of OpenCX (``contact``, ``ai``, ``human_agent``) or of a flat transcript."""
    return _ROLES.get(word.strip().lower(), word)


def in_order(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns by time; equal times, and turns without one, stay behind the turn before them."""
    last = _START
    keyed = []
    for turn in turns:
        last = turn.at or last
        keyed.append((last, turn))
    return tuple(turn for _, turn in sorted(keyed, key=lambda pair: pair[0]))


def speaker(turn: Turn) -> str:
    """Who says this turn: the person's name where it is known, else the role."""
    label = _LABELS.get(turn.role) or one_line(turn.role).title()[:40] or "Unknown"
    name = one_line(turn.name)[:100] if turn.name else ""
    if not name or turn.role == AI:
        return label
    return name if turn.role == CUSTOMER else f"{name} ({label})"


def lines(turns: Sequence[Turn]) -> list[str]:
    """One block a turn, such as ``[2026-01-31 09:30:00] Customer: Hello``, times in UTC.

    Further lines of one message are indented: nobody can write a line that looks like another's turn.
    """
    return [_line(turn) for turn in turns]


def _line(turn: Turn) -> str:
    at = f"[{turn.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}] " if turn.at else ""
    files = (f"[attachment: {one_line(' '.join(filter(None, (a.name, a.url))))}]" for a in turn.attachments)
    body = "\n".join(itertools.chain(filter(None, [clean(turn.text).strip("\n")]), files))
    return f"{at}{speaker(turn)}: {body}".replace("\n", "\n    ")
