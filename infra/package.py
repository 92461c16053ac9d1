"""Make the package that is deployed: what .funcignore leaves, as a zip file. Standard library only.

Usage: ``python3 infra/package.py opencx-handoff.zip``. Azure installs requirements.txt itself (remote build).
Source: .funcignore holds one pattern a line, as in .gitignore; here those without a slash are enough.
"""

from __future__ import annotations

import fnmatch
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def patterns(root: Path) -> list[str]:
    """The patterns of .funcignore. Raises ValueError for one that this script cannot apply."""
    lines = (line.strip() for line in (root / ".funcignore").read_text(encoding="utf-8").splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    for pattern in found:
        if "/" in pattern or pattern.startswith("!"):
            raise ValueError(f".funcignore: {pattern}: infra/package.py takes plain names only, no paths and no !")
    return found


def files(root: Path) -> Iterator[Path]:
    """The files of the package, sorted; a pattern shuts out a name at any depth, and all below it."""
    ignored = patterns(root)

    def is_ignored(path: Path) -> bool:
        return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in ignored)

    def below(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if is_ignored(path):
                continue
            if path.is_dir():
                yield from below(path)
            else:
                yield path

    return below(root)


def write(target: Path, root: Path = ROOT) -> int:
    """Write the zip file, the same bytes for the same files. Returns how many files are in it."""
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in files(root):
            if path == target.resolve():
                continue
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix())  # dated 1980: no clock in it
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, path.read_bytes())
            count += 1
    return count


def main(argv: Sequence[str]) -> int:
    """Write the package. Returns the exit code."""
    if len(argv) != 1:
        print("Usage: python3 infra/package.py <file.zip>", file=sys.stderr)
        return 2
    target = Path(argv[0])
    print(f"{write(target)} files in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
