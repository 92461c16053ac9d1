"""`dev.py run`: the sandbox, the Functions host on it, a sample handoff a channel, and what landed where."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import requests

from sandbox.azurite import is_free
from sandbox.dialogue import HEADINGS as DIALOGUE_HEADINGS
from sandbox.dialogue import Dialogue, Stage
from sandbox.process import Process
from sandbox.samples import CHANNELS, sample
from sandbox.standins import OPENCX_WEBHOOK_SECRET, WEBHOOK_LOCK, State, environment
from sandbox.state import SandboxError, StateFile, folder

_USUAL_PORT = 7071
_LANDING_SECONDS = 60.0
_HEADINGS = ("channel", "status", "seconds", "kind", "id", "ticket number", "in Dataverse", "where it is")
_CHAT_SETS = {"opencx": "oc_liveworkitems", "msdyn": "msdyn_ocliveworkitems"}


@dataclass(frozen=True)
class Landing:
    """What became of one sample.

    Attributes:
        status: of the last answer.
        seconds: from the first request to the last answer.
        found: whether Dataverse holds a row of this id; None when there is no stand-in to ask.
    """

    channel: str
    status: int
    seconds: float
    answer: Mapping[str, Any]
    found: bool | None

    @property
    def landed(self) -> bool:
        """Whether it was done, and is where the answer says."""
        return self.status in {200, 201} and self.found is not False

    def cells(self) -> list[str]:
        """The row of the table."""
        found = {True: "found", False: "NOT FOUND", None: "not looked up"}[self.found]
        answer = {name: value for name, value in self.answer.items() if value is not None}
        return [
            self.channel,
            str(self.status),
            f"{self.seconds:.2f}",
            str(answer.get("kind", "-")),
            record_id(self.answer) or "-",
            str(answer.get("dynamics365_ticket_number", "-")),
            found,
            str(answer.get("url") or answer.get("message", "-")),
        ]


def record_id(answer: Mapping[str, Any]) -> str | None:
    """The id of the record in Dataverse."""
    found = answer.get("dynamics365_incident_id") or answer.get("dynamics365_chat_id")
    return str(found) if found else None


def run(*, once: bool, port: int | None) -> int:
    """Start everything, send the samples, and stay until Ctrl-C unless `once`. Returns the exit code."""
    file = StateFile(folder())
    file.check_free()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        with ExitStack() as running:
            return _run(running, file, once=once, port=port)
    except KeyboardInterrupt:
        print("Stopped: nothing is left running.", flush=True)
        return 0 if not once else 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # one is enough: the way out must not be cut off
    raise KeyboardInterrupt


def _run(running: ExitStack, file: StateFile, *, once: bool, port: int | None) -> int:
    began = time.monotonic()
    _say("Starting Azurite and the stand-ins …")
    sandbox = Process(
        "the sandbox",
        [sys.executable, "-m", "sandbox", "--lifeline"],
        log=folder() / "sandbox.log",
        env=os.environ,
    )
    running.callback(sandbox.stop)
    sandbox.start(ready=file.exists)
    state = file.read()
    _say("Starting the Functions host …")
    host = _host(state, port or (_USUAL_PORT if is_free(_USUAL_PORT) else _free_port()), running)
    _point_webhooks(state)
    file.write(state)
    _say(f"Up after {time.monotonic() - began:.1f} s. Sending a sample a channel …\n")
    landings = [_send(state, channel) for channel in CHANNELS]
    _say(table([list(_HEADINGS), *(landing.cells() for landing in landings)]))
    everything = all(landing.landed for landing in landings)
    if _is_sandbox(state):
        _say("\nNow two conversations in which a rep answers …\n")
        dialogues = _dialogues(state, running)
        _say(table([list(DIALOGUE_HEADINGS), *(dialogue.cells() for dialogue in dialogues)]))
        everything = everything and all(dialogue.is_whole for dialogue in dialogues)
    if once:
        _say("\nAll landed." if everything else f"\nNot all landed: see {folder() / 'functions.log'}.")
        return 0 if everything else 1
    _say(_how_to_call(state))
    ended = threading.Event()
    for process in (sandbox, host):
        process.when_ended(ended.set)
    while not ended.wait(0.5):  # in slices: on Windows a signal does not end a longer wait
        pass
    raise SandboxError(f"a process ended by itself: see the logs in {folder()}")


def _dialogues(state: State, running: ExitStack) -> list[Dialogue]:
    """An SMS conversation with Salesforce, on the host; a WhatsApp one with Dynamics 365, on a second host.

    The second one has ``LIVE_WORK_ITEM_PRESET=messaging``, which is a setting of a whole app; both work on the same
    queues, so either may carry a message of either.
    """
    functions = dict(state["functions"])
    second: State = {**state, "pids": {}}
    _host(second, _free_port(), running, LIVE_WORK_ITEM_PRESET="messaging", SANDBOX_FUNCTION_KEY=functions["key"])
    with ThreadPoolExecutor(2) as stages:
        plays = [
            stages.submit(Stage(state, functions).play, "sms", "salesforce", target="salesforce"),
            stages.submit(
                Stage(state, second["functions"]).play, "whatsapp", "dynamics_messaging", target="dynamics365"
            ),
        ]
        return [play.result() for play in plays]


def _point_webhooks(state: State) -> None:
    """Tell OpenCX's stand-in and Dynamics' where the host is, unless the settings name real systems."""
    url = state["functions"]["url"]
    doors = {
        "opencx": ("webhook", {"url": f"{url}/api/opencx/events", "secret": OPENCX_WEBHOOK_SECRET}),
        "dynamics_messaging": ("channel", {"webhook_url": f"{url}/api/dynamics/{WEBHOOK_LOCK}"}),
    }
    for name, (route, body) in doors.items():
        door = f"{state[name]['url']}/_sandbox/{route}"
        requests.post(door, json=body, verify=state["ca_file"], timeout=10).raise_for_status()


def _host(state: State, port: int, running: ExitStack, **settings: str) -> Process:
    """Start the host: Core Tools when they are installed, else the local one. Adds it to the state."""
    env = {**environment(state), **settings}
    env.setdefault("SANDBOX_FUNCTION_KEY", secrets.token_urlsafe(40))
    env.setdefault("SANDBOX_MASTER_KEY", secrets.token_urlsafe(40))
    core_tools = shutil.which("func")
    command = [sys.executable, "-m", "sandbox.host", "--port", str(port), "--lifeline"]
    if core_tools:
        command = [core_tools, "start", "--port", str(port)]
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    url = f"http://127.0.0.1:{port}"
    log = folder() / ("functions-2.log" if settings else "functions.log")
    host = Process("the Functions host", command, log=log, env=env)
    running.callback(host.stop)
    host.start(ready=lambda: _is_healthy(f"{url}/api/health"))
    state["functions"] = {
        "url": url,
        "key": env["SANDBOX_FUNCTION_KEY"],
        "master_key": env["SANDBOX_MASTER_KEY"],
    }
    state["pids"]["functions"] = host.pid
    return host


def _send(state: State, channel: str) -> Landing:
    """Post one sample; after a 202 post it again, which is safe, until it is done or a minute is over."""
    url = f"{state['functions']['url']}/api/handoff"
    headers = {"x-functions-key": state["functions"]["key"]}
    began = time.monotonic()
    pause = threading.Event()
    while True:
        response = requests.post(url, json=sample(channel), headers=headers, timeout=_LANDING_SECONDS)
        seconds = time.monotonic() - began
        if response.status_code not in {202, 503} or seconds > _LANDING_SECONDS:
            break
        pause.wait(min(float(response.headers.get("Retry-After") or 1), 5))
    try:
        answer = response.json()
    except ValueError:
        answer = {"message": response.text[:200]}
    return Landing(channel, response.status_code, seconds, answer, _look_up(state, answer))


def _look_up(state: State, answer: Mapping[str, Any]) -> bool | None:
    """Whether the Dataverse stand-in holds the record that the answer names."""
    address = os.environ.get("DYNAMICS_ENVIRONMENT_URL")
    if address and address != state["dataverse"]["url"]:
        return None  # a real organisation: its rows are not ours to read
    if answer.get("dynamics365_incident_id"):
        rows = "incidents"
    else:
        rows = _CHAT_SETS.get(os.environ.get("LIVE_WORK_ITEM_PRESET") or "opencx", "oc_liveworkitems")
    wanted = record_id(answer)
    if wanted is None:
        return False
    door = f"{state['dataverse']['url']}/_sandbox/rows/{rows}"
    found = requests.get(door, verify=state["ca_file"], timeout=10)
    found.raise_for_status()
    key = rows.removesuffix("s") + "id"
    return any(str(row.get(key, "")).lower() == wanted.lower() for row in found.json())


def _is_sandbox(state: State) -> bool:
    """Whether no setting names a real system: its reps and customers are not ours to play."""
    own = environment(state, {})
    names = ("DYNAMICS_ENVIRONMENT_URL", "DYNAMICS_MESSAGING_URL", "SALESFORCE_SCRT_URL", "OPENCX_API_URL")
    return all(os.environ.get(name) in (None, "", own[name]) for name in names)


def _is_healthy(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(text, flush=True)


def table(rows: list[list[str]]) -> str:
    """Rows in columns, each as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _how_to_call(state: State) -> str:
    body = json.dumps({"session_id": "my-first-session", "channel": "email", "summary": "It works."})
    functions = state["functions"]
    return f"""
The service runs at {functions["url"]}. Call it:
  curl -sS -X POST {functions["url"]}/api/handoff \\
    -H 'content-type: application/json' -H 'x-functions-key: {functions["key"]}' \\
    -d '{body}'
What Dataverse holds: curl -sS --cacert {state["ca_file"]} {state["dataverse"]["url"]}/_sandbox/rows/incidents
Logs: {folder()}. Ctrl-C stops everything."""
