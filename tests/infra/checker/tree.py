"""The parts of a Bicep file: expressions and declarations, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression; ``line`` counts from 1."""

    line: int

    def children(self) -> Iterator[Expr]:
        """The expressions that it is made of."""
        return iter(())

    def walk(self) -> Iterator[Expr]:
        """It and all in it."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Text(Expr):
    """A string: its fixed parts and what is put in between."""

    parts: tuple[str | Expr, ...]

    @property
    def value(self) -> str | None:
        """The whole text; None when something is put in."""
        fixed = [part for part in self.parts if isinstance(part, str)]
        return "".join(fixed) if len(fixed) == len(self.parts) else None

    def children(self) -> Iterator[Expr]:
        """What is put in."""
        return (part for part in self.parts if isinstance(part, Expr))


@dataclass(frozen=True, slots=True)
class Scalar(Expr):
    """A number, true, false or null."""

    value: int | bool | None


@dataclass(frozen=True, slots=True)
class Name(Expr):
    """A symbol."""

    name: str


@dataclass(frozen=True, slots=True)
class Member(Expr):
    """``of.name``."""

    of: Expr
    name: str

    def children(self) -> Iterator[Expr]:
        """What the property is taken of."""
        yield self.of


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """``of[at]``."""

    of: Expr
    at: Expr

    def children(self) -> Iterator[Expr]:
        """The list and the place."""
        yield self.of
        yield self.at


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """``name(…)`` or ``of.name(…)``."""

    name: str
    of: Expr | None
    arguments: tuple[Expr, ...]

    def children(self) -> Iterator[Expr]:
        """The receiver, if any, and the arguments."""
        if self.of is not None:
            yield self.of
        yield from self.arguments


@dataclass(frozen=True, slots=True)
class Entry:
    """One property of an object; ``key`` is None where it is computed."""

    key: str | None
    name: Expr
    value: Expr
    line: int


@dataclass(frozen=True, slots=True)
class Object(Expr):
    """``{ … }``."""

    entries: tuple[Entry, ...]

    def get(self, key: str) -> Expr | None:
        """The value of a property."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def at(self, path: str) -> Expr | None:
        """The value at a dotted path."""
        found: Expr | None = self
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Object) else None
        return found

    def children(self) -> Iterator[Expr]:
        """Computed keys, and values."""
        for entry in self.entries:
            if entry.key is None:
                yield entry.name
            yield entry.value


@dataclass(frozen=True, slots=True)
class Array(Expr):
    """``[ … ]``."""

    items: tuple[Expr, ...]

    def children(self) -> Iterator[Expr]:
        """The items."""
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class Ternary(Expr):
    """``condition ? then : otherwise``."""

    condition: Expr
    then: Expr
    otherwise: Expr

    def children(self) -> Iterator[Expr]:
        """All three."""
        yield from (self.condition, self.then, self.otherwise)


@dataclass(frozen=True, slots=True)
class Operation(Expr):
    """A sign with one or two operands."""

    sign: str
    operands: tuple[Expr, ...]

    def children(self) -> Iterator[Expr]:
        """The operands."""
        return iter(self.operands)


@dataclass(frozen=True, slots=True)
class Loop(Expr):
    """``[for variable in over: body]``."""

    variables: tuple[str, ...]
    over: Expr
    body: Expr

    def children(self) -> Iterator[Expr]:
        """The list and the body."""
        yield self.over
        yield self.body


@dataclass(frozen=True, slots=True)
class If(Expr):
    """``if (condition) body``."""

    condition: Expr
    body: Expr

    def children(self) -> Iterator[Expr]:
        """The condition and the body."""
        yield self.condition
        yield self.body


@dataclass(frozen=True, slots=True)
class Declaration:
    """A statement of a file.

    Attributes:
        kind: ``param``, ``var``, ``resource``, ``module``, ``output``, ``using``, ``targetScope`` or ``metadata``.
        type: of a parameter or output.
        target: a resource's ``type@version``; the path of a module or of ``using``.
        is_existing: a resource that is only referred to.
        is_explained: a comment or description stands right above it.
        decorators: name → arguments.
    """

    kind: str
    name: str
    line: int
    type: str | None = None
    target: str | None = None
    is_existing: bool = False
    is_explained: bool = False
    value: Expr | None = None
    decorators: Mapping[str, tuple[Expr, ...]] = field(default_factory=dict)

    @property
    def body(self) -> Object | None:
        """The object of a resource or module, whatever loop or condition stands before it."""
        found = self.value
        while isinstance(found, Loop | If):
            found = found.body
        return found if isinstance(found, Object) else None
