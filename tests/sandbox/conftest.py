"""What the tests of the sandbox share: one authority, TLS servers, Azurite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.azurite import Azurite
from sandbox.certificates import Authority
from sandbox.server import Server, StandIn


class Clock:
    """A clock that a test sets; seconds since the epoch."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time as set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at a fixed moment."""
    return Clock()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One certificate authority for the whole run."""
    return Authority(Path(tmp_path_factory.mktemp("authority")) / "ca.pem")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority, trusted by requests and azure-core as the app's settings have it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    return authority


@pytest.fixture
def serve_tls(trusted: Authority) -> Iterator[Callable[[StandIn], Server]]:
    """Puts a stand-in on a TLS port until the test ends."""
    servers: list[Server] = []

    def start(standin: StandIn) -> Server:
        servers.append(Server(standin, tls=trusted.server_context()).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One Azurite on free ports for the whole run."""
    with Azurite(usual_ports=False) as running:
        yield running
