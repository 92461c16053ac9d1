"""Secrets stay secret: declared so, written into the vault only, in no output, no setting, no log of a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.infra.checker.finding import Finding
from tests.infra.checker.project import Project, named
from tests.infra.checker.symbols import names_in
from tests.infra.checker.syntax import File
from tests.infra.checker.tree import Call, Declaration, Expr, If, Member, Name, Object, Text

VAULT_ENTRY = "Microsoft.KeyVault/vaults/secrets"

_SECRET_NAME = re.compile(r"(secret|password|apikey|accountkey|privatekey|token|connectionstring)$", re.IGNORECASE)
_KEY_READER = re.compile(r"list(?!$)[A-Za-z]*$")
_KEY_TEXT = re.compile(r"AccountKey=|SharedAccessSignature|sig=", re.IGNORECASE)
_SECRET_PROPERTY = re.compile(
    r"(connectionstring|instrumentationkey|primarykey|secondarykey|sharedkey|password)s?$", re.IGNORECASE
)


def check(project: Project) -> Iterator[Finding]:
    """Where a secret could be read by whoever may read the deployment."""
    for file in project.files.values():
        yield from _declared(file)
        yield from _flows(project, file)
        yield from _keys(file)
        yield from _outputs(file)


def secure_parameters(file: File) -> set[str]:
    """The parameters that are declared secure."""
    return {parameter.name for parameter in file.of_kind("param") if "secure" in parameter.decorators}


def vault_entries(project: Project) -> set[str]:
    """The names of the secrets that infra/ writes into the vault."""
    found: set[str] = set()
    for file in project.files.values():
        for resource in file.of_kind("resource"):
            name = resource.body.get("name") if resource.body and _is_vault_entry(resource) else None
            if isinstance(name, Text) and name.value:
                found.add(name.value)
    return found


def _is_vault_entry(resource: Declaration) -> bool:
    return (resource.target or "").partition("@")[0] == VAULT_ENTRY


def _declared(file: File) -> Iterator[Finding]:
    if file.path.endswith(".bicepparam"):
        return
    secure = secure_parameters(file)
    for parameter in file.of_kind("param"):
        if _SECRET_NAME.search(parameter.name) and parameter.name not in secure:
            message = f"{parameter.name} sounds like a secret: put @secure() above it"
            yield Finding("secret-not-secure", file.path, parameter.line, message)
        default = parameter.value
        if parameter.name in secure and default is not None and not (isinstance(default, Text) and default.value == ""):
            message = f"{parameter.name} is a secret: its default can only be empty"
            yield Finding("secret-default", file.path, parameter.line, message)


def _flows(project: Project, file: File) -> Iterator[Finding]:
    secure = secure_parameters(file)
    if not secure:
        return
    for declaration in file.declarations:
        if declaration.value is None:
            continue
        safe = set(map(id, _safe_uses(project, file, declaration)))
        for name, is_bound in names_in(declaration.value):
            if name.name in secure and not is_bound and id(name) not in safe:
                message = f"the secret {name.name} gets into {declaration.kind} {declaration.name}"
                yield Finding("secret-leaks", file.path, name.line, message)


def _safe_uses(project: Project, file: File, declaration: Declaration) -> Iterator[Expr]:
    """Where a secret may stand: the value of a vault entry, a secure parameter, and the question if it is empty."""
    value = declaration.value
    if isinstance(value, If):
        for part in value.condition.walk():
            if isinstance(part, Call) and part.name == "empty" and part.of is None:
                yield from part.arguments
    body = declaration.body
    if body is None:
        return
    if declaration.kind == "resource" and _is_vault_entry(declaration):
        found = body.at("properties.value")
        if found is not None:
            yield found
    if declaration.kind == "module":
        target = project.beside(file.path, declaration.target or "")
        given = body.get("params")
        if target is not None and isinstance(given, Object):
            wanted = secure_parameters(target)
            yield from (entry.value for entry in given.entries if entry.key in wanted)


def _keys(file: File) -> Iterator[Finding]:
    for declaration in file.declarations:
        for part in declaration.value.walk() if declaration.value else ():
            if isinstance(part, Call) and _KEY_READER.match(part.name):
                message = f"{part.name}() reads keys: identities are used instead"
                yield Finding("key-read", file.path, part.line, message)
            if isinstance(part, Text) and any(isinstance(text, str) and _KEY_TEXT.search(text) for text in part.parts):
                yield Finding("key-read", file.path, part.line, "a connection string or signature stands in a text")


def _outputs(file: File) -> Iterator[Finding]:
    variables = named(file, "var")
    for output in file.of_kind("output"):
        if _SECRET_NAME.search(output.name):
            message = f"the output {output.name} sounds like a secret: outputs stay readable in the deployment"
            yield Finding("secret-output", file.path, output.line, message)
        parts = list(output.value.walk()) if output.value else []
        for part in parts:
            if isinstance(part, Name) and part.name in variables:
                value = variables[part.name].value
                parts.extend(value.walk() if value is not None else ())
            if isinstance(part, Member) and _SECRET_PROPERTY.search(part.name):
                message = f"the output {output.name} shows {part.name}"
                yield Finding("secret-output", file.path, part.line, message)
