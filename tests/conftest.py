"""What all tests share: the stand-ins over real TLS, Azurite, and applications that work on them."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox.dataverse.standin import DataverseStandIn
from sandbox.entra import Entra
from sandbox.key_vault import KeyVault
from sandbox.opencx import OpenCX
from sandbox.standins import StandIns, environment
from shared.app import Application
from shared.config.clock import Clock

ROOT = Path(__file__).resolve().parent.parent


class World:
    """The stand-ins, their settings, and what a test wants to know of them."""

    def __init__(self, standins: StandIns, environ: Mapping[str, str]) -> None:
        self.standins = standins
        self.environ = dict(environ)
        self._applications: list[Application] = []

    @property
    def dataverse(self) -> DataverseStandIn:
        """The Dataverse stand-in."""
        return self.standins.dataverse.standin  # type: ignore[return-value]

    @property
    def entra(self) -> Entra:
        """The Entra stand-in."""
        return self.standins.entra.standin  # type: ignore[return-value]

    @property
    def key_vault(self) -> KeyVault:
        """The Key Vault stand-in."""
        return self.standins.key_vault.standin  # type: ignore[return-value]

    @property
    def opencx(self) -> OpenCX:
        """The OpenCX stand-in."""
        return self.standins.opencx.standin  # type: ignore[return-value]

    def application(self, clock: Clock | None = None, /, **settings: str) -> Application:
        """A service of its own, as if a process had just started; settings are added to the sandbox's."""
        made = Application({**self.environ, **settings}, clock=clock)
        self._applications.append(made)
        return made

    def rows(self, entity_set: str) -> list[dict[str, Any]]:
        """All rows of a table of the Dataverse stand-in."""
        return self.dataverse.rows(entity_set)

    def calls(self, *, after: int = 0) -> list[str]:
        """The requests that Dataverse has had, as method and path without query."""
        entries = self.standins.dataverse.journal.entries(after=after)
        return [f"{entry.method} {entry.path.partition('?')[0]}" for entry in entries]

    def reset(self) -> None:
        """Everything as at the start; the table keeps its records, but no system is closed."""
        for application in self._applications:
            application.close()
        self._applications.clear()
        for server in self.standins.servers:
            server.faults.clear()
            server.standin.reset()
            server.journal.clear()
        with contextlib.closing(Application(self.environ)) as cleaner:
            for system in ("dynamics365", "salesforce"):
                cleaner.ledger.forget_system(system)


@pytest.fixture(scope="session")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    """Azurite and all stand-ins, once for the whole run."""
    with StandIns(Path(tmp_path_factory.mktemp("sandbox")), usual_ports=False) as running:
        yield running


@pytest.fixture(scope="session")
def settled(standins: StandIns) -> Iterator[dict[str, str]]:
    """The environment of a Functions host in the sandbox, set in this process for the SDKs that read it."""
    environ = environment(standins.state(), {})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield dict(os.environ)


@pytest.fixture
def world(standins: StandIns, settled: dict[str, str]) -> Iterator[World]:
    """The stand-ins in their first state."""
    made = World(standins, settled)
    made.reset()
    yield made
    made.reset()


@pytest.fixture
def new_id() -> Callable[[], str]:
    """Ids that no other test has used."""
    return lambda: f"test-{uuid.uuid4().hex[:12]}"
