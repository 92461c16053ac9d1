"""A small webhook of our own, on loopback, behind the administrator's tunnel."""

import json
import re
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from shared.config.clock import Clock
from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.activity import read as read_activity
from shared.dynamics_messaging.pieces import same
from tools.probe_messaging.judge import Judge, Verdict
from tools.probe_messaging.outline import outline

MOST_BYTES = 1024 * 1024
MOST_REQUESTS = 500
IDLE_SECONDS = 30.0

_PATH = re.compile(r"(?:/[^/?]+)*?/(?P<lock>[^/?]+)/v3/conversations/(?P<id>[^/?]+)/activities")


@dataclass(frozen=True)
class Received:
    """One request.

    Attributes:
        at: the monotonic time, in seconds.
        phase: what was being done.
        conversation_id: of the path, in lower case.
        header_names: as they came, in lower case.
        data: the body's object.
        verdict: what the service would do with its token.
        status: what was answered.
    """

    at: float
    phase: str
    conversation_id: str
    header_names: tuple[str, ...]
    data: dict[str, Any] = field(repr=False)
    verdict: Verdict = field(repr=False)
    status: int = 200

    @property
    def activity(self) -> Activity:
        """As the service reads it."""
        return read_activity(self.data)


class Listener:
    """Takes activities, and answers 200; 503 to those of `refusing`'s words.

    Args:
        port: on 127.0.0.1; 0 takes a free one.
        judge: judges each request's token.
        clock: time.
        say: tells a line to whoever runs this.

    Attributes:
        phase: what is being done: each request is kept with it.
        refusing: the words of the messages that are refused; empty: none.
        strangers: how many requests were turned away.
    """

    def __init__(self, port: int, *, judge: Judge, clock: Clock, say: Callable[[str], None]) -> None:
        self.phase = ""
        self.refusing = ""
        self.strangers = 0
        self._judge = judge
        self._clock = clock
        self._say = say
        self._came = threading.Condition()
        self._requests: list[Received] = []
        self._told: set[str] = set()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def requests(self, conversation_ids: Sequence[str], *, phase: str | None = None) -> list[Received]:
        """What has come for these conversations, in order of arrival."""
        with self._came:
            known = list(self._requests)
        return [
            each
            for each in known
            if each.conversation_id in conversation_ids and (phase is None or each.phase == phase)
        ]

    def wait(self, holds: Callable[[], bool], *, seconds: float) -> bool:
        """Wait until it holds, or so long."""
        with self._came:
            return self._came.wait_for(holds, seconds)

    def settle(self, holds: Callable[[], bool], *, seconds: float, quiet_seconds: float) -> bool:
        """Wait until it holds, or so long; then until nothing has come for a while. Whether it holds."""
        found = self.wait(holds, seconds=seconds)
        count = -1
        while count != len(self._requests) < MOST_REQUESTS:
            count = len(self._requests)
            self.wait(lambda: len(self._requests) > count, seconds=quiet_seconds)  # noqa: B023 - called in this turn
        return found

    def status_for(self, path: str, body: bytes) -> int:
        """What to answer."""
        if _PATH.fullmatch(path) is None or len(self._requests) >= MOST_REQUESTS:
            return 404
        words = read_activity(_object(body)).text
        return 503 if self.refusing and same(words) == same(self.refusing) else 200

    def take(
        self, path: str, names: Sequence[str], authorization: str | None, body: bytes, *, status: int, at: float
    ) -> None:
        """Keep a request that was answered."""
        match = _PATH.fullmatch(path)
        verdict = self._judge.judge(lock=match["lock"], authorization=authorization) if match else None
        with self._came:
            if match is None or verdict is None or len(self._requests) >= MOST_REQUESTS:
                self.strangers += 1
                return
            made = Received(
                at=at,
                phase=self.phase,
                conversation_id=match["id"].lower(),
                header_names=tuple(sorted({name.lower() for name in names})),
                data=_object(body),
                verdict=verdict,
                status=status,
            )
            self._tell(made)
            self._requests.append(made)
            self._came.notify_all()

    def now(self) -> float:
        """The monotonic time, in seconds."""
        return self._clock.monotonic()

    def _tell(self, made: Received) -> None:
        """The request without anybody's words; headers and claims only when they are new."""
        if made.verdict.code == "webhook_unknown":
            self._say("   webhook: a request whose address does not hold DYNAMICS_WEBHOOK_LOCK")
            return
        whole = outline(made.data)
        short = outline({key: value for key, value in made.data.items() if key in ("type", "name")})
        self._say(f"   webhook {made.status}: {f'{short}, keys as above' if whole in self._told else whole}")
        self._told.add(whole)
        claims = {name: value for name, value in made.verdict.claims.items() if name not in _FLEETING}
        for line in (f"headers: {', '.join(made.header_names)}", f"claims: {json.dumps(claims)}"):
            if line not in self._told:
                self._told.add(line)
                self._say(f"           {line}")


_FLEETING = frozenset({"iat", "nbf", "exp", "uti", "aio", "rh"})
"""Claims that are another in each token."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], listener: Listener) -> None:
        self.listener = listener
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def do_POST(self) -> None:
        """Answer, then judge: Dynamics waits ten seconds, and Entra's keys may take some of them."""
        listener = self.server.listener
        at = listener.now()
        body = self._body()
        status = 413 if body is None else listener.status_for(self.path, body)
        self._answer(status)
        if status in (200, 503):
            names = list(self.headers.keys())
            listener.take(self.path, names, self.headers.get("Authorization"), body or b"", status=status, at=at)

    def do_GET(self) -> None:
        """Nothing is told to whoever looks."""
        self._answer(404)

    def log_message(self, *_: object) -> None:
        """Nothing: a path holds the lock."""

    def _answer(self, status: int) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", "0")
        if status == 413:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.flush()

    def _body(self) -> bytes | None:
        """The body, also in chunks, as .NET and tunnels may send it; None when it is too large or malformed."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return None
        return self.rfile.read(int(length))

    def _chunks(self) -> bytes | None:
        found = bytearray()
        while True:
            line = self.rfile.readline(100).partition(b";")[0].strip()
            try:
                size = int(line, 16)
            except ValueError:
                return None
            if size < 0 or len(found) + size > MOST_BYTES:
                return None
            found += self.rfile.read(size)
            self.rfile.readline(100)
            if size == 0:
                return bytes(found)
