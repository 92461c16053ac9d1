"""OData `$filter`: parsed into a predicate, with the equalities that an index can answer.

Text compares without case; `%`, `_` and `[...]` are wildcards in contains, startswith and endswith but
not in eq (Microsoft documents the former; the latter is the stricter reading).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sandbox.dataverse import errors
from sandbox.dataverse.rows import Ref, Row
from sandbox.dataverse.schema import Table

Predicate = Callable[[Row], bool]
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*')
    | (?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})
    | (?P<date>\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<name>[A-Za-z_][\w.]*(?:/[A-Za-z_]\w*)*)
    | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_KINDS = {"string": "Edm.String", "guid": "Edm.Guid", "date": "Edm.DateTimeOffset", "number": "Edm.Int32"}
_OPERATORS = {
    "eq": "Equal",
    "ne": "NotEqual",
    "gt": "GreaterThan",
    "ge": "GreaterThanOrEqual",
    "lt": "LessThan",
    "le": "LessThanOrEqual",
}
_NUMBERS = {"Edm.Int32", "Edm.Int64", "Edm.Double"}


class Token(NamedTuple):
    """A lexical unit with its place in the text."""

    kind: str
    text: str
    position: int


@dataclass
class Filter:
    """A compiled filter. Every match also satisfies each (column, value) of `equalities`."""

    matches: Predicate
    equalities: list[tuple[str, object]] = field(default_factory=list)


def compile_filter(expression: str, table: Table) -> Filter:
    """Compiles a decoded `$filter`. Raises DataverseError 400 (0x80060888)."""
    parser = _Parser(_tokens(expression), expression, table)
    result = parser.disjunction()
    parser.end()
    return result


def normal_date(value: str) -> str:
    """An ISO 8601 date-time in UTC, to the second, as rows hold it. Raises ValueError."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tokens(expression: str) -> list[Token]:
    tokens: list[Token] = []
    position, end = 0, len(expression.rstrip())
    while position < end:
        match = _TOKEN.match(expression, position)
        if match is None:
            start = position + len(expression[position:]) - len(expression[position:].lstrip())
            if expression[start] == "'":
                text = f"There is an unterminated literal at position {len(expression)} in '{expression}'."
                raise errors.query(text)
            raise errors.query(
                f"Syntax error: character '{expression[start]}' is not valid at position {start} in '{expression}'."
            )
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return tokens


def _like(pattern: str, *, start: bool, end: bool) -> re.Pattern[str]:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        close = pattern.find("]", position + 2)
        if character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[" and close > 0:
            inside = pattern[position + 1 : close]
            negated = inside.startswith("^") and len(inside) > 1
            body = re.escape(inside[1:] if negated else inside).replace(r"\-", "-")
            parts.append(f"[{'^' if negated else ''}{body}]")
            position = close
        else:
            parts.append(re.escape(character))
        position += 1
    text = "".join(parts)
    return re.compile(f"{'' if start else '.*'}{text}{'' if end else '.*'}", re.IGNORECASE | re.DOTALL)


class _Parser:
    """Recursive descent over or, and, not, comparisons and three functions."""

    def __init__(self, tokens: list[Token], expression: str, table: Table) -> None:
        self._tokens = tokens
        self._at = 0
        self._expression = expression
        self._table = table

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._wrong(self._tokens[self._at])

    def disjunction(self) -> Filter:
        options = [self._conjunction()]
        while self._word("or"):
            options.append(self._conjunction())
        if len(options) == 1:
            return options[0]
        tests = [option.matches for option in options]
        return Filter(lambda row: any(test(row) for test in tests))

    def _conjunction(self) -> Filter:
        terms = [self._negation()]
        while self._word("and"):
            terms.append(self._negation())
        if len(terms) == 1:
            return terms[0]
        tests = [term.matches for term in terms]
        equalities = [equality for term in terms for equality in term.equalities]
        return Filter(lambda row: all(test(row) for test in tests), equalities)

    def _negation(self) -> Filter:
        if self._word("not"):
            inner = self._negation().matches
            return Filter(lambda row: not inner(row))
        if self._mark("("):
            inner_filter = self.disjunction()
            self._expect(")")
            return inner_filter
        token = self._next("name")
        if token.text in {"contains", "startswith", "endswith"} and self._mark("("):
            return self._function(token.text)
        return self._comparison(token)

    def _function(self, name: str) -> Filter:
        column = self._next("name").text
        if self._edm(column) != "Edm.String":
            raise errors.query(
                f"No function signature for the function with name '{name}' matches the specified arguments."
            )
        self._expect(",")
        wanted = self._unquote(self._next("string").text)
        self._expect(")")
        pattern = _like(wanted, start=name == "startswith", end=name == "endswith")
        return Filter(lambda row: bool(pattern.fullmatch(row.get(column) or "")))

    def _comparison(self, token: Token) -> Filter:
        edm = self._edm(token.text)
        operator = self._next("name").text
        if operator not in _OPERATORS:
            raise self._wrong(self._tokens[self._at - 1])
        value = self._literal(edm, operator)
        # A lookup reads as `_x_value` and is stored as `x`.
        stored = token.text if token.text in self._table.columns else token.text[1:-6]
        matches = _compare(operator, stored, value)
        return Filter(matches, [(stored, value)] if operator == "eq" else [])

    def _literal(self, edm: str, operator: str) -> Any:
        token = self._next()
        if token.kind == "name" and token.text == "null":
            return None
        if token.kind == "name" and token.text in {"true", "false"}:
            kind, value = "Edm.Boolean", token.text == "true"
        elif token.kind in _KINDS:
            kind, value = _KINDS[token.kind], self._value(token)
        else:
            raise self._wrong(token)
        if kind == edm or (kind in _NUMBERS and edm in _NUMBERS):
            return value
        raise errors.query(
            "A binary operator with incompatible types was detected. Found operand types "
            f"'{edm}' and '{kind}' for operator kind '{_OPERATORS[operator]}'."
        )

    def _value(self, token: Token) -> Any:
        if token.kind == "string":
            return self._unquote(token.text)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "guid":
            return token.text.lower()
        try:
            return normal_date(token.text)
        except ValueError as error:
            raise self._wrong(token) from error

    def _edm(self, name: str) -> str:
        edm = self._table.edm_type(name)
        if edm is None:
            raise errors.unknown_query_property(name, self._table.logical)
        return edm

    @staticmethod
    def _unquote(text: str) -> str:
        return text[1:-1].replace("''", "'")

    def _next(self, kind: str | None = None) -> Token:
        if self._at >= len(self._tokens):
            text = f"Expression expected at position {len(self._expression)} in '{self._expression}'."
            raise errors.query(text)
        token = self._tokens[self._at]
        if kind is not None and token.kind != kind:
            raise self._wrong(token)
        self._at += 1
        return token

    def _word(self, word: str) -> bool:
        return self._take("name", word)

    def _mark(self, mark: str) -> bool:
        return self._take("mark", mark)

    def _take(self, kind: str, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][:2] == (kind, text):
            self._at += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if self._next().text != mark:
            raise self._wrong(self._tokens[self._at - 1])

    def _wrong(self, token: Token) -> errors.DataverseError:
        return errors.query(f"Syntax error at position {token.position} in '{self._expression}'.")


def _plain(value: object) -> Any:
    if isinstance(value, str):
        return value.casefold()
    return value.id if isinstance(value, Ref) else value


def _compare(operator: str, column: str, wanted: object) -> Predicate:
    value = _plain(wanted)
    if operator == "eq":
        return lambda row: bool(_plain(row.get(column)) == value)
    if operator == "ne":
        return lambda row: bool(_plain(row.get(column)) != value)
    if value is None:
        return lambda _row: False

    def ordered(row: Row) -> bool:
        held = _plain(row.get(column))
        if held is None:
            return False
        if operator == "gt":
            return bool(held > value)
        if operator == "ge":
            return bool(held >= value)
        return bool(held < value) if operator == "lt" else bool(held <= value)

    return ordered
