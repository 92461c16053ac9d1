"""Names: everything that is referred to exists, and everything that is declared is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.infra.checker.finding import Finding
from tests.infra.checker.kinds import kind_of
from tests.infra.checker.project import Project, named
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import Call, Declaration, Expr, Index, Loop, Member, Name, Object

FUNCTIONS = frozenset(
    [
        "any",
        "array",
        "bool",
        "cidrSubnet",
        "concat",
        "contains",
        "deployer",
        "empty",
        "endsWith",
        "environment",
        "first",
        "format",
        "guid",
        "if",
        "indexOf",
        "int",
        "intersection",
        "items",
        "join",
        "json",
        "last",
        "length",
        "loadJsonContent",
        "loadTextContent",
        "max",
        "min",
        "padLeft",
        "range",
        "readEnvironmentVariable",
        "reference",
        "replace",
        "resourceGroup",
        "resourceId",
        "skip",
        "split",
        "startsWith",
        "string",
        "subscription",
        "subscriptionResourceId",
        "substring",
        "take",
        "tenant",
        "toLower",
        "toUpper",
        "trim",
        "union",
        "uniqueString",
        "uri",
        "utcNow",
    ]
)
"""The functions of Bicep that are known here. Those that read keys (list…) are left out on purpose."""

DECORATORS = frozenset(
    {"allowed", "description", "maxLength", "maxValue", "metadata", "minLength", "minValue", "secure"}
)
_SYMBOLS = ("param", "var", "resource", "module")
_MODULE_KEYS = frozenset({"name", "params", "scope", "dependsOn"})


def check(project: Project) -> Iterator[Finding]:
    """What is wrong with the names of all files."""
    for file in project.files.values():
        yield from _duplicates(file)
        yield from _references(file)
        for declaration in file.declarations:
            for decorator in sorted(set(declaration.decorators) - DECORATORS):
                message = f"@{decorator}() is not known to the checker"
                yield Finding("unknown-decorator", file.path, declaration.line, message)
        if file.path.endswith(".bicepparam"):
            yield from _parameter_file(project, file)
        else:
            yield from _unused(file)
            yield from _defaults(project, file)
            for module in file.of_kind("module"):
                yield from _module(project, file, module)
            yield from _outputs(project, file)


def _symbols(file: File) -> dict[str, Declaration]:
    return {declaration.name: declaration for declaration in file.of_kind(*_SYMBOLS)}


def _duplicates(file: File) -> Iterator[Finding]:
    for kinds in (_SYMBOLS, ("output",)):
        counts = Counter(declaration.name for declaration in file.of_kind(*kinds))
        for declaration in file.of_kind(*kinds):
            if counts[declaration.name] > 1:
                message = f"{declaration.name} is declared more than once"
                yield Finding("duplicate-name", file.path, declaration.line, message)


def names_in(value: Expr, bound: frozenset[str] = frozenset()) -> Iterator[tuple[Name, bool]]:
    """Every symbol in an expression, and whether a loop around it declares it."""
    if isinstance(value, Name):
        yield value, value.name in bound
    if isinstance(value, Loop):
        yield from names_in(value.over, bound)
        yield from names_in(value.body, bound | set(value.variables))
        return
    for child in value.children():
        yield from names_in(child, bound)


def _references(file: File) -> Iterator[Finding]:
    declared = _symbols(file)
    for declaration in file.declarations:
        if declaration.value is None:
            continue
        for name, is_bound in names_in(declaration.value):
            if not is_bound and name.name not in declared:
                message = f"{name.name} is not declared in this file"
                yield Finding("unknown-name", file.path, name.line, message)
        for part in declaration.value.walk():
            if isinstance(part, Call) and part.of is None and part.name not in FUNCTIONS:
                message = f"{part.name}() is not a function that the checker knows"
                yield Finding("unknown-function", file.path, part.line, message)


def _unused(file: File) -> Iterator[Finding]:
    used = {
        name.name
        for declaration in file.declarations
        if declaration.value is not None
        for name, is_bound in names_in(declaration.value)
        if not is_bound
    }
    for declaration in file.of_kind("param", "var"):
        if declaration.name not in used:
            yield Finding("unused", file.path, declaration.line, f"{declaration.name} is never used")


def _defaults(project: Project, file: File) -> Iterator[Finding]:
    for parameter in file.of_kind("param"):
        kind = kind_of(parameter.value, file, project) if parameter.value is not None else None
        if kind is not None and kind != parameter.type:
            message = f"{parameter.name} is declared {parameter.type}, its default is {kind}"
            yield Finding("wrong-kind", file.path, parameter.line, message)


def _module(project: Project, file: File, module: Declaration) -> Iterator[Finding]:
    where = (file.path, module.line)
    if module.target is None or module.target.startswith(("br:", "br/", "ts:", "ts/")):
        yield Finding("registry-module", *where, f"{module.name} comes from a registry: only local files are allowed")
        return
    target = project.beside(file.path, module.target)
    if target is None:
        yield Finding("module-missing", *where, f"there is no file {module.target}")
        return
    body = module.body
    for entry in body.entries if body else ():
        if entry.key not in _MODULE_KEYS:
            yield Finding("unknown-property", file.path, entry.line, f"a module has no property {entry.key}")
    given = body.get("params") if body else None
    if given is not None and not isinstance(given, Object):
        yield Finding("unreadable", *where, f"the parameters of {module.name} are not an object")
        return
    yield from _arguments(project, file, module, given, target)


def _arguments(
    project: Project, file: File, module: Declaration, given: Object | None, target: File
) -> Iterator[Finding]:
    wanted = named(target, "param")
    entries = given.entries if given else ()
    for entry in entries:
        parameter = wanted.get(entry.key or "")
        if parameter is None:
            message = f"{target.path} has no parameter {entry.key}"
            yield Finding("module-param-unknown", file.path, entry.line, message)
            continue
        kind = kind_of(entry.value, file, project)
        if kind is not None and kind != parameter.type:
            message = f"{target.path} wants {entry.key} as {parameter.type}, and gets {kind}"
            yield Finding("wrong-kind", file.path, entry.line, message)
    for name in sorted(wanted.keys() - {entry.key for entry in entries}):
        if wanted[name].value is None:
            message = f"{module.name} lacks the parameter {name} of {target.path}"
            yield Finding("module-param-missing", file.path, module.line, message)


def _outputs(project: Project, file: File) -> Iterator[Finding]:
    modules = named(file, "module")
    for declaration in file.declarations:
        for part in declaration.value.walk() if declaration.value else ():
            if not isinstance(part, Member):
                continue
            root = part.of.of if isinstance(part.of, Index) else part.of
            if isinstance(root, Name) and root.name in modules and part.name != "outputs":
                message = f"{root.name} is a module: only its outputs can be used, not {part.name}"
                yield Finding("unknown-property", file.path, part.line, message)
            if not (isinstance(root, Member) and root.name == "outputs" and isinstance(root.of, Name)):
                continue
            module = modules.get(root.of.name)
            target = project.beside(file.path, module.target or "") if module else None
            if target is not None and part.name not in named(target, "output"):
                message = f"{target.path} has no output {part.name}"
                yield Finding("module-output-unknown", file.path, part.line, message)
        if declaration.kind == "output" and declaration.value is not None:
            kind = kind_of(declaration.value, file, project)
            if kind is not None and kind != declaration.type:
                message = f"{declaration.name} is declared {declaration.type}, its value is {kind}"
                yield Finding("wrong-kind", file.path, declaration.line, message)


def _parameter_file(project: Project, file: File) -> Iterator[Finding]:
    using = next(file.of_kind("using"), None)
    target = project.beside(file.path, using.target or "") if using else None
    if target is None:
        yield Finding("module-missing", file.path, using.line if using else 1, "using names no file of infra/")
        return
    wanted, given = named(target, "param"), named(file, "param")
    for name, parameter in given.items():
        if name not in wanted:
            yield Finding("module-param-unknown", file.path, parameter.line, f"{target.path} has no parameter {name}")
            continue
        kind = kind_of(parameter.value, file, project) if parameter.value is not None else None
        if kind is not None and kind != wanted[name].type:
            message = f"{target.path} wants {name} as {wanted[name].type}, and gets {kind}"
            yield Finding("wrong-kind", file.path, parameter.line, message)
    for name in sorted(wanted.keys() - given.keys()):
        if wanted[name].value is None:
            yield Finding("module-param-missing", file.path, 1, f"the parameter {name} of {target.path} is not set")
