"""App settings: what infra/ sets, against what the documentation and the code say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.infra.checker.finding import Finding
from tests.infra.checker.project import Project, named
from tests.infra.checker.secrets import vault_entries
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import Call, Expr, If, Name, Object, Ternary, Text

PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the host's identity for Application Insights",
    "AZURE_TOKEN_CREDENTIALS": "azure-identity looks only for credentials of deployed services",
    "AzureWebJobsStorage__blobServiceUri": "the host's storage by identity",
    "AzureWebJobsStorage__clientId": "the host's storage by identity",
    "AzureWebJobsStorage__credential": "the host's storage by identity",
    "AzureWebJobsStorage__queueServiceUri": "the host's storage by identity",
}
"""Set for the platform and for libraries; the service's own documentation need not name them."""

LEFT_OUT = {
    "AzureWebJobsStorage": "a connection string holds a key",
    "AZURE_AUTHORITY_HOST": "other clouds: extraSettings",
    "CURL_CA_BUNDLE": "own certificate authorities: extraSettings",
    "FUNCTIONS_WORKER_RUNTIME": "functionAppConfig says it on Flex Consumption",
    "HTTPS_PROXY": "a proxy: extraSettings",
    "NO_PROXY": "a proxy: extraSettings",
    "REQUESTS_CA_BUNDLE": "own certificate authorities: extraSettings",
    "SSL_CERT_FILE": "own certificate authorities: extraSettings",
    "TABLES_CONNECTION_STRING": "a connection string holds a key",
}
"""Documented, and on purpose without a parameter; besides secrets and what `goes_into_extra_settings`."""

FORBIDDEN = frozenset(
    {
        "AzureWebJobsDashboard",
        "AzureWebJobsStorage",
        "ENABLE_ORYX_BUILD",
        "FUNCTIONS_EXTENSION_VERSION",
        "FUNCTIONS_WORKER_PROCESS_COUNT",
        "FUNCTIONS_WORKER_RUNTIME",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
        "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
        "WEBSITE_CONTENTSHARE",
        "WEBSITE_RUN_FROM_PACKAGE",
        "WEBSITE_TIME_ZONE",
    }
)
"""Refused or ignored on Flex Consumption, or a key. Source: Microsoft's page on the plan, az's list for migration."""

_FAMILIES = {"LIVE_WORK_ITEM_": "LIVE_WORK_ITEM_PRESET", "OPENCX_WEBHOOK_": "OPENCX_WEBHOOK_SECRET"}
"""Settings of one kind, few of which anybody needs: how they begin → the one that has a parameter of its own."""


@dataclass(frozen=True)
class Setting:
    """A setting that infra/ sets, and where."""

    name: str
    path: str
    line: int
    value: Expr


def settings_of(project: Project) -> dict[str, Setting]:
    """Everything that reaches the app settings of the site, through variables, parameters and unions."""
    found: dict[str, Setting] = {}
    for file in project.files.values():
        for resource in file.of_kind("resource"):
            name = resource.body.get("name") if resource.body else None
            if isinstance(name, Text) and name.value == "appsettings" and resource.body:
                value = resource.body.get("properties")
                found.update({setting.name: setting for setting in _collect(value, file, project)})
    return found


def _collect(value: Expr | None, file: File, project: Project) -> Iterator[Setting]:  # noqa: C901 - a branch a form
    match value:
        case Object(entries=entries):
            for entry in entries:
                if entry.key is not None:
                    yield Setting(entry.key, file.path, entry.line, entry.value)
        case Call(name="union", of=None, arguments=arguments):
            for argument in arguments:
                yield from _collect(argument, file, project)
        case Ternary(then=then, otherwise=otherwise):
            yield from _collect(then, file, project)
            yield from _collect(otherwise, file, project)
        case If(body=body):
            yield from _collect(body, file, project)
        case Name(name=name):
            variable = named(file, "var").get(name)
            if variable is not None:
                yield from _collect(variable.value, file, project)
            elif name in named(file, "param"):
                for caller, argument in _arguments(name, file, project):
                    yield from _collect(argument, caller, project)


def _arguments(name: str, file: File, project: Project) -> Iterator[tuple[File, Expr]]:
    """What the callers of a module give for one of its parameters."""
    for caller in project.files.values():
        for module in caller.of_kind("module"):
            given = module.body.get("params") if module.body else None
            if project.beside(caller.path, module.target or "") is file and isinstance(given, Object):
                argument = given.get(name)
                if argument is not None:
                    yield caller, argument


def check(project: Project, documented: Mapping[str, str | None]) -> Iterator[Finding]:
    """Where infra/ and docs/settings.md disagree.

    Args:
        project: the files.
        documented: the settings of docs/settings.md; to each its name in the vault, or None.
    """
    settings = settings_of(project)
    for setting in settings.values():
        where = (setting.path, setting.line)
        if setting.name in FORBIDDEN:
            yield Finding("setting-forbidden", *where, f"{setting.name} must not be set on Flex Consumption")
        elif documented.get(setting.name):
            yield Finding("secret-setting", *where, f"{setting.name} is a secret: it belongs into the vault")
        elif setting.name not in documented and setting.name not in PLATFORM:
            yield Finding("setting-unknown", *where, f"{setting.name} is not in docs/settings.md")
    for name, secret in documented.items():
        if secret and secret not in vault_entries(project):
            yield Finding("vault-entry-missing", "modules/vault.bicep", 1, f"no resource for the secret {secret}")
        elif not secret and name not in settings and name not in LEFT_OUT and not goes_into_extra_settings(name):
            yield Finding("setting-not-set", "main.bicep", 1, f"{name} of docs/settings.md has no parameter")
    for secret in sorted(vault_entries(project) - set(documented.values())):
        yield Finding("vault-entry-unknown", "modules/vault.bicep", 1, f"docs/settings.md has no secret {secret}")


def goes_into_extra_settings(name: str) -> bool:
    """Whether it is one of many of a kind: the names of a table of chats, or how webhooks are signed."""
    return any(name.startswith(family) and name != parameter for family, parameter in _FAMILIES.items())
