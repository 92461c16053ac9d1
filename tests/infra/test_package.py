"""The package: the service and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import package
from tests.infra.conftest import ROOT

DEPLOYED = {"function_app.py", "host.json", "requirements.txt"}
DEPLOYED_FOLDERS = {"handoff_http", "reconcile_timer", "shared"}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the package of this very tree."""
    target = tmp_path_factory.mktemp("package") / "app.zip"
    package.write(target)
    with zipfile.ZipFile(target) as opened:
        return set(opened.namelist())


def test_only_the_service_is_packed(names: set[str]) -> None:
    """Sandbox, tests, documentation, infrastructure, locks for developers and local secrets stay at home."""
    tops = {name.split("/")[0] for name in names}
    code = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"sandbox", "tests", "tools"}
    assert tops == DEPLOYED | code
    assert code >= DEPLOYED_FOLDERS


def test_the_package_starts_alone(tmp_path: Path) -> None:
    """Unpacked elsewhere, function_app.py finds all that it imports."""
    target = tmp_path / "app.zip"
    package.write(target)
    home = tmp_path / "home"
    with zipfile.ZipFile(target) as opened:
        opened.extractall(home)
    code = "import sys; sys.path.insert(0, '.'); import function_app; print(len(function_app.app.get_functions()))"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2


def _tree(folder: Path, *, ignored: str) -> None:
    (folder / ".funcignore").write_text(ignored, encoding="utf-8")
    (folder / "app" / "tests").mkdir(parents=True)
    for name in ("a.py", "a.md", "app/b.py", "app/tests/c.py"):
        (folder / name).write_text("x", encoding="utf-8")


def test_a_pattern_holds_at_any_depth(tmp_path: Path) -> None:
    """A name of .funcignore is left out wherever it stands, with all below it."""
    _tree(tmp_path, ignored="# comment\n\n.funcignore\n*.md\ntests\n")
    assert [file.relative_to(tmp_path).as_posix() for file in package.files(tmp_path)] == ["a.py", "app/b.py"]


@pytest.mark.parametrize("pattern", ["app/tests", "!a.py"])
def test_a_pattern_that_cannot_be_applied_stops(tmp_path: Path, pattern: str) -> None:
    """A form of pattern that the script would misread is refused, not passed over."""
    _tree(tmp_path, ignored=pattern + "\n")
    with pytest.raises(ValueError, match="plain names only"):
        list(package.files(tmp_path))


def test_the_same_files_make_the_same_package(tmp_path: Path) -> None:
    """Two packages of one tree are equal byte for byte; the target itself is never in it."""
    _tree(tmp_path, ignored="tests\n")
    target = tmp_path / "app.zip"
    count = package.write(target, tmp_path)
    before = target.read_bytes()
    assert package.write(target, tmp_path) == count == 4
    assert target.read_bytes() == before
