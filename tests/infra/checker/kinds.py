"""What kind of value an expression has, as far as its form tells: string, int, bool, array, object, or unknown."""

from __future__ import annotations

from tests.infra.checker.project import Project, named
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import Array, Call, Expr, Loop, Member, Name, Object, Operation, Scalar, Ternary, Text

_RETURNS = {
    "bool": "bool",
    "cidrSubnet": "string",
    "empty": "bool",
    "endsWith": "bool",
    "format": "string",
    "guid": "string",
    "int": "int",
    "items": "array",
    "join": "string",
    "length": "int",
    "loadTextContent": "string",
    "range": "array",
    "readEnvironmentVariable": "string",
    "replace": "string",
    "resourceId": "string",
    "split": "array",
    "startsWith": "bool",
    "string": "string",
    "subscriptionResourceId": "string",
    "toLower": "string",
    "toUpper": "string",
    "uniqueString": "string",
}
_LOGIC = frozenset({"!", "&&", "||", "==", "!=", "=~", "!~", "<", "<=", ">", ">="})
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})


def kind_of(value: Expr, file: File, project: Project) -> str | None:  # noqa: C901, PLR0911 - a line a form
    """The kind; None when it cannot be told from the files of infra/."""
    match value:
        case Text():
            return "string"
        case Scalar(value=content):
            return None if content is None else "bool" if isinstance(content, bool) else "int"
        case Object():
            return "object"
        case Array() | Loop():
            return "array"
        case Operation(sign=sign):
            return "bool" if sign in _LOGIC else "int" if sign in _ARITHMETIC else None
        case Ternary(then=then, otherwise=otherwise):
            kinds = {kind_of(then, file, project), kind_of(otherwise, file, project)}
            return kinds.pop() if len(kinds) == 1 else None
        case Call(name="union", of=None, arguments=arguments):
            kinds = {kind_of(argument, file, project) for argument in arguments} - {None}
            return kinds.pop() if len(kinds) == 1 else None
        case Call(name=name, of=None):
            return _RETURNS.get(name)
        case Name(name=name):
            return _of_symbol(name, file, project)
        case Member():
            return _of_member(value, file, project)
    return None


def _of_symbol(name: str, file: File, project: Project) -> str | None:
    for declaration in file.of_kind("param", "var"):
        if declaration.name == name:
            if declaration.kind == "param":
                return declaration.type
            return kind_of(declaration.value, file, project) if declaration.value is not None else None
    return None


def _of_member(value: Member, file: File, project: Project) -> str | None:
    if isinstance(value.of, Member) and value.of.name == "outputs" and isinstance(value.of.of, Name):
        module = named(file, "module").get(value.of.of.name)
        target = project.beside(file.path, module.target or "") if module else None
        output = named(target, "output").get(value.name) if target else None
        return output.type if output else None
    if isinstance(value.of, Name):
        if value.of.name in named(file, "resource"):
            return "string" if value.name in {"id", "name", "type"} else None
        variable = named(file, "var").get(value.of.name)
        if variable and isinstance(variable.value, Object):
            found = variable.value.get(value.name)
            return kind_of(found, file, project) if found is not None else None
    return None
