"""Starts at once what a webhook has stored: woken by the queue opencx-handoffs, whose messages hold ids only."""

import azure.functions as func

from shared.app import application
from shared.wake import HANDOFFS

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.queue_trigger(arg_name="message", queue_name=HANDOFFS, connection="AzureWebJobsStorage")
def start_handoff(message: func.QueueMessage) -> None:
    """Go on with one stored handoff."""
    from shared.turnout import start_handoff as start  # noqa: PLC0415 - loaded with the first message

    start(application(), message.get_body())
