"""The host's port: functions under the route prefix, the host's own routes under `/admin/`."""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from sandbox.host.app import Answer, Host

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 100 * 1024 * 1024  # Azure's own limit; an app has a smaller one of its own
_ADMIN = "/admin/"


class _Connection(BaseHTTPRequestHandler):
    """One client connection, kept alive as HTTP/1.1 has it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # the whole answer leaves in one write
    server: _Listener

    def _serve(self) -> None:
        try:
            body = self._body()
        except ConnectionError:
            self.close_connection = True  # a function must not see half a body
            return
        if body is None:
            self.close_connection = True
            self._send((413, [], b""))
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        if self.path.startswith(_ADMIN):
            self._send(_admin(self.server.functions_host, self.command, self.path, headers, body))
        else:
            self._send(self.server.functions_host.http(self.command, self.path, headers, body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _body(self) -> bytes | None:
        """The body; empty for a chunked one, as on Azure's way to the worker; None when it is too large.

        Raises ConnectionError when the client went away inside it.
        """
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self._skip_chunks()
            logger.warning("%s %s: a body without Content-Length arrives empty, as in Azure", self.command, self.path)
            return b""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError(f"the client closed the connection after {len(body)} of {length} bytes")
        return body

    def _skip_chunks(self) -> None:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            self.rfile.read(size + 2)
        while self.rfile.readline().strip():
            pass

    def _send(self, answer: Answer) -> None:
        status, headers, body = answer
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status >= 200 and status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        else:
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """The worker logs each call; a line for the connection would say it twice."""


def _admin(host: Host, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
    """The host's own routes; all need the master key (reference: azure-functions-host)."""
    url = urlsplit(target)
    if not host.keys.open("admin", headers, dict(parse_qsl(url.query))):
        return 401, [], b""
    parts = url.path.removeprefix(_ADMIN).strip("/").split("/")
    if method == "GET" and parts == ["host", "status"]:
        return _json(200, {"state": "Running", "version": "sandbox", "functions": len(host.functions)})
    if method == "GET" and parts == ["functions"]:
        return _json(200, [{"name": one.name, "config": {"bindings": list(one.bindings)}} for one in host.functions])
    if method == "POST" and len(parts) == 2 and parts[0] == "functions":
        return _run_now(host, parts[1], body)
    return 404, [], b""


def _run_now(host: Host, name: str, body: bytes) -> Answer:
    """Always 202, and the function runs on; its failure shows in the log only, as in Azure."""
    try:
        content = json.loads(body)
        given = content["input"]
    except (ValueError, TypeError, KeyError):
        return _json(400, {"message": 'send a JSON body with "input", for instance {"input": null}'})
    function = host.function(name)
    if function is None:
        return 404, [], b""
    text = given if isinstance(given, str) else json.dumps(given)
    host.run_now(function, text).add_done_callback(lambda done: done.exception())
    return 202, [], b""


def _json(status: int, content: object) -> Answer:
    return status, [("Content-Type", "application/json; charset=utf-8")], json.dumps(content).encode()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # closing waits until answers that are being made have left
    request_queue_size = 256

    def __init__(self, host: Host, address: tuple[str, int]) -> None:
        self.functions_host = host
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks the host's name up, which can take seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's names
        logger.info("connection of %s ended early: %r", client_address, sys.exception())

    def close_connections(self) -> None:
        """End the connections that clients keep open."""
        with self._guard:
            still_open = list(self._open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RD)  # an answer that is being written still leaves
            except OSError:
                continue  # the client was quicker


class HttpServer:
    """A host on a loopback port, in a background thread."""

    def __init__(self, host: Host, *, port: int, address: str = "127.0.0.1") -> None:
        self._listener = _Listener(host, (address, port))
        self._address = address
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="functions-listener",
            daemon=True,
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._listener.server_address[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, no trailing slash."""
        return f"http://{self._address}:{self.port}"

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Accept nothing more, close what is open, free the port."""
        self._listener.shutdown()
        self._thread.join()
        self._listener.close_connections()
        self._listener.server_close()  # waits for the connections' threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(host: Host, port: int = 0, *, triggers: bool = False) -> HttpServer:
    """Put a host on a loopback port (0: a free one) and start it; with `triggers` timers and queues too."""
    server = HttpServer(host, port=port).start()
    if triggers:
        host.start_triggers()
    return server


def describe(host: Host, url: str) -> Sequence[str]:
    """One line a function, as `func start` prints them."""
    lines = []
    for function in host.functions:
        trigger = function.trigger
        if function.kind == "httpTrigger":
            path = "/".join(filter(None, [url, host.route_prefix, str(trigger.get("route", function.name))]))
            where = f"[{','.join(trigger.get('methods') or ['any'])}] {path}"
        else:
            where = str(trigger.get("schedule") or trigger.get("queueName"))
        lines.append(f"  {function.name}: {function.kind} {where}")
    return lines
