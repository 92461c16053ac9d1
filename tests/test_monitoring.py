"""Workbook, alerts and saved queries ask for what the code really emits, and Azure can read them."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from shared import events
from shared.handoff.reconciler import Report
from shared.relay.lanes import LaneReport
from tests.test_docs import DEPLOYED

ROOT = Path(__file__).resolve().parent.parent
MONITORING = ROOT / "infra" / "monitoring"
BICEP = (MONITORING / "monitoring.bicep").read_text(encoding="utf-8")
WORKBOOK: dict[str, Any] = json.loads((MONITORING / "workbook.json").read_text(encoding="utf-8"))
QUERIES = {file.stem: file.read_text(encoding="utf-8") for file in sorted((MONITORING / "queries").glob("*.kql"))}
ALERTS = sorted(name for name in QUERIES if name.startswith("alert-"))
SAVED = sorted(name for name in QUERIES if not name.startswith("alert-"))
EVENTS = {name: value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}

NOT_OF_ATTEMPTS = (
    "doors/",
    "shared/dynamics_messaging/events.py",
    "shared/dynamics_messaging/side.py",
    "shared/dynamics_messaging/webhook.py",
    "shared/handoff/desk.py",
    "shared/handoff/reconciler.py",
    "shared/opencx/",
    "shared/relay/carrier.py",
    "shared/relay/held.py",
    "shared/relay/to_customer.py",
    "shared/relay/to_rep.py",
    "shared/relay/lanes.py",
    "shared/turnout.py",
)
OF_CONVERSATIONS = (
    "shared/attachments.py",
    "shared/config/",
    "shared/dataverse/client.py",
    "shared/dynamics_messaging/client.py",
    "shared/dynamics_messaging/side.py",
    "shared/opencx/side.py",
    "shared/relay/carrier.py",
    "shared/relay/held.py",
    "shared/relay/to_customer.py",
    "shared/relay/to_rep.py",
    "shared/salesforce/wire.py",
)
SCOPES: dict[str, Callable[[str], bool]] = {
    "shared/handoff/attempt.py": lambda name: not name.startswith(NOT_OF_ATTEMPTS),
    "shared/relay/carrier.py": lambda name: name.startswith(OF_CONVERSATIONS),
    "shared/opencx/events.py": lambda name: name in {"shared/opencx/events.py", "shared/relay/relay.py"},
}
"""Who opens a scope with `events.scope`, and which modules emit inside it."""

TRACES = "timestamp: datetime, message: string, severityLevel: int, itemCount: int, operation_Id: string"
REQUESTS = "timestamp: datetime, name: string, resultCode: string, success: string, itemCount: int"
TABLES = {"traces": TRACES, "requests": REQUESTS}
"""Columns as Application Insights names them (Azure Monitor: telemetry data model), as far as they are used."""
WORKSPACE = {"AppTraces": "TimeGenerated: datetime, Message: string, ItemCount: int, OperationId: string"}

_EVENT = re.compile(r'"([a-z_]+\.[a-z_]+)"')
_DIMENSION = re.compile(r'\be(?:\.(\w+)|\["(\w+)"\])')
_CODE_ROW = re.compile(r"^\| `([a-z_]+)` \| ([^|]+) \|", re.MULTILINE)

Emitted = dict[str, set[str]]
Read = dict[str, dict[str, Any]]


def _keywords(call: ast.Call, module: str) -> Iterator[str]:
    """The dimensions that one call of emit or scope names."""
    for keyword in call.keywords:
        if keyword.arg == "exc_info":
            yield "where"
        elif keyword.arg is not None:
            yield keyword.arg
        else:  # **asdict(report)
            assert ast.unparse(keyword.value) == "asdict(report)", ast.unparse(keyword.value)
            yield from (field.name for field in fields(LaneReport if module == "shared/relay/lanes.py" else Report))


def _constants(arguments: list[ast.expr]) -> Iterator[str]:
    """The events among some arguments: `events.HANDOFF_STORED`."""
    for each in arguments:
        if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "events" and each.attr in EVENTS:
            yield EVENTS[each.attr]


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("self.") == name:
            yield node


def sources() -> dict[str, str]:
    """The modules of the deployed code."""
    files = [file for folder in DEPLOYED for file in folder.rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def emitted_by(sources: dict[str, str], *, with_scopes: bool = True) -> Emitted:
    """Each event that these modules emit, with the dimensions that it can carry.

    Where a function emits the event that it is given, its callers in the module say which.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    added = {
        name: {dimension for call in _calls(tree, "events.scope") for dimension in _keywords(call, name)}
        for name, tree in trees.items()
    }
    assert {name for name, dimensions in added.items() if dimensions} <= SCOPES.keys(), "a scope that nobody knows"
    found: Emitted = {}
    for name, tree in trees.items():
        inside = {each for opener, is_in in SCOPES.items() if is_in(name) for each in added.get(opener, ())}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in _calls(function, "events.emit"):
                named = set(_constants(call.args)) or {
                    event for outer in _calls(tree, function.name) for event in _constants(outer.args)
                }
                assert named, f"{name}: nobody says which event {function.name} emits"
                for event in named:
                    found.setdefault(event, set()).update(_keywords(call, name), inside if with_scopes else ())
    return found


def unknown_names(query: str, emitted: Emitted) -> set[str]:
    """What a query asks for and no event has: events, and dimensions of the events that it is about."""
    asked = set(_EVENT.findall(query))
    about = asked & emitted.keys() or emitted.keys()
    carried = {"event"}.union(*(emitted[event] for event in about))
    dimensions = {first or second for first, second in _DIMENSION.findall(query)}
    return (asked - emitted.keys()) | (dimensions - carried)


def read(queries: dict[str, str], tables: dict[str, str]) -> Read:
    """Microsoft's KQL language service on these queries: columns of the result, and what is wrong."""
    done = subprocess.run(
        ["node", str(MONITORING / "kql.cjs")],
        input=json.dumps({"tables": tables, "queries": queries}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: Read = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def emitted() -> Emitted:
    """What the deployed code emits."""
    return emitted_by(sources())


@pytest.fixture(scope="module")
def parsed() -> Read:
    """All queries, and those of the workbook, as Azure reads them."""
    queries = QUERIES | {f"workbook: {item['name']}": item["content"]["query"] for item in _parts()}
    return read(queries, TABLES)


def _parts() -> list[dict[str, Any]]:
    return [item for item in WORKBOOK["items"] if item["type"] == 3]


def test_every_event_is_emitted(emitted: Emitted) -> None:
    """No constant of shared/events.py is left that nothing emits, and nothing else is emitted."""
    assert emitted.keys() == set(EVENTS.values())


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_what_is_emitted(name: str, emitted: Emitted) -> None:
    """Every event and dimension of a query comes from an emit of that event, or from the scope around it."""
    assert unknown_names(QUERIES[name], emitted) == set()


def test_a_name_that_is_not_emitted_is_found(emitted: Emitted) -> None:
    """A wrong event, a wrong dimension, another event's dimension and a scope's outside of it are all found."""
    start = "traces | extend e = parse_json(message) | where tostring(e.event) =="
    assert unknown_names(f'{start} "handoff.complete"', emitted) == {"handoff.complete"}
    assert unknown_names(f'{start} "handoff.completed" | summarize max(e.second)', emitted) == {"second"}
    assert unknown_names(f'{start} "handoff.completed" | project e.held_back', emitted) == {"held_back"}
    assert unknown_names(f'{start} "reconcile.done" | project e["handoff_id"], e.held_back', emitted) == {"handoff_id"}
    assert unknown_names(f'{start} "relay.said" | project e.session_id, e.attempt', emitted) == {"attempt"}
    assert unknown_names(f'{start} "relay.lane" | project e.slow, e.held_back', emitted) == {"held_back"}


def test_an_emit_that_hides_its_event_is_followed() -> None:
    """The collector finds the event that a function is given, its callers' constant and the scope's dimensions."""
    source = (
        "def later(self): self.tell(1, events.HANDOFF_RETRYING)\n"
        "def tell(self, record, event): events.emit(event, code='x')\n"
    )
    scope = "def scoped(): return events.scope(attempt=1)\n"
    assert emitted_by({"shared/handoff/attempt.py": source + scope}) == {"handoff.retrying": {"code", "attempt"}}
    for outside in ("shared/handoff/desk.py", "shared/relay/carrier.py"):
        found = emitted_by({outside: source, "shared/handoff/attempt.py": scope})
        assert found == {"handoff.retrying": {"code"}}


def test_a_scope_that_nobody_knows_is_found() -> None:
    """Whoever opens a scope elsewhere must say in SCOPES which modules emit inside it."""
    with pytest.raises(AssertionError, match="nobody knows"):
        emitted_by({"shared/handoff/desk.py": "def scoped(): return events.scope(attempt=1)\n"})


def test_every_query_is_valid_kql(parsed: Read) -> None:
    """Microsoft's language service finds no syntax error, unknown column or wrong argument in any query."""
    assert {name: each["found"] for name, each in parsed.items() if each["found"]} == {}


def test_every_saved_query_is_valid_in_the_workspace() -> None:
    """With the names of workspace-tables.kql in front, a saved query is valid where the tables are AppTraces."""
    front = (MONITORING / "workspace-tables.kql").read_text(encoding="utf-8")
    found = read({name: front + QUERIES[name] for name in SAVED}, WORKSPACE)
    assert {name: each["found"] for name, each in found.items() if each["found"]} == {}


def test_wrong_kql_is_found() -> None:
    """A missing bracket, an unknown operator, column, table or function, and a reserved name are errors."""
    wrong = {
        "bracket": "traces | summarize count( by message",
        "operator": "traces | wher itemCount == 1",
        "column": "traces | where duration > 1",
        "table": "trace | count",
        "function": "traces | extend e = parsejson2(message)",
        "reserved": "traces | summarize first = min(timestamp)",
    }
    assert {name for name, each in read(wrong, TABLES).items() if not each["found"]} == set()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_says_what_it_answers(name: str) -> None:
    """The first line of every query is a comment with a whole sentence."""
    assert re.match(r"// .+[.?]\n", QUERIES[name])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_query_keeps_to_what_azure_allows(name: str) -> None:
    """It starts with its table, and has no union, search, limit or take (Azure Monitor: log search alert queries)."""
    body = QUERIES[name].partition("\n")[2]
    assert re.match(r"(traces|requests)\n", body)
    assert re.findall(r"\b(union|search|limit|take|let)\b", body) == []


def test_the_alert_on_lost_handoffs_knows_every_code_of_a_503() -> None:
    """Each code that docs/errors.md answers with 503 or 500 raises the alarm: nothing is stored then."""
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").partition("## Log events")[0]
    lost = {code for code, kind in _CODE_ROW.findall(table) if re.search(r"\b50[03]\b", kind)}
    assert lost >= {"not_stored_not_delivered", "internal_error"}
    assert set(re.findall(r'"([a-z_]+)"', QUERIES["alert-not-stored"])) == lost


def test_every_query_is_deployed_once() -> None:
    """Bicep loads each file of queries/ once, under its name: an alert as an alert, the rest as saved queries."""
    loaded = re.findall(r"name: '([\w-]+)'[^}]*?loadTextContent\('queries/([\w-]+)\.kql'\)", BICEP)
    assert sorted(file for _, file in loaded) == sorted(QUERIES)
    assert [(name, file) for name, file in loaded if name != file.removeprefix("alert-")] == []


def test_alerts_look_back_no_further_than_azure_lets_them() -> None:
    """A rule's window covers several looks, and its range is at most two days (scheduledQueryRules)."""
    assert BICEP.count("evaluationFrequency: 'PT5M'") == 1
    assert set(re.findall(r"window: '(\w+)'", BICEP)) == {"PT15M"}
    assert set(re.findall(r"looksBack: '(\w+)'", BICEP)) <= {"PT15M", "PT1H", "P1D", "P2D"}


def test_the_workbook_has_the_shape_that_azure_expects() -> None:
    """Version, schema, the placeholder that Bicep fills, and known kinds of parts with names of their own."""
    assert WORKBOOK["version"] == "Notebook/1.0"
    assert WORKBOOK["$schema"].endswith("/schema/workbook.json")
    assert WORKBOOK["fallbackResourceIds"] == ["__APPLICATION_INSIGHTS_ID__"]
    assert "'__APPLICATION_INSIGHTS_ID__', applicationInsightsId)" in BICEP
    names = [item["name"] for item in WORKBOOK["items"]]
    assert len(names) == len(set(names))
    kinds = {1: None, 9: "KqlParameterItem/1.0", 3: "KqlItem/1.0"}
    for item in WORKBOOK["items"]:
        assert item["content"].get("version") == kinds[item["type"]], item["name"]
    for item in _parts():
        assert item["content"]["queryType"] == 0
        assert item["content"]["resourceType"] == "microsoft.insights/components"


def test_the_workbook_has_the_parameters_that_it_uses() -> None:
    """Time range and handoff id are parameters, and no other is used."""
    [group] = [item["content"] for item in WORKBOOK["items"] if item["type"] == 9]
    declared = {parameter["name"] for parameter in group["parameters"]}
    used = {item["content"]["timeContextFromParameter"] for item in _parts()}
    used |= {name for item in _parts() for name in re.findall(r"{(\w+)}", item["content"]["query"])}
    assert used == declared


def test_the_workbook_shows_every_saved_query() -> None:
    """Each part has the text of the query of its name; after a change run infra/monitoring/sync.py."""
    spec = importlib.util.spec_from_file_location("sync", MONITORING / "sync.py")
    assert spec
    assert spec.loader
    sync = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sync)
    assert {item["name"]: item["content"]["query"] for item in _parts()} == {n: sync.query_of(n) for n in SAVED}


def test_charts_draw_columns_that_exist(parsed: Read) -> None:
    """The axes of a chart are columns of its query's result."""
    charts = {item["name"]: item["content"]["chartSettings"] for item in _parts() if "chartSettings" in item["content"]}
    assert charts
    for name, chart in charts.items():
        drawn = {chart["xAxis"], *chart["yAxis"], *([chart["group"]] if "group" in chart else [])}
        assert drawn <= set(parsed[name]["columns"]), name
