"""Files that representatives have sent, at addresses of the stand-in's own (as blob storage would have them)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from sandbox.wire import Response

PREFIX = "/files/"


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    made_at: float


class Files:
    """Keeps files. `base_url` is the stand-in's own origin, set when it is put on a server."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since the epoch."""
        self.base_url = ""
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}

    def reset(self) -> None:
        """No files."""
        with self._lock:
            self._files = {}

    def keep(self, name: str, content: bytes, media_type: str) -> str:
        """The address of a new file."""
        file_id = str(uuid.uuid4())
        with self._lock:
            self._files[file_id] = _File(content, media_type, self._clock())
        return f"{self.base_url}{PREFIX}{file_id}/{quote(name, safe='')}"

    def read(self, path: str, *, lifetime_seconds: float) -> Response:
        """The file at a path below `PREFIX`; 404 when there is none, 403 after its life (0 is for ever)."""
        file = self._files.get(path.removeprefix(PREFIX).partition("/")[0])
        if file is None:
            return Response(404)
        if lifetime_seconds and self._clock() > file.made_at + lifetime_seconds:
            return Response(403, note="the address of the file is too old")
        return Response(200, {"Content-Type": file.media_type}, file.content)
