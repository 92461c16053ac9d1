"""`python -m tests.bench.relay [--open 1 50 200]`: how soon a rep's words reach OpenCX, and a customer's the rep.

Through the running Functions host: the stand-in of Salesforce or Dynamics 365 on one side, OpenCX's on the other,
Azurite's queue and table between. Times are taken where a person would see them: when the rep presses enter, and when
the message stands in OpenCX's history; all processes share one machine's clock.

OpenCX's own limit of 100 requests a minute and Salesforce's of 200 tokens a minute are lifted in the stand-ins: they
would bound how many replies there are and how fast conversations open, not how long a reply takes.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from sandbox.process import Process
from sandbox.standins import OPENCX_WEBHOOK_SECRET, WEBHOOK_LOCK, State, environment
from sandbox.state import StateFile
from shared import http
from tests.bench.measure import percentile

SECONDS = 60.0
PERIOD_SECONDS = 60.0
"""Each rep writes that often, and each customer answers half-way: 200 conversations give 200 replies a minute, which
is twice what OpenCX's API takes of one key."""
KEY = "relay-bench-function-key"


@dataclass
class Measured:
    """One run.

    Attributes:
        to_customer, to_rep: seconds from writing to standing on the other side.
        lost, doubled, swapped: messages.
        cpu_percent: of one core, by each of the Functions hosts.
    """

    open: int
    hosts: int
    to_customer: list[float] = field(default_factory=list)
    to_rep: list[float] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    swapped: int = 0
    cpu_percent: Sequence[float] = ()
    calls: Mapping[str, float] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """The run as a line."""
        times = [
            f"{percentile(each, p):.2f}" if each else "-"
            for each in (self.to_customer, self.to_rep)
            for p in (50, 95, 100)
        ]
        rest = [self.lost, self.doubled, self.swapped]
        called = " ".join(f"{name} {count:.0f}" for name, count in self.calls.items())
        return [
            str(self.open),
            str(self.hosts),
            f"{len(self.to_customer)}+{len(self.to_rep)}",
            *times,
            *map(str, rest),
            " + ".join(f"{each:.0f}" for each in self.cpu_percent) + " %" if self.cpu_percent else "-",
            called,
        ]


HEADINGS = (
    "open",
    "hosts",
    "messages",
    "reply p50",
    "p95",
    "max",
    "customer p50",
    "p95",
    "max",
    "lost",
    "doubled",
    "swapped",
    "CPU",
    "calls a minute",
)


@dataclass(frozen=True)
class System:
    """Where the reps are.

    Attributes:
        standin: its stand-in.
        channel, target: of the handoffs.
        id_field: of the answer to a handoff.
        entries: the field of a conversation, as its stand-in shows it, that holds the messages.
        settings: of the hosts.
    """

    standin: str
    channel: str
    target: str
    id_field: str
    entries: str
    settings: Mapping[str, str]


SYSTEMS = {
    "salesforce": System("salesforce", "sms", "salesforce", "salesforce_conversation_id", "entries", {}),
    "dynamics": System(
        "dynamics_messaging",
        "whatsapp",
        "dynamics365",
        "dynamics365_chat_id",
        "activities",
        {"LIVE_WORK_ITEM_PRESET": "messaging"},
    ),
}


class Bench:
    """The sandbox in one process, hosts in processes of their own, and this one as reps and customers."""

    def __init__(self, folder: Path, state: State, system: System) -> None:
        self.system = system
        self._folder = folder
        self.state = state
        self._session = http.session("")
        self._hosts: dict[int, Process] = {}

    def call(self, standin: str, method: str, route: str, body: object = None) -> Any:
        """One call to a stand-in's control door."""
        url = f"{self.state[standin]['url']}/_sandbox/{route}"
        response = self._session.request(method, url, json=body, timeout=30, allow_redirects=False)
        response.raise_for_status()
        return response.json() if response.content else None

    @contextmanager
    def host(self, port: int) -> Iterator[Process]:
        """A Functions host on that port, until the end of the block, however often it is killed meanwhile."""
        self._hosts[port] = self._start(port)
        try:
            yield self._hosts[port]
        finally:
            self._hosts[port].stop()

    def kill(self, port: int) -> None:
        """``kill -9`` of the host on that port; another one takes its place at once."""
        os.kill(self._hosts[port].pid, signal.SIGKILL)
        self._hosts[port].stop()
        self._hosts[port] = self._start(port)

    def _start(self, port: int) -> Process:
        env = environment(self.state, {**os.environ, **self.system.settings})
        env |= {"SANDBOX_FUNCTION_KEY": KEY, "SANDBOX_MASTER_KEY": KEY, "RECONCILE_SCHEDULE": "*/30 * * * * *"}
        made = Process(
            f"host {port}",
            [sys.executable, "-m", "sandbox.host", "--port", str(port), "--lifeline"],
            log=self._folder / f"host-{port}.log",
            env=env,
        )
        return made.start(ready=lambda: _answers(f"http://127.0.0.1:{port}/api/health"))

    def hand_over(self, port: int, session_id: str) -> str:
        """A conversation goes to the system, and a rep takes it; the conversation's id there."""
        contact = {"name": "Jo Doe", "phone_number": "+12025550100"}
        self.call("opencx", "POST", "sessions", {"id": session_id, "channel": self.system.channel})
        turns = [{"role": ("user", "ai")[n % 2], "text": f"turn {n}", "at": _text(time.time())} for n in range(6)]
        body = {
            "session_id": session_id,
            "channel": self.system.channel,
            "target": self.system.target,
            "contact": contact,
            "transcript": turns,
            "summary": "Help",
        }
        url = f"http://127.0.0.1:{port}/api/handoff"
        answer = self._session.post(url, json=body, headers={"x-functions-key": KEY}, timeout=60)
        found = answer.json()
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"{answer.status_code}: {found}")
        conversation_id = str(found[self.system.id_field])
        self.call(self.system.standin, "POST", f"rep/{conversation_id}/accept", {})
        return conversation_id


def run(
    bench: Bench, ports: list[int], processes: list[Process], *, number: int, seconds: float, period: float, kills: int
) -> Measured:
    """That many open conversations, written in from both sides for a while, and the first host killed so often."""
    sessions = [f"relay-{number}-{len(ports)}-{random.randrange(10**9)}-{each}" for each in range(number)]
    with ThreadPoolExecutor(4) as pool:
        conversations = dict(
            zip(sessions, pool.map(lambda each: bench.hand_over(ports[0], each), sessions), strict=True)
        )
    said: dict[str, list[tuple[str, float]]] = {session: [] for session in sessions}
    asked: dict[str, list[tuple[str, float]]] = {session: [] for session in sessions}
    due = [(time.time() + random.random() * period, session, 0) for session in sessions]
    heapq.heapify(due)
    time_before = {name: len(bench.call(name, "GET", "requests")) for name in (bench.system.standin, "opencx")}
    cpu = [psutil.Process(process.pid) for process in processes]
    used = [sum(each.cpu_times()[:2]) for each in cpu]
    began = time.time()
    deaths = [began + seconds * (each + 1) / (kills + 1) for each in range(kills)]
    killings: list[Future[None]] = []
    with ThreadPoolExecutor(8) as people, ThreadPoolExecutor(1) as killer:
        while due and due[0][0] < began + seconds:
            at, session, count = heapq.heappop(due)
            time.sleep(max(0.0, at - time.time()))
            if deaths and at > deaths[0]:
                killings.append(killer.submit(bench.kill, ports[0]))
                deaths.pop(0)
            people.submit(_write, bench, conversations[session], session, count, said[session], asked[session])
            heapq.heappush(due, (at + period / 2 * (0.8 + 0.4 * random.random()), session, count + 1))
    for killing in killings:
        killing.result()  # one that failed makes the run worthless
    lasted = time.time() - began
    measured = Measured(number, len(ports))
    if not kills:
        measured.cpu_percent = [
            100 * (sum(each.cpu_times()[:2]) - before) / lasted for each, before in zip(cpu, used, strict=True)
        ]
    measured.calls = {
        name: (len(bench.call(name, "GET", "requests")) - before) * 60 / lasted for name, before in time_before.items()
    }
    _settle(bench, said, asked, conversations)
    for session in sessions:
        history = bench.call("opencx", "GET", f"sessions/{session}")["history"]
        _judge(measured, measured.to_customer, said[session], _agents(history))
        _judge(measured, measured.to_rep, asked[session], _shown(bench, conversations[session]))
    for session in sessions:
        bench.call(bench.system.standin, "POST", f"rep/{conversations[session]}/end", {})
    return measured


def _write(bench: Bench, conversation_id: str, session: str, count: int, said: list[Any], asked: list[Any]) -> None:
    text = f"{session} message {count}"
    if count % 2 == 0:
        said.append((text, time.time()))
        bench.call(bench.system.standin, "POST", f"rep/{conversation_id}/say", {"text": text})
    else:
        asked.append((text, time.time()))
        bench.call("opencx", "POST", f"sessions/{session}/contact-says", {"text": text})


def _settle(bench: Bench, said: Mapping[str, Any], asked: Mapping[str, Any], conversations: Mapping[str, str]) -> None:
    """Wait until everything has arrived, for a minute and a half at most."""
    deadline = time.time() + 90
    waiting = list(said)
    while waiting and time.time() < deadline:
        session = waiting[-1]
        heard = {text for text, _ in _agents(bench.call("opencx", "GET", f"sessions/{session}")["history"])}
        shown = {text for text, _ in _shown(bench, conversations[session])}
        if {text for text, _ in said[session]} <= heard and {text for text, _ in asked[session]} <= shown:
            waiting.pop()
        else:
            time.sleep(0.2)


def _judge(
    measured: Measured, times: list[float], written: list[tuple[str, float]], stands: list[tuple[str, float]]
) -> None:
    arrived: dict[str, float] = {}
    order: list[str] = []
    for text, at in stands:
        if text in arrived:
            measured.doubled += 1
        else:
            arrived[text] = at
            order.append(text)
    wanted = [text for text, _ in written]
    measured.lost += sum(text not in arrived for text in wanted)
    measured.swapped += [text for text in order if text in set(wanted)] != [text for text in wanted if text in arrived]
    times += [arrived[text] - at for text, at in written if text in arrived]


def _agents(history: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [
        (str(item["event"]["content"]["text"]), datetime.fromisoformat(item["created_at"]).timestamp())
        for item in history
        if item["event"]["sender"]["type"] == "human_agent"
    ]


def _shown(bench: Bench, conversation_id: str) -> list[tuple[str, float]]:
    """What the customer wrote, as the rep's system has it, with the times."""
    system = bench.system
    entries = bench.call(system.standin, "GET", f"conversations/{conversation_id}")[system.entries]
    if system.standin == "dynamics_messaging":
        return [(str(one["text"]), float(one["at"])) for one in entries if " message " in one["text"]]
    found = []
    for entry in entries:
        payload = entry.get("entryPayload", {})
        content = payload.get("abstractMessage", {}).get("staticContent", {})
        if entry["entryType"] == "Message" and entry["sender"]["role"] == "EndUser" and " message " in content["text"]:
            found.append((str(content["text"]), entry["transcriptedTimestamp"] / 1000))
    return found


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat()


def main() -> int:
    """Returns the exit code: 1 when a reply was lost, doubled or swapped, or p95 is over 2 s."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.relay", description=__doc__)
    parser.add_argument("--open", type=int, nargs="+", default=[1, 50, 200], help="open conversations")
    parser.add_argument("--system", choices=SYSTEMS, default="salesforce", help="where the reps are")
    parser.add_argument("--hosts", type=int, default=1, help="Functions hosts on one storage")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long people write")
    parser.add_argument("--period", type=float, default=PERIOD_SECONDS, help="seconds between two words of a rep")
    parser.add_argument("--kills", type=int, default=0, help="how often the first host is killed meanwhile")
    chosen = parser.parse_args()
    rows: list[Measured] = []
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        file = StateFile(folder)
        sandbox = Process(
            "the sandbox",
            [sys.executable, "-m", "sandbox", "--lifeline"],
            log=folder / "sandbox.log",
            env={**os.environ, "SANDBOX_DIR": str(folder)},
        )
        running.callback(sandbox.stop)
        sandbox.start(ready=file.exists)
        state = file.read()
        os.environ["REQUESTS_CA_BUNDLE"] = str(state["ca_file"])
        bench = Bench(folder, state, SYSTEMS[chosen.system])
        bench.call("opencx", "POST", "limits", {"requests_per_minute": 1_000_000})
        bench.call("salesforce", "POST", "switches", {"token_requests_per_minute": 1_000_000})
        ports = [17071 + each for each in range(chosen.hosts)]
        processes = [running.enter_context(bench.host(port)) for port in ports]
        url = f"http://127.0.0.1:{ports[0]}/api/opencx/events"
        bench.call("opencx", "POST", "webhook", {"url": url, "secret": OPENCX_WEBHOOK_SECRET})
        lock = f"http://127.0.0.1:{ports[0]}/api/dynamics/{WEBHOOK_LOCK}"
        bench.call("dynamics_messaging", "POST", "channel", {"webhook_url": lock})
        for number in chosen.open:
            rows.append(
                run(
                    bench,
                    ports,
                    processes,
                    number=number,
                    seconds=chosen.seconds,
                    period=chosen.period,
                    kills=chosen.kills,
                )
            )
            print("  ".join(rows[-1].cells()), flush=True)
    widths = [max(len(row[n]) for row in [HEADINGS, *(each.cells() for each in rows)]) for n in range(len(HEADINGS))]
    for cells in [HEADINGS, *(each.cells() for each in rows)]:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())
    bad = any(
        row.lost or row.doubled or row.swapped or (row.to_customer and percentile(row.to_customer, 95) > 2)
        for row in rows
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
