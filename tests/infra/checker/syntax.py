"""From text to declarations. The grammar is tree-sitter-bicep; pycep, of other hands, gives a second opinion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import tree_sitter
import tree_sitter_bicep
from lark.exceptions import LarkError
from pycep import BicepParser

from tests.infra.checker.finding import Finding
from tests.infra.checker.tree import (
    Array,
    Call,
    Declaration,
    Entry,
    Expr,
    If,
    Index,
    Loop,
    Member,
    Name,
    Object,
    Operation,
    Scalar,
    Ternary,
    Text,
)

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
_SECOND = BicepParser()
_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}
_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "metadata_declaration": "metadata",
    "using_statement": "using",
    "target_scope_assignment": "targetScope",
}


class Unreadable(Exception):
    """A form that the checker does not know. ``line`` counts from 1."""

    def __init__(self, node: tree_sitter.Node) -> None:
        super().__init__(f"{node.type} is not known to the checker: write it plainly, or teach tests/infra/checker")
        self.line = node.start_point.row + 1


@dataclass(frozen=True)
class File:
    """A parsed file."""

    path: str
    declarations: tuple[Declaration, ...]
    findings: tuple[Finding, ...] = field(default=())

    def of_kind(self, *kinds: str) -> Iterator[Declaration]:
        """The declarations of these kinds."""
        return (declaration for declaration in self.declarations if declaration.kind in kinds)


def parse(path: str, text: str) -> File:
    """The file, with a finding for each thing that is not Bicep."""
    root = _PARSER.parse(text.encode()).root_node
    findings = [Finding("syntax", path, line, "not Bicep") for line in sorted(set(_errors(root, path)))]
    if path.endswith(".bicep"):
        try:
            _SECOND.parse(text=text)
        except LarkError as error:
            findings.append(Finding("syntax", path, getattr(error, "line", 1), "pycep cannot read this"))
    declarations: list[Declaration] = []
    if not findings:
        try:
            declarations.extend(_declarations(root))
        except Unreadable as error:
            findings.append(Finding("syntax", path, error.line, str(error)))
    return File(path, tuple(declarations), tuple(findings))


def _errors(node: tree_sitter.Node, path: str) -> Iterator[int]:
    # A .bicepparam names no types, which the grammar takes for an omission.
    if node.is_missing and path.endswith(".bicepparam") and node.parent and node.parent.type == "type":
        return
    if node.is_error or node.is_missing:
        yield node.start_point.row + 1
    for child in node.children:
        yield from _errors(child, path)


def _string_of(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()


def _declarations(root: tree_sitter.Node) -> Iterator[Declaration]:
    decorators: dict[str, tuple[Expr, ...]] = {}
    comment_end = -1
    for node in root.named_children:
        if node.type in {"comment", "diagnostic_comment"}:
            comment_end = node.end_point.row
        elif node.type == "decorators":
            decorators = dict(_decorator(child) for child in node.named_children if child.type == "decorator")
        elif node.type in _KINDS:
            is_explained = comment_end == node.start_point.row - 1 or "description" in decorators
            yield _declaration(node, decorators, is_explained=is_explained)
            decorators = {}
        else:
            raise Unreadable(node)


def _decorator(node: tree_sitter.Node) -> tuple[str, tuple[Expr, ...]]:
    call = _expression(node.named_children[0])
    if not isinstance(call, Call):
        raise Unreadable(node)
    return call.name, call.arguments


def _declaration(node: tree_sitter.Node, decorators: dict[str, tuple[Expr, ...]], *, is_explained: bool) -> Declaration:
    kind = _KINDS[node.type]
    parts = [child for child in node.named_children if child.type != "comment"]
    line = node.start_point.row + 1
    if kind in {"using", "targetScope"}:
        value = _expression(parts[0])
        return Declaration(kind, kind, line, target=value.value if isinstance(value, Text) else None, value=value)
    name = _string_of(parts.pop(0))
    declared = _string_of(parts.pop(0)) if parts and parts[0].type == "type" else None
    target: str | None = None
    if kind in {"resource", "module"}:
        text = _expression(parts.pop(0))
        target = text.value if isinstance(text, Text) else None
    return Declaration(
        kind,
        name,
        line,
        type=declared,
        target=target,
        is_existing=any(child.type == "existing" for child in node.children),
        is_explained=is_explained,
        value=_expression(parts[-1]) if parts else None,
        decorators=decorators,
    )


def _all(nodes: Sequence[tree_sitter.Node]) -> tuple[Expr, ...]:
    return tuple(_expression(node) for node in nodes if node.type != "comment")


def _field(node: tree_sitter.Node, name: str) -> Expr:
    child = node.child_by_field_name(name)
    if child is None:
        raise Unreadable(node)
    return _expression(child)


def _expression(node: tree_sitter.Node) -> Expr:  # noqa: C901, PLR0911, PLR0912 - a branch a form
    line = node.start_point.row + 1
    inner = [child for child in node.named_children if child.type != "comment"]
    match node.type:
        case "string":
            return Text(line, tuple(_part(child) for child in inner))
        case "number":
            return Scalar(line, int(_string_of(node)))
        case "boolean":
            return Scalar(line, _string_of(node) == "true")
        case "null":
            return Scalar(line, None)
        case "identifier":
            return Name(line, _string_of(node))
        case "member_expression":
            prop = node.child_by_field_name("property")
            return Member(line, _field(node, "object"), _string_of(prop) if prop else "")
        case "subscript_expression":
            return Index(line, _field(node, "object"), _field(node, "index"))
        case "call_expression":
            return _call(node, line)
        case "object":
            return Object(line, tuple(_entry(child) for child in inner))
        case "array":
            return Array(line, _all(inner))
        case "ternary_expression":
            return Ternary(line, _field(node, "condition"), _field(node, "consequence"), _field(node, "alternative"))
        case "binary_expression" | "unary_expression":
            sign = node.child_by_field_name("operator")
            return Operation(line, _string_of(sign) if sign else "", _all(inner))
        case "parenthesized_expression":
            return _expression(inner[0])
        case "for_statement":
            return _loop(inner, line)
        case "if_statement":
            return If(line, _expression(inner[0]), _expression(inner[-1]))
    raise Unreadable(node)


def _part(node: tree_sitter.Node) -> str | Expr:
    if node.type == "string_content":
        return _string_of(node)
    if node.type == "escape_sequence":
        return _ESCAPES.get(_string_of(node), _string_of(node))
    return _expression(node.named_children[0])


def _call(node: tree_sitter.Node, line: int) -> Call:
    function = node.child_by_field_name("function")
    arguments = node.child_by_field_name("arguments")
    if function is None or arguments is None:
        raise Unreadable(node)
    given = _all(arguments.named_children)
    called = _expression(function)
    if isinstance(called, Member):
        return Call(line, called.name, called.of, given)
    return Call(line, _string_of(function), None, given)


def _entry(node: tree_sitter.Node) -> Entry:
    key, value = (child for child in node.named_children if child.type != "comment")
    name = _expression(key)
    text = name.name if isinstance(name, Name) else name.value if isinstance(name, Text) else None
    return Entry(text, name, _expression(value), node.start_point.row + 1)


def _loop(inner: list[tree_sitter.Node], line: int) -> Loop:
    head = inner[0]
    names = head.named_children if head.type == "for_loop_parameters" else [head]
    return Loop(line, tuple(_string_of(name) for name in names), _expression(inner[1]), _expression(inner[-1]))
