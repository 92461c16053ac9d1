"""`.sandbox/state.json`: where the running sandbox is, for whoever wants to talk to it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import psutil

from sandbox.standins import State, settings

ROOT = Path(__file__).resolve().parent.parent


class SandboxError(Exception):
    """The sandbox cannot start; the text says why and what to do."""


def folder() -> Path:
    """Where state, logs and certificate are: `SANDBOX_DIR`, else `.sandbox` in the project."""
    return Path(os.environ.get("SANDBOX_DIR") or ROOT / ".sandbox").resolve()


class StateFile:
    """The state of one sandbox, and the settings for a host (`settings.env`); both are gone when it ends."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "state.json"
        self._settings = directory / "settings.env"

    def check_free(self) -> None:
        """Raises SandboxError when a living sandbox uses this folder."""
        try:
            state = self.read()
        except (FileNotFoundError, ValueError):
            return
        pid = state.get("pids", {}).get("sandbox")
        if pid and psutil.pid_exists(pid):
            text = f"a sandbox is running already (process {pid}, {self._file})"
            raise SandboxError(f"{text}: stop it, or set SANDBOX_DIR to another folder")

    def exists(self) -> bool:
        """Whether a sandbox has said where it is."""
        return self._file.exists()

    def read(self) -> State:
        """The state as it is now. Raises FileNotFoundError when nothing runs."""
        state: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        return state

    def write(self, state: State) -> None:
        """Put the whole state in place at once: a reader never sees half of it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={shlex.quote(value)}" for name, value in settings(state).items()]
        lines += [f"{name}={shlex.quote(state['ca_file'])}" for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
        self._settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._file)

    def remove(self) -> None:
        """Say that nothing runs any more."""
        self._file.unlink(missing_ok=True)
        self._settings.unlink(missing_ok=True)
