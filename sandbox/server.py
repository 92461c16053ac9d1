"""The HTTP/1.1 server that all stand-ins run on: keep-alive, TLS, a journal, faults, a control door."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any, Protocol, Self, runtime_checkable
from urllib.parse import parse_qs

from sandbox.faults import Fault, FaultRuleError, Faults
from sandbox.journal import Journal
from sandbox.wire import BadRequestError, ByteStream, Request, Response, read_request, to_wire

__all__ = ["CONTROL", "Attached", "Controlled", "Fault", "Request", "Response", "Server", "StandIn"]

CONTROL = "/_sandbox/"


class StandIn(Protocol):
    """What stands behind a server. See `Controlled` and `Attached` for the optional parts."""

    name: str

    def handle(self, request: Request) -> Response:
        """Answers one request; called from many threads at once."""
        ...

    def reset(self) -> None:
        """Goes back to the seed."""
        ...


@runtime_checkable
class Controlled(Protocol):
    """A stand-in with routes of its own under `/_sandbox/`."""

    def control(self, request: Request) -> Response | None:
        """Answers a control request; None when it knows no such route."""
        ...


@runtime_checkable
class Attached(Protocol):
    """A stand-in that wants to know its server, for instance for inner faults."""

    def attach(self, server: Server) -> None:
        """Called once, before the first request."""
        ...


class _Listener(ThreadingHTTPServer):
    """Accepts connections and gives each a thread that can be told to end."""

    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, owner: Server, address: tuple[str, int]) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        # HTTPServer.server_bind would look up the host's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = self.owner.tls
        if tls is not None:
            # The handshake happens at the first read, in the connection's own thread.
            connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"{self.owner.standin.name}-connection",
            daemon=True,
        )
        with self._lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Ends every open connection and waits for its thread."""
        with self._lock:
            open_now = list(self._open.items())
        for connection, _ in open_now:
            try:
                # The TCP socket below TLS: a thread may be reading the TLS one.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                continue  # the client was quicker
        for _, thread in open_now:
            thread.join(timeout=5)


class _Connection(socketserver.BaseRequestHandler):
    """Reads requests from one connection until either side closes it."""

    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        try:
            stream = self.request.makefile("rb", buffering=65_536)
            with stream:
                while self._one(stream):
                    continue
        except (ConnectionError, ssl.SSLError, TimeoutError, OSError):
            # The client went away, or refused our certificate. Both are its right; the connection is over.
            return

    def _one(self, stream: ByteStream) -> bool:
        """Serves one request. False when the connection must be closed."""
        try:
            read = read_request(stream, self.request.sendall)
        except BadRequestError as error:
            self.request.sendall(to_wire(Response(400, {"Connection": "close"}, str(error).encode()), head=False))
            return False
        if read is None:
            return False
        request, stays = read
        wire, open_still = self.server.owner.answer(request)
        if wire:
            self.request.sendall(wire)
        return open_still and stays


class Server:
    """Serves one stand-in on a loopback port, in a background thread.

    Attributes:
        journal: every request but those to the control door.
        faults: the rules in force; empty at the start.
    """

    def __init__(
        self,
        standin: StandIn,
        *,
        tls: ssl.SSLContext | None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Binds the port at once; `port=0` takes a free one. `clock` returns seconds since the epoch."""
        self.standin = standin
        self.tls = tls
        self.journal = Journal()
        self.faults = Faults()
        self._clock = clock
        self._stopping = threading.Event()
        self._listener = _Listener(self, (host, port))
        self._host = host
        self._thread: threading.Thread | None = None
        if isinstance(standin, Attached):
            standin.attach(self)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._listener.server_address[1])

    @property
    def url(self) -> str:
        """`https://localhost:PORT` with TLS, else `http://HOST:PORT`; no trailing slash."""
        if self.tls is not None:
            return f"https://localhost:{self.port}"
        return f"http://{self._host}:{self.port}"

    def start(self) -> Self:
        """Starts to serve."""
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.05},
            name=f"{self.standin.name}-listener",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops to serve, ends every connection, frees the port."""
        self._stopping.set()
        if self._thread is not None:
            self._listener.shutdown()
            self._thread.join()
            self._thread = None
        self._listener.server_close()
        self._listener.close_connections()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, request: Request) -> tuple[bytes, bool]:
        """The bytes to send for a request, and whether the connection stays open."""
        started = time.perf_counter()
        head = request.method == "HEAD"
        if request.path.startswith(CONTROL):
            return to_wire(self._control(request), head=head), True
        arrived = self._clock()
        response, note, fault = self._meet(request)
        self.journal.add(
            method=request.method,
            path=request.target,
            status=None if response is None else response.status,
            time=arrived,
            seconds=time.perf_counter() - started,
            note=note,
        )
        if response is None:
            return b"", False
        if fault is not None and fault.truncate is not None:
            return to_wire(response, head=head, cut=fault.truncate), False
        return to_wire(response, head=head), True

    def _meet(self, request: Request) -> tuple[Response | None, str, Fault | None]:
        """Does the work unless a fault forbids it; no response when the connection is to be dropped."""
        fault = self.faults.pick(request.method, request.target, request.body)
        if fault is None:
            response = self._handle(request)
            return response, response.note, None
        if fault.delay_seconds:
            self._stopping.wait(fault.delay_seconds)
        if fault.drop == "before":
            return None, "fault: dropped before the work", fault
        if fault.drop == "after":
            return None, _join("fault: dropped after the work", self._handle(request).note), fault
        if fault.truncate is not None:
            response = self._handle(request)
            return response, _join("fault: truncated", response.note), fault
        if fault.status is None:
            response = self._handle(request)
            return response, _join("fault: delayed", response.note), fault
        done = self._handle(request).note if fault.after_work else ""
        body, media_type = fault.body_bytes()
        headers = {"Content-Type": media_type} if media_type else {}
        note = "fault: answered after the work" if fault.after_work else "fault: answered instead"
        return Response(fault.status, {**headers, **fault.headers}, body), _join(note, done), fault

    def _handle(self, request: Request) -> Response:
        try:
            return self.standin.handle(request)
        except Exception as error:  # noqa: BLE001 - a bug in a stand-in must show in the test that met it
            text = f"stand-in {self.standin.name} failed: {type(error).__name__}: {error}"
            return Response(500, {"Content-Type": "text/plain"}, text.encode(), note=text)

    def _control(self, request: Request) -> Response:
        route = (request.method, request.path.removeprefix(CONTROL))
        if route == ("GET", "requests"):
            after = parse_qs(request.query).get("after", ["0"])[0]
            return Response.json(self.journal.as_json(after=int(after) if after.isdigit() else 0))
        if route == ("POST", "faults"):
            return self._add_faults(request.body)
        if route == ("DELETE", "faults"):
            self.faults.clear()
            return Response(204)
        if route == ("POST", "reset"):
            self.standin.reset()
            self.faults.clear()
            self.journal.clear()
            return Response(204)
        extra = self.standin.control(request) if isinstance(self.standin, Controlled) else None
        if extra is None:
            return Response.json({"error": f"no control route {request.method} {request.path}"}, 404)
        return extra

    def _add_faults(self, body: bytes) -> Response:
        try:
            rules = json.loads(body)
            if not isinstance(rules, list):
                rules = [rules]
            faults = [Fault.parse(rule) for rule in rules]
        except (FaultRuleError, ValueError) as error:
            return Response.json({"error": f"fault rules: {error}"}, 400)
        self.faults.add(*faults)
        return Response(204)


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
