"""The whole sandbox in one process: Azurite, the certificate authority and all stand-ins, wired up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.azurite import Azurite
from sandbox.certificates import Authority
from sandbox.dataverse.seed import ORGANIZATION_ID, QUEUE_ID, WORKSTREAM_ID
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging import CHANNEL_ID, DynamicsMessaging
from sandbox.dynamics_messaging import audience as messaging_audience
from sandbox.entra import App, Entra
from sandbox.key_vault import RESOURCE, KeyVault
from sandbox.opencx import OpenCX
from sandbox.salesforce import Salesforce
from sandbox.server import Server, StandIn

TENANT_ID = "5a4db0c5-0000-4000-8000-000000000001"
DYNAMICS_CLIENT_ID = "5a4db0c5-0000-4000-8000-000000000002"
DYNAMICS_CLIENT_SECRET = "sandbox-dynamics-client-secret"
VAULT_CLIENT_ID = "5a4db0c5-0000-4000-8000-000000000003"
VAULT_CLIENT_SECRET = "sandbox-vault-client-secret"
OPENCX_API_KEY = "ocx_sandbox_key"
OPENCX_WEBHOOK_SECRET = "whsec_c2FuZGJveC13ZWJob29rLXNlY3JldC0wMQ=="
WEBHOOK_LOCK = "sandbox-webhook-lock-0001"
SALESFORCE_ORG_ID = "00DSandbox00001"
SALESFORCE_DEPLOYMENT = "OpenCX_Sandbox"
SALESFORCE_ISSUER = "opencx-sandbox"
SALESFORCE_KEY_ID = "sandbox-key-1"
MESSAGING_AUDIENCE = messaging_audience(ORGANIZATION_ID)

State = dict[str, Any]


class StandIns:
    """Starts everything on loopback ports. `folder` gets the authority's file.

    Attributes:
        azurite: the storage emulator.
        entra, dataverse, key_vault, opencx, salesforce, dynamics_messaging: the servers; `.standin` is the stand-in
            behind one.
    """

    def __init__(self, folder: Path, *, usual_ports: bool = True) -> None:
        self._authority = Authority(folder / "ca.pem", public=True)
        self.azurite = Azurite(usual_ports=usual_ports)
        identity = Entra()
        self.entra = self._server(identity)
        self.dataverse = self._server(
            DataverseStandIn(
                tokens=identity.tokens,
                tenant_id=TENANT_ID,
                application_id=DYNAMICS_CLIENT_ID,
                authority=self.entra.url,
            )
        )
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_vault = self._server(
            KeyVault(
                identity.tokens,
                authority=f"{self.entra.url}/{TENANT_ID}",
                secrets={
                    "dynamics-client-secret": DYNAMICS_CLIENT_SECRET,
                    "opencx-api-key": OPENCX_API_KEY,
                    "opencx-webhook-secret": OPENCX_WEBHOOK_SECRET,
                    "dynamics-webhook-lock": WEBHOOK_LOCK,
                    "salesforce-private-key": pem(key),
                },
                readers=[VAULT_CLIENT_ID],
            )
        )
        self.opencx = self._server(OpenCX(api_key=OPENCX_API_KEY, webhook_secret=OPENCX_WEBHOOK_SECRET))
        self.salesforce = self._server(
            Salesforce(
                org_id=SALESFORCE_ORG_ID,
                developer_name=SALESFORCE_DEPLOYMENT,
                issuer=SALESFORCE_ISSUER,
                keys={SALESFORCE_KEY_ID: key.public_key()},
            )
        )
        dataverse = self.dataverse.standin
        assert isinstance(dataverse, DataverseStandIn)
        self.dynamics_messaging = self._server(
            DynamicsMessaging(
                tokens=identity.tokens,
                tenant_id=TENANT_ID,
                client_id=DYNAMICS_CLIENT_ID,
                audience=MESSAGING_AUDIENCE,
                authority=self.entra.url,
                dataverse=dataverse,
            )
        )
        identity.register(
            App(
                TENANT_ID,
                DYNAMICS_CLIENT_ID,
                secrets=(DYNAMICS_CLIENT_SECRET,),
                resources=(self.dataverse.url, MESSAGING_AUDIENCE),
            )
        )
        identity.register(App(TENANT_ID, VAULT_CLIENT_ID, secrets=(VAULT_CLIENT_SECRET,), resources=(RESOURCE,)))
        self._running = ExitStack()

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the order in which they are started."""
        return (
            self.entra,
            self.dataverse,
            self.key_vault,
            self.opencx,
            self.salesforce,
            self.dynamics_messaging,
        )

    def _server(self, standin: StandIn) -> Server:
        return Server(standin, tls=self._authority.server_context())

    def start(self) -> Self:
        """Start all. Raises AzuriteError, and then leaves nothing running."""
        with ExitStack() as starting:
            starting.enter_context(self.azurite)
            for server in self.servers:
                starting.enter_context(server)
            self._running = starting.pop_all()
        return self

    def stop(self) -> None:
        """Stop all, in the opposite order."""
        self._running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def state(self) -> State:
        """Where everything is: the content of `.sandbox/state.json`, without the Functions host."""
        return {
            "ca_file": str(self._authority.ca_file),
            "dataverse": {
                "url": self.dataverse.url,
                "tenant_id": TENANT_ID,
                "client_id": DYNAMICS_CLIENT_ID,
                "client_secret": DYNAMICS_CLIENT_SECRET,
            },
            "entra": {"url": self.entra.url},
            "key_vault": {"url": self.key_vault.url},
            "opencx": {"url": self.opencx.url, "api_key": OPENCX_API_KEY},
            "dynamics_messaging": {"url": self.dynamics_messaging.url},
            "salesforce": {"url": self.salesforce.url},
            "tables": {
                "endpoint": self.azurite.endpoint("Table"),
                "connection_string": self.azurite.connection_string,
            },
            "queues": {"endpoint": self.azurite.endpoint("Queue")},
            "pids": {"sandbox": os.getpid(), "azurite": self.azurite.pid},
        }


def settings(state: State) -> dict[str, str]:
    """The app settings with which a Functions host works in this sandbox."""
    return {
        "AZURE_AUTHORITY_HOST": state["entra"]["url"],
        "AZURE_CLIENT_ID": VAULT_CLIENT_ID,
        "AZURE_CLIENT_SECRET": VAULT_CLIENT_SECRET,
        "AZURE_TENANT_ID": TENANT_ID,
        "AzureWebJobsStorage": state["tables"]["connection_string"],
        "DEFAULT_QUEUE_ID": QUEUE_ID,
        "DEFAULT_WORKSTREAM_ID": WORKSTREAM_ID,
        "DYNAMICS_CLIENT_ID": state["dataverse"]["client_id"],
        "DYNAMICS_ENVIRONMENT_URL": state["dataverse"]["url"],
        "DYNAMICS_MESSAGING_CHANNEL_ID": CHANNEL_ID,
        "DYNAMICS_MESSAGING_SCOPE": f"{MESSAGING_AUDIENCE}/.default",
        "DYNAMICS_MESSAGING_URL": state["dynamics_messaging"]["url"],
        "DYNAMICS_TENANT_ID": state["dataverse"]["tenant_id"],
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "KEY_VAULT_URL": state["key_vault"]["url"],
        "OPENCX_API_URL": state["opencx"]["url"],
        "PYTHON_THREADPOOL_THREAD_COUNT": "16",
        "RECONCILE_SCHEDULE": "*/5 * * * * *",
        "SALESFORCE_AUTH_KEY_ID": SALESFORCE_KEY_ID,
        "SALESFORCE_ES_DEVELOPER_NAME": SALESFORCE_DEPLOYMENT,
        "SALESFORCE_JWT_ISSUER": SALESFORCE_ISSUER,
        "SALESFORCE_ORG_ID": SALESFORCE_ORG_ID,
        "SALESFORCE_SCRT_URL": state["salesforce"]["url"],
        "TABLES_CONNECTION_STRING": state["tables"]["connection_string"],
    }


def environment(state: State, outside: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment of a Functions host: a setting that is there already wins over the sandbox's.

    Only the certificate file does not give way: it holds the authorities of the one that was named, and its
    own.
    """
    named = {name: value for name, value in outside.items() if value}
    direct = ",".join(filter(None, [outside.get("NO_PROXY") or outside.get("no_proxy"), "localhost,127.0.0.1"]))
    forced = {
        "NO_PROXY": direct,
        "no_proxy": direct,
        "REQUESTS_CA_BUNDLE": state["ca_file"],
        "SSL_CERT_FILE": state["ca_file"],
    }
    return {**settings(state), **named, **forced}


def pem(key: rsa.RSAPrivateKey) -> str:
    """A private key as it is stored in a vault."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
