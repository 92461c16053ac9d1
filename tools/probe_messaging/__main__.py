"""`python3 dev.py probe-messaging`: what Microsoft's pages leave open, settled in a sandbox environment."""

import argparse
import logging
import os
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import TextIO

from shared.errors import ConfigurationFault, HandoffError
from tools.probe_messaging.budget import MINUTES
from tools.probe_messaging.desk import Ask, Desk, Play, Skipped, Stopped
from tools.probe_messaging.judge import LOGGER
from tools.probe_messaging.probe import Outcome, Parts, probe
from tools.probe_messaging.row import NOTHING, table
from tools.probe_messaging.script import SPARE
from tools.probe_messaging.stage import Pace

PERSON_SECONDS = 900.0
PLAYED = Pace(arrive=2.0, quiet=0.2, look=5.0, poll=0.1, again=1.5)
"""The stand-in is quick."""
SETTLED, OPEN, NOT_BEGUN, INTERRUPTED = 0, 1, 2, 130

_ABOUT = """Settles what Microsoft's pages on the Messaging APIs leave open. Run it against a SANDBOX environment: it
makes some ten conversations, which ring at the reps' desks, and asks you to answer one of them.

It takes the app settings from the environment, as the service does: DYNAMICS_*, and KEY_VAULT_URL or the secrets. For
the webhook: make a channel row for this alone (--channel-id), let a tunnel lead to --listen, and set the row's
msdyn_webhookurl to https://<tunnel>/<DYNAMICS_WEBHOOK_LOCK>. Each new address needs a new federated credential."""
_MARKS = """  ok: as the service takes it   set: with the setting it is   !!: the service does not cope   ??: not seen
exit code: 0 all is ok or set, 1 something is !! or ??, 2 it could not begin"""


def main(
    arguments: Sequence[str] | None = None, *, environ: Mapping[str, str] = os.environ, answers: TextIO = sys.stdin
) -> int:
    """Run it. Returns the exit code."""
    chosen = _parse(arguments)
    log = logging.getLogger(LOGGER)
    log.addHandler(logging.NullHandler())
    log.propagate = False  # what matters of it is in the table
    played = chosen.play_rep is not None
    desk: Desk = Play(chosen.play_rep) if played else Ask(say=_say, answers=answers, seconds=PERSON_SECONDS)
    try:
        outcome = probe(
            Parts.of(environ),
            desk,
            say=_say,
            listen_port=chosen.listen,
            channel_id=chosen.channel_id,
            without=frozenset(chosen.without),
            pace=PLAYED if played else None,
            minutes=chosen.minutes,
        )
    except HandoffError as error:
        fix = f"\n  {error.fix}" if isinstance(error, ConfigurationFault) else ""
        _say(f"It could not begin: {error.code}: {error.message}{fix}")
        return NOT_BEGUN
    except (Skipped, Stopped, OSError) as why:
        _say(f"It could not begin: {why}")
        return NOT_BEGUN
    except KeyboardInterrupt:
        _say("Stopped. Every conversation of this run was ended, as far as Dynamics has answered.")
        return INTERRUPTED
    _tell(outcome)
    return SETTLED if outcome.is_settled else OPEN


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 dev.py probe-messaging",
        description=_ABOUT,
        epilog=f"the table:\n{_MARKS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--listen", type=int, metavar="PORT", help="take the webhook on 127.0.0.1, behind your tunnel")
    parser.add_argument("--channel-id", type=_guid, metavar="GUID", help="channel row (default: the settings')")
    parser.add_argument(
        "--without", action="append", default=[], choices=SPARE, metavar="STEP", help=f"leave out: {', '.join(SPARE)}"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="stop after so many (default: %(default)g)")
    parser.add_argument("--play-rep", metavar="URL", help="play the rep by the stand-in's door at this address")
    return parser.parse_args(arguments)


def _tell(outcome: Outcome) -> None:
    width = min(max(shutil.get_terminal_size((140, 40)).columns, 100), 180)
    _say(f"\n{table(outcome.rows, width=width)}\n\n{_MARKS.splitlines()[0]}")
    _say(
        f"  {outcome.calls} calls, {outcome.throttled} of them answered 429; "
        f"the median call took {outcome.median_seconds:.2f} s"
    )
    wanted = [row.setting for row in outcome.rows if row.mark == "set"]
    unsettled = [row.name for row in outcome.rows if not row.is_settled]
    _say("\nSet:\n" + "\n".join(f"  {each}" for each in wanted or [NOTHING]))
    _say(f"Open: {', '.join(unsettled) or NOTHING}")


def _guid(text: str) -> str:
    return str(uuid.UUID(text))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
