"""Files on their way to a rep: what was fetched, and the form in which Salesforce takes it."""

import json
import re
from collections.abc import Callable

from shared.attachments import Fetched
from shared.handoff.text import one_line

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


type Fetch = Callable[[str], Fetched | None]
"""Fetches a file from its address; None: it may not be fetched, is too large, or is not there."""


def safe_name(name: str, *, default: str = "file") -> str:
    """The name without what a path or a header could be made of, at most 100 characters, its ending kept."""
    cleaned = _UNSAFE.sub("_", one_line(name)).strip(". ") or default
    stem, dot, ending = cleaned.rpartition(".")
    if not dot or len(ending) > 10:
        return cleaned[:100]
    return f"{stem[: 99 - len(ending)]}.{ending}"


def form(entry: dict[str, object], *, name: str, content: bytes) -> tuple[bytes, str]:
    """The body and media type of an upload: the parts ``messageEntry`` and ``fileData`` (reference: send file)."""
    from urllib3.fields import RequestField  # noqa: PLC0415 - seldom needed
    from urllib3.filepost import encode_multipart_formdata  # noqa: PLC0415

    described = RequestField("messageEntry", json.dumps(entry, ensure_ascii=False).encode("utf-8"))
    described.make_multipart(content_type="application/json")
    data = RequestField("fileData", content, filename=safe_name(name))
    data.make_multipart(content_type="application/octet-stream")
    return encode_multipart_formdata([described, data])
