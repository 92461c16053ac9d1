"""Azurite, Microsoft's storage emulator, as a child process: blobs, queues and tables in memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).resolve().parent.parent
_SERVICES = ("Blob", "Queue", "Table")
_USUAL_PORTS = {"Blob": 10000, "Queue": 10001, "Table": 10002}
_ACCOUNT = "devstoreaccount1"
# The emulator's well-known key: public, the same everywhere, opens nothing else. (reference: Azurite README)
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 30.0


class AzuriteError(Exception):
    """Azurite is not installed or did not start; the text has its output."""


class Azurite:
    """Starts and stops one Azurite. Its ports are the usual ones when they are free, else free ones.

    Attributes:
        ports: port by service, `Blob`, `Queue` and `Table`; known after `start`.
    """

    def __init__(self, *, node_modules: Path = _ROOT / "node_modules", usual_ports: bool = True) -> None:
        self._node_modules = node_modules
        self._usual_ports = usual_ports
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._output: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.ports: dict[str, int] = {}

    @property
    def pid(self) -> int:
        """The process id of the running Azurite."""
        if self._process is None:
            raise AzuriteError("Azurite is not running: call start first")
        return self._process.pid

    @property
    def connection_string(self) -> str:
        """What the storage clients and `AzureWebJobsStorage` take."""
        parts = [f"{name}Endpoint={self.endpoint(name)}" for name in _SERVICES]
        return ";".join(["DefaultEndpointsProtocol=http", f"AccountName={_ACCOUNT}", f"AccountKey={_KEY}", *parts])

    def endpoint(self, service: str) -> str:
        """The address of `Blob`, `Queue` or `Table`, with the account."""
        return f"http://127.0.0.1:{self.ports[service]}/{_ACCOUNT}"

    def start(self) -> Self:
        """Start it and wait until all three services listen. Raises AzuriteError."""
        if self._usual_ports and all(is_free(port) for port in _USUAL_PORTS.values()):
            try:
                return self._start(_USUAL_PORTS)
            except AzuriteError:
                self._output.clear()  # somebody else took one of the ports in this moment
        return self._start(dict.fromkeys(_SERVICES, 0))

    def _start(self, ports: Mapping[str, int]) -> Self:
        self._ended = False
        command = self._command(ports)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # the lifeline, see lifeline.cjs
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self._node_modules,
                start_new_session=os.name != "nt",  # Ctrl-C reaches its starter, which stops it in order
            )
        except FileNotFoundError as error:
            raise AzuriteError("node is not on the PATH: install Node.js 20 or newer") from error
        self._reader = threading.Thread(target=self._read, name="azurite-output", daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self.ports) == len(_SERVICES), _START_SECONDS)
            ready = len(self.ports) == len(_SERVICES)
        if not ready:
            self.stop()
            raise AzuriteError("Azurite did not start; it said:\n" + "".join(self._output))
        return self

    def stop(self) -> None:
        """End it and everything it started."""
        process, self._process = self._process, None
        if process is None:
            return
        # Not politely: it holds nothing worth keeping, and would wait for clients that stay connected.
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._reader is not None:
            self._reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self.ports = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self, ports: Mapping[str, int]) -> list[str]:
        package = self._node_modules / "azurite" / "package.json"
        try:
            script = package.parent / json.loads(package.read_text(encoding="utf-8"))["bin"]["azurite"]
        except FileNotFoundError as error:
            raise AzuriteError(f"Azurite is not in {self._node_modules}: run python3 dev.py setup") from error
        options = [part for name in _SERVICES for part in (f"--{name.lower()}Port", str(ports[name]))]
        return [
            shutil.which("node") or "node",
            "--require",
            str(Path(__file__).with_name("lifeline.cjs")),
            str(script),
            "--silent",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",  # queues and blobs of today's SDKs are refused without it
            "--disableTelemetry",
            *options,
        ]

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            match = _LISTENING.search(line)
            with self._changed:
                self._output.append(line)
                if match:
                    self.ports[match[1]] = int(match[2])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def is_free(port: int) -> bool:
    """Whether a loopback port can be bound now."""
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
