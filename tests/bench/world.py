"""The world that is measured in: the sandbox in processes of its own, and applications on it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import requests

from sandbox.process import Process
from sandbox.standins import State, environment
from sandbox.state import StateFile
from shared import http
from shared.app import Application
from shared.ledger.table import TABLE_NAME


class World:
    """Starts `python -m sandbox`, so that the measured process shares no interpreter lock with a stand-in.

    While it is open, this process's environment is the one of a host on the sandbox. The Dataverse secret is a
    setting: with a Key Vault there would be one more token call and one more call at the start, and no other change.

    Attributes:
        settings: the environment of a host.
    """

    def __init__(self) -> None:
        self._running = ExitStack()
        self._state: State = {}
        self.settings: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Raises SandboxError when the sandbox does not start."""
        with ExitStack() as starting:
            folder = Path(starting.enter_context(tempfile.TemporaryDirectory()))
            file = StateFile(folder)
            sandbox = Process(
                "the sandbox",
                [sys.executable, "-m", "sandbox", "--lifeline"],
                log=folder / "sandbox.log",
                env={**os.environ, "SANDBOX_DIR": str(folder)},
            )
            starting.callback(sandbox.stop)
            sandbox.start(ready=file.exists)
            self._state = file.read()
            self.settings = environment(self._state, {})
            del self.settings["KEY_VAULT_URL"]
            self.settings["DYNAMICS_CLIENT_SECRET"] = self._state["dataverse"]["client_secret"]
            starting.enter_context(patch.dict(os.environ, self.settings))
            os.environ.pop("KEY_VAULT_URL", None)
            self._control = starting.enter_context(http.session(self._state["dataverse"]["url"]))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def dataverse_url(self) -> str:
        """The address of the Dataverse stand-in."""
        return str(self._state["dataverse"]["url"])

    @property
    def tables_url(self) -> str:
        """The address of the tables, without the account."""
        return str(self._state["tables"]["endpoint"]).rpartition("/")[0]

    def application(self) -> AbstractContextManager[Application]:
        """A service of its own, with cold caches, until the end of the block."""
        return contextlib.closing(Application(self.settings))

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Every call to Dataverse takes so many seconds longer, until the end of the block."""
        if seconds:
            self._call("POST", "dataverse", "faults", json=[{"delay_seconds": seconds, "times": 0}])
        try:
            yield
        finally:
            self._call("DELETE", "dataverse", "faults")

    def calls(self, standin: str, *, after: int = 0) -> list[dict[str, Any]]:
        """The journal of a stand-in: the requests with a number greater than `after`."""
        found: list[dict[str, Any]] = self._call("GET", standin, f"requests?after={after}").json()
        return found

    def call(self, standin: str, route: str, body: object) -> None:
        """One call to a stand-in's control door."""
        self._call("POST", standin, route, json=body)

    def forget(self) -> None:
        """Back to the seed, and no table: what was written is gone, and may be written again."""
        self._call("POST", "dataverse", "reset")
        from azure.data.tables import TableServiceClient

        with TableServiceClient.from_connection_string(self.settings["TABLES_CONNECTION_STRING"]) as service:
            service.delete_table(TABLE_NAME)
            service.create_table(TABLE_NAME)

    def _call(self, method: str, standin: str, route: str, **options: Any) -> requests.Response:
        url = f"{self._state[standin]['url']}/_sandbox/{route}"
        response = self._control.request(method, url, timeout=30, allow_redirects=False, **options)
        response.raise_for_status()
        return response
