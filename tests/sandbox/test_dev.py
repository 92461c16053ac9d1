"""dev.py finds what it needs, sets up once, lands every sample, and leaves nothing running."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

import dev
from sandbox.run import Landing, table
from sandbox.samples import CHANNELS
from sandbox.standins import environment, settings

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_python_3_9() -> None:
    """dev.py has no syntax newer than Python 3.9, and imports nothing but the standard library."""
    tree = ast.parse((ROOT / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 9))
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but what a test puts on the PATH: a shell script a program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "old"))
    program(tmp_path / "old", "echo 3.9")
    return tmp_path


def program(file: Path, script: str) -> Path:
    """A program that runs a line of shell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_shim_that_fails_is_passed_over(bare_machine: Path) -> None:
    """A python3.13 on the PATH that does not start is not taken; pyenv's own one is found behind it."""
    program(bare_machine / "python3.13", "exit 127")
    real = program(bare_machine / "pyenv/versions/3.13.2/bin/python3.13", "echo 3.13")
    assert dev.find_python() == [str(real)]


def test_uv_is_asked_last(bare_machine: Path) -> None:
    """What uv knows is found when nothing else is there."""
    real = program(bare_machine / "elsewhere/python", "echo 3.13")
    program(bare_machine / "uv", f"echo {real}")
    assert dev.find_python() == [str(real)]


def test_a_missing_python_is_named_with_the_way_to_get_it(bare_machine: Path) -> None:
    """The error lists what was looked at, and what to run on each system."""
    program(bare_machine / "python3", "echo 3.12")
    with pytest.raises(dev.SetupError) as missing:
        dev.find_python()
    for part in (f"{bare_machine / 'python3'}: 3.12", "apt install", "brew install", "winget install"):
        assert part in str(missing.value)


@pytest.mark.parametrize("version", ["v18.19.0", ""])
def test_a_missing_node_is_named_with_the_way_to_get_it(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """An old or missing Node is an error that says what was found and what to run."""
    if version:
        program(bare_machine / "node", f"echo {version}")
    monkeypatch.setattr(dev, "NODE_MODULES", bare_machine / "node_modules")
    with pytest.raises(dev.SetupError, match="brew install node") as missing:
        dev.set_up_node()
    assert (version or "there is none") in str(missing.value)


def test_an_installers_output_is_shown_when_it_fails(bare_machine: Path) -> None:
    """A failing installer is an error with its output and exit code."""
    failing = program(bare_machine / "pip", "echo no such hash; exit 3")
    with pytest.raises(dev.SetupError, match="no such hash\n\nInstalling: failed with exit code 3"):
        dev.install([str(failing)], "Installing")


def test_a_set_up_counts_only_for_its_lock_file(tmp_path: Path) -> None:
    """A changed lock file, or a set-up that was cut off before its stamp, is set up again."""
    lock = tmp_path / "lock"
    lock.write_text("one", encoding="utf-8")
    first = dev.stamp_of(lock)
    assert not dev.is_set_up(tmp_path, first)
    (tmp_path / dev.STAMP).write_text(first, encoding="ascii")
    assert dev.is_set_up(tmp_path, first)
    lock.write_text("two", encoding="utf-8")
    assert not dev.is_set_up(tmp_path, dev.stamp_of(lock))


def test_a_second_set_up_does_nothing() -> None:
    """When all is installed, set-up says nothing and takes less than a second."""
    if not dev.is_set_up(dev.VENV, dev.stamp_of(dev.REQUIREMENTS)):
        pytest.skip("the tests were not started by dev.py")
    began = time.monotonic()
    done = subprocess.run([sys.executable, "dev.py", "setup"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert time.monotonic() - began < 1


def test_the_locks_name_no_address() -> None:
    """Lock files hold names, versions and hashes: where packages come from is each machine's own setting."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert all("==" in line for line in text.splitlines() if line and line[0].isalnum())
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert all("integrity" in entry for name, entry in packages.items() if name)


def test_what_is_deployed_is_the_same_in_tests() -> None:
    """Every pin of requirements.txt is in requirements-dev.txt."""

    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return {line.rstrip(" \\") for line in lines if line and line[0].isalnum()}

    assert pins("requirements.txt") <= pins("requirements-dev.txt")


STATE: dict[str, Any] = {
    "ca_file": "ca.pem",
    "dataverse": {"url": "https://localhost:1", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
    "entra": {"url": "https://localhost:2"},
    "key_vault": {"url": "https://localhost:3"},
    "opencx": {"url": "https://localhost:4", "api_key": "k"},
    "dynamics_messaging": {"url": "https://localhost:6"},
    "salesforce": {"url": "https://localhost:7"},
    "tables": {"endpoint": "http://127.0.0.1:5", "connection_string": "x"},
}


def test_a_setting_that_is_there_wins() -> None:
    """The sandbox fills what is missing or empty, and only the certificate file is always its own."""
    outside = {"KEY_VAULT_URL": "https://mine.example", "OPENCX_API_URL": "", "SSL_CERT_FILE": "mine.pem"}
    found = environment(STATE, outside)
    assert found["KEY_VAULT_URL"] == "https://mine.example"
    assert found["OPENCX_API_URL"] == "https://localhost:4"
    assert found["SSL_CERT_FILE"] == found["REQUESTS_CA_BUNDLE"] == "ca.pem"
    assert found["NO_PROXY"].endswith("localhost,127.0.0.1")


@pytest.mark.parametrize(
    ("status", "found", "landed"),
    [
        (201, True, True),
        (200, True, True),
        (201, None, True),
        (201, False, False),
        (202, True, False),
        (502, False, False),
    ],
)
def test_a_sample_has_landed_only_where_it_was_found(status: int, found: bool | None, landed: bool) -> None:
    """A good answer is not enough: Dataverse must hold the row."""
    assert Landing("web", status, 0.1, {}, found).landed is landed


def test_the_table_lines_up() -> None:
    """Cells stand under their headings."""
    assert table([["a", "bb"], ["ccc", "d"]]) == "a    bb\n---  --\nccc  d"


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without app settings: whoever runs the tests may have some, and they would win."""
    return {name: value for name, value in environ.items() if name not in settings(STATE)}


class Run:
    """`dev.py run` in a folder of its own, and everything that it has started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        # A real org's address keeps the run from playing rep and customer, which takes a while.
        quick = {} if "--once" in options else {"SALESFORCE_SCRT_URL": "https://localhost:1"}
        self.child = subprocess.Popen(
            [sys.executable, "dev.py", "run", *options],
            cwd=ROOT,
            env={**without_settings(os.environ), "SANDBOX_DIR": str(folder), **quick},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, text: str) -> str:
        """Read until a line has this text; all output so far."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.output += line
            if text in line:
                return self.output
        raise AssertionError(f"ended without {text!r}:\n{self.output}\n{self.logs()}")

    def logs(self) -> str:
        """The logs of its processes."""
        return "\n".join(file.read_text(encoding="utf-8") for file in self.folder.glob("*.log"))

    def family(self) -> list[psutil.Process]:
        """The process and all that came from it."""
        parent = psutil.Process(self.child.pid)
        return [parent, *parent.children(recursive=True)]

    def wait(self) -> int:
        """Its exit code."""
        code = self.child.wait(timeout=60)
        assert self.child.stdout is not None
        self.output += self.child.stdout.read()
        self.child.stdout.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts runs, and kills what a failed test has left."""
    runs: list[tuple[Run, list[psutil.Process]]] = []

    def begin(*options: str) -> Run:
        one = Run(tmp_path / "sandbox", *options)
        runs.append((one, one.family()))
        return one

    yield begin
    for one, family in runs:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if one.child.stdout is not None:
            one.child.stdout.close()
        one.child.wait()


@pytest.mark.integration
def test_every_sample_lands_and_nothing_stays(start: Any, tmp_path: Path) -> None:
    """`run --once` ends with 0 when each channel's sample is in Dataverse, and removes its state."""
    one: Run = start("--once")
    assert one.wait() == 0, one.output + one.logs()
    rows = [line for line in one.output.splitlines() if line.startswith(CHANNELS) and " -> " not in line]
    assert [row.split()[0] for row in rows] == list(CHANNELS)
    assert all("  found  " in row for row in rows), one.output
    dialogues = [line for line in one.output.splitlines() if " -> " in line and line.startswith(CHANNELS)]
    assert [line.split("  ")[0] for line in dialogues] == ["sms -> salesforce", "whatsapp -> dynamics365"]
    assert all(line.endswith("closed") and " s  " in line for line in dialogues), one.output
    assert not list((tmp_path / "sandbox").glob("state*"))


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_way_out_leaves_anything_running(start: Any, tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C, a polite end and a kill all take Azurite, the stand-ins and the host along."""
    one: Run = start()
    one.read_until("Ctrl-C stops everything")
    state = json.loads((tmp_path / "sandbox/state.json").read_text(encoding="utf-8"))
    assert requests.get(f"{state['functions']['url']}/api/health", timeout=5).ok
    family = one.family()
    assert {process.pid for process in family} >= set(state["pids"].values())
    assert set(state["pids"]) == {"sandbox", "azurite", "functions"}
    os.kill(one.child.pid, how)
    code = one.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 0)


@pytest.mark.integration
def test_a_second_sandbox_in_the_same_folder_is_refused(start: Any) -> None:
    """Two runs do not share a state file: the second says who is there and what to do."""
    first: Run = start()
    first.read_until("Ctrl-C stops everything")
    second: Run = start("--once")
    assert second.wait() == 1
    assert "running already" in second.output
    os.kill(first.child.pid, signal.SIGINT)
    assert first.wait() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_tests_ends_them(tmp_path: Path, how: signal.Signals) -> None:
    """`dev.py test` waits for the child that Ctrl-C reached or takes SIGTERM on to it, and fails."""
    slow = tmp_path / "test_slow.py"
    slow.write_text(
        "import time\ndef test_slow():\n    print('inside', flush=True)\n    time.sleep(60)\n", encoding="utf-8"
    )
    child = subprocess.Popen(
        [sys.executable, "dev.py", "test", "-s", "-p", "no:cacheprovider", str(slow)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "inside" in line:
            break
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    if how == signal.SIGINT:
        os.killpg(child.pid, how)  # as a terminal does
    else:
        os.kill(child.pid, how)
    assert child.wait(timeout=30) == 1
    child.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
