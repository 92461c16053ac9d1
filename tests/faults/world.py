"""The whole world in one process, on simulated time: Azurite, the stand-ins over TLS, and the service."""

import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from azure.core.pipeline.transport import HttpTransport
from azure.data.tables import TableClient, TableServiceClient
from azure.keyvault.secrets._shared import HttpChallengeCache
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import standins
from sandbox.azurite import Azurite
from sandbox.certificates import Authority
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging import DynamicsMessaging
from sandbox.entra import App, Entra
from sandbox.key_vault import RESOURCE, KeyVault
from sandbox.opencx import OpenCX
from sandbox.salesforce import Salesforce
from sandbox.server import Server, StandIn
from shared import events
from shared.app import Application
from shared.config import identity
from shared.handoff import request
from shared.handoff.desk import Answer
from shared.handoff.model import Handoff
from shared.ledger.table import TABLE_NAME
from tests.faults.clock import SimClock
from tests.faults.doors import Doors
from tests.faults.queues import Queues
from tests.faults.wire import (
    DATAVERSE,
    ENTRA,
    MESSAGING,
    OPENCX,
    QUEUES,
    SALESFORCE,
    TABLES,
    VAULT,
    Killed,
    Wire,
)

_CRASHES = (events.HANDOFF_CRASHED, events.RELAY_CRASHED)


class World:
    """Starts and stops with a ``with`` statement.

    Attributes:
        clock: everybody's time.
        wire: what the service's calls go through.
        dataverse, entra, vault, opencx, salesforce, messaging: the stand-ins.
        queues: the storage queues, on simulated time.
        doors: the webhooks, on simulated time.
        environ: the app settings; `application` reads them.
        crashes: what the service's own log calls a crash.
    """

    def __init__(self) -> None:
        self.clock = SimClock()
        self.wire = Wire(self.clock)
        self.crashes: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self._authority = Authority(self._folder / "ca.pem")
        self.azurite = Azurite(usual_ports=False)
        self.entra = Entra(clock=self.clock.time)
        self._entra = self._server(self.entra)
        self.dataverse = DataverseStandIn(
            tokens=self.entra.tokens,
            tenant_id=standins.TENANT_ID,
            application_id=standins.DYNAMICS_CLIENT_ID,
            authority=self._entra.url,
            clock=self.clock.time,
        )
        self.dataverse_server = self._server(self.dataverse)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.vault = KeyVault(
            self.entra.tokens,
            authority=f"{self._entra.url}/{standins.TENANT_ID}",
            secrets={
                "dynamics-client-secret": standins.DYNAMICS_CLIENT_SECRET,
                "dynamics-webhook-lock": standins.WEBHOOK_LOCK,
                "opencx-api-key": standins.OPENCX_API_KEY,
                "opencx-webhook-secret": standins.OPENCX_WEBHOOK_SECRET,
                "salesforce-private-key": standins.pem(key),
            },
            readers=[standins.VAULT_CLIENT_ID],
            clock=self.clock.time,
        )
        self._vault = self._server(self.vault)
        self.opencx = OpenCX(api_key=standins.OPENCX_API_KEY, clock=self.clock.time)
        self._opencx = self._server(self.opencx)
        self.salesforce = Salesforce(
            org_id=standins.SALESFORCE_ORG_ID,
            developer_name=standins.SALESFORCE_DEPLOYMENT,
            issuer=standins.SALESFORCE_ISSUER,
            keys={standins.SALESFORCE_KEY_ID: key.public_key()},
            clock=self.clock.time,
        )
        self._salesforce = self._server(self.salesforce)
        self.messaging = DynamicsMessaging(
            tokens=self.entra.tokens,
            tenant_id=standins.TENANT_ID,
            client_id=standins.DYNAMICS_CLIENT_ID,
            audience=standins.MESSAGING_AUDIENCE,
            authority=self._entra.url,
            dataverse=self.dataverse,
            clock=self.clock.time,
        )
        self._messaging = self._server(self.messaging)
        self.doors = Doors(self.clock, opencx=self.opencx, messaging=self.messaging)
        self.queues = Queues(self.clock)
        self.register(standins.DYNAMICS_CLIENT_SECRET)
        vault_app = App(
            standins.TENANT_ID,
            standins.VAULT_CLIENT_ID,
            secrets=(standins.VAULT_CLIENT_SECRET,),
            resources=(RESOURCE,),
        )
        self.entra.register(vault_app)
        self.environ: dict[str, str] = {}
        self._running = ExitStack()
        self._tables: TableServiceClient | None = None

    def register(self, *secrets: str, resources: tuple[str, ...] = ()) -> None:
        """Let Entra know the service under these secrets."""
        app = App(
            standins.TENANT_ID,
            standins.DYNAMICS_CLIENT_ID,
            secrets=secrets,
            resources=(self.dataverse_server.url, standins.MESSAGING_AUDIENCE, *resources),
        )
        self.entra.register(app)

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(shutil.rmtree, self._folder)
            starting.enter_context(self.azurite)
            for server in self._servers:
                starting.enter_context(server)
            self.environ = standins.environment(self._state(), {})
            starting.enter_context(patch.dict(os.environ, self.environ))
            starting.enter_context(patch.object(time, "time", self.clock.time))  # MSAL, azure-identity, azure-core
            starting.enter_context(patch.object(HttpTransport, "sleep", _sleeper(self.clock)))
            starting.enter_context(self.wire.installed())
            starting.enter_context(self._watching_the_log())
            self.wire.systems = {
                self._entra.url.removeprefix("https://"): ENTRA,
                self.dataverse_server.url.removeprefix("https://"): DATAVERSE,
                self._vault.url.removeprefix("https://"): VAULT,
                self._opencx.url.removeprefix("https://"): OPENCX,
                self._salesforce.url.removeprefix("https://"): SALESFORCE,
                self._messaging.url.removeprefix("https://"): MESSAGING,
                self.azurite.endpoint("Table").split("/")[2]: TABLES,
                self.azurite.endpoint("Queue").split("/")[2]: QUEUES,
            }
            self.wire.substitutes = {QUEUES: self.queues.handle}
            self._tables = starting.enter_context(
                TableServiceClient.from_connection_string(self.azurite.connection_string)
            )
            self._running = starting.pop_all()
        self.reset()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
        identity.default_credential.cache_clear()

    def reset(self) -> None:
        """Empty table, seeded stand-ins, no faults. Time goes on."""
        self.wire.begin()
        self.clock.forget()
        self.crashes.clear()
        self.queues.reset()
        for standin in (self.dataverse, self.opencx, self.vault, self.entra, self.salesforce, self.messaging):
            standin.reset()
        self.doors.reset()
        for server in self._servers:
            server.faults.clear()
            server.journal.clear()
        with self.wire.silence():
            assert self._tables is not None
            self._tables.delete_table(TABLE_NAME)
            self._tables.create_table(TABLE_NAME)

    def switch(self, system: str, **switches: Any) -> None:
        """How a rep's system behaves where the truth is unknown, until the next reset."""
        if system == SALESFORCE:
            self.salesforce.switches.change(switches)
        else:
            self.messaging.switch(**switches)

    def application(self, **settings: str) -> Application:
        """A new process, as far as the service can tell: nothing cached, nothing known."""
        identity.default_credential.cache_clear()
        HttpChallengeCache.clear()
        return Application({**self.environ, **settings}, clock=self.clock)

    def rows(self) -> list[Mapping[str, Any]]:
        """Every row of the ledger."""
        with self.wire.silence():
            return list(self.table().list_entities())

    def stands(self, record_id: str) -> bool:
        """Whether Dataverse holds an incident or live work item of that id."""
        store = self.dataverse.store
        return any(store.get(table, record_id) is not None for table in ("incident", "oc_liveworkitem"))

    def table(self) -> TableClient:
        """The ledger's table; for use within `Wire.silence`."""
        assert self._tables is not None
        return self._tables.get_table_client(TABLE_NAME)

    @property
    def _servers(self) -> tuple[Server, ...]:
        return (
            self._entra,
            self.dataverse_server,
            self._vault,
            self._opencx,
            self._salesforce,
            self._messaging,
        )

    def _server(self, standin: StandIn) -> Server:
        return Server(standin, tls=self._authority.server_context(), clock=self.clock.time)

    def _state(self) -> dict[str, Any]:
        return {
            "ca_file": str(self._authority.ca_file),
            "dataverse": {
                "url": self.dataverse_server.url,
                "tenant_id": standins.TENANT_ID,
                "client_id": standins.DYNAMICS_CLIENT_ID,
            },
            "entra": {"url": self._entra.url},
            "key_vault": {"url": self._vault.url},
            "opencx": {"url": self._opencx.url},
            "salesforce": {"url": self._salesforce.url},
            "dynamics_messaging": {"url": self._messaging.url},
            "tables": {"connection_string": self.azurite.connection_string},
        }

    @contextmanager
    def _watching_the_log(self) -> Iterator[None]:
        """Keep the service's log off the terminal, and remember its crashes."""
        log = logging.getLogger("opencx_handoff")
        noisy = (logging.getLogger("azure"), logging.getLogger("msal"))
        crashes, lock = self.crashes, threading.Lock()

        class Watch(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                event = json.loads(record.getMessage())
                if event["event"] in _CRASHES and event.get("error") != Killed.__name__:
                    with lock:
                        crashes.append(f"{event.get('error')} at {event.get('where')}")

        handler, before = Watch(), log.propagate
        log.addHandler(handler)
        log.propagate = False
        levels = [each.level for each in noisy]
        for each in noisy:
            each.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.propagate = before
            for each, level in zip(noisy, levels, strict=True):
                each.setLevel(level)


def parse(app: Application, body: Mapping[str, Any]) -> tuple[Handoff, bytes]:
    """A body as the HTTP door reads it."""
    payload = json.dumps(body).encode()
    return request.parse(request.parse_body(payload), channel_may_be_read=app.reads_opencx), payload


def post(app: Application, body: Mapping[str, Any]) -> Answer:
    """Post a handoff, as the HTTP door does."""
    handoff, payload = parse(app, body)
    return app.desk.accept(handoff, payload)


def _sleeper(clock: SimClock) -> Callable[[object, float], None]:
    """How azure-core waits between its retries."""
    return lambda _transport, seconds: clock.sleep(seconds)
