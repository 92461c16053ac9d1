"""One row of the outcome, and the table of all."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

type Mark = Literal["ok", "set", "!!", "??"]

NOTHING = "nothing"
HEADINGS = ("", "unknown", "seen", "means", "set")


@dataclass(frozen=True)
class Row:
    """One unknown.

    Attributes:
        name: of the unknown.
        seen: what was seen.
        means: what that means for the service.
        setting: ``NAME=value``, an administrator's step in words, or `NOTHING`.
        mark: ``ok``: as the service takes it; ``set``: with the setting it is; ``!!``: the service does not cope, and
            no setting helps; ``??``: it was not seen.
    """

    name: str
    seen: str
    means: str
    setting: str = NOTHING
    mark: Mark = "ok"

    @property
    def is_settled(self) -> bool:
        """Whether nothing stays open: it is as it must be, or the setting makes it so."""
        return self.mark in ("ok", "set")


def to_set(name: str, seen: str, means: str, setting: str) -> Row:
    """A row with something to set."""
    return Row(name, seen, means, setting, mark="set")


def against(name: str, seen: str, means: str, setting: str = "nothing: send this row to the developers") -> Row:
    """A row that the service does not cope with."""
    return Row(name, seen, means, setting, mark="!!")


def unseen(name: str, why: str) -> Row:
    """A row that could not be settled."""
    return Row(name, "not seen", why, "run it again", mark="??")


def table(rows: Sequence[Row], *, width: int) -> str:
    """The rows in columns that wrap.

    Args:
        rows: in order.
        width: of the whole, in characters; 80 at least.
    """
    room = max(width, 80) - 3 - 22 - 8
    widths = (3, 22, room * 36 // 100, room * 36 // 100, room - 2 * (room * 36 // 100))
    lines = [_line(HEADINGS, widths), _line(["-" * each for each in widths], widths)]
    for row in rows:
        cells = [
            textwrap.wrap(cell, size, break_on_hyphens=False) or [""]
            for cell, size in zip(_cells(row), widths, strict=True)
        ]
        height = max(map(len, cells))
        lines += [_line([cell[at] if at < len(cell) else "" for cell in cells], widths) for at in range(height)]
    return "\n".join(lines)


def _cells(row: Row) -> Sequence[str]:
    return (row.mark, row.name, row.seen, row.means, row.setting)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{size}}" for cell, size in zip(cells, widths, strict=True)).rstrip()
