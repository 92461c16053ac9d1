"""What the check of types finds, and how the compiler's table is made: with a small invented service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.types import extract
from tests.infra.checker import types
from tests.infra.checker.project import Project
from tests.infra.checker.types import Table
from tests.infra.conftest import rules_of

THING = "Microsoft.Example/things@2026-01-01"
FOLDER = "generated/example/microsoft.example/2026-01-01"


def _property(number: int, flags: int = 0) -> dict[str, Any]:
    return {"type": {"$ref": f"#/{number}"}, "flags": flags, "description": "not kept"}


# An invented service, in the form in which bicep-types writes one.
TYPES: list[dict[str, Any]] = [
    {"$type": "StringType"},  # 0
    {"$type": "BooleanType"},  # 1
    {"$type": "IntegerType", "minValue": 1, "maxValue": 40},  # 2
    {"$type": "StringLiteralType", "value": "Hot"},  # 3
    {"$type": "StringLiteralType", "value": "Cold"},  # 4
    {"$type": "UnionType", "elements": [{"$ref": "#/3"}, {"$ref": "#/4"}]},  # 5
    {"$type": "UnionType", "elements": [{"$ref": "#/3"}, {"$ref": "#/0"}]},  # 6
    {"$type": "ArrayType", "itemType": {"$ref": "#/5"}},  # 7
    {
        "$type": "ObjectType",
        "name": "Properties",
        "properties": {
            "tier": _property(5, 1),
            "later": _property(6),
            "size": _property(2),
            "isPublic": _property(1),
            "tiers": _property(7),
            "state": _property(0, 2),
            "inner": _property(8),
            "tags": _property(9),
            "rule": _property(10),
        },
    },  # 8: it refers to itself
    {"$type": "ObjectType", "name": "Tags", "properties": {}, "additionalProperties": {"$ref": "#/0"}},  # 9
    {
        "$type": "DiscriminatedObjectType",
        "name": "Rule",
        "discriminator": "kind",
        "baseProperties": {},
        "elements": {"Days": {"$ref": "#/11"}},
    },  # 10
    {"$type": "ObjectType", "name": "Days", "properties": {"kind": _property(12, 1), "days": _property(2, 1)}},  # 11
    {"$type": "StringLiteralType", "value": "Days"},  # 12
    {
        "$type": "ObjectType",
        "name": "Thing",
        "properties": {"id": _property(0, 10), "name": _property(0, 9), "properties": _property(8, 1)},
    },  # 13
    {"$type": "ResourceType", "name": THING, "body": {"$ref": "#/13"}},  # 14
    {"$type": "ResourceType", "name": "Microsoft.Example/others@2026-01-01", "body": {"$ref": "#/13"}},  # 15
]

GOOD = f"""
param size int
@allowed(['Hot', 'Cold'])
param tier string
param words array
var more = {{ isPublic: true }}

resource thing '{THING}' = {{
  name: 'thing'
  properties: union(more, {{
    tier: tier
    later: 'Hot'
    size: size
    tiers: [for word in words: 'Cold']
    inner: {{ tier: true ? 'Hot' : 'Cold', size: 40, tiers: concat(empty(words) ? [] : ['Hot'], ['Cold']) }}
    tags: {{ any: 'text' }}
    rule: {{ kind: 'Days', days: 3 }}
  }})
}}

resource other '{THING}' existing = {{
  name: 'other'
}}

output state string = thing.properties.state
output inner string = other.properties.inner.state
"""

INVENTED = [
    ("a type that is not there", "thing 'Microsoft.Example/things@", "thing 'Microsoft.Example/thing@", "unknown-type"),
    (
        "a version that is not there",
        "thing 'Microsoft.Example/things@2026",
        "thing 'Microsoft.Example/things@2025",
        "unknown-type",
    ),
    ("a property that is not there", "isPublic", "public", "unknown-property"),
    ("a property that is not there, within", "'Cold', size: 40", "'Cold', length: 40", "unknown-property"),
    (
        "a needed property is missing",
        "inner: { tier: true ? 'Hot' : 'Cold', size: 40",
        "inner: { size: 40",
        "missing-property",
    ),
    ("no name", "  name: 'thing'\n", "", "missing-property"),
    ("a read-only property", "    size: size\n", "    size: size\n    state: 'x'\n", "read-only-property"),
    ("a word that is not among the values", "? 'Hot'", "? 'Warm'", "wrong-value"),
    ("a likely slip where new values may come", "later: 'Hot'", "later: 'hot'", "wrong-value"),
    ("a parameter that allows too much", "@allowed(['Hot', 'Cold'])", "@allowed(['Hot', 'Warm'])", "wrong-value"),
    ("a wrong word in a list", ": 'Cold']", ": 'Ice']", "wrong-value"),
    ("a wrong word in one list of several", "['Hot'], ['Cold'])", "['Warm'], ['Cold'])", "wrong-value"),
    ("a number out of range", "size: 40", "size: 41", "wrong-value"),
    ("a text for a number", "size: 40", "size: '40'", "wrong-kind"),
    ("a text parameter for a number", "    size: size\n", "    size: tier\n", "wrong-kind"),
    ("a text for a switch, in a variable", "{ isPublic: true }", "{ isPublic: 'true' }", "wrong-kind"),
    ("a number among texts", "any: 'text'", "any: 1", "wrong-kind"),
    ("an object for a text", "later: 'Hot'", "later: {}", "wrong-kind"),
    ("an array for a text", "later: 'Hot'", "later: []", "wrong-kind"),
    ("an unknown kind of rule", "kind: 'Days'", "kind: 'Weeks'", "wrong-value"),
    ("a rule without its part", ", days: 3", "", "missing-property"),
    ("an output of what is not there", "thing.properties.state", "thing.properties.status", "unknown-property"),
    ("a resource without body", "{\n  name: 'other'\n}", "[for word in words: word]", "unreadable"),
]


def _invented() -> Table:
    table = extract.Table()
    assert table.add(THING, TYPES)
    return Table({"commit": "invented", "resources": table.resources, "types": table.types})


def _check(text: str) -> set[str]:
    project = Project({"thing.bicep": text})
    assert project.syntax_findings == []
    return rules_of(list(types.check(project, _invented())))


def test_what_fits_its_type_passes() -> None:
    """A resource that keeps to its type has no finding, whatever form its values have."""
    assert _check(GOOD) == set()


@pytest.mark.parametrize(("old", "new", "rule"), [case[1:] for case in INVENTED], ids=[case[0] for case in INVENTED])
def test_what_does_not_fit_is_found(old: str, new: str, rule: str) -> None:
    """Types, versions, properties, values and kinds: a mistake in each is found, and nothing else."""
    assert GOOD.count(old) == 1
    assert _check(GOOD.replace(old, new)) == {rule}


def _git(folder: Path, arguments: Sequence[str]) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the invented service, as Azure/bicep-types-az would hold it."""
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "types.json").write_text(json.dumps(TYPES), encoding="utf-8")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "types"]):
        _git(tmp_path, arguments)
    return tmp_path


def test_the_table_is_read_from_a_commit(clone: Path) -> None:
    """extract.py takes what is committed, names the commit, and keeps only what the wanted types refer to."""
    (clone / FOLDER / "types.json").write_text("[]", encoding="utf-8")
    found = extract.extract(extract.Clone(clone, "HEAD"), [THING])
    assert len(found["commit"]) == 40
    assert set(found["resources"]) == {THING}
    assert "not kept" not in json.dumps(found)
    assert rules_of(list(types.check(Project({"thing.bicep": GOOD}), Table(found)))) == set()


@pytest.mark.parametrize("name", ["Microsoft.Example/none@2026-01-01", "Microsoft.Example/things@2025-01-01"])
def test_a_type_that_azure_lacks_cannot_be_extracted(clone: Path, name: str) -> None:
    """A wrong type or version is named when the table is made."""
    with pytest.raises(extract.ExtractError, match=name):
        extract.extract(extract.Clone(clone, "HEAD"), [name])


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path) -> None:
    """A wrong path gives a sentence, not a stack trace."""
    with pytest.raises(extract.ExtractError, match="git rev-parse failed"):
        extract.Clone(tmp_path / "nowhere", "HEAD")


def test_an_unknown_form_of_type_stops_the_extraction() -> None:
    """A form of type that the checker has never seen is not passed over."""
    thing = {"$type": "ObjectType", "name": "Thing", "properties": {"a": _property(0)}}
    strange: list[dict[str, Any]] = [{"$type": "NewType"}, thing]
    resource = {"$type": "ResourceType", "name": THING, "body": {"$ref": "#/1"}}
    with pytest.raises(extract.ExtractError, match="NewType"):
        extract.Table().add(THING, [*strange, resource])
