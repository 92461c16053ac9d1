"""The pages on Azure say what the Bicep files do."""

from __future__ import annotations

import re

from infra.types.extract import types_in_use
from tests.infra.checker.project import Project
from tests.infra.checker.rules import ROLES
from tests.infra.checker.tree import Call, Text
from tests.infra.conftest import INFRA, ROOT

AZURE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")
README = (INFRA / "README.md").read_text(encoding="utf-8")


def test_the_table_of_types_is_that_of_the_files() -> None:
    """infra/README.md lists every resource type with its version, and no other."""
    rows = re.findall(r"^\| `(Microsoft\.[^`]+)` \| ([\d-]+(?:-preview)?) \|$", README, re.MULTILINE)
    assert [f"{kind}@{version}" for kind, version in rows] == types_in_use(INFRA)


def test_every_role_is_explained() -> None:
    """docs/azure.md says of each role that is given what it is for, and of no other."""
    rows = re.findall(r"^\| ([A-Z][\w ]+) \| (?:storage account|vault|Application Insights) \|", AZURE, re.MULTILINE)
    assert {row.replace(" ", "").lower() for row in rows} == {role.lower() for role in ROLES}


def test_every_variable_of_the_page_is_read(project: Project) -> None:
    """A variable that docs/azure.md tells the administrator to set is read by main.bicepparam."""
    read = {
        part.arguments[0].value
        for parameter in project.files["main.bicepparam"].of_kind("param")
        for part in (parameter.value.walk() if parameter.value else ())
        if isinstance(part, Call) and part.name == "readEnvironmentVariable" and isinstance(part.arguments[0], Text)
    }
    told = set(re.findall(r"(?:azd env set |^|`)([A-Z][A-Z_]+_[A-Z_]+)\b", AZURE, re.MULTILINE))
    of_others = {
        "AZURE_RESOURCE_GROUP",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_SUBSCRIPTION_ID",
        "RESOURCE_GROUP",
    }
    assert told - read - of_others == set()
    assert len(told) > 10
