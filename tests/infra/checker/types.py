"""Resources against Microsoft's types: name, version, properties, values.

Source: the table that infra/types/extract.py makes from the compiler's own types, whose docstring gives the flags, or
the one that package_types.py makes from Microsoft's packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.infra.checker.finding import Finding
from tests.infra.checker.project import Project, named
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import (
    Array,
    Call,
    Declaration,
    Expr,
    If,
    Index,
    Loop,
    Member,
    Name,
    Object,
    Scalar,
    Ternary,
    Text,
)

_REQUIRED, _READ_ONLY = 1, 2
_OF_BICEP = frozenset({"parent", "scope", "dependsOn"})
_KINDS = {"string": "string", "literal": "string", "integer": "int", "boolean": "bool", "array": "array"}
_FITTING = {
    "string": {"string", "literal", "any"},
    "int": {"integer", "any"},
    "bool": {"boolean", "any"},
    "array": {"array", "any"},
    "object": {"object", "choice", "any"},
}

Node = Mapping[str, Any]


class Table:
    """The types in use.

    Attributes:
        source: the commit of the compiler's types, or the packages with their versions.
    """

    def __init__(self, data: Node) -> None:
        self.source: str = data["commit"] if "commit" in data else ", ".join(data["packages"])
        self._resources = {name.lower(): entry for name, entry in data["resources"].items()}
        self._types: list[Node] = data["types"]

    @property
    def names(self) -> set[str]:
        """Every ``type@version``, in lower case."""
        return set(self._resources)

    def body(self, name: str) -> Node | None:
        """The type of a resource; None when there is no such type or version."""
        entry = self._resources.get(name.lower())
        return self._types[entry["body"]] if entry else None

    def at(self, number: int) -> Node:
        """A type by its number."""
        return self._types[number]

    def options(self, node: Node) -> Iterator[Node]:
        """The types that a value may have: those of a union, else the type itself."""
        if node["kind"] == "union":
            for number in node["of"]:
                yield from self.options(self.at(number))
        else:
            yield node

    def properties(self, node: Node) -> dict[str, tuple[int, Node]]:
        """The properties of an object, or of all kinds of a choice, with their flags."""
        found = {name: (flags, self.at(number)) for name, (flags, number) in node.get("properties", {}).items()}
        if node["kind"] == "choice":
            for number in node["of"].values():
                found.update(self.properties(self.at(number)))
        return found


def check(project: Project, table: Table) -> Iterator[Finding]:
    """What is wrong with the resources of all files, and with what is read of them."""
    for file in project.files.values():
        for resource in file.of_kind("resource"):
            yield from _Checker(file, table).resource(resource)
        yield from _reads(file, table)


@dataclass(frozen=True)
class _Checker:
    """One file's resources."""

    file: File
    table: Table

    def resource(self, resource: Declaration) -> Iterator[Finding]:
        """What is wrong with one resource."""
        node = self.table.body(resource.target or "")
        if node is None:
            message = f"{resource.target} is no type and version of Azure, or not one of {self.table.source}"
            yield self._finding("unknown-type", resource.line, message)
        elif resource.body is None:
            yield self._finding("unreadable", resource.line, f"{resource.name} has no body")
        elif not resource.is_existing:
            yield from self._object(resource.body, node, resource.target or "", is_top=True)

    def _finding(self, rule: str, line: int, message: str) -> Finding:
        return Finding(rule, self.file.path, line, message)

    def _value(self, value: Expr, node: Node, where: str, *, is_part: bool = False) -> Iterator[Finding]:
        """Check a value; ``is_part``: others may add what it lacks."""
        match value:
            case Ternary(then=then, otherwise=otherwise):
                yield from self._value(then, node, where, is_part=is_part)
                yield from self._value(otherwise, node, where, is_part=is_part)
            case Call(name="union" | "concat" as function, of=None, arguments=arguments):
                for argument in arguments:
                    yield from self._value(argument, node, where, is_part=function == "union")
            case Name(name=name):
                yield from self._symbol(name, value, node, where, is_part=is_part)
            case Object():
                options = [option for option in self.table.options(node) if option["kind"] in {"object", "choice"}]
                if not options and not self._takes(node, "any"):
                    yield self._wrong_kind(value, node, where, "an object")
                for option in options[:1]:
                    yield from self._object(value, option, where, is_part=is_part)
            case Array() | Loop():
                yield from self._items(value, node, where)
            case Text() | Scalar():
                yield from self._scalar(value, node, where)
            case _:
                return  # what a function or another resource gives is known only in Azure

    def _symbol(self, name: str, value: Expr, node: Node, where: str, *, is_part: bool) -> Iterator[Finding]:
        variable = named(self.file, "var").get(name)
        if variable and variable.value is not None:
            yield from self._value(variable.value, node, where, is_part=is_part)
        parameter = named(self.file, "param").get(name)
        if parameter is None:
            return
        kinds = {option["kind"] for option in self.table.options(node)}
        if not kinds & _FITTING.get(parameter.type or "", kinds):
            yield self._wrong_kind(value, node, where, f"the {parameter.type} {name}")
        for allowed in parameter.decorators.get("allowed", ()):
            for item in allowed.items if isinstance(allowed, Array) else ():
                yield from self._value(item, node, where)

    def _takes(self, node: Node, kind: str) -> bool:
        return any(option["kind"] == kind for option in self.table.options(node))

    def _wrong_kind(self, value: Expr, node: Node, where: str, got: str) -> Finding:
        wanted = sorted({_KINDS.get(str(option["kind"]), str(option["kind"])) for option in self.table.options(node)})
        return self._finding("wrong-kind", value.line, f"{where} wants {' or '.join(wanted)}, and gets {got}")

    def _items(self, value: Array | Loop, node: Node, where: str) -> Iterator[Finding]:
        array = next((option for option in self.table.options(node) if option["kind"] == "array"), None)
        if array is None:
            if not self._takes(node, "any"):
                yield self._wrong_kind(value, node, where, "an array")
            return
        for item in value.items if isinstance(value, Array) else (value.body,):
            body = item.body if isinstance(item, If) else item
            yield from self._value(body, self.table.at(array["item"]), f"{where}[]")

    def _scalar(self, value: Text | Scalar, node: Node, where: str) -> Iterator[Finding]:
        content = value.value
        if isinstance(value, Scalar) and content is None:
            return  # null leaves a property out
        kind = "string" if isinstance(value, Text) else "boolean" if isinstance(content, bool) else "integer"
        options = list(self.table.options(node))
        if any(option["kind"] == "any" for option in options):
            return
        fitting = [option for option in options if option["kind"] == kind]
        literals = [option["value"] for option in options if option["kind"] == "literal"] if kind == "string" else []
        if not fitting and not literals:
            yield self._wrong_kind(value, node, where, f"the {kind} {content}")
        elif literals and content is not None and content not in literals:  # also where Azure may learn new values
            message = f"{where} is {content!r}: it takes {', '.join(literals)}"
            yield self._finding("wrong-value", value.line, message)
        elif fitting and content is not None and kind != "boolean":
            size = len(content) if isinstance(content, str) else content
            low, high = fitting[0].get("min"), fitting[0].get("max")
            if (low is not None and size < low) or (high is not None and size > high):
                message = f"{where} is {content!r}: its size is outside {low} to {high}"
                yield self._finding("wrong-value", value.line, message)

    def _object(
        self, value: Object, node: Node, where: str, *, is_part: bool = False, is_top: bool = False
    ) -> Iterator[Finding]:
        known = self.table.properties(node)
        if node["kind"] == "choice":
            by = value.get(node["by"])
            text = by.value if isinstance(by, Text) else None
            if text not in node["of"]:
                message = f"{where}.{node['by']} is {text!r}: it takes {', '.join(node['of'])}"
                yield self._finding("wrong-value", value.line, message)
                return
            base, node = node, self.table.at(node["of"][text])
            known = self.table.properties({**base, "kind": "object"}) | self.table.properties(node)
        yield from self._entries(value, node, known, where, is_top=is_top)
        if not is_part:
            given = {entry.key for entry in value.entries}
            for name in sorted(name for name, (flags, _) in known.items() if flags & _REQUIRED):
                if name not in given:
                    yield self._finding("missing-property", value.line, f"{where} needs {name}")

    def _entries(
        self, value: Object, node: Node, known: Mapping[str, tuple[int, Node]], where: str, *, is_top: bool
    ) -> Iterator[Finding]:
        for entry in value.entries:
            if entry.key is not None and entry.key in known:
                flags, kind = known[entry.key]
                if flags & _READ_ONLY:
                    message = f"{where}.{entry.key} is read-only"
                    yield self._finding("read-only-property", entry.line, message)
                yield from self._value(entry.value, kind, f"{where}.{entry.key}")
            elif "others" in node:
                yield from self._value(entry.value, self.table.at(node["others"]), f"{where}.{entry.key}")
            elif entry.key is not None and not (is_top and entry.key in _OF_BICEP):
                yield self._finding("unknown-property", entry.line, f"{where} has no property {entry.key}")


def _reads(file: File, table: Table) -> Iterator[Finding]:
    """Properties that are read of resources: ``account.properties.primaryEndpoints.blob``."""
    resources = named(file, "resource")
    for declaration in file.declarations:
        for part in declaration.value.walk() if declaration.value else ():
            path: list[str] = []
            root: Expr = part
            while isinstance(root, Member):
                path.insert(0, root.name)
                root = root.of.of if isinstance(root.of, Index) else root.of
            if not path or not isinstance(root, Name) or root.name not in resources:
                continue
            node = table.body(resources[root.name].target or "")
            for depth, name in enumerate(path):
                if node is None or node["kind"] not in {"object", "choice"} or "others" in node:
                    break
                found = table.properties(node).get(name)
                if found is None and depth == len(path) - 1:
                    message = f"{root.name} has no {'.'.join(path)}"
                    yield Finding("unknown-property", file.path, part.line, message)
                node = found[1] if found else None
