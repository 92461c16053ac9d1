"""JSON without its contents: keys, and what kind of thing stands under each. Nobody's words get out."""

import re
from collections.abc import Iterator
from typing import Any

DEEPEST = 5
MOST = 60

_MESSAGE_ID = re.compile(r"\d{13}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})?")
_WORD = re.compile(r"[A-Za-z]{1,60}")
_STRANGE = re.compile(r"[^\w@$.:-]")
_SHOWN = frozenset({"type", "name", "textFormat"})
"""Keys whose words are Microsoft's, at the top of an activity: a file's name is below it."""


def outline(data: object) -> str:
    """Keys with kinds, such as ``type=message, from.id:guid, text:str(7)``."""
    return ", ".join(list(_lines(data, "", 0))[:MOST]) or "nothing"


def digits(data: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Where 13-digit ids stand: path and id."""
    if depth > DEEPEST:
        return
    if isinstance(data, dict):
        for key, value in data.items():
            yield from digits(value, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(data, list):
        for value in data[:20]:
            yield from digits(value, f"{path}[]", depth + 1)
    elif _is_text(data) and _MESSAGE_ID.fullmatch(str(data)):
        yield path, str(data)


def _lines(data: object, path: str, depth: int) -> Iterator[str]:
    if isinstance(data, dict) and data and depth <= DEEPEST:
        for key, value in list(data.items())[:MOST]:
            yield from _lines(value, f"{path}.{_key(key)}" if path else _key(key), depth + 1)
    elif isinstance(data, list) and data and depth <= DEEPEST:
        yield from _lines(data[0], f"{path}[]", depth + 1)
    elif path in _SHOWN and isinstance(data, str) and _WORD.fullmatch(data):
        yield f"{path}={data}"
    elif path:
        yield f"{path}:{_kind(data)}"


def _key(key: object) -> str:
    """A key as it may be printed: whoever finds the tunnel can send what they like."""
    return _STRANGE.sub("?", str(key))[:40]


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    if not isinstance(value, str):
        return "13 digits" if _is_text(value) and _MESSAGE_ID.fullmatch(str(value)) else type(value).__name__
    for kind, form in (("guid", _GUID), ("13 digits", _MESSAGE_ID), ("time", _TIME)):
        if form.fullmatch(value):
            return kind
    return f"str({len(value)})"


def _is_text(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
