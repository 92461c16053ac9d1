"""`python -m sandbox`: Azurite and the stand-ins; with `run` also the Functions host and the samples."""

from __future__ import annotations

import argparse
import sys

from sandbox.azurite import AzuriteError
from sandbox.lifeline import wait_for_stop
from sandbox.run import run
from sandbox.standins import StandIns
from sandbox.state import SandboxError, StateFile, folder


def stand_ins(*, lifeline: bool) -> int:
    """Start everything but the host, and stay until a signal or the end of the starter."""
    file = StateFile(folder())
    file.check_free()
    with StandIns(folder()) as running:
        state = running.state()
        file.write(state)
        try:
            for name in ("entra", "key_vault", "dataverse", "dynamics_messaging", "salesforce", "opencx"):
                print(f"{name:<18} {state[name]['url']}")
            print(f"{'tables':<18} {state['tables']['endpoint']}")
            print(f"Where everything is: {folder() / 'state.json'}")
            print(f"A host on it: set -a; . {folder() / 'settings.env'}; set +a; python3 dev.py host")
            print("Ctrl-C stops it.", flush=True)
            wait_for_stop(lifeline=lifeline)
        finally:
            file.remove()
    return 0


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Azurite and the stand-ins.")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    commands = parser.add_subparsers(dest="command")
    running = commands.add_parser("run", help="also the Functions host, and a sample handoff a channel")
    running.add_argument("--once", action="store_true", help="exit after the samples: 0 only if all landed")
    running.add_argument("--port", type=int, default=None, help="of the host (default: 7071 if free)")
    chosen = parser.parse_args()
    try:
        if chosen.command == "run":
            return run(once=chosen.once, port=chosen.port)
        return stand_ins(lifeline=chosen.lifeline)
    except (AzuriteError, SandboxError) as error:
        print(f"The sandbox did not start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
