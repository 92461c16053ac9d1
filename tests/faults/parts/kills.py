"""``kill -9`` of the real Functions host under load, over and over; then a host whose timer goes on. Real time."""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from azure.data.tables import TableServiceClient

from sandbox import standins
from sandbox.process import Process
from sandbox.standins import StandIns
from sandbox.state import ROOT
from shared.ledger.table import TABLE_NAME
from tests.faults import oracle
from tests.faults.oracle import LOST, Expected, Finding
from tests.faults.parts.chaos import roll
from tests.faults.report import Result
from tests.faults.stories import BOTH, EMAIL, PHONE, Story

KEY = "kills-function-key"
CLIENTS = 4
PAUSE_SECONDS = 0.25
"""Between two calls of a client: within the 20 requests a second that Dataverse takes."""
LONGEST_LOAD_SECONDS = 2.5
SETTLE_SECONDS = 180.0
LOOK_SECONDS = 0.5
SETTINGS = {
    "HANDOFF_BUDGET_SECONDS": "3",
    "RECONCILE_SCHEDULE": "*/1 * * * * *",
    "SANDBOX_FUNCTION_KEY": KEY,
    "SANDBOX_MASTER_KEY": "kills-master-key",
}
TOLD = (
    Story("web", "web", EMAIL, turns=12, size=300),
    Story("phone", "phone", PHONE),
    Story("whatsapp", "whatsapp", BOTH),
    Story("email", "email", EMAIL, turns=30, size=300),
)


@dataclass
class Load:
    """What clients post, and what they were told.

    Attributes:
        statuses: the answer's status by handoff; None when the connection broke.
    """

    url: str = ""
    number: int = 0
    statuses: dict[str, int | None] = field(default_factory=dict)
    told: dict[str, Story] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Post one handoff after the other until told to stop; a broken one is not posted again."""
        with requests.Session() as session:
            session.trust_env = False
            while not self.stop.is_set():
                with self.lock:
                    number, self.number = self.number, self.number + 1
                handoff_id = f"kill-{number}"
                story = TOLD[number % len(TOLD)]
                self.told[handoff_id] = story
                body = story.body(handoff_id, number // 2)
                try:
                    answer = session.post(
                        f"{self.url}/api/handoff", json=body, headers={"x-functions-key": KEY}, timeout=30
                    )
                    self.statuses[handoff_id] = answer.status_code
                except requests.RequestException:
                    self.statuses[handoff_id] = None
                    return
                self.stop.wait(PAUSE_SECONDS)


def run(*, kills: int, seed: int) -> Result:
    """So many kills, each within a second of a fresh host's life under load."""
    result = Result("kill -9 of the host")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, StandIns(Path(folder), usual_ports=False) as sandbox:
        load = Load()
        for number in range(kills):
            with _host(sandbox, Path(folder)) as (host, url), ThreadPoolExecutor(CLIENTS) as clients:
                load.url = url
                load.stop.clear()
                running = [clients.submit(load.run) for _ in range(CLIENTS)]
                load.stop.wait(LONGEST_LOAD_SECONDS * roll(seed, "kill", number))
                os.kill(host.pid, signal.SIGKILL)
                load.stop.set()
                for client in running:
                    client.result()
        with _host(sandbox, Path(folder)):
            _settle(sandbox)
        _judge(sandbox, load, result)
    unanswered = sum(status is None for status in load.statuses.values())
    accepted = sum(status == 202 for status in load.statuses.values())
    return result.done(f"{kills} kills, seed {seed}; {unanswered} calls cut off, {accepted} times 202")


def _judge(sandbox: StandIns, load: Load, result: Result) -> None:
    sets = ("incidents", "oc_liveworkitems", "contacts", "annotations", "queueitems")
    standin: Any = sandbox.dataverse.standin
    rows = {name: standin.rows(name) for name in sets}
    ledger = _ledger(sandbox)
    expected = [
        Expected(handoff_id, story, may_not_exist=load.statuses.get(handoff_id) not in (200, 201, 202))
        for handoff_id, story in load.told.items()
    ]
    result.cases = len(expected)
    result.findings += [("kills", finding) for finding in oracle.judge_rows(rows, ledger, expected)]
    for handoff_id, status in load.statuses.items():
        if status not in (None, 200, 201, 202):
            result.findings.append(("kills", Finding(LOST, handoff_id, f"answered {status}")))


def _settle(sandbox: StandIns) -> None:
    """Wait until the timer has nothing left to do, or for SETTLE_SECONDS."""
    end = time.monotonic() + SETTLE_SECONDS
    pause = threading.Event()
    while oracle.waiting(_ledger(sandbox)) and time.monotonic() < end:
        pause.wait(LOOK_SECONDS)


def _ledger(sandbox: StandIns) -> list[Any]:
    with TableServiceClient.from_connection_string(sandbox.azurite.connection_string) as service:
        service.create_table_if_not_exists(TABLE_NAME)
        return list(service.get_table_client(TABLE_NAME).list_entities())


@contextmanager
def _host(sandbox: StandIns, folder: Path) -> Iterator[tuple[Process, str]]:
    env = {**os.environ, **standins.environment(sandbox.state(), {}), **SETTINGS}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sandbox.host", "--port", str(port), "--app", str(ROOT), "--lifeline"]
    host = Process("the Functions host", command, log=folder / "host.log", env=env)
    url = f"http://127.0.0.1:{port}"
    host.start(ready=lambda: _is_up(f"{url}/api/health"))
    try:
        yield host, url
    finally:
        host.stop()


def _is_up(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False
