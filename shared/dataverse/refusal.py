"""What Dataverse refuses, read from its error: which column of which row, and whether cutting it short would do.

The shapes of the messages are in Microsoft's Web API error pages and in public reports of real answers.
"""

import re
from dataclasses import dataclass

from shared.dataverse.batch import Reply
from shared.dataverse.client import error_of, is_missing_segment

CUSTOMER_NEEDED = "0x80044410"
_UNDECLARED = re.compile(r"undeclared property '([^']+)'")
_INVALID = re.compile(r"Invalid property '([^']+)' was found in entity '(?:Microsoft\.Dynamics\.CRM\.)?([^']+)'")
_PAYLOAD_OF = re.compile(r"for Entity :\s*'([^']+)'")
_OPTION = re.compile(r"The value .{0,60}? of '([^']+)' on record of type '([^']+)'")
_LENGTH = re.compile(
    r"length of the '([^']+)' attribute of the '([^']+)' entity exceeded the maximum allowed length of '(\d+)'"
)
_MISSING_ROW = re.compile(r"'?(\w+)'? With Id = ([0-9a-fA-F-]{36}) Does Not Exist", re.IGNORECASE)
_QUOTED = re.compile(r"'([A-Za-z_][\w.@]*)'")


@dataclass(frozen=True)
class Refusal:
    """Why an operation was refused.

    Attributes:
        code: Dataverse's code, such as ``0x80048d19``.
        table: the logical or set name that the message gives, in lower case.
        column: the column or navigation property it gives.
        limit: the length that would be allowed, when the text is too long.
        missing_id: the row that a navigation property points at and that does not exist.
        names: every quoted name in the message, for messages of an unknown shape.
    """

    code: str
    table: str | None = None
    column: str | None = None
    limit: int | None = None
    missing_id: str | None = None
    table_is_missing: bool = False
    names: tuple[str, ...] = ()


def read(reply: Reply) -> Refusal:
    """Read a 400 or 404 answer."""
    code, message = error_of(reply)
    code = code or f"http_{reply.status}"
    names = tuple(_QUOTED.findall(message))
    if is_missing_segment(reply):
        return Refusal(code, table=names[0].lower() if names else None, table_is_missing=True)
    if found := _LENGTH.search(message):
        return Refusal(code, table=found[2].lower(), column=found[1], limit=int(found[3]))
    if found := _OPTION.search(message) or _INVALID.search(message):
        return Refusal(code, table=found[2].lower(), column=found[1])
    payload_of = _PAYLOAD_OF.search(message)
    table = payload_of[1].lower() if payload_of else None
    if found := _UNDECLARED.search(message):
        return Refusal(code, table=table, column=found[1])
    if found := _MISSING_ROW.search(message):
        return Refusal(code, missing_id=found[2].lower())
    return Refusal(code, table=table, names=names)
