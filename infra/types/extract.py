"""Make the type table: what the Bicep compiler knows of the resource types that infra/ uses, and nothing else.

Usage: ``python3 infra/types/extract.py <clone of Azure/bicep-types-az>``. It writes ``table.json`` beside itself.
The clone, which may be bare, is read with git, at the commit of ``source.json`` or of ``--commit``.

Source of the format: ``types.json`` as bicep-types writes it (docs of Azure/bicep-types). The flags of a property are
1 required, 2 read-only, 4 write-only, 8 known before the deployment starts, 16 identifies the resource.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TABLE = HERE / "table.json"
SOURCE = HERE / "source.json"
INFRA = HERE.parent

_TYPE = re.compile(r"'(Microsoft\.[A-Za-z.]+(?:/[A-Za-z]+)+@\d{4}-\d\d-\d\d(?:-preview)?)'")
_LIMITS = {"minLength": "min", "maxLength": "max", "minValue": "min", "maxValue": "max", "pattern": "pattern"}

Node = dict[str, Any]


class ExtractError(Exception):
    """A type or a clone that cannot be read. The text says which, and what to do."""


def types_in_use(folder: Path) -> list[str]:
    """Every ``type@version`` that a Bicep file in the folder names, sorted."""
    files = sorted(folder.rglob("*.bicep"))
    return sorted({name for file in files for name in _TYPE.findall(file.read_text(encoding="utf-8"))})


class Clone:
    """A clone of Azure/bicep-types-az at one commit."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder = folder
        self.commit = self._git("rev-parse", f"{commit}^{{commit}}").strip()
        listing = self._git("ls-tree", "-r", "--name-only", self.commit, "generated")
        self._files = [line for line in listing.splitlines() if line.endswith("/types.json")]

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            ["git", "-C", str(self._folder), *arguments],  # noqa: S607 - git is found on the PATH
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise ExtractError(f"git {arguments[0]} failed in {self._folder}: {done.stderr.strip()}")
        return done.stdout

    def files_of(self, name: str) -> Iterator[list[Node]]:
        """The type files in which a ``type@version`` may stand: several teams share one namespace."""
        kind, _, version = name.partition("@")
        ending = f"/{kind.split('/')[0].lower()}/{version}/types.json"
        for path in self._files:
            if path.endswith(ending):
                yield json.loads(self._git("show", f"{self.commit}:{path}"))


class Table:
    """The table while it grows: each node once, whatever refers to it."""

    def __init__(self) -> None:
        self.resources: dict[str, Node] = {}
        self.types: list[Node] = []
        self._places: dict[str, int] = {}

    def add(self, name: str, file: list[Node]) -> bool:
        """Add one resource type with all that it refers to. False when the file does not have it."""
        for node in file:
            if node["$type"] == "ResourceType" and node["name"].lower() == name.lower():
                entry: Node = {"name": node["name"], "body": self._add(node["body"], file, {})}
                self.resources[name] = entry
                return True
        return False

    def _add(self, reference: Node, file: list[Node], seen: dict[int, int]) -> int:
        number = int(reference["$ref"].rpartition("/")[2])
        if number in seen:
            return seen[number]
        node = file[number]
        compact = _leaf(node)
        if compact is not None:
            seen[number] = self._place(compact)
            return seen[number]
        seen[number] = len(self.types)  # a type may refer to itself
        self.types.append({})
        self.types[seen[number]] = self._branch(node, file, seen)
        return seen[number]

    def _place(self, node: Node) -> int:
        text = json.dumps(node, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.types)
            self.types.append(node)
        return self._places[text]

    def _branch(self, node: Node, file: list[Node], seen: dict[int, int]) -> Node:
        kind = node["$type"]
        if kind == "ObjectType":
            compact: Node = {"kind": "object", "properties": self._properties(node["properties"], file, seen)}
            if "additionalProperties" in node:
                compact["others"] = self._add(node["additionalProperties"], file, seen)
            return compact
        if kind == "ArrayType":
            return {"kind": "array", "item": self._add(node["itemType"], file, seen)}
        if kind == "UnionType":
            return {"kind": "union", "of": [self._add(element, file, seen) for element in node["elements"]]}
        if kind == "DiscriminatedObjectType":
            return {
                "kind": "choice",
                "by": node["discriminator"],
                "properties": self._properties(node["baseProperties"], file, seen),
                "of": {name: self._add(element, file, seen) for name, element in node["elements"].items()},
            }
        raise ExtractError(f"A {kind} is new here: teach infra/types/extract.py and the checker what it means.")

    def _properties(self, properties: Node, file: list[Node], seen: dict[int, int]) -> dict[str, list[int]]:
        return {name: [value["flags"], self._add(value["type"], file, seen)] for name, value in properties.items()}


def _leaf(node: Node) -> Node | None:
    """A type that refers to no other; None for one that does."""
    kind = node["$type"]
    if kind == "StringLiteralType":
        return {"kind": "literal", "value": node["value"]}
    names = {"StringType": "string", "IntegerType": "integer", "BooleanType": "boolean", "AnyType": "any"}
    if kind not in names:
        return None
    leaf: Node = {"kind": names[kind]}
    leaf.update({short: node[long] for long, short in _LIMITS.items() if long in node})
    if node.get("sensitive"):
        leaf["secret"] = True
    return leaf


def extract(clone: Clone, names: Sequence[str]) -> Node:
    """The table of these types. Raises ExtractError for a type or version that does not exist."""
    table = Table()
    for name in names:
        if not any(table.add(name, file) for file in clone.files_of(name)):
            raise ExtractError(f"{name} is not in the types at {clone.commit}: check its name and its version.")
    return {"commit": clone.commit, "resources": table.resources, "types": table.types}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table. Returns the exit code."""
    source = json.loads(SOURCE.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description="Make infra/types/table.json from a clone of Azure/bicep-types-az.")
    parser.add_argument("clone", type=Path)
    parser.add_argument("--commit", default=source["commit"], help="default: the one in source.json")
    chosen = parser.parse_args(argv)
    try:
        table = extract(Clone(chosen.clone, chosen.commit), types_in_use(INFRA))
    except ExtractError as error:
        print(error, file=sys.stderr)
        return 1
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(table['resources'])} resource types, {len(table['types'])} types, from {table['commit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
