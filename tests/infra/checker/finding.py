"""What a check has to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One mistake.

    Attributes:
        rule: the name of the check.
        path: the file, relative to infra/.
        line: counted from 1.
        message: what is wrong.
    """

    rule: str
    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """As compilers write it."""
        return f"infra/{self.path}:{self.line}: {self.rule}: {self.message}"
