"""What a part has found, as rows of one table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from tests.faults.oracle import DUPLICATE, LOST, ORPHAN, STUCK, WRONG, Finding

HEADINGS = ("part", "cases", "duplicates", "lost", "orphan contacts", "stuck", "wrong", "seconds", "")
MOST_SHOWN = 12


@dataclass
class Result:
    """One row.

    Attributes:
        cases: what was tried.
        findings: what is wrong, each with the case that shows it.
        note: figures that say more than the columns.
        must_find: the row is right only if it has findings: for a client that is known to be wrong.
    """

    name: str
    cases: int = 0
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    note: str = ""
    must_find: bool = False
    began: float = field(default_factory=perf_counter)
    seconds: float = 0.0

    def add(self, case: str, findings: Sequence[Finding]) -> None:
        """Count one case, and keep what is wrong with it."""
        self.cases += 1
        self.findings += [(case, finding) for finding in findings]

    def done(self, note: str = "") -> "Result":
        """Stop the watch; wall seconds."""
        self.seconds = perf_counter() - self.began
        self.note = note or self.note
        return self

    def count(self, kind: str) -> int:
        """How many findings there are of a kind."""
        return sum(finding.kind == kind for _, finding in self.findings)

    @property
    def is_right(self) -> bool:
        """Whether the part shows what it must show."""
        return self.count(DUPLICATE) > 0 if self.must_find else not self.findings

    def cells(self) -> list[str]:
        """The row."""
        counts = [str(self.count(kind)) for kind in (DUPLICATE, LOST, ORPHAN, STUCK, WRONG)]
        return [self.name, str(self.cases), *counts, f"{self.seconds:.1f}", self.note]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, each as wide as its widest cell; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def details(results: Sequence[Result]) -> str:
    """The first findings of every part that is not right."""
    lines = []
    for result in results:
        if result.is_right:
            continue
        lines.append(f"{result.name}: {len(result.findings)} findings" if result.findings else f"{result.name}: blind")
        lines += [f"  [{case}] {finding}" for case, finding in result.findings[:MOST_SHOWN]]
    return "\n".join(lines)
