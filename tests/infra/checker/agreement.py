"""Two tables of the same resource types: where one says otherwise than the other."""

from __future__ import annotations

from collections import defaultdict

from tests.infra.checker.types import Node, Table

_FLAGS = {"required": 1, "read-only": 2}


class Comparison:
    """What a second table says otherwise.

    Attributes:
        found: kind of difference → the names of the properties; ``stricter:`` is where the first one asks for more.
    """

    def __init__(self, first: Table, second: Table) -> None:
        self._first, self._second = first, second
        self._seen: set[tuple[int, int]] = set()
        self.found: dict[str, set[str]] = defaultdict(set)
        for name in first.names | second.names:
            mine, theirs = first.body(name), second.body(name)
            if mine is None or theirs is None:
                self.found["type"].add(name)
            else:
                self._compare(name, mine, theirs)

    def _compare(self, name: str, mine: Node, theirs: Node) -> None:
        kinds = {mine["kind"], theirs["kind"]}
        if kinds == {"array"}:
            self._compare(name, self._first.at(mine["item"]), self._second.at(theirs["item"]))
        elif kinds == {"choice"}:
            if set(mine["of"]) != set(theirs["of"]):
                self.found["choice"].add(name)
            for value in set(mine["of"]) & set(theirs["of"]):
                self._compare(name, self._first.at(mine["of"][value]), self._second.at(theirs["of"][value]))
        elif kinds == {"object"}:
            if (id(mine), id(theirs)) not in self._seen:  # an object may hold itself
                self._seen.add((id(mine), id(theirs)))
                self._properties(name, mine, theirs)
        else:
            self._values(name, mine, theirs)

    def _properties(self, name: str, mine: Node, theirs: Node) -> None:
        own, known = self._first.properties(mine), self._second.properties(theirs)
        for kind, keys in (("unknown", set(known) - set(own)), ("invented", set(own) - set(known))):
            if keys:
                self.found[kind] |= keys
        for key in set(own) & set(known):
            for kind, flag in _FLAGS.items():
                if own[key][0] & flag != known[key][0] & flag:
                    self.found[f"stricter: {kind}" if own[key][0] & flag else kind].add(key)
            self._compare(key, own[key][1], known[key][1])
        if ("others" in mine) != ("others" in theirs):
            self.found["others"].add(name)
        elif "others" in mine:
            self._compare(name, self._first.at(mine["others"]), self._second.at(theirs["others"]))

    def _values(self, name: str, mine: Node, theirs: Node) -> None:
        own, known = _literals(self._first, mine), _literals(self._second, theirs)
        if own != known:
            self.found["fewer values" if own and own < known else "values"].add(name)
        elif _kinds(self._first, mine) != _kinds(self._second, theirs):
            self.found["kind"].add(name)
        elif _sizes(self._first, mine) != _sizes(self._second, theirs):
            self.found["limits"].add(name)


def _literals(table: Table, node: Node) -> set[str]:
    return {option["value"] for option in table.options(node) if option["kind"] == "literal"}


def _kinds(table: Table, node: Node) -> set[str]:
    """The kinds; a list of texts that may grow is, in the compiler's types, of texts too."""
    found = {option["kind"] for option in table.options(node)}
    return found - {"string"} if "literal" in found else found


def _sizes(table: Table, node: Node) -> dict[str, int]:
    return {key: option[key] for option in table.options(node) for key in ("min", "max") if key in option}
