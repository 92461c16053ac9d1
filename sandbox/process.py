"""A child process that writes to a log file and ends with its starter."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from sandbox.state import ROOT, SandboxError

_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.1


class Process:
    """One child in a session of its own: Ctrl-C reaches the starter only, which stops its children in order.

    Its standard input is a pipe that ends with the starter, see `sandbox.lifeline`.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str]) -> None:
        self._name = name
        self._command = command
        self._log = log
        self._env = env
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises SandboxError when it is not started."""
        if self._child is None:
            raise SandboxError(f"{self._name} is not started")
        return self._child.pid

    def start(self, *, ready: Callable[[], bool], within_seconds: float = 60.0) -> Self:
        """Start it and look until it is ready. Raises SandboxError with the end of its log."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=os.name != "nt",
            )
        looks = int(within_seconds / _LOOK_SECONDS)
        for _ in range(looks):
            if ready():
                return self
            try:
                self._child.wait(timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-4000:]
        self.stop()
        raise SandboxError(f"{self._name} did not start; {self._log} ends with:\n{tail}")

    def when_ended(self, call: Callable[[], object]) -> None:
        """Call once when the process has ended, from another thread."""

        def watch() -> None:
            if self._child is not None:
                self._child.wait()
            call()

        threading.Thread(target=watch, name=f"watch-{self._name}", daemon=True).start()

    def has_ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        return self._child is not None and self._child.poll() is not None

    def stop(self) -> None:
        """End it, politely at first."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()
