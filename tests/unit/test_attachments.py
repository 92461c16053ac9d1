"""Files are fetched from listed hosts only, never from inside the network, and never without an end."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.certificates import Authority
from sandbox.faults import Fault
from sandbox.server import Request, Response, Server
from shared.attachments import LIMIT_BYTES, Attachments, Fetched, hosts
from shared.config.settings import Settings

PUBLIC = "93.184.215.14"


class Files:
    """A file server."""

    name = "files"

    def __init__(self) -> None:
        self.answer = Response(200, {"Content-Type": "image/png; x=1"}, b"png")
        self.asked: list[Request] = []

    def handle(self, request: Request) -> Response:
        """The answer as set."""
        self.asked.append(request)
        return self.answer

    def reset(self) -> None:
        """Nothing to go back to."""


@pytest.fixture
def files() -> Files:
    """What stands on the server."""
    return Files()


@pytest.fixture
def server(files: Files) -> Iterator[Server]:
    """It, on a loopback port without TLS."""
    with Server(files, tls=None) as running:
        yield running


class Network:
    """Names and their addresses; connections to public ones are counted, and fail."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names: dict[str, Sequence[str]] = {name.replace("_", "."): known for name, known in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name."""
        self.asked.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every connection that is tried; none comes about."""
    tried: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], *args: Any, **options: Any) -> Any:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", refuse)
    return tried


def fetch(url: str, *listed: str, resolve: Callable[[str, int], Sequence[str]] | None = None) -> Fetched | None:
    """One file, with these hosts listed."""
    return Attachments(listed, monotonic=time.monotonic, resolve=resolve).fetch(url)


def test_a_file_of_a_listed_host_is_fetched(server: Server, files: Files) -> None:
    """With its name from the address and its media type without parameters."""
    got = fetch(f"{server.url}/a/photo%20one.png?sig=1", "127.0.0.1")
    assert got == Fetched("photo one.png", "image/png", b"png")
    (asked,) = files.asked
    assert asked.target == "/a/photo%20one.png?sig=1"
    assert asked.headers["host"] == server.url.removeprefix("http://")
    assert "authorization" not in asked.headers


def test_the_name_is_what_tls_is_checked_against(tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was judged, and still proves the name."""
    authority = Authority(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    with Server(files, tls=authority.server_context()) as running:
        assert fetch(f"https://localhost:{running.port}/x", "localhost") is not None
        # The certificate is localhost's: another name at the same address is refused.
        listed = f"files.example.com:{running.port}"
        monkeypatch.setattr("shared.attachments._is_public", lambda address: True)
        other = Network(files_example_com=["127.0.0.1"])
        assert fetch(f"https://{listed}/x", listed, resolve=other) is None
    assert len(files.asked) == 1


@pytest.mark.parametrize(
    ("url", "listed", "is_let"),
    [
        ("https://files.example.com/x", "files.example.com", True),
        ("https://FILES.example.com./x", "Files.Example.com", True),
        ("https://a.files.example.com/x", "*.example.com", True),
        ("https://files.example.com:8443/x", "files.example.com:8443", True),
        ("https://a.example.com:8443/x", "*.example.com:8443", True),
        ("https://example.com/x", "*.example.com", False),
        ("https://evilexample.com/x", "*.example.com", False),
        ("https://files.example.com.evil.com/x", "files.example.com", False),
        ("https://files.example.com:8443/x", "files.example.com", False),
        ("http://files.example.com/x", "files.example.com", False),
        ("http://files.example.com:443/x", "files.example.com", False),
        ("ftp://files.example.com/x", "files.example.com", False),
        ("https://user@files.example.com/x", "files.example.com", False),
        ("https://files.example.com\\@evil.com/x", "files.example.com", False),
        ("https://evil.com\\.files.example.com/x", "*.example.com", False),
        ("https://files.example.com\t/x", "files.example.com", False),
        ("https://files.example.com/x y", "files.example.com", False),
        ("https://file\u017f.example.com/x", "files.example.com", False),
        ("https://files.example.com:99999/x", "files.example.com", False),
        ("https:///x", "files.example.com", False),
        ("//files.example.com/x", "files.example.com", False),
        ("", "files.example.com", False),
        ("https://files.example.com/x", "", False),
        ("https://files.example.com/x", "*", False),
    ],
)
def test_only_listed_hosts_are_asked(url: str, listed: str, is_let: bool, connections: list[tuple[str, int]]) -> None:
    """A host that is not listed is not even looked up; a listed one is connected to at the address that was judged."""
    network = Network(
        files_example_com=[PUBLIC], a_files_example_com=[PUBLIC], a_example_com=[PUBLIC], example_com=[PUBLIC]
    )
    assert fetch(url, listed, resolve=network) is None
    assert {address for address, _ in connections} == ({PUBLIC} if is_let else set())
    assert bool(network.asked) is is_let


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_no_address_inside_the_network_is_connected_to(
    address: str, place: int, connections: list[tuple[str, int]]
) -> None:
    """Whatever the name says: one such address among its addresses is enough to refuse it."""
    addresses = [PUBLIC]
    addresses.insert(place, address)
    network = Network(files_example_com=addresses)
    assert fetch("https://files.example.com/x", "files.example.com", resolve=network) is None
    assert connections == []


def test_a_name_is_looked_up_once(connections: list[tuple[str, int]]) -> None:
    """A name that changes its mind between look-up and connection gets nowhere."""
    network = Network(files_example_com=[PUBLIC])
    fetch("https://files.example.com/x", "files.example.com", resolve=network)
    assert network.asked == ["files.example.com"]
    assert {address for address, _ in connections} == {PUBLIC}


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("https://127.0.0.1/x", "*.0.0.1"),
        ("https://10.0.0.1/x", "10.0.0.1"),
        ("https://localhost/x", "files.example.com"),
        ("https://2130706433/x", "2130706433"),
        ("https://[::ffff:7f00:1]/x", "::ffff:7f00:1"),
    ],
)
def test_an_address_as_a_name_is_judged_too(url: str, listed: str, connections: list[tuple[str, int]]) -> None:
    """Only the three names of this machine, spelled out, allow this machine."""
    assert fetch(url, listed) is None
    assert connections == []


def test_this_machine_must_be_where_its_name_points(connections: list[tuple[str, int]]) -> None:
    """A listed localhost does not open the rest of the network."""
    assert fetch("http://localhost/x", "localhost", resolve=Network(localhost=["10.0.0.1"])) is None
    assert connections == []


def test_redirects_are_not_followed(server: Server, files: Files) -> None:
    """They would lead where nobody has looked."""
    files.answer = Response(302, {"Location": f"{server.url}/elsewhere"}, b"")
    assert fetch(f"{server.url}/x", "127.0.0.1") is None
    assert len(files.asked) == 1


@pytest.mark.parametrize("size", [LIMIT_BYTES, LIMIT_BYTES + 1])
def test_five_megabytes_are_the_limit(server: Server, files: Files, size: int) -> None:
    """One byte more is refused."""
    files.answer = Response(200, {}, b"x" * size)
    got = fetch(f"{server.url}/x", "127.0.0.1")
    assert (got is not None) is (size == LIMIT_BYTES)
    if got is not None:
        assert (got.content_type, len(got.data)) == ("application/octet-stream", size)


def test_a_size_that_is_not_announced_is_counted(files: Files) -> None:
    """Chunked: the limit is met while the file comes in."""

    class Chunked(Files):
        def handle(self, request: Request) -> Response:
            return Response(200, {"Transfer-Encoding": "chunked"}, b"")

    class Stream(Server):
        def answer(self, request: Request) -> tuple[bytes, bool]:
            chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            return head + chunk * 100 + b"0\r\n\r\n", False

    with Stream(Chunked(), tls=None) as running:
        assert fetch(f"{running.url}/x", "127.0.0.1") is None
        small = Attachments(["127.0.0.1"], monotonic=time.monotonic, limit_bytes=100 * 0x10000)
        got = small.fetch(f"{running.url}/x")
    assert got is not None
    assert len(got.data) == 100 * 0x10000


@pytest.mark.parametrize("fault", [Fault(drop="after"), Fault(truncate=2), Fault(status=404), Fault(status=500)])
def test_half_a_file_is_no_file(server: Server, fault: Fault) -> None:
    """No answer, a cut-off one, or an error: None."""
    server.faults.add(fault)
    assert fetch(f"{server.url}/x", "127.0.0.1") is None


def test_a_slow_host_holds_nobody_up(server: Server) -> None:
    """The time limit counts between two reads as well as for one; a deadline that is over asks nobody."""
    times = iter([0.0, 0.0, 11.0, 11.0, 11.0])
    slow = Attachments(["127.0.0.1"], monotonic=lambda: next(times))
    assert slow.fetch(f"{server.url}/x") is None
    assert len(server.journal) == 1
    late = Attachments(["127.0.0.1"], monotonic=time.monotonic)
    assert late.fetch(f"{server.url}/x", deadline=time.monotonic() - 1) is None
    assert len(server.journal) == 1


def test_the_log_says_why_and_not_what(caplog: pytest.LogCaptureFixture) -> None:
    """The host helps an administrator to list it; the rest of an address may hold a key."""
    fetch("https://cdn.example.com/secret.png?sig=abc", "files.example.com")
    assert "host_not_listed" in caplog.text
    assert "cdn.example.com" in caplog.text
    assert "abc" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("api.open.cx",)),
        ({"OPENCX_API_URL": "https://localhost:9443"}, ("localhost",)),
        ({"OPENCX_API_URL": "https://api.example.com:9443"}, ("api.example.com:9443",)),
        ({"ATTACHMENT_HOSTS": " a.example.com, *.b.example.com ,"}, ("a.example.com", "*.b.example.com")),
    ],
)
def test_hosts_come_from_a_setting(environ: dict[str, str], expected: tuple[str, ...]) -> None:
    """Without it: the host of OpenCX's API."""
    assert hosts(Settings(environ)) == expected
