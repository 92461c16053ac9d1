"""How the benchmarks measure: pairs in turn, medians of ratios, one table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEADINGS = ("name", "goal", "median", "p10-p90", "pass")


@dataclass(frozen=True)
class Row:
    """One line of the table. It passes when its median is at most `goal`, or exactly `goal` for a count.

    Attributes:
        values: what was measured, one value a pair or a handoff.
        is_count: a number of calls, which must be the goal and not merely below it.
    """

    name: str
    goal: float
    values: Sequence[float]
    is_count: bool = False

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def is_passed(self) -> bool:
        """Whether the goal is met; a count must be met by every handoff."""
        if self.is_count:
            return all(value == self.goal for value in self.values)
        return self.median <= self.goal

    def cells(self) -> list[str]:
        """The row as text."""
        low, high = percentile(self.values, 10), percentile(self.values, 90)
        if self.is_count:
            spread = f"{low:g}-{high:g}"
            return [self.name, f"= {self.goal:g}", f"{self.median:g}", spread, "yes" if self.is_passed else "NO"]
        spread = f"{low:.2f}-{high:.2f}"
        return [self.name, f"<= {self.goal:g}", f"{self.median:.2f}", spread, "yes" if self.is_passed else "NO"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratios(ours: Callable[[int], object], other: Callable[[int], object], *, pairs: int) -> list[float]:
    """Our time over the other's, pair by pair.

    Both of a pair run one right after the other, and who is first changes with every pair: what else the machine
    does meets both alike.
    """
    found = []
    for number in range(pairs):
        if number % 2:
            second = seconds(lambda number=number: other(number))  # type: ignore[misc]
            first = seconds(lambda number=number: ours(number))  # type: ignore[misc]
        else:
            first = seconds(lambda number=number: ours(number))  # type: ignore[misc]
            second = seconds(lambda number=number: other(number))  # type: ignore[misc]
        found.append(first / second)
    return found


def table(rows: Sequence[Row]) -> str:
    """All rows in columns, each as wide as its widest cell."""
    cells = [list(HEADINGS), *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
