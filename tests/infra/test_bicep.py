"""The Bicep files: names, secrets, rules. For each check, a planted error that it finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.checker import rules, secrets, symbols
from tests.infra.checker.finding import Finding
from tests.infra.checker.project import Project
from tests.infra.conftest import INFRA, rules_of

MAIN, PARAMETERS = "main.bicep", "main.bicepparam"
APP, STORAGE, VAULT, ROLES, LOGS, IDENTITY, NETWORK = (
    f"modules/{name}.bicep" for name in ("app", "storage", "vault", "roles", "logs", "identity", "network")
)
BLOB_OWNER = "storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'"
SECRET_PARAMETER = (
    "@description('Value of the app registration\\'s client secret; empty: put it into the vault yourself.')"
)

PLANTED = [
    # (what is planted, file, passage, what stands there instead, the check that must find it)
    ("a bracket too few", APP, "output name string = app.name", "output name string = [app.name", "syntax"),
    ("a word that is no Bicep", IDENTITY, "param tags object", "parameter tags object", "syntax"),
    ("a symbol that is not there", APP, "serverFarmId: plan.id", "serverFarmId: plant.id", "unknown-name"),
    (
        "a function that is not there",
        MAIN,
        "take('${prefix}${suffix}', 24)",
        "takes('${prefix}', 24)",
        "unknown-function",
    ),
    ("a name declared twice", APP, "param planName string", "param name string", "duplicate-name"),
    ("a parameter that nothing uses", IDENTITY, "param tags object", "param tags object\nparam more int", "unused"),
    (
        "an unknown decorator",
        VAULT,
        "@secure()\nparam opencxApiKey",
        "@secret()\nparam opencxApiKey",
        "unknown-decorator",
    ),
    ("a module that is not there", MAIN, "'modules/logs.bicep'", "'modules/log.bicep'", "module-missing"),
    ("a module from a registry", MAIN, "'modules/logs.bicep'", "'br/public:avm/res/x:0.1.0'", "registry-module"),
    ("a module without a parameter", MAIN, "    sku: storageSku\n", "", "module-param-missing"),
    (
        "a module with one too many",
        MAIN,
        "    sku: storageSku\n",
        "    sku: storageSku\n    x: 1\n",
        "module-param-unknown",
    ),
    (
        "a module property too many",
        MAIN,
        "module app 'modules/app.bicep' = {",
        "module app 'modules/app.bicep' = {\n  x: 1",
        "unknown-property",
    ),
    ("a text for a number", MAIN, "retentionDays: logRetentionDays", "retentionDays: prefix", "wrong-kind"),
    ("a number for a text", MAIN, "param namePrefix string = 'opencx'", "param namePrefix string = 1", "wrong-kind"),
    ("an output of the wrong kind", IDENTITY, "output id string", "output id bool", "wrong-kind"),
    (
        "an output that is not there",
        MAIN,
        "vault.outputs.uri\n    insights",
        "vault.outputs.url\n    insights",
        "module-output-unknown",
    ),
    ("a module used without outputs", MAIN, "= identity.outputs.clientId", "= identity.clientId", "unknown-property"),
    ("a value for no parameter", PARAMETERS, "param namePrefix", "param prefix", "module-param-unknown"),
    (
        "no value for a needed parameter",
        PARAMETERS,
        "param dynamicsEnvironmentUrl = readEnvironmentVariable('DYNAMICS_ENVIRONMENT_URL')\n",
        "",
        "module-param-missing",
    ),
    (
        "a text for a number, from outside",
        PARAMETERS,
        "int(readEnvironmentVariable('LOG_RETENTION_DAYS', '90'))",
        "readEnvironmentVariable('LOG_RETENTION_DAYS', '90')",
        "wrong-kind",
    ),
    ("a parameter file for nothing", PARAMETERS, "using './main.bicep'", "using './mine.bicep'", "module-missing"),
    # secrets
    ("a secret as a plain parameter", MAIN, f"{SECRET_PARAMETER}\n@secure()", SECRET_PARAMETER, "secret-not-secure"),
    (
        "a secret with a default",
        MAIN,
        "param opencxApiKey string = ''",
        "param opencxApiKey string = 'abc'",
        "secret-default",
    ),
    (
        "a secret in a variable",
        MAIN,
        "var packageContainer = 'app-package'",
        "var packageContainer = opencxApiKey",
        "secret-leaks",
    ),
    (
        "a secret in a setting",
        MAIN,
        "{ OPENCX_API_URL: opencxApiUrl }",
        "{ OPENCX_API_KEY: opencxApiKey }",
        "secret-leaks",
    ),
    ("a secret in an output", VAULT, "output id string = vault.id", "output id string = opencxApiKey", "secret-leaks"),
    (
        "a secret in an output of main",
        MAIN,
        "output keyVaultUri string = vault.outputs.uri",
        "output keyVaultUri string = dynamicsClientSecret",
        "secret-leaks",
    ),
    ("a secret as a tag", VAULT, "  tags: tags\n", "  tags: { key: opencxApiKey }\n", "secret-leaks"),
    (
        "a secret to a plain parameter",
        MAIN,
        "workspaceName: names.workspace",
        "workspaceName: opencxApiKey",
        "secret-leaks",
    ),
    ("a secret in a condition", VAULT, "if (!empty(opencxApiKey))", "if (opencxApiKey == 'x')", "secret-leaks"),
    (
        "a secret beside its place",
        VAULT,
        "{ value: opencxApiKey }",
        "{ value: opencxApiKey, contentType: opencxApiKey }",
        "secret-leaks",
    ),
    (
        "keys that are read",
        STORAGE,
        "output name string = account.name",
        "output name string = account.listKeys().keys[0].value",
        "key-read",
    ),
    (
        "a connection string with a key",
        STORAGE,
        "output name string = account.name",
        "output name string = 'AccountName=a;AccountKey=${account.name}'",
        "key-read",
    ),
    (
        "an output named as a secret",
        LOGS,
        "output insightsName string",
        "output connectionString string",
        "secret-output",
    ),
    (
        "an output that shows a secret",
        LOGS,
        "string = insights.name",
        "string = insights.properties.ConnectionString",
        "secret-output",
    ),
    # the deployed service
    ("shared keys", STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "unsafe"),
    ("shared keys by omission", STORAGE, "    allowSharedKeyAccess: false\n", "", "unsafe"),
    ("shared keys by parameter", STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: isPublic", "unsafe"),
    ("public blobs", STORAGE, "allowBlobPublicAccess: false", "allowBlobPublicAccess: true", "unsafe"),
    ("a public container", STORAGE, "publicAccess: 'None'", "publicAccess: 'Blob'", "unsafe"),
    ("old TLS at the storage", STORAGE, "'TLS1_2'", "'TLS1_0'", "unsafe"),
    (
        "plain http at the storage",
        STORAGE,
        "supportsHttpsTrafficOnly: true",
        "supportsHttpsTrafficOnly: false",
        "unsafe",
    ),
    ("plain http at the app", APP, "httpsOnly: true", "httpsOnly: false", "unsafe"),
    ("old TLS at the app", APP, "      minTlsVersion: '1.2'", "      minTlsVersion: '1.0'", "unsafe"),
    ("ftp", APP, "ftpsState: 'Disabled'", "ftpsState: 'AllAllowed'", "unsafe"),
    (
        "a password for publishing",
        APP,
        "  name: 'scm'\n  properties: { allow: false }",
        "  name: 'scm'\n  properties: { allow: true }",
        "unsafe",
    ),
    ("nothing said of the password for ftp", APP, "  name: 'ftp'", "  name: 'sftp'", "missing-resource"),
    ("another Python", APP, "version: '3.13'", "version: '3.11'", "unsafe"),
    ("a vault without roles", VAULT, "enableRbacAuthorization: true", "enableRbacAuthorization: false", "unsafe"),
    ("a vault that can be purged", VAULT, "    enablePurgeProtection: true\n", "", "unsafe"),
    ("telemetry without identity", LOGS, "DisableLocalAuth: true", "DisableLocalAuth: false", "unsafe"),
    ("logs without identity", LOGS, "{ disableLocalAuth: true }", "{ disableLocalAuth: false }", "unsafe"),
    ("another plan", APP, "name: 'FC1'", "name: 'Y1'", "unsafe"),
    ("no tags", VAULT, "  tags: tags\n", "", "untagged"),
    ("another service's tag", APP, "'azd-service-name': 'api'", "'azd-service-name': 'web'", "azd-service"),
    (
        "more calls than threads",
        APP,
        "perInstanceConcurrency: handoffsPerInstance",
        "perInstanceConcurrency: 100",
        "concurrency",
    ),
    (
        "a role for nothing",
        ROLES,
        "// The records of the handoffs; the host's own diagnostic events too.\n",
        "",
        "role-unexplained",
    ),
    ("a wrong role id", ROLES, BLOB_OWNER, BLOB_OWNER.replace("b7e6", "b7e7"), "role-wrong-id"),
    (
        "Owner under a modest name",
        ROLES,
        BLOB_OWNER,
        "storageBlobDataOwner: '8e3af657-a8ff-443c-a75c-2fe8c4bcb635'",
        "role-wrong-id",
    ),
    (
        "a role that is not on the list",
        ROLES,
        "'Microsoft.Authorization/roleDefinitions', roleIds.keyVaultSecretsUser)",
        "'Microsoft.Authorization/roleDefinitions', '8e3af657-a8ff-443c-a75c-2fe8c4bcb635')",
        "role-not-allowed",
    ),
    ("a role on the whole group", ROLES, "  scope: insights\n", "  scope: resourceGroup()\n", "role-too-wide"),
    ("a role on the group by omission", ROLES, "  scope: insights\n", "", "role-too-wide"),
    (
        "one name for two roles",
        ROLES,
        "guid(storage.id, principalId, roleIds.storageTableDataContributor)",
        "guid(storage.id, principalId)",
        "role-name",
    ),
]


def findings_of(project: Project, service: str = "api") -> list[Finding]:
    """What all checks of this file find."""
    return [
        *project.syntax_findings,
        *symbols.check(project),
        *secrets.check(project),
        *rules.check(project, service=service),
    ]


def test_nothing_is_wrong(project: Project, service: str) -> None:
    """The files parse with two parsers, every name resolves, secrets stay secret, and the rules hold."""
    assert [str(finding) for finding in findings_of(project, service)] == []


@pytest.mark.parametrize(
    ("path", "old", "new", "rule"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED]
)
def test_a_planted_error_is_found(project: Project, path: str, old: str, new: str, rule: str) -> None:
    """The check that is meant for a mistake finds it: it is not blind."""
    found = findings_of(project.with_change(path, old, new))
    assert rule in rules_of(found), [str(finding) for finding in found]
    assert all(finding.line >= 1 for finding in found)


def test_every_check_has_a_planted_error() -> None:
    """No check is there that was never seen to find anything."""
    sources = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (symbols, secrets, rules)]
    names = {part.split('"')[1] for source in sources for part in source.split("Finding(")[1:] if part.startswith('"')}
    assert names - {case[-1] for case in PLANTED} == {"unreadable"}


def test_parameters_that_are_not_an_object_are_refused(project: Project) -> None:
    """What the checker cannot look into, it does not let pass."""
    text = project.texts[MAIN]
    module = text[text.index("module identity ") : text.index("module logs ")]
    head = module.partition("  params: {")[0]
    found = findings_of(project.with_change(MAIN, module, f"{head}  params: names\n}}\n\n"))
    assert "unreadable" in rules_of(found)


BICEP = shutil.which("bicep")


@pytest.mark.skipif(BICEP is None, reason="bicep is not installed: az bicep install, and put it on the PATH")
@pytest.mark.parametrize("command", ["build", "lint"])
def test_the_compiler_agrees(command: str) -> None:
    """Where the Bicep CLI is installed, it builds and lints the files without error or warning."""
    arguments = [str(BICEP), command, str(INFRA / MAIN), *(["--stdout"] if command == "build" else [])]
    environ = {**os.environ, "DYNAMICS_ENVIRONMENT_URL": "https://org.crm.dynamics.com"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert "Warning" not in done.stderr, done.stderr
