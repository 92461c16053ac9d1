"""Text that is safe to hand on: no control characters, no lone surrogates, cut by the target's own measure."""

import json
import math
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_BREAKS = re.compile(r"\r\n|\r|\u2028|\u2029|\x85|\x0b|\x0c")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_SPACE = re.compile(r"\s+")


def parse_json(text: str) -> Any:
    """The JSON text's value, with finite numbers only.

    Python reads ``NaN`` and ``1e999``, and writes them back as what is no JSON (RFC 8259, 6): nobody could read it.

    Raises:
        json.JSONDecodeError: it is not JSON.
        ValueError: a number is out of range.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def clean(text: str) -> str:
    """The text with line breaks as LF and without control characters; tabs and emoji stay."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _SURROGATES.sub("\ufffd", _BREAKS.sub("\n", text)))


def one_line(text: str) -> str:
    """The text on one line: white space of any kind becomes one space."""
    return _SPACE.sub(" ", clean(text)).strip()


def size(text: str) -> int:
    """Length in UTF-16 units, which is how Dataverse counts a column's MaxLength (an emoji counts two)."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def cut(text: str, limit: int) -> str:
    """At most ``limit`` UTF-16 units of the text, with an ellipsis where something was cut."""
    return text if size(text) <= limit else text[: _prefix(text, limit - 1)] + "…"


def split(text: str, limit: int) -> list[str]:
    """The text in pieces of at most ``limit`` UTF-16 units, cut between characters, nothing lost."""
    pieces = []
    while size(text) > limit:
        end = limit if text.isascii() else max(1, _prefix(text, limit))
        pieces.append(text[:end])
        text = text[end:]
    pieces.append(text)
    return pieces


def _refuse_constant(name: str) -> float:
    raise json.JSONDecodeError(f"{name} is not JSON", name, 0)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _prefix(text: str, limit: int) -> int:
    """How many characters of the text fit into ``limit`` UTF-16 units."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if ord(character) > 0xFFFF else 1
        if used > limit:
            return index
    return len(text)
