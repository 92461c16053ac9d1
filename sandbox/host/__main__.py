"""`python -m sandbox.host --port N`: the Functions host alone, on the settings of the environment."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

import azure_functions_runtime as runtime  # type: ignore[import-untyped] # it has no py.typed

from sandbox.host.app import Host
from sandbox.host.http import describe, serve
from sandbox.host.keys import Keys
from sandbox.host.worker import AppLoadError
from sandbox.lifeline import wait_for_stop


class _WithInvocation(logging.Formatter):
    """Log lines with the invocation that wrote them, as they are found in Application Insights."""

    def format(self, record: logging.LogRecord) -> str:
        record.invocation = runtime.invocation_id_cv.get() or "-"
        return super().format(record)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithInvocation("%(asctime)s %(levelname)-7s %(invocation)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The library's own lines: the host's logLevel keeps them out of the log in Azure too.
    logging.getLogger("azure.functions").setLevel(logging.WARNING)
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)


def main() -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.host", description="The local Functions host.")
    parser.add_argument("--port", type=int, default=7071, help="0 takes a free one (default: 7071)")
    parser.add_argument("--app", type=Path, default=Path.cwd(), help="folder with function_app.py (default: here)")
    parser.add_argument("--no-triggers", action="store_true", help="HTTP only: no timers, no queues")
    parser.add_argument("--lifeline", action="store_true", help="stop when standard input ends")
    chosen = parser.parse_args()
    _log_to_stderr()
    made_up = [name for name in ("SANDBOX_FUNCTION_KEY", "SANDBOX_MASTER_KEY") if not os.environ.get(name)]
    keys = Keys.from_environment()
    lease = timedelta(seconds=float(os.environ.get("SANDBOX_MESSAGE_LEASE_SECONDS", "600")))
    try:
        with (
            Host(chosen.app.resolve(), keys=keys, message_lease=lease) as host,
            serve(host, chosen.port, triggers=not chosen.no_triggers) as server,
        ):
            lines = [f"Functions host on {server.url}", *describe(host, server.url)]
            if "SANDBOX_FUNCTION_KEY" in made_up:
                lines.append(f"  x-functions-key: {keys.function}")
            if "SANDBOX_MASTER_KEY" in made_up:
                lines.append(f"  master key: {keys.master}")
            print("\n".join(lines), flush=True)
            wait_for_stop(lifeline=chosen.lifeline)
    except (AppLoadError, OSError) as error:
        print(f"The Functions host did not start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
