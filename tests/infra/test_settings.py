"""Settings: what the code reads, what the documentation says and what the deployment sets are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.infra.checker import secrets, settings
from tests.infra.checker.project import Project
from tests.infra.checker.tree import Array, Call, Scalar, Text
from tests.infra.conftest import ROOT, read_documented, rules_of
from tests.test_docs import settings_in_code

MAIN, APP, VAULT = "main.bicep", "modules/app.bicep", "modules/vault.bicep"

PLANTED = [
    (
        "a setting that nothing reads",
        MAIN,
        "{ CONTACT_MATCH: contactMatch }",
        "{ CONTACT_MATCHES: contactMatch }",
        {"setting-unknown", "setting-not-set"},
    ),
    ("a setting forgotten", APP, "  TABLES_ENDPOINT: tableEndpoint\n", "", {"setting-not-set"}),
    (
        "a setting that Flex Consumption refuses",
        APP,
        "  DYNAMICS_AUTH: dynamicsAuth\n",
        "  DYNAMICS_AUTH: dynamicsAuth\n  FUNCTIONS_WORKER_RUNTIME: 'python'\n",
        {"setting-forbidden"},
    ),
    (
        "a connection string",
        APP,
        "  AzureWebJobsStorage__credential: 'managedidentity'\n",
        "  AzureWebJobsStorage: 'UseDevelopmentStorage=true'\n",
        {"setting-forbidden"},
    ),
    (
        "a secret as a setting",
        APP,
        "  DYNAMICS_AUTH: dynamicsAuth\n",
        "  DYNAMICS_AUTH: dynamicsAuth\n  OPENCX_API_KEY: 'abc'\n",
        {"secret-setting"},
    ),
    (
        "a secret under another name",
        VAULT,
        "  name: 'opencx-api-key'",
        "  name: 'opencx-key'",
        {"vault-entry-missing", "vault-entry-unknown"},
    ),
]


def _rules(project: Project, documented: Mapping[str, str | None]) -> set[str]:
    return rules_of(list(settings.check(project, documented)))


def test_infra_and_documentation_name_the_same_settings(project: Project, documented: dict[str, str | None]) -> None:
    """An administrator can set every documented setting by a parameter, and no parameter sets what nobody explains."""
    assert [str(finding) for finding in settings.check(project, documented)] == []


@pytest.mark.parametrize(
    ("path", "old", "new", "found"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED]
)
def test_a_planted_error_is_found(
    project: Project, documented: dict[str, str | None], path: str, old: str, new: str, found: set[str]
) -> None:
    """A setting that is unknown, forgotten, refused or secret is found."""
    assert _rules(project.with_change(path, old, new), documented) == found


def test_a_new_row_of_the_documentation_is_missed(project: Project, documented: dict[str, str | None]) -> None:
    """Whoever documents a new setting is told to give it a parameter."""
    assert _rules(project, {**documented, "NEW_SETTING": None}) == {"setting-not-set"}


def test_what_the_code_reads_is_set_or_left_out_with_a_reason(project: Project) -> None:
    """Every setting that the code reads is set by infra/, is a secret of the vault, one of a family, or left out."""
    reached = set(settings.settings_of(project))
    secret = {entry.upper().replace("-", "_") for entry in secrets.vault_entries(project)}
    of_the_code = settings_in_code()
    extra = {name for name in of_the_code if settings.goes_into_extra_settings(name)}
    assert of_the_code - reached - secret - extra - set(settings.LEFT_OUT) == set()


def test_what_is_set_is_read_by_the_code_or_the_platform(project: Project, documented: dict[str, str | None]) -> None:
    """No app setting is without effect: the code reads it, or the platform does."""
    of_the_code = settings_in_code()  # it reads all of the code
    of_others = set(documented) - of_the_code
    assert set(settings.settings_of(project)) - of_the_code - of_others - set(settings.PLATFORM) == set()


def test_nothing_is_left_out_that_is_not_documented(project: Project, documented: dict[str, str | None]) -> None:
    """The list of what infra/ leaves out names only documented settings that it really leaves out."""
    assert set(settings.LEFT_OUT) - set(documented) == set()
    assert set(settings.LEFT_OUT) & set(settings.settings_of(project)) == set()


def test_the_output_names_the_secrets(project: Project) -> None:
    """The output that tells which secrets to put into the vault names those that the service looks for."""
    output = next(found for found in project.files[VAULT].of_kind("output") if found.name == "entries")
    assert isinstance(output.value, Array)
    names = {item.value for item in output.value.items if isinstance(item, Text)}
    assert names == secrets.vault_entries(project)


def test_the_parameter_file_reads_the_setting_that_its_parameter_sets(project: Project) -> None:
    """In main.bicepparam a parameter that becomes a setting is read from the variable of the setting's name."""
    variables: dict[str, str | None] = {}
    for parameter in project.files["main.bicepparam"].of_kind("param"):
        for part in parameter.value.walk() if parameter.value else ():
            if (
                isinstance(part, Call)
                and part.name == "readEnvironmentVariable"
                and isinstance(part.arguments[0], Text)
            ):
                variables[parameter.name] = part.arguments[0].value
    for name, setting in settings.settings_of(project).items():
        for part in setting.value.walk():
            if getattr(part, "name", None) in variables:
                assert variables[part.name] == name  # type: ignore[attr-defined]


def test_the_threads_are_those_of_the_documentation(project: Project) -> None:
    """Without a choice of the administrator an instance performs as many handoffs at a time as documented."""
    parameter = next(found for found in project.files[MAIN].of_kind("param") if found.name == "handoffsPerInstance")
    assert isinstance(parameter.value, Scalar)
    example = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))
    assert str(parameter.value.value) == example["Values"]["PYTHON_THREADPOOL_THREAD_COUNT"]


def test_the_columns_of_the_documentation_are_told_apart() -> None:
    """Only a column named secret holds names of the vault."""
    text = "| name | meaning | secret |\n|---|---|---|\n| `A_B` | x | `a-b` |\n| `C` | y | |\n"
    other = "| name | meaning | `msdyn` |\n|---|---|---|\n| `D` | x | `subject` |\n"
    assert read_documented(text + "\n" + other) == {"A_B": "a-b", "C": None, "D": None}
