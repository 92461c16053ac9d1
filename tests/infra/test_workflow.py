"""The workflow that deploys: pinned, without stored secrets, and in step with the parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.infra.checker.project import Project
from tests.infra.checker.secrets import secure_parameters
from tests.infra.checker.tree import Call, Text
from tests.infra.conftest import ROOT

WORKFLOW = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
_PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_SECRET = re.compile(r"secrets\.(\w+)")
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
    ("a variable left out", "      DEFAULT_OWNER_ID: ${{ vars.DEFAULT_OWNER_ID }}\n", ""),
    ("the variable of another setting", "vars.DEFAULT_OWNER_ID", "vars.DEFAULT_QUEUE_ID"),
    ("another default", "vars.LOG_DAILY_CAP_GB || '-1'", "vars.LOG_DAILY_CAP_GB || '5'"),
    ("an empty number", "vars.LOG_DAILY_CAP_GB || '-1'", "vars.LOG_DAILY_CAP_GB"),
    ("a secret as a plain variable", "secrets.OPENCX_API_KEY", "vars.OPENCX_API_KEY"),
    ("a plain variable as a secret", "vars.OPENCX_API_URL", "secrets.OPENCX_API_URL"),
    (
        "a secret for all steps",
        "      NAME_PREFIX:",
        "      OPENCX_API_KEY: ${{ secrets.OPENCX_API_KEY }}\n      NAME_PREFIX:",
    ),
    ("a type table that is not made", "python3 infra/types/extract.py", "echo"),
    ("no lint", "bicep lint", "bicep build"),
]


def _variables(project: Project) -> dict[str, str | None]:
    """The environment variables that main.bicepparam reads, with their defaults; None: it must be given."""
    found: dict[str, str | None] = {}
    for parameter in project.files["main.bicepparam"].of_kind("param"):
        for part in parameter.value.walk() if parameter.value else ():
            if isinstance(part, Call) and part.name == "readEnvironmentVariable":
                name, *default = part.arguments
                assert isinstance(name, Text)
                assert all(isinstance(each, Text) for each in default)
                found[name.value or ""] = next((each.value for each in default if isinstance(each, Text)), None)
    return found


def _secrets(project: Project) -> set[str]:
    """The variables that secure parameters read."""
    secure = secure_parameters(project.files["main.bicep"])
    return {
        part.arguments[0].value or ""
        for parameter in project.files["main.bicepparam"].of_kind("param")
        if parameter.name in secure
        for part in (parameter.value.walk() if parameter.value else ())
        if isinstance(part, Call) and part.name == "readEnvironmentVariable" and isinstance(part.arguments[0], Text)
    }


def _given(job: Mapping[str, Any], project: Project) -> Iterator[str]:
    """Where the deployment gives another variable, or gives it otherwise, than main.bicepparam reads it.

    A variable that GitHub does not know is empty there, not absent: the default must stand in the workflow too. A
    secret reaches the one step that needs it, not all actions of the job.
    """
    read, secret = _variables(project), _secrets(project)
    wanted = {
        name: f"${{{{ {'secrets' if name in secret else 'vars'}.{name}{f" || '{default}'" if default else ''} }}}}"
        for name, default in read.items()
    }
    provision = next(step for step in job["steps"] if step.get("name") == "Provision")
    of_the_job, of_the_step = job["env"], provision.get("env", {})
    for name in sorted((of_the_job.keys() | of_the_step.keys()) - wanted.keys() - _OF_THE_WORKFLOW):
        yield f"main.bicepparam does not read {name}"
    for name, value in wanted.items():
        if (of_the_step if name in secret else of_the_job).get(name) != value:
            yield f"the deployment does not say {name}: {value}"
    values = [value for step in job["steps"] for value in step.get("env", {}).values()] + list(of_the_job.values())
    for name in sorted(set(_SECRET.findall("\n".join(values))) - secret):
        yield f"a stored secret: {name}"


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
    if len(_SECRET.findall(text)) != len(_secrets(project)):
        yield "a stored secret besides those that reach the vault"
    if jobs["deploy"].get("needs") != "test" or "github.event_name != 'pull_request'" not in jobs["deploy"].get(
        "if", ""
    ):
        yield "deployed without tests, or from a pull request"
    yield from _given(jobs["deploy"], project)
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
    needed = {name for name, default in _variables(project).items() if default is None}
    assert needed == {"DYNAMICS_ENVIRONMENT_URL"}
    assert needed <= set(yaml.safe_load(WORKFLOW)["jobs"]["deploy"]["env"])
