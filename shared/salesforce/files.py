"""Files on their way to a rep: what was fetched, and the form in which Salesforce takes it."""

import json
import re
from typing import Protocol

from shared.attachments import Fetched
from shared.handoff.text import one_line

FETCH_SECONDS = 4.0
"""The longest that a file from a slow host may take of the time in which it is sent, too."""

_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class Fetch(Protocol):
    """Fetches files; `shared.attachments.Attachments.fetch` does."""

    def __call__(self, url: str, /, *, deadline: float | None = None) -> Fetched | None:
        """The file; None: it may not be fetched, is too large, is not there, or does not come in time.

        Args:
            url: its address.
            deadline: the monotonic time, in seconds, by which it must be over.
        """


def fetch_deadline(now: float, deadline: float) -> float:
    """By when a file must be there, so that what is left is enough to send it, or its link: monotonic, in seconds."""
    return now + min(FETCH_SECONDS, (deadline - now) / 2)


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
