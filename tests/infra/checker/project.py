"""All files of infra/ together, in memory, so that a test can plant an error without touching the disk."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from tests.infra.checker.finding import Finding
from tests.infra.checker.syntax import File, parse
from tests.infra.checker.tree import Declaration


class Project:
    """Parsed files by their path under infra/."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self.files: dict[str, File] = {path: parse(path, text) for path, text in sorted(texts.items())}

    @classmethod
    def read(cls, folder: Path) -> Project:
        """The Bicep files of a folder, at any depth."""
        files = sorted([*folder.rglob("*.bicep"), *folder.rglob("*.bicepparam")])
        return cls({file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files})

    def with_change(self, path: str, old: str, new: str) -> Project:
        """The same with one passage replaced. Raises ValueError unless it is there exactly once."""
        count = self.texts[path].count(old)
        if count != 1:
            raise ValueError(f"{path} has {count} times: {old}")
        changed = Project({path: self.texts[path].replace(old, new)})
        changed.texts = {**self.texts, **changed.texts}
        changed.files = {**self.files, **changed.files}
        return changed

    @property
    def syntax_findings(self) -> list[Finding]:
        """What could not be read."""
        return [finding for file in self.files.values() for finding in file.findings]

    def beside(self, path: str, target: str) -> File | None:
        """The file that a module or ``using`` in another file names."""
        return self.files.get(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)))


def named(file: File, kind: str) -> dict[str, Declaration]:
    """The declarations of one kind, by name."""
    return {declaration.name: declaration for declaration in file.of_kind(kind)}
