"""Runs the local host on the app in `apps/hello`, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Self

import requests

ROOT = Path(__file__).resolve().parents[2]
APP = Path(__file__).with_name("apps") / "hello"
FUNCTION_KEY = "function-key"
MASTER_KEY = "master-key"


class Hello:
    """The host process. `notes` is the file in which timers and queue functions say what they did."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.notes_file = folder / "notes.txt"
        self.notes_file.touch()
        self.log_file = folder / "log.txt"
        self._env = {
            **os.environ,
            "SANDBOX_FUNCTION_KEY": FUNCTION_KEY,
            "SANDBOX_MASTER_KEY": MASTER_KEY,
            "HELLO_NOTES": str(self.notes_file),
            "HELLO_SCHEDULE": "0 0 0 1 1 *",
            "HELLO_QUEUE": "hello",
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            **settings,
        }
        self.url = ""
        self._child: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> Self:
        """Start it on a free port and wait for its first line."""
        with self.log_file.open("a", encoding="utf-8") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sandbox.host", "--port", "0", "--app", str(APP), *options],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        match = re.search(r"on (http://\S+)", line)
        assert match, f"{line}{self.log}"
        self.url = match[1]
        return self

    @property
    def child(self) -> subprocess.Popen[str]:
        """The process."""
        assert self._child is not None
        return self._child

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self.log_file.read_text(encoding="utf-8")

    @property
    def notes(self) -> list[str]:
        """What its functions noted."""
        return self.notes_file.read_text(encoding="utf-8").splitlines()

    def wait_for_note(self, text: str, *, seconds: float = 15.0) -> list[str]:
        """Wait until a note is there; all notes."""
        pause = threading.Event()
        for _ in range(int(seconds / 0.05)):
            if text in self.notes:
                return self.notes
            pause.wait(0.05)
        raise AssertionError(f"no note {text!r} after {seconds} s; notes: {self.notes}; log:\n{self.log}")

    def call(self, method: str, path: str, key: str = "", **options: Any) -> requests.Response:
        """One request."""
        headers = {**({"x-functions-key": key} if key else {}), **options.pop("headers", {})}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=15, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.child.poll() is None:
            self.child.send_signal(number)
        code = self.child.wait(timeout=20)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()
        return code


def queue_name() -> str:
    """A queue that no other test uses."""
    return f"hello-{uuid.uuid4().hex}"
