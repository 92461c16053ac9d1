"""Files that customers upload: `multipart/form-data` and its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.switches import Switches

_BOUNDARY = re.compile(r'multipart/form-data;.*?boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(r'\bname="([^"]*)"')
_FILE_NAME = re.compile(r'\bfilename="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form."""

    media_type: str
    file_name: str | None
    content: bytes


def parts(media_type: str, body: bytes) -> dict[str, Part]:
    """The parts of a form by name. Raises Refused (415, 400)."""
    found = _BOUNDARY.match(media_type)
    if found is None:
        raise Refused(415, "Content-Type must be multipart/form-data")
    pieces = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refused(400, "Malformed multipart body")
    named: dict[str, Part] = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        lines = [line.partition(":") for line in head.decode().split("\r\n")]
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        disposition = headers.get("content-disposition", "")
        name, file_name = _NAME.search(disposition), _FILE_NAME.search(disposition)
        if name is None:
            raise Refused(400, "A part of the form has no name")
        named[name[1]] = Part(headers.get("content-type", ""), file_name[1] if file_name else None, content)
    return named


def check(part: Part, switches: Switches) -> str:
    """The name of a file that the channel takes. Raises Refused (400, 413, 415)."""
    if not switches.attachments:
        raise Refused(400, "File attachments aren't enabled for this channel")
    if not part.file_name:
        raise Refused(400, "fileData needs a filename")
    if len(part.content) > switches.file_max_bytes:
        raise Refused(413, f"The file is larger than {switches.file_max_bytes} bytes")
    if part.file_name.rpartition(".")[2].lower() not in switches.file_types or "." not in part.file_name:
        raise Refused(415, "The file type isn't supported")
    return part.file_name
