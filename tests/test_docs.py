"""The tables in docs/ and the code name the same things: error codes, log events, settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from shared import events
from shared.dataverse.settings import LiveWorkItemTable

ROOT = Path(__file__).resolve().parent.parent
DEPLOYED = tuple(
    ROOT / name
    for name in (
        "shared",
        "doors",
        "handoff_http",
        "opencx_events_http",
        "dynamics_events_http",
        "handoff_queue",
        "relay_queue",
        "reconcile_timer",
    )
)

_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
_SETTING = re.compile(r"%?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|AzureWebJobs\w+)%?")
_READERS = {
    "text",
    "number",
    "guid",
    "choice",
    "flag",
    "json_object",
    "origin",
    "required",
    "get",
    "is_set",
    "optional",
}
_FIRST_CELL = re.compile(r"^\| `([^`]+)`", re.MULTILINE)
_READ_BY_OTHERS = "## Read by the platform and by libraries"


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for folder in DEPLOYED:
        for file in sorted(folder.rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def _texts(node: ast.expr | None) -> Iterator[str]:
    """The texts that an expression can be, when it is a text or a choice of texts."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _first_of(node: ast.expr) -> Iterator[str]:
    """The first elements of a tuple or a choice of tuples."""
    if isinstance(node, ast.Tuple) and node.elts:
        yield from _texts(node.elts[0])
    elif isinstance(node, ast.IfExp):
        yield from _first_of(node.body)
        yield from _first_of(node.orelse)


def _codes_of(node: ast.AST) -> Iterator[str]:
    """The codes that one piece of code gives away: `code=`, `error_code=`, `code =`, a default, Notice, LastError."""
    if isinstance(node, ast.keyword) and node.arg in {"code", "error_code"}:
        yield from filter(None, _texts(node.value))
    elif isinstance(node, ast.arguments):
        pairs = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        yield from (text for argument, default in pairs if argument.arg == "code" for text in _texts(default))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"Notice", "LastError"}:
        yield from (text for argument in node.args[:1] for text in _texts(argument))
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == "code":
                yield from _texts(node.value)
            elif isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name):
                yield from _first_of(node.value) if target.elts[0].id == "code" else ()


def codes_in_code() -> set[str]:
    """Every code that the service can answer with or log."""
    found: set[str] = set()
    for file, tree in _trees():
        for node in ast.walk(tree):
            found.update(_codes_of(node))
            # Entra's faults: tuples of code, message and fix, whose codes are prefixed where they are raised.
            if file.name == "token.py" and isinstance(node, ast.Tuple) and len(node.elts) == 3:
                found.update(f"dynamics_{code}" for code in _first_of(node) if _CODE.fullmatch(code))
    return found


def settings_in_code() -> set[str]:
    """Every setting that is read: the names given to the readers of settings, secrets and the environment."""
    found = {f"LIVE_WORK_ITEM_{field.name.upper()}" for field in fields(LiveWorkItemTable)}
    for _, tree in _trees():
        for node in ast.walk(tree):
            found.update(match[1] for text in _names_of(node) if (match := _SETTING.fullmatch(text)))
    return found


def _names_of(node: ast.AST) -> Iterator[str]:
    """The texts in one piece of code that name a setting if they look like one."""
    if isinstance(node, ast.Call):
        reader = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if reader in _READERS:
            yield from (text for argument in node.args for text in _texts(argument))
    elif isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Tuple):
        yield from (text for name in node.iter.elts for text in _texts(name))
    elif isinstance(node, ast.keyword) and node.arg == "schedule":
        yield from _texts(node.value)


def _rows(text: str) -> list[str]:
    return _FIRST_CELL.findall(text)


def _doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_code_of_the_service_has_a_row() -> None:
    """A code that a caller or a log shows can be looked up in docs/errors.md."""
    documented = set(_rows(_doc("errors.md").partition("## Log events")[0]))
    assert codes_in_code() - documented == set()


def test_no_row_is_about_a_code_that_is_gone() -> None:
    """docs/errors.md lists nothing that the service cannot say, and nothing twice."""
    rows = _rows(_doc("errors.md").partition("## Log events")[0])
    assert set(rows) - codes_in_code() == set()
    assert len(rows) == len(set(rows))


def test_the_codes_are_found_in_every_form() -> None:
    """The collector sees a keyword, a default, a choice, a notice, an Entra fault: it is not blind to a form."""
    forms = {"secret_missing", "handoff_not_found", "dynamics_timeout", "contact_ambiguous", "dynamics_tenant_unknown"}
    assert forms | {"refused", "queue_refused", "dynamics_token_refused"} <= codes_in_code()


def test_every_log_event_has_a_row() -> None:
    """docs/errors.md lists exactly the events that the service logs."""
    names = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
    rows = _rows(_doc("errors.md").partition("## Log events")[2])
    assert set(rows) == names
    assert len(rows) == len(names)


def test_every_setting_that_is_read_is_documented() -> None:
    """Whoever sets the service up finds every setting in docs/settings.md."""
    assert settings_in_code() - set(_rows(_doc("settings.md"))) == set()


def test_no_row_is_about_a_setting_that_nothing_reads() -> None:
    """docs/settings.md lists no setting of the service that has no effect, and none twice."""
    rows = _rows(_doc("settings.md"))
    own = _rows(_doc("settings.md").partition(_READ_BY_OTHERS)[0])
    assert set(own) - settings_in_code() == set()
    assert len(rows) == len(set(rows))
