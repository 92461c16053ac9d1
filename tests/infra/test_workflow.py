"""The workflow that deploys: pinned, without stored secrets, and in step with the parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.infra.checker.project import Project
from tests.infra.checker.tree import Call, Text
from tests.infra.conftest import ROOT

WORKFLOW = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
_PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_OF_THE_WORKFLOW = {"RESOURCE_GROUP"}

PLANTED = [
    (
        "an action by a tag that can move",
        "azure/login@f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca # v3.0.1",
        "azure/login@v3",
    ),
    (
        "a token for every job",
        "permissions:\n  contents: read\n",
        "permissions:\n  contents: read\n  id-token: write\n",
    ),
    ("rights by default", "permissions:\n  contents: read\n", ""),
    ("no token for the deployment", "      id-token: write # for the federated credential\n", ""),
    ("a stored secret", "${{ vars.AZURE_CLIENT_ID }}", "${{ secrets.AZURE_CLIENT_ID }}"),
    ("a deployment without tests", "    needs: test\n", ""),
    ("a deployment of a pull request", "github.event_name != 'pull_request' && ", ""),
    ("a variable that no parameter reads", "      DEFAULT_QUEUE_ID:", "      QUEUE_ID:"),
    ("a type table that is not made", "python3 infra/types/extract.py", "echo"),
    ("no lint", "bicep lint", "bicep build"),
]


def _variables(project: Project) -> set[str]:
    """The environment variables that main.bicepparam reads."""
    found: set[str] = set()
    for parameter in project.files["main.bicepparam"].of_kind("param"):
        for part in parameter.value.walk() if parameter.value else ():
            if isinstance(part, Call) and part.name == "readEnvironmentVariable":
                name = part.arguments[0]
                assert isinstance(name, Text)
                found.add(name.value or "")
    return found


def _problems(text: str, project: Project) -> Iterator[str]:
    workflow: dict[str, Any] = yaml.safe_load(text)
    jobs = workflow["jobs"]
    for line in text.splitlines():
        _, found, action = line.partition("uses: ")
        if found and not _PINNED.fullmatch(action):
            yield f"not pinned: {action}"
    if workflow.get("permissions") != {"contents": "read"}:
        yield "the workflow may do more than read"
    if "permissions" in jobs["test"] or jobs["deploy"].get("permissions") != {"contents": "read", "id-token": "write"}:
        yield "the token is not for the deployment alone"
    if "secrets." in text:
        yield "a stored secret"
    if jobs["deploy"].get("needs") != "test" or "github.event_name != 'pull_request'" not in jobs["deploy"].get(
        "if", ""
    ):
        yield "deployed without tests, or from a pull request"
    for name in sorted(set(jobs["deploy"]["env"]) - _variables(project) - _OF_THE_WORKFLOW):
        yield f"main.bicepparam does not read {name}"
    commands = "\n".join(step.get("run", "") for step in jobs["test"]["steps"])
    wanted = ("python3 dev.py test", "bicep build infra", "bicep lint infra", "bicep build-params", "extract.py")
    yield from (f"not run: {command}" for command in wanted if command not in commands)


def test_the_workflow_is_sound(project: Project) -> None:
    """Actions are pinned to commits, only the deployment gets a token, and what it sets is read."""
    assert list(_problems(WORKFLOW, project)) == []


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED])
def test_a_planted_error_is_found(project: Project, old: str, new: str) -> None:
    """A workflow that is open to others, unpinned or out of step is found."""
    assert old in WORKFLOW
    assert list(_problems(WORKFLOW.replace(old, new), project)) != []


def test_the_deployment_needs_what_the_service_needs(project: Project) -> None:
    """Every parameter without a default that main.bicepparam reads from the environment is given."""
    needed = {
        part.arguments[0].value
        for parameter in project.files["main.bicepparam"].of_kind("param")
        for part in (parameter.value.walk() if parameter.value else ())
        if isinstance(part, Call) and part.name == "readEnvironmentVariable" and len(part.arguments) == 1
        if isinstance(part.arguments[0], Text)
    }
    assert needed == {"DYNAMICS_ENVIRONMENT_URL"}
    assert needed <= set(yaml.safe_load(WORKFLOW)["jobs"]["deploy"]["env"])
