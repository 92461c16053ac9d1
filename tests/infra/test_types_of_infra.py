"""The files of infra/ against Microsoft's types: those of its packages, and the compiler's where its table is there."""

from __future__ import annotations

import re

import pytest

from infra.types import extract
from tests.infra.checker import types
from tests.infra.checker.project import Project
from tests.infra.checker.types import Table
from tests.infra.conftest import INFRA, rules_of

REAL = [
    ("modules/app.bicep", "sites@2025-03-01' = {", "sites@2025-03-02' = {", "unknown-type"),
    ("modules/app.bicep", "Microsoft.Web/sites@", "Microsoft.Web/site@", "unknown-type"),
    ("modules/app.bicep", "httpsOnly: true", "httpOnly: true", "unknown-property"),
    ("modules/app.bicep", "instanceMemoryMB: instanceMemoryMB", "instanceMemoryMB: '2048'", "wrong-kind"),
    ("modules/app.bicep", "instanceCount: relayReadyInstances", "instances: relayReadyInstances", "unknown-property"),
    ("modules/app.bicep", "type: 'UserAssignedIdentity'", "type: 'UserAssigned'", "wrong-value"),
    ("modules/app.bicep", "app.properties.defaultHostName", "app.properties.hostName", "unknown-property"),
    ("modules/app.bicep", "DYNAMICS_AUTH: dynamicsAuth", "DYNAMICS_AUTH: 1", "wrong-kind"),
    ("modules/app.bicep", "  location: location\n  tags: union", "  tags: union", "missing-property"),
    ("modules/app.bicep", "  name: 'appsettings'", "  name: 'appSettings'", "wrong-value"),
    ("modules/app.bicep", "properties: { reserved: true }", "properties: { reserved: 'true' }", "wrong-kind"),
    ("modules/storage.bicep", "'TLS1_2'", "'TLS1.2'", "wrong-value"),
    ("modules/storage.bicep", "  kind: 'StorageV2'\n", "", "missing-property"),
    ("modules/storage.bicep", "    accessTier: 'Hot'\n", "    primaryLocation: 'x'\n", "read-only-property"),
    ("modules/vault.bicep", "    tenantId: tenant().tenantId\n", "", "missing-property"),
    ("modules/vault.bicep", "family: 'A'", "family: 'B'", "wrong-value"),
    (
        "modules/network.bicep",
        "privateEndpointNetworkPolicies: 'Disabled'",
        "privateEndpointNetworkPolicies: 'Off'",
        "wrong-value",
    ),
    ("modules/network.bicep", "addressPrefixes: [addressPrefix]", "addressPrefixes: addressPrefix", "wrong-kind"),
    ("modules/endpoints.bicep", "groupIds: [target.group]", "groupIds: [1]", "wrong-kind"),
    ("modules/endpoints.bicep", "registrationEnabled: false", "registrationEnabled: 'false'", "wrong-kind"),
    (
        "modules/identity.bicep",
        "  tags: tags\n",
        "  tags: tags\n  properties: { clientId: '00000000-0000-0000-0000-000000000000' }\n",
        "read-only-property",
    ),
    ("modules/logs.bicep", "'PerGB2018'", "'PerGB'", "wrong-value"),
    ("modules/logs.bicep", "dailyQuotaGb: dailyCapGb", "dailyQuotaGb: workspaceName", "wrong-kind"),
    ("modules/logs.bicep", "    Application_Type: 'web'\n", "    Application_Type: 'site'\n", "wrong-value"),
    ("modules/roles.bicep", "administratorType\n    role", "'Person'\n    role", "wrong-value"),
    ("modules/roles.bicep", "'Reads the secrets of the service'", "{}", "wrong-kind"),
    (
        "modules/vault.bicep",
        "logs: [{ category: 'AuditEvent', enabled: true }]",
        "logs: [{ category: 'A' }]",
        "missing-property",
    ),
    (
        "modules/vault.bicep",
        "properties: { value: opencxApiKey }",
        "properties: { secret: opencxApiKey }",
        "unknown-property",
    ),
    ("monitoring/monitoring.bicep", "useCommonAlertSchema: true", "useCommonAlertSchema: 'true'", "wrong-kind"),
    ("monitoring/monitoring.bicep", "operator: 'GreaterThan'", "operator: 'Greater'", "wrong-value"),
    ("monitoring/monitoring.bicep", "  kind: 'shared'", "  kind: 'user'", "wrong-value"),
    ("monitoring/monitoring.bicep", "version: 2", "version: '2'", "wrong-kind"),
    ("main.bicep", "@allowed(['User', 'Group', 'ServicePrincipal'])", "@allowed(['User', 'Team'])", None),
]
"""The last one shows a limit: what a module's parameter allows is not followed into the module."""

COMPILER_ONLY = [
    ("modules/logs.bicep", "    Application_Type: 'web'\n", "", "missing-property"),
    ("monitoring/monitoring.bicep", "    enabled: true\n    groupShortName", "    groupShortName", "missing-property"),
    ("monitoring/monitoring.bicep", "    groupShortName: 'handoffs'\n", "", "missing-property"),
    ("monitoring/monitoring.bicep", "    category: 'workbook'\n", "", "missing-property"),
    ("monitoring/monitoring.bicep", "    serializedData: replace(", "    description: replace(", "missing-property"),
]
"""What the packages do not tell: that a property is required within an object that may itself be left out."""

_RESOURCE = re.compile(r"^resource \w+ '([^']+)' = [^{]*\{\n", re.MULTILINE)


def test_infra_fits_its_types(project: Project, table: Table) -> None:
    """Every resource of infra/ is as Microsoft's types want it."""
    assert [str(finding) for finding in types.check(project, table)] == []


@pytest.mark.parametrize(("path", "old", "new", "rule"), REAL)
def test_a_slip_in_infra_is_found(
    project: Project, table: Table, path: str, old: str, new: str, rule: str | None
) -> None:
    """A mistake in the very files that are deployed is found, whichever types they are compared with."""
    found = rules_of(list(types.check(project.with_change(path, old, new), table)))
    assert found == ({rule} if rule else set())


@pytest.mark.parametrize(("path", "old", "new", "rule"), COMPILER_ONLY)
def test_a_slip_that_only_the_compiler_s_types_tell(
    project: Project, table: Table, path: str, old: str, new: str, rule: str
) -> None:
    """Where the packages know less than the compiler: its types find the slip, the packages do not."""
    found = rules_of(list(types.check(project.with_change(path, old, new), table)))
    assert found == (set() if "azure-mgmt" in table.source else {rule})


def test_a_slip_is_found_in_each_resource(project: Project, table: Table) -> None:
    """Of no resource type are the types so wide that an unknown or a read-only property goes by."""
    slipped: list[str] = []
    for path, text in project.texts.items():
        planted = Project({path: _RESOURCE.sub(r"\g<0>  unheardOf: true\n  id: 'x'\n", text)})
        findings = "\n".join(str(finding) for finding in types.check(planted, table))
        for kind in _RESOURCE.findall(text):
            assert f"unknown-property: {kind} has no property unheardOf" in findings
            assert f"read-only-property: {kind}.id is read-only" in findings
            slipped.append(kind)
    assert set(slipped) == set(extract.types_in_use(INFRA))


def test_the_table_holds_the_types_in_use(table: Table) -> None:
    """The table holds the types that infra/ names, each with its API version, and no more."""
    assert table.names == {name.lower() for name in extract.types_in_use(INFRA)}
