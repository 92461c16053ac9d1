"""The steps, in their order."""

from collections.abc import Callable, Sequence

from shared.errors import HandoffError
from tools.probe_messaging import api_steps, desk_steps
from tools.probe_messaging.budget import Over
from tools.probe_messaging.desk import Skipped, Stopped
from tools.probe_messaging.seen import Seen
from tools.probe_messaging.stage import Stage

type Step = tuple[str, str, Callable[[Stage], None]]

STEPS: Sequence[Step] = (
    ("row", "Reading the channel row", api_steps.row),
    ("refusals", "Asking for a conversation that there is not", api_steps.refusals),
    ("create", "Creating a conversation, and once more while it is Open", api_steps.create),
    ("reads", "Reading messages, context and work item", api_steps.reads),
    ("customer", "Writing as the customer, and sending files", api_steps.customer),
    ("requests", "Creating twice with one conversationrequestid", api_steps.requests),
    ("pairs", "Creating twice at once with one customerid", api_steps.pairs),
    ("accept", "The rep accepts; once more a create, while it is Active", desk_steps.accept),
    ("say", "The rep writes", desk_steps.say),
    ("file", "The rep sends a file", desk_steps.file),
    ("attempts", "The rep writes, and the webhook refuses", desk_steps.attempts),
    ("transfer", "The rep transfers", desk_steps.transfer),
    ("tab", "The rep closes the tab with X; once more a create, while it is Waiting", desk_steps.tab),
    ("end", "The rep ends; once more a create, in Wrap-up", desk_steps.end),
    ("hours", "A conversation when nobody works", desk_steps.hours),
    ("later", "Fetching the rep's file again", desk_steps.later),
)
NAMES = tuple(name for name, _, _ in STEPS)
SPARE = ("customer", "requests", "pairs", "file", "attempts", "transfer", "tab", "hours")
"""The steps that may be left out, and their rows with them."""


def play(stage: Stage, *, without: frozenset[str] = frozenset()) -> Seen:
    """Go through the steps. What one of them cannot see, the others still do. Nothing stays open.

    Args:
        stage: the run.
        without: names of `SPARE`.
    """
    seen = stage.seen
    seen.has_listener = stage.listener is not None
    try:
        for name, title, step in STEPS:
            if name in without:
                continue
            stage.say(f"-- {title}")
            stage.phase(name)
            try:
                step(stage)
            except Skipped as skipped:
                seen.skipped[name] = str(skipped)
                stage.say(f"   left out: {skipped}")
            except HandoffError as error:
                seen.skipped[name] = f"{error.code}: {error.message}"
                stage.say(f"   failed: {error.code}: {error.message}")
    except (Stopped, Over) as why:
        stage.say(f"-- Stopped: {why}")
        seen.skipped.update({name: f"the run was stopped: {why}" for name in NAMES if name not in seen.skipped})
    finally:
        _tidy(stage)
    if stage.listener is not None:
        seen.activities = stage.listener.requests(stage.made)
    return seen


def _tidy(stage: Stage) -> None:
    """End what is still open."""
    stage.budget.more(minutes=2, calls=60)
    for conversation_id in stage.made:
        if conversation_id in stage.over:
            continue
        try:
            stage.api.send(conversation_id, {"type": "endOfConversation"})
        except (HandoffError, Over) as error:
            stage.say(f"   conversation {conversation_id} stays open: {error}")
