"""The table that is made from Microsoft's packages: read from an invented one, and compared with the compiler's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.types.extract import SOURCE
from tests.infra.checker import package_types, types
from tests.infra.checker.agreement import Comparison
from tests.infra.checker.packages import PackageError, Packages
from tests.infra.checker.project import Project
from tests.infra.checker.types import Table
from tests.infra.conftest import ROOT, rules_of
from tests.infra.invented_package import ENUMS, MODELS, OPERATIONS

THING = "Microsoft.Example/things@2026-01-01"
PART = "Microsoft.Example/things/parts@2026-01-01"
SHELF = "Microsoft.Example/things/shelves@2026-01-01"

GOOD = f"""
resource thing '{THING}' = {{
  name: 'thing'
  location: 'here'
  tags: {{ any: 'text' }}
  properties: {{
    tier: 'Hot'
    size: 40
    isPublic: true
    'odd.name': 'text'
    word: 'only'
    tiers: ['Cold']
    inner: {{ self: {{ days: 3 }} }}
    rule: {{ kind: 'Days', days: 3 }}
    free: {{ whatever: 1 }}
    open: {{ known: true, other: 2 }}
    since: '2026-01-01'
  }}
}}

resource part '{PART}' = {{
  parent: thing
  name: 'default'
  days: 2
}}

resource shelf '{SHELF}' = {{
  parent: thing
  name: 'top'
  days: 2
}}

output state string = thing.properties.state
output made string = thing.properties.inner.made
"""

PLANTED = [
    ("a property that is not there", "isPublic", "public", "unknown-property"),
    ("a property that is not there, within", "{ days: 3 }", "{ weeks: 3 }", "unknown-property"),
    ("a needed property is missing", "  location: 'here'\n", "", "missing-property"),
    ("a needed property is missing where the model is flatter", "    tier: 'Hot'\n", "", "missing-property"),
    ("what only the answer holds", "    size: 40\n", "    size: 40\n    state: 'Hot'\n", "read-only-property"),
    ("what only the answer holds, within", "self: { days: 3 }", "made: 'x'", "read-only-property"),
    ("a word that is not among the values", "tier: 'Hot'", "tier: 'Warm'", "wrong-value"),
    ("a word that is not the only one", "word: 'only'", "word: 'other'", "wrong-value"),
    ("a wrong word in a list", "['Cold']", "['Ice']", "wrong-value"),
    ("a number out of range", "size: 40", "size: 41", "wrong-value"),
    ("a text for a number", "size: 40", "size: '40'", "wrong-kind"),
    ("a text for a switch", "isPublic: true", "isPublic: 'true'", "wrong-kind"),
    ("a number for a time", "since: '2026-01-01'", "since: 1", "wrong-kind"),
    ("a number among texts", "any: 'text'", "any: 1", "wrong-kind"),
    ("a name that is too long", "name: 'thing'", "name: 'a-thing-with-a-very-long-name'", "wrong-value"),
    ("a name that only Azure gives", "name: 'default'", "name: 'other'", "wrong-value"),
    ("a name that is none of the fixed ones", "name: 'top'", "name: 'middle'", "wrong-value"),
    ("an unknown kind of rule", "kind: 'Days'", "kind: 'Weeks'", "wrong-value"),
    ("a rule without its part", "kind: 'Days', days: 3", "kind: 'Days'", "missing-property"),
    ("a read of what is not there", "thing.properties.inner.made", "thing.properties.inner.maker", "unknown-property"),
]

GAPS = {
    "required": {
        *("Application_Type", "access", "allow", "category", "direction", "displayName", "enabled", "groupShortName"),
        *("isPushEnabled", "nextHopType", "priority", "privateLinkServiceConnectionState", "properties", "protocol"),
        *("serializedData", "storageAccountUrl", "storageId", "targetResourceId"),
    },
    "read-only": {"state", "type"},
    "values": {"name", "provisioningState", "virtualNetworkLinkState"},
    "fewer values": {"principalType"},
    "limits": {"applicationId", "clientId", "correlationId", "inProgressOperationId", "principalId", "tenantId"},
    "unknown": {"systemData"},
}
"""What the compiler's types know of the resource types in use and the packages do not, by the property's name.

``fewer values``: ones that came later are refused. ``limits``: a GUID has 36 characters. ``required``: where the object
around it may be left out, the packages drop it.
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The invented package."""
    for name, text in (
        ("operations/_things_operations.py", OPERATIONS),
        ("aio/operations/_things_operations.py", "# the same once more"),
        ("models/_models_py3.py", MODELS),
        ("models/_example_enums.py", ENUMS),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def _table(package: Path, *names: str) -> Table:
    return Table(package_types.make(Packages({"azure-mgmt-example 1.0": package}), names))


def _check(text: str, table: Table) -> set[str]:
    project = Project({"thing.bicep": text})
    assert project.syntax_findings == []
    return rules_of(list(types.check(project, table)))


def test_what_fits_the_models_passes(package: Path) -> None:
    """A resource that keeps to the models of a package has no finding, whatever form its values have."""
    assert _check(GOOD, _table(package, THING, PART, SHELF)) == set()


@pytest.mark.parametrize(("old", "new", "rule"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED])
def test_what_does_not_fit_the_models_is_found(package: Path, old: str, new: str, rule: str) -> None:
    """Properties, values, kinds and names: a mistake in each is found, and nothing else."""
    assert GOOD.count(old) == 1
    assert _check(GOOD.replace(old, new), _table(package, THING, PART, SHELF)) == {rule}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Microsoft.Example/thing@2026-01-01", "no package creates such a resource"),
        ("Microsoft.Example/others@2026-01-01", "no package creates such a resource"),
        ("Microsoft.Example/things@2025-01-01", "the packages have it as of 2026-01-01"),
    ],
    ids=["no such type", "a type that is only read", "another version"],
)
def test_a_type_or_version_that_no_package_has_is_named(package: Path, name: str, why: str) -> None:
    """Only the very version counts: models of another one would be a guess."""
    with pytest.raises(PackageError, match=f"{name}: {why}"):
        _table(package, THING, name)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("models/_models_py3.py", "class Open(", "class Opened(", "has no model Open"),
        ("models/_models_py3.py", '_attribute_map = {"self_"', '_fields = {"self_"', "Inner has no _attribute_map"),
        ("operations/_things_operations.py", "def begin_create(", "def create(", "no public method"),
    ],
)
def test_a_package_of_another_form_is_refused(package: Path, file: str, old: str, new: str, said: str) -> None:
    """A form that the reader does not know stops the tests: it is not taken for a free-form object."""
    text = (package / file).read_text(encoding="utf-8")
    assert old in text
    (package / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PackageError, match=said):
        _table(package, THING)


def test_a_package_of_the_newer_generator_is_refused(package: Path) -> None:
    """Whoever raises a pin too far is told what to do."""
    (package / "models" / "_models_py3.py").rename(package / "models" / "_models.py")
    with pytest.raises(PackageError, match="pin the last version of the package that has it"):
        _table(package, THING)


def test_the_packages_are_the_pinned_ones(packages_table: Table) -> None:
    """The types come from the versions that requirements-dev.in names, and from all of these packages."""
    lines = (ROOT / "requirements-dev.in").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("#")[0].strip().replace("==", " ") for line in lines if line.startswith("azure-mgmt-")]
    assert packages_table.source == ", ".join(sorted(pinned))


def test_the_packages_agree_with_the_compiler(packages_table: Table, compiler_table: Table) -> None:
    """Where both tables are there, they differ in nothing but what is written down, in either direction."""
    assert compiler_table.source == json.loads(SOURCE.read_text(encoding="utf-8"))["commit"]
    assert Comparison(packages_table, compiler_table).found == GAPS


@pytest.mark.parametrize(
    ("old", "new", "kind", "name"),
    [
        ('"key": "properties.isPublic"', '"key": "properties.isOpen"', "unknown", "isOpen"),
        ('"key": "properties.isPublic"', '"key": "properties.isOpen"', "invented", "isPublic"),
        ('"location": {"required": True},', "", "stricter: required", "location"),
        ('"size": {"maximum": 40', '"size": {"required": True, "maximum": 40', "required", "size"),
        ('"size": {"maximum": 40', '"size": {"maximum": 39', "limits", "size"),
        ('"state": {"readonly": True}}', "}", "", ""),
        ('"key": "properties.size", "type": "int"', '"key": "properties.size", "type": "str"', "kind", "size"),
        ('Literal["only"]', 'Literal["one"]', "values", "word"),
        ('{"Days": "Days"}', '{"Days": "Days", "Weeks": "Days"}', "choice", "rule"),
    ],
)
def test_a_difference_between_two_tables_is_found(package: Path, old: str, new: str, kind: str, name: str) -> None:
    """The comparison itself is not blind: what the second table says otherwise is named."""
    first = _table(package, THING)
    file = package / "models" / "_models_py3.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    found = Comparison(first, _table(package, THING)).found
    assert (name in found[kind]) if kind else found == {}
