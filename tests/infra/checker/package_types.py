"""A table of types like the compiler's, from Microsoft's azure-mgmt packages: the same wire, told by another source.

What a PUT sends is what may be set; what only its answer holds is read-only. Only the very API version that a Bicep
file names counts: requirements-dev.in pins the packages that carry those versions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.infra.checker.packages import Attribute, Creation, Models, PackageError, Packages

REQUIRED, READ_ONLY = 1, 2

_SCALARS = {
    "str": "string",
    "bool": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "integer",  # Bicep has whole numbers only
    "unix-time": "integer",
    "object": "any",
    **dict.fromkeys(("iso-8601", "rfc-1123", "date", "duration", "bytearray", "base64"), "string"),
}
_SMALLEST = ("min_length", "minimum")
_LARGEST = ("max_length", "maximum")

Node = dict[str, Any]


class Maker:
    """The table while it grows."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._resources: dict[str, Node] = {}
        self._types: list[Node] = []
        self._places: dict[str, int] = {}
        self._objects: dict[tuple[Models, str, str], int] = {}
        self.missing: dict[str, str] = {}

    def add(self, name: str) -> None:
        """Add a ``type@version``, or note under ``missing`` why that cannot be."""
        kind, _, version = name.partition("@")
        known = self._packages.creations.get(kind.lower(), [])
        creations = [creation for creation in known if creation.version == version]
        if creations:
            self._resources[name] = {"name": name, "body": self._resource(kind, creations)}
        elif known:
            versions = ", ".join(sorted({creation.version for creation in known}))
            self.missing[name] = f"the packages have it as of {versions}"
        else:
            self.missing[name] = "no package creates such a resource"

    def table(self) -> Node:
        """The table, in the form of infra/types/extract.py, with the packages in place of a commit."""
        return {"packages": list(self._packages.names), "resources": self._resources, "types": self._types}

    def _resource(self, kind: str, creations: list[Creation]) -> int:
        """The type of a resource; where its names are fixed and several, one for each name."""
        free = [creation for creation in creations if creation.name is None]
        if free or len(creations) == 1:
            return self._body(kind, free[0] if free else creations[0])
        kinds = {str(creation.name): self._body(kind, creation) for creation in creations}
        return self._new({"kind": "choice", "by": "name", "properties": {}, "of": kinds})

    def _body(self, kind: str, creation: Creation) -> int:
        properties = dict(self._types[self._object(creation.models, creation.body, creation.answer)]["properties"])
        fixed = {"value": creation.name}
        name = self._leaf("string", **creation.sizes) if creation.name is None else self._leaf("literal", **fixed)
        properties["name"] = [REQUIRED, name]
        properties["id"] = [READ_ONLY, self._leaf("string")]
        properties["type"] = [READ_ONLY, self._leaf("literal", value=kind)]
        properties["apiVersion"] = [READ_ONLY, self._leaf("literal", value=creation.version)]
        return self._new({"kind": "object", "properties": properties})

    def _object(self, models: Models, sent: str, answered: str) -> int:
        """The object of two models, the one that is sent and the one that comes back; they are often the same."""
        key = (models, sent, answered or sent)
        if key in self._objects:
            return self._objects[key]
        node: Node = {"kind": "object", "properties": {}}
        self._objects[key] = self._new(node)  # a model may refer to itself
        model = models.model(sent)
        back = {attribute.path: attribute for attribute in models.model(key[2]).attributes.values()}
        for attribute in model.attributes.values():
            twin = back.pop(attribute.path, attribute)
            self._put(node, attribute.path, self._flags(attribute), self._attribute(models, attribute, twin))
        for attribute in back.values():
            self._put(node, attribute.path, READ_ONLY, self._attribute(models, attribute, attribute))
        if model.by:
            by = model.attributes[model.by].path[-1]
            kinds = {value: self._object(models, name, name) for value, name in model.kinds.items()}
            node.update({"kind": "choice", "by": by, "of": kinds})
        return self._objects[key]

    def _put(self, node: Node, path: tuple[str, ...], flags: int, number: int) -> None:
        """Set a property; on the way in make the objects that the model leaves out."""
        *outside, last = path
        for name in outside:
            if name not in node["properties"]:
                node["properties"][name] = [0, self._new({"kind": "object", "properties": {}})]
            place = node["properties"][name]
            place[0] |= flags & REQUIRED
            node = self._types[place[1]]
        if last:
            node["properties"][last] = [flags, number]
        else:  # whatever the others do not name
            node["others"] = self._types[number]["others"]

    def _flags(self, attribute: Attribute) -> int:
        if attribute.limits.get("readonly"):
            return READ_ONLY
        return REQUIRED if attribute.limits.get("required") and not attribute.limits.get("constant") else 0

    def _attribute(self, models: Models, attribute: Attribute, twin: Attribute) -> int:
        return self._kind(models, attribute, attribute.kind, twin.kind)

    def _kind(self, models: Models, attribute: Attribute, kind: str, twin: str) -> int:
        if kind[0] in "[{":
            inner = self._kind(models, attribute, kind[1:-1], twin[1:-1] if twin[0] == kind[0] else kind[1:-1])
            if kind[0] == "[":
                return self._new({"kind": "array", "item": inner})
            return self._new({"kind": "object", "properties": {}, "others": inner})
        if kind not in _SCALARS:
            return self._object(models, kind, twin if twin not in _SCALARS and twin[0] not in "[{" else kind)
        if kind == "str" and attribute.choices:
            literals = [self._leaf("literal", value=value) for value in attribute.choices]
            return self._new({"kind": "union", "of": literals})
        limits = attribute.limits if attribute.kind == kind else {}  # those of a list are its own
        sizes = {
            short: next((limits[name] for name in names if name in limits), None)
            for short, names in (("min", _SMALLEST), ("max", _LARGEST))
        }
        return self._leaf(_SCALARS[kind], **{short: size for short, size in sizes.items() if size is not None})

    def _leaf(self, kind: str, **more: Any) -> int:
        node = {"kind": kind, **more}
        text = json.dumps(node, sort_keys=True)
        if text not in self._places:
            self._places[text] = self._new(node)
        return self._places[text]

    def _new(self, node: Node) -> int:
        self._types.append(node)
        return len(self._types) - 1


def make(packages: Packages, names: Iterable[str]) -> Node:
    """The table of these types.

    Raises:
        PackageError: a type, or its version, is in no package.
    """
    maker = Maker(packages)
    for name in names:
        maker.add(name)
    if maker.missing:
        raise PackageError("; ".join(f"{name}: {why}" for name, why in maker.missing.items()))
    return maker.table()
