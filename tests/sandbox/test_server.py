"""The server that all stand-ins run on."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.certificates import Authority
from sandbox.faults import Fault, FaultRuleError, Faults
from sandbox.server import Request, Response, Server


class Echo:
    """Counts what it does and says what it was asked."""

    name = "echo"

    def __init__(self) -> None:
        self.done: list[str] = []

    def handle(self, request: Request) -> Response:
        """Fails at /bug, else echoes."""
        if request.path == "/bug":
            raise ZeroDivisionError("on purpose")
        self.done.append(request.target)
        return Response.json({"target": request.target, "size": len(request.body)})

    def reset(self) -> None:
        """Forgets."""
        self.done.clear()

    def control(self, request: Request) -> Response | None:
        """One route of its own."""
        return Response.json({"own": True}) if request.path == "/_sandbox/own" else None


@pytest.fixture
def echo() -> Echo:
    """The stand-in."""
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[Server]:
    """It, on a port."""
    with Server(echo, tls=None) as running:
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A client without proxy settings."""
    with requests.Session() as client:
        client.trust_env = False
        yield client


def test_keeps_the_connection(server: Server) -> None:
    """Two requests on one socket are both answered."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw, raw.makefile("rb") as stream:
        for path in (b"/one", b"/two"):
            raw.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.decode().partition(":")
                length = int(value) if name == "Content-Length" else length
            assert json.loads(stream.read(length))["target"] == path.decode()


def test_reads_chunked_bodies(server: Server, session: requests.Session) -> None:
    """A body in chunks counts as one body."""
    answered = session.post(f"{server.url}/c", data=iter([b"abc", b"de"]))
    assert answered.json()["size"] == 5


def test_expect_continue(server: Server) -> None:
    """A client that waits for `100 Continue` before it sends the body is told to go on."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw, raw.makefile("rb") as stream:
        raw.sendall(b"POST /e HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        raw.sendall(b"ab")
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"


def test_a_large_journal_is_cheap(server: Server, session: requests.Session) -> None:
    """100,000 entries are written and listed in about a second."""
    started = time.perf_counter()
    for number in range(100_000):
        server.journal.add(method="GET", path=f"/{number}", status=200, time=0.0, seconds=0.0)
    assert len(session.get(f"{server.url}/_sandbox/requests").json()) == 100_000
    assert time.perf_counter() - started < 5
    assert len(session.get(f"{server.url}/_sandbox/requests?after=99990").json()) == 10


def test_garbage_is_refused(server: Server) -> None:
    """What is no HTTP gets 400 and the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.port)) as raw, raw.makefile("rb") as stream:
        raw.sendall(b"nonsense\r\n\r\n")
        assert stream.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        assert stream.read().endswith(b"bad request: not enough values to unpack (expected 3, got 1)")


def test_tls(authority: Authority, echo: Echo, session: requests.Session) -> None:
    """With a TLS context the URL is https and a client that trusts the authority gets in."""
    with Server(echo, tls=authority.server_context()) as server:
        assert server.url == f"https://localhost:{server.port}"
        assert session.get(f"{server.url}/a", verify=str(authority.ca_file)).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{server.url}/a")


def test_journal(server: Server, session: requests.Session) -> None:
    """Each request is journalled with its query, and control requests are not."""
    session.get(f"{server.url}/a?b=c")
    session.get(f"{server.url}/d")
    entries = session.get(f"{server.url}/_sandbox/requests").json()
    assert [(e["n"], e["method"], e["path"], e["status"]) for e in entries] == [
        (1, "GET", "/a?b=c", 200),
        (2, "GET", "/d", 200),
    ]
    assert set(entries[0]) == {"n", "method", "path", "status", "time", "seconds", "note"}
    assert len(session.get(f"{server.url}/_sandbox/requests?after=1").json()) == 1


def test_reset(server: Server, echo: Echo, session: requests.Session) -> None:
    """Reset clears rows, faults and journal."""
    session.get(f"{server.url}/a")
    server.faults.add(Fault(status=500))
    assert session.post(f"{server.url}/_sandbox/reset").status_code == 204
    assert (echo.done, server.journal.entries()) == ([], [])
    assert session.get(f"{server.url}/a").status_code == 200


def test_own_control_routes(server: Server, session: requests.Session) -> None:
    """A stand-in adds routes to the door; an unknown route is 404."""
    assert session.get(f"{server.url}/_sandbox/own").json() == {"own": True}
    assert session.get(f"{server.url}/_sandbox/other").status_code == 404


def test_a_bug_is_visible(server: Server, session: requests.Session) -> None:
    """An exception in a stand-in is a 500 that names it, in the answer and in the journal."""
    answered = session.get(f"{server.url}/bug")
    assert answered.status_code == 500
    assert answered.text == "stand-in echo failed: ZeroDivisionError: on purpose"
    assert server.journal.entries()[0].note == answered.text


def test_fault_answers_instead(server: Server, echo: Echo, session: requests.Session) -> None:
    """A status fault answers without the work, once, after `skip` matches."""
    rule: dict[str, Any] = {
        "path": "^/a",
        "method": "GET",
        "skip": 1,
        "status": 429,
        "headers": {"Retry-After": "7"},
        "body": {"error": 1},
    }
    assert session.post(f"{server.url}/_sandbox/faults", json=[rule]).status_code == 204
    statuses = [session.get(f"{server.url}{path}").status_code for path in ("/b", "/a", "/a", "/a")]
    assert statuses == [200, 200, 429, 200]
    assert echo.done == ["/b", "/a", "/a"]


def test_fault_carries_its_headers_and_body(server: Server, session: requests.Session) -> None:
    """Headers and an HTML body arrive as given."""
    server.faults.add(Fault(status=502, body="<html>Bad Gateway</html>", headers={"X-A": "b"}))
    answered = session.get(f"{server.url}/")
    assert (answered.status_code, answered.text) == (502, "<html>Bad Gateway</html>")
    assert answered.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answered.headers["X-A"] == "b"


@pytest.mark.parametrize(("drop", "done"), [("before", []), ("after", ["/x"])])
def test_fault_drops_the_connection(
    server: Server, echo: Echo, session: requests.Session, drop: str, done: list[str]
) -> None:
    """A dropped connection has no answer; "after" has done the work and "before" has not."""
    session.post(f"{server.url}/_sandbox/faults", json=[{"drop": drop, "path": "/x"}])
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get(f"{server.url}/x")
    assert echo.done == done
    assert server.journal.entries()[0].status is None


def test_fault_after_work(server: Server, echo: Echo, session: requests.Session) -> None:
    """`after_work` does the work and answers with the fault's status."""
    server.faults.add(Fault(status=503, after_work=True))
    assert session.get(f"{server.url}/x").status_code == 503
    assert echo.done == ["/x"]


def test_fault_truncates(server: Server, echo: Echo, session: requests.Session) -> None:
    """`truncate` promises the whole length and sends less."""
    server.faults.add(Fault(truncate=3))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(f"{server.url}/x")
    assert echo.done == ["/x"]


def test_fault_delays(server: Server, session: requests.Session) -> None:
    """`delay_seconds` waits, then answers as usual."""
    server.faults.add(Fault(delay_seconds=0.2))
    started = time.perf_counter()
    assert session.get(f"{server.url}/x").status_code == 200
    assert time.perf_counter() - started >= 0.2


def test_stop_does_not_wait_for_a_delay(echo: Echo, session: requests.Session) -> None:
    """Stopping ends a delayed answer at once."""
    server = Server(echo, tls=None).start()
    server.faults.add(Fault(delay_seconds=60, drop="before"))
    failed = threading.Event()

    def ask() -> None:
        try:
            session.get(f"{server.url}/x")
        except requests.exceptions.ConnectionError:
            failed.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while not server.faults.used:
        thread.join(0.01)
    server.stop()
    thread.join(5)
    assert failed.is_set()


def test_fault_matches_the_body(server: Server, session: requests.Session) -> None:
    """`body_contains` looks into the body, and `times: 0` never ends."""
    server.faults.add(Fault(body_contains="poison", status=400, times=0))
    bodies = ("poison", "water", "more poison")
    assert [session.post(f"{server.url}/", data=b).status_code for b in bodies] == [400, 200, 400]
    assert session.delete(f"{server.url}/_sandbox/faults").status_code == 204
    assert session.post(f"{server.url}/", data="poison").status_code == 200


def test_fault_probability_is_seeded() -> None:
    """The same seed hits the same requests."""

    def run() -> list[bool]:
        faults = Faults()
        faults.add(Fault(status=500, probability=0.3, seed=7, times=0))
        return [faults.pick("GET", "/", b"") is not None for _ in range(200)]

    first = run()
    assert first == run()
    assert 30 <= sum(first) <= 90


def test_first_matching_rule_wins() -> None:
    """Rules are tried in order, and inner rules leave outer requests alone."""
    faults = Faults()
    faults.add(Fault(inner=True, status=412), Fault(status=500), Fault(status=501))
    hits = [faults.pick("GET", "/", b"") for _ in range(3)]
    assert [hit.status if hit else None for hit in hits] == [500, 501, None]
    inner = faults.pick("GET", "/", b"", inner=True)
    assert inner is not None
    assert inner.status == 412


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"statsu": 1}, "unknown field 'statsu'"),
        ({"status": "500"}, "status has the wrong type"),
        ({"drop": "sometimes"}, "use 'before' or 'after'"),
        ({"path": "("}, "not a regular expression"),
        ({"after_work": True}, "needs a status"),
        ({"inner": True, "status": 400, "drop": "before"}, "inner takes only"),
        ({"probability": 2, "status": 500}, "from 0 to 1"),
    ],
)
def test_wrong_rules_are_refused(server: Server, session: requests.Session, rule: dict[str, Any], message: str) -> None:
    """A malformed rule is refused with the field and the fix, by the door and in process."""
    with pytest.raises(FaultRuleError, match=message.replace("(", r"\(")):
        Fault.parse(rule)
    answered = session.post(f"{server.url}/_sandbox/faults", json=[rule])
    assert answered.status_code == 400
    assert message in answered.json()["error"]
