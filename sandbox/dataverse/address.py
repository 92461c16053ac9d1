"""Resource paths: entity sets, keys, bound operations."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from sandbox.dataverse import errors

Key = str | dict[str, str | int]
GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SEGMENT = re.compile(r"([A-Za-z_$][\w.$]*)(?:\((.*)\))?", re.DOTALL)
_PLAIN = re.compile(r"([\w$]+)\(([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\)")
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^']|'')*)'|([^,'\s]+))\s*(,|$)")


class Segment(NamedTuple):
    """One part of a path. `key` is None without parentheses, an empty dict for `()`."""

    name: str
    key: Key | None


def parse(path: str) -> list[Segment]:
    """Splits a path below the service root, still percent-encoded. Raises DataverseError 400 or 404."""
    plain = _PLAIN.fullmatch(path)
    if plain is not None:
        return [Segment(plain[1], plain[2].lower())]
    return [_segment(part) for part in _split(unquote(path))]


def _split(path: str) -> list[str]:
    """Cuts at slashes that are neither quoted nor inside parentheses."""
    parts, start, quoted, depth = [], 0, False, 0
    for position, character in enumerate(path):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "/" and depth == 0:
            parts.append(path[start:position])
            start = position + 1
    if quoted:
        raise errors.query(f"There is an unterminated string literal at position {len(path)} in '{path}'.")
    parts.append(path[start:])
    return [part for part in parts if part]


def _segment(part: str) -> Segment:
    match = _SEGMENT.fullmatch(part)
    if match is None:
        raise errors.segment_not_found(part)
    name, key = match[1], match[2]
    if key is None:
        return Segment(name, None)
    if GUID.fullmatch(key):
        return Segment(name, key.lower())
    return Segment(name, _pairs(key))


def _pairs(key: str) -> dict[str, str | int]:
    values: dict[str, str | int] = {}
    position = 0
    while position < len(key):
        match = _PAIR.match(key, position)
        if match is None:
            raise errors.query(f"Bad Request - Error in query syntax: '({key})' is no key.")
        if match[2] is not None:
            values[match[1]] = match[2].replace("''", "'")
        else:
            bare = match[3]
            values[match[1]] = int(bare) if re.fullmatch(r"-?\d+", bare) else bare.lower()
        position = match.end()
    return values
