"""The queues that wake: what a queue trigger by identity needs is there, under the names that the code has.

Facts: Microsoft's pages on the queue trigger (identity-based connections, poison messages) and on Flex Consumption
(scaling by function, always-ready instances, private endpoints).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

import pytest

from shared.wake import HANDOFFS, RELAY
from tests.infra.checker.project import Project, named
from tests.infra.checker.settings import settings_of
from tests.infra.checker.tree import Declaration, Expr, Member, Name, Object, Scalar, Text
from tests.infra.conftest import ROOT

APP, ENDPOINTS, MAIN = "modules/app.bicep", "modules/endpoints.bicep", "main.bicep"
ROLES, STORAGE = "modules/roles.bicep", "modules/storage.bicep"
CONNECTION = "AzureWebJobsStorage"
_GROUPS = {"http", "blob", "durable"}

PLANTED = [
    ("a queue of another name", MAIN, "'opencx-relay'", "'opencx-relays'"),
    ("a queue that is not made", MAIN, "['opencx-handoffs', 'opencx-relay']", "['opencx-handoffs']"),
    ("queues that nobody makes", STORAGE, "for queueName in queueNames", "for queueName in []"),
    ("no address of the queues", APP, "  AzureWebJobsStorage__queueServiceUri: queueEndpoint\n", ""),
    ("the address of another service", APP, "queueServiceUri: queueEndpoint", "queueServiceUri: tableEndpoint"),
    ("no identity for the connection", APP, "  AzureWebJobsStorage__credential: 'managedidentity'\n", ""),
    ("another identity for the connection", APP, "AzureWebJobsStorage__clientId: identityClientId", "other: ''"),
    (
        "a role that cannot make poison queues",
        ROLES,
        "Definitions', roleIds.storageQueueDataContributor",
        "', roleIds.x",
    ),
    (
        "the role for someone else",
        ROLES,
        "principalId: principalId\n    principalType: 'ServicePrincipal'\n    roleDefinition"
        "Id: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds.storageQueueDataContributor)",
        "principalId: administratorObjectId\n    roleDefinitionId: roleIds.storageQueueDataContributor",
    ),
    ("no private address of the queues", ENDPOINTS, "group: 'queue'", "group: 'file'"),
    ("an always-ready function that is not there", APP, "'function:relay_messages'", "'function:relay'"),
    ("an always-ready group that is not there", APP, "name: 'http', instanceCount", "name: 'queue', instanceCount"),
    (
        "replies that wait for an instance",
        MAIN,
        "param relayReadyInstances int = 1",
        "param relayReadyInstances int = 0",
    ),
]


def _triggers() -> dict[str, tuple[str, str]]:
    """The functions that queues wake: name → the queue's constant, and the connection."""
    found: dict[str, tuple[str, str]] = {}
    for file in ROOT.glob("*_queue/__init__.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                assert isinstance(node, ast.FunctionDef)
                assert isinstance(decorator, ast.Call)
                given = {keyword.arg: ast.unparse(keyword.value).strip("'") for keyword in decorator.keywords}
                found[node.name] = (given["queue_name"], given["connection"])
    return found


def _texts(value: Expr | None) -> list[str]:
    return [part.value for part in value.walk() if isinstance(part, Text) and part.value] if value else []


def _variable(project: Project, path: str, name: str) -> Expr | None:
    found = named(project.files[path], "var").get(name)
    return found.value if found else None


def _problems(project: Project) -> Iterator[str]:
    yield from _queues(project)
    yield from _connection(project)
    yield from _role(project)
    targets = _variable(project, ENDPOINTS, "targets")
    groups = [part.get("group") for part in targets.walk() if isinstance(part, Object)] if targets else []
    if not {"blob", "queue", "table"} <= {text for group in groups for text in _texts(group)}:
        yield "not every service of the storage account has a private endpoint"
    yield from _always_ready(project)


def _queues(project: Project) -> Iterator[str]:
    if sorted(_texts(_variable(project, MAIN, "queueNames"))) != sorted((HANDOFFS, RELAY)):
        yield "the queues are not those of the code"
    made = named(project.files[STORAGE], "resource").get("queues")
    if made is None or not any(isinstance(part, Name) and part.name == "queueNames" for part in _parts(made)):
        yield "the queues are not made"


def _connection(project: Project) -> Iterator[str]:
    settings = settings_of(project)
    wanted = {"queueServiceUri": "queueEndpoint", "clientId": "identityClientId", "credential": "managedidentity"}
    for name, value in wanted.items():
        setting = settings.get(f"{CONNECTION}__{name}")
        given = {text for part in setting.value.walk() for text in (_name(part), *_texts(part))} if setting else set()
        if value not in given:
            yield f"{CONNECTION}__{name} is not {value}"


def _role(project: Project) -> Iterator[str]:
    for role in project.files[ROLES].of_kind("resource"):
        definition = role.body.at("properties.roleDefinitionId") if role.body else None
        holder = role.body.at("properties.principalId") if role.body else None
        names = {part.name for part in definition.walk() if isinstance(part, Member)} if definition else set()
        is_whole = _texts(definition) == ["Microsoft.Authorization/roleDefinitions"]
        if names == {"storageQueueDataContributor"} and is_whole and holder and _name(holder) == "principalId":
            return
    yield "the service has no role that can make queues"


def _always_ready(project: Project) -> Iterator[str]:
    app = named(project.files[APP], "resource")["app"]
    ready = app.body.at("properties.functionAppConfig.scaleAndConcurrency.alwaysReady") if app.body else None
    names = _texts(ready)
    functions = {f"function:{name}" for name in _triggers()}
    yield from (f"{name} is neither a group nor a function" for name in names if name not in _GROUPS | functions)
    if "function:relay_messages" not in names:
        yield "replies have no instance that is always ready"
    default = named(project.files[MAIN], "param")["relayReadyInstances"].value
    if not isinstance(default, Scalar) or not default.value:
        yield "replies wait for an instance to start"


def _parts(resource: Declaration) -> Iterator[Expr]:
    yield from resource.value.walk() if resource.value else ()


def _name(part: Expr) -> str:
    return part.name if isinstance(part, Name) else ""


def test_the_queues_and_their_triggers_fit_together(project: Project) -> None:
    """The queues exist; the host reaches them by its identity, in a private network too, and may make poison queues."""
    assert list(_problems(project)) == []


@pytest.mark.parametrize(("path", "old", "new"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED])
def test_a_planted_error_is_found(project: Project, path: str, old: str, new: str) -> None:
    """A trigger that would never fire, or could not put a bad message aside, is found."""
    assert list(_problems(project.with_change(path, old, new))) != []


def test_every_trigger_uses_the_connection_that_is_set() -> None:
    """Each function that a queue wakes names one of the two queues, and the connection of the host."""
    assert _triggers() == {
        "start_handoff": ("HANDOFFS", CONNECTION),
        "relay_messages": ("RELAY", CONNECTION),
    }


def test_the_host_looks_into_the_queues_often_enough_for_a_reply_in_two_seconds() -> None:
    """host.json: an idle queue is looked into at least each half second, and the bundle with the trigger is there."""
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    hours, minutes, seconds = host["extensions"]["queues"]["maxPollingInterval"].split(":")
    assert int(hours) * 3600 + int(minutes) * 60 + float(seconds) <= 0.5
    assert re.fullmatch(r"\[4\..*", host["extensionBundle"]["version"])
