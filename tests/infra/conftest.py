"""The files of infra/, parsed once, and what they are compared with."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from infra.types.extract import types_in_use
from tests.infra.checker import package_types
from tests.infra.checker.finding import Finding
from tests.infra.checker.packages import Packages
from tests.infra.checker.project import Project
from tests.infra.checker.types import Table

ROOT = Path(__file__).resolve().parent.parent.parent
INFRA = ROOT / "infra"
TABLE = INFRA / "types" / "table.json"
NO_TABLE = (
    "infra/types/table.json is not there: it is not kept in the repository. Make it with "
    "python3 infra/types/extract.py <clone of Azure/bicep-types-az>; the deploy workflow does so."
)
SOURCES = ("packages", "compiler") if TABLE.exists() else ("packages",)
"""Whose types the files are checked against: always the packages', and the compiler's where they are there."""


_packages = functools.cache(Packages.installed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say against which types the Bicep files were checked."""
    packages = ", ".join(_packages().names)
    compiler = "and with the Bicep compiler's" if TABLE.exists() else f"not with the Bicep compiler's: {NO_TABLE}"
    terminalreporter.write_line(f"infra/: types compared with those of {packages}, {compiler}")


def rules_of(findings: list[Finding]) -> set[str]:
    """The names of the checks that found something."""
    return {finding.rule for finding in findings}


def read_documented(text: str) -> dict[str, str | None]:
    """The settings of docs/settings.md; to each its secret in the vault, or None."""
    found: dict[str, str | None] = {}
    secret_column: int | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == "name":
            secret_column = cells.index("secret") if "secret" in cells else None
        elif cells and cells[0].startswith("`"):
            secret = cells[secret_column].strip("`") if secret_column is not None else ""
            found[cells[0].strip("`")] = secret or None
    return found


@pytest.fixture(scope="session")
def project() -> Project:
    """The files of infra/."""
    return Project.read(INFRA)


@pytest.fixture(scope="session")
def documented() -> dict[str, str | None]:
    """The settings of docs/settings.md."""
    return read_documented((ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def service() -> str:
    """The one service of azure.yaml."""
    text = (ROOT / "azure.yaml").read_text(encoding="utf-8").partition("\nservices:\n")[2]
    names = re.findall(r"^  (\w+):$", text, re.MULTILINE)
    assert len(names) == 1
    return str(names[0])


@pytest.fixture(scope="session")
def packages_table() -> Table:
    """The types of Microsoft's azure-mgmt packages."""
    return Table(package_types.make(_packages(), types_in_use(INFRA)))


@pytest.fixture(scope="session")
def compiler_table() -> Table:
    """The compiler's own types, where they were extracted."""
    if not TABLE.exists():
        pytest.skip(NO_TABLE)
    return Table(json.loads(TABLE.read_text(encoding="utf-8")))


@pytest.fixture(scope="session", params=SOURCES)
def table(request: pytest.FixtureRequest) -> Table:
    """Each table that there is."""
    found: Table = request.getfixturevalue(f"{request.param}_table")
    return found
