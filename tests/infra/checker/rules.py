"""What must hold of the deployed service: no keys, TLS, roles, tags, limits. The sources are Microsoft's own pages."""

from __future__ import annotations

from collections.abc import Iterator

from tests.infra.checker.finding import Finding
from tests.infra.checker.project import Project, named
from tests.infra.checker.settings import settings_of
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import Call, Declaration, Expr, Member, Name, Object, Scalar, Text

Fixed = str | int | bool

REQUIRED: dict[str, dict[str, Fixed]] = {
    "Microsoft.Storage/storageAccounts": {
        "properties.allowSharedKeyAccess": False,
        "properties.allowBlobPublicAccess": False,
        "properties.allowCrossTenantReplication": False,
        "properties.defaultToOAuthAuthentication": True,
        "properties.minimumTlsVersion": "TLS1_2",
        "properties.supportsHttpsTrafficOnly": True,
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {"properties.publicAccess": "None"},
    "Microsoft.KeyVault/vaults": {
        "properties.enableRbacAuthorization": True,
        "properties.enableSoftDelete": True,
        "properties.enablePurgeProtection": True,
    },
    "Microsoft.Insights/components": {"properties.DisableLocalAuth": True},
    "Microsoft.OperationalInsights/workspaces": {"properties.features.disableLocalAuth": True},
    "Microsoft.Web/serverfarms": {
        "sku.name": "FC1",
        "sku.tier": "FlexConsumption",
        "properties.reserved": True,
    },
    "Microsoft.Web/sites": {
        "kind": "functionapp,linux",
        "identity.type": "UserAssigned",
        "properties.httpsOnly": True,
        "properties.siteConfig.minTlsVersion": "1.2",
        "properties.siteConfig.scmMinTlsVersion": "1.2",
        "properties.siteConfig.ftpsState": "Disabled",
        "properties.functionAppConfig.runtime.name": "python",
        "properties.functionAppConfig.runtime.version": "3.13",
        "properties.functionAppConfig.deployment.storage.authentication.type": "UserAssignedIdentity",
    },
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties.allow": False},
}
"""Resource type → property → the one value that it may have."""

WANTED = frozenset(
    {
        ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "ftp"),
        ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "scm"),
        ("Microsoft.Web/sites/config", "appsettings"),
    }
)
"""Resources that must be there, by type and name."""

ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
"""Azure's built-in roles that may be given, and no others. Source: Microsoft's list of built-in roles."""

ROLE_ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
_DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"


def check(project: Project, *, service: str) -> Iterator[Finding]:
    """What is not as it must be.

    Args:
        project: the files.
        service: the name of the service in azure.yaml.
    """
    seen: set[tuple[str, str]] = set()
    for file in project.files.values():
        for resource in file.of_kind("resource"):
            if resource.is_existing or resource.body is None:
                continue
            kind = (resource.target or "").partition("@")[0]
            name = resource.body.get("name")
            if isinstance(name, Text) and name.value:
                seen.add((kind, name.value))
            yield from _fixed(file, resource, kind)
            if kind == ROLE_ASSIGNMENT:
                yield from _role(file, resource)
            has_tags = kind.count("/") == 1 and kind not in {ROLE_ASSIGNMENT, _DIAGNOSTICS}
            if has_tags and resource.body.get("tags") is None:
                message = f"{resource.name} has no tags"
                yield Finding("untagged", file.path, resource.line, message)
            if kind == "Microsoft.Web/sites":
                yield from _site(project, file, resource, service)
    for kind, name_wanted in sorted(WANTED - seen):
        yield Finding("missing-resource", "modules/app.bicep", 1, f"there is no {kind} named {name_wanted}")


def _fixed(file: File, resource: Declaration, kind: str) -> Iterator[Finding]:
    for path, wanted in REQUIRED.get(kind, {}).items():
        value = resource.body.at(path) if resource.body else None
        content = value.value if isinstance(value, Text | Scalar) else None
        if content != wanted or type(content) is not type(wanted):
            line = value.line if value is not None else resource.line
            yield Finding("unsafe", file.path, line, f"{resource.name}: {path} must be {wanted!r}")


def _role(file: File, resource: Declaration) -> Iterator[Finding]:
    where = (file.path, resource.line)
    body = resource.body
    if body is None:
        return
    if not resource.is_explained:
        yield Finding("role-unexplained", *where, f"{resource.name}: say above it what the role is for")
    scope = body.get("scope")
    if not (isinstance(scope, Name) and scope.name in named(file, "resource")):
        yield Finding("role-too-wide", *where, f"{resource.name}: its scope must be one resource")
    catalogue = named(file, "var").get("roleIds")
    given = catalogue.value if catalogue and isinstance(catalogue.value, Object) else None
    definition = body.at("properties.roleDefinitionId")
    used = [part for part in definition.walk() if isinstance(part, Member)] if definition is not None else []
    if len(used) != 1 or used[0].name not in ROLES:
        yield Finding("role-not-allowed", *where, f"{resource.name}: only these roles: {', '.join(ROLES)}")
        return
    role = given.get(used[0].name) if given else None
    if not isinstance(role, Text) or role.value != ROLES[used[0].name]:
        yield Finding("role-wrong-id", *where, f"{used[0].name} is {ROLES[used[0].name]} in Azure")
    name = body.get("name")
    parts = {part.name for part in name.walk() if isinstance(part, Member)} if name is not None else set()
    if not isinstance(name, Call) or name.name != "guid" or used[0].name not in parts:
        message = f"{resource.name}: its name must be guid(scope, principal, the same role)"
        yield Finding("role-name", *where, message)


def _site(project: Project, file: File, resource: Declaration, service: str) -> Iterator[Finding]:
    where = (file.path, resource.line)
    tags = resource.body.get("tags") if resource.body else None
    marks = [part.get("azd-service-name") for part in tags.walk() if isinstance(part, Object)] if tags else []
    if [mark.value for mark in marks if isinstance(mark, Text)] != [service]:
        yield Finding("azd-service", *where, f"azd finds the site by the tag azd-service-name: {service}")
    path = "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency"
    concurrency = resource.body.at(path) if resource.body else None
    threads = settings_of(project).get("PYTHON_THREADPOOL_THREAD_COUNT")
    if concurrency is None or threads is None or _names(concurrency) != _names(threads.value):
        message = "perInstanceConcurrency and PYTHON_THREADPOOL_THREAD_COUNT must come from one parameter"
        yield Finding("concurrency", *where, message)


def _names(value: Expr) -> set[str]:
    return {part.name for part in value.walk() if isinstance(part, Name)}
