"""Microsoft's azure-mgmt packages, read as text: which resource types they create, and the models of their bodies.

Source of the form: what Microsoft's generator for Python writes. ``operations/*.py`` has a ``build_…_request`` for each
call, with its address and API version, and a method that sends it; ``models/_models_py3.py`` has a class for each
object, whose ``_attribute_map`` gives names and types on the wire; ``models/*_enums.py`` has the values. Nothing is
imported: the packages would load for seconds, and only a few of their thousands of classes are needed.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

_BUILDER = re.compile(r"^def (build_\w+_request)\(", re.MULTILINE)
_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_ADDRESS = re.compile(r'"[^"\n]*/providers/(\w+(?:\.\w+)+)/([^"\n]+?)/?"')
_VERSION = re.compile(r'"api-version", "(\d{4}-\d\d-\d\d(?:-preview)?)"')
_MODEL = re.compile(r"\b_models\.(\w+)")
_LITERAL = re.compile(r"\bLiteral\['([^']*)'\]")


class PackageError(Exception):
    """A package has a form that this reader does not know. The text says which."""


@dataclass(frozen=True)
class Creation:
    """A PUT that creates or changes a resource.

    Attributes:
        version: the API version that it is sent with.
        name: what the resource must be called; None where the caller chooses.
        sizes: the least and the largest length of its name, where they are known, as ``min`` and ``max``.
        models: the models that it uses.
        body: the model that is sent.
        answer: the model that comes back; empty where nothing does.
    """

    version: str
    name: str | None
    sizes: Mapping[str, int]
    models: Models
    body: str
    answer: str


@dataclass(frozen=True)
class Attribute:
    """A property of a model.

    Attributes:
        path: its names on the wire, from outside to inside: models may be flatter than the wire.
        kind: its type on the wire: ``str``, ``[X]`` for a list, ``{X}`` for an object with free names, else a model.
        choices: the values that it may have; none where any will do.
        limits: readonly, required, constant, max_length and the like.
    """

    path: tuple[str, ...]
    kind: str
    choices: tuple[str | int, ...]
    limits: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """An object.

    Attributes:
        attributes: by their names in Python.
        by: the attribute that tells which kind it is; empty where there is one kind.
        kinds: value of that attribute → model.
    """

    attributes: Mapping[str, Attribute]
    by: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)


class Models:
    """The models of one package, or of one API version of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._models: dict[str, Model] = {}

    @cached_property
    def _classes(self) -> dict[str, str]:
        file = self.folder / "_models_py3.py"
        if not file.exists():
            raise PackageError(f"{file} is not there: pin the last version of the package that has it")
        return _classes(file.read_text(encoding="utf-8"))

    @cached_property
    def _enumerations(self) -> dict[str, str]:
        texts = [file.read_text(encoding="utf-8") for file in sorted(self.folder.glob("*_enums.py"))]
        return {name: text for file in texts for name, text in _classes(file).items()}

    def model(self, name: str) -> Model:
        """A model by the name of its class. Raises PackageError when there is none, or none of the known form."""
        if name not in self._models:
            if name not in self._classes:
                raise PackageError(f"{self.folder} has no model {name}")
            self._models[name] = self._read(name)
        return self._models[name]

    def _read(self, name: str) -> Model:
        declared = _declared(self._classes[name])
        tables, hints = _tables(declared.body)
        if "_attribute_map" not in tables:
            base = ast.unparse(declared.bases[0])
            if base not in self._classes:
                raise PackageError(f"{self.folder}: the model {name} has no _attribute_map")
            return self.model(base)  # a name of its own for what another one is
        limits = tables.get("_validation", {})
        attributes = {
            name: Attribute(
                path=tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", entry["key"])),
                kind=entry["type"],
                choices=self._choices(hints.get(name, "")),
                limits=limits.get(name, {}),
            )
            for name, entry in tables["_attribute_map"].items()
        }
        by, kinds = next(iter(tables.get("_subtype_map", {}).items()), ("", {}))
        return Model(attributes=attributes, by=by, kinds=kinds)

    def _choices(self, hint: str) -> tuple[str | int, ...]:
        """The values that a Python type names, as an enumeration or one by one."""
        name = next((name for name in _MODEL.findall(hint) if name in self._enumerations), None)
        if name is None:
            return tuple(_LITERAL.findall(hint))
        lines = _declared(self._enumerations[name]).body
        return tuple(ast.literal_eval(line.value) for line in lines if isinstance(line, ast.Assign))


def _classes(text: str) -> dict[str, str]:
    """The text of each class of a module."""
    starts = list(_CLASS.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def _declared(text: str) -> ast.ClassDef:
    declared = ast.parse(text).body[0]
    assert isinstance(declared, ast.ClassDef)
    return declared


def _tables(body: list[ast.stmt]) -> tuple[dict[str, Any], dict[str, str]]:
    """The tables of a model's class, and the types of its attributes."""
    tables: dict[str, Any] = {}
    hints: dict[str, str] = {}
    for part in body:
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            tables[part.targets[0].id] = ast.literal_eval(part.value)
        elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
            hints = {a.arg: ast.unparse(a.annotation) for a in part.args.kwonlyargs if a.annotation is not None}
            for line in part.body:  # what only Azure sets is no argument: self.state: Optional[...] = None
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Attribute):
                    hints[line.target.attr] = ast.unparse(line.annotation)
    return tables, hints


class Packages:
    """All installed azure-mgmt packages.

    Attributes:
        names: each package with its version.
        creations: resource type in lower case → the ways to create it.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.names = tuple(folders)
        self.creations: dict[str, list[Creation]] = {}
        for folder in folders.values():
            for operations in sorted(folder.rglob("operations")):
                if operations.parent.name == "aio":
                    continue  # the same calls once more
                models = Models(operations.parent / "models")
                for file in sorted(operations.glob("*_operations.py")):
                    for kind, creation in _creations(file.read_text(encoding="utf-8"), models):
                        self.creations.setdefault(kind.lower(), []).append(creation)

    @classmethod
    def installed(cls) -> Packages:
        """The ones of this Python's environment."""
        folders: dict[str, Path] = {}
        for distribution in importlib.metadata.distributions():
            name = distribution.name
            module = name.removeprefix("azure-mgmt-")
            folder = Path(str(distribution.locate_file(f"azure/mgmt/{module}")))
            if module != name and next(folder.rglob("operations"), None) is not None:
                folders[f"{name} {distribution.version}"] = folder
        return cls(dict(sorted(folders.items())))


def _creations(text: str, models: Models) -> Iterator[tuple[str, Creation]]:
    builders = list(_BUILDER.finditer(text))
    ends = [builder.start() for builder in builders[1:]] + [len(text)]
    for builder, end in zip(builders, ends, strict=True):
        request = text[builder.start() : end].partition("\nclass ")[0]
        address, version = _ADDRESS.search(request), _VERSION.search(request)
        if 'method="PUT"' not in request or address is None or version is None:
            continue
        parts = address[2].split("/")
        body, answer = _sent_and_answered(text, builder[1])
        if len(parts) % 2 or not body or any(part.startswith("{") for part in parts[::2]):
            continue  # an action, a sub-resource without a type of its own, or a call without a body
        is_free = parts[-1].startswith("{")
        yield (
            "/".join([address[1], *parts[::2]]),
            Creation(
                version=version[1],
                name=None if is_free else parts[-1],
                sizes=_sizes(request, parts[-1][1:-1]) if is_free else {},
                models=models,
                body=body,
                answer=answer,
            ),
        )


def _sizes(request: str, parameter: str) -> dict[str, int]:
    """What the request says of the length of a part of its address."""
    said = re.split(r"\n {4,8}[\"}]", request.partition(f'"{parameter}": _SERIALIZER.url(')[2], maxsplit=1)[0]
    return {short: int(size) for short, size in re.findall(r"\b(min|max)_length=(\d+)", said)}


def _sent_and_answered(text: str, builder: str) -> tuple[str, str]:
    """The models that a call sends and gets: of the method that uses the builder."""
    call = text.find(f"= {builder}(")
    if call < 0:
        return "", ""
    head = _head(text, text.rfind("\n    def ", 0, call))
    name = re.findall(r"def (\w+)\(", head)[0]
    if name.endswith("_initial"):  # a call that takes its time: the public method tells what comes in the end
        end = text.find("\nclass ", call)
        public = f"\n    def begin{name.removesuffix('_initial')}("
        place = text.rfind(public, call, end if end > 0 else len(text))
        if place < 0:
            raise PackageError(f"no public method goes with {name}, which sends {builder}")
        head = _head(text, place)
    sent, _, answered = head.partition(") -> ")
    return next(iter(_MODEL.findall(sent)), ""), next(iter(_MODEL.findall(answered)), "")


def _head(text: str, start: int) -> str:
    return text[start : text.index(":\n", text.index(") -> ", start))]
