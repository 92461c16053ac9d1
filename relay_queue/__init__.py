"""Carries messages both ways while a conversation is open: woken by the queue opencx-relay, whose messages hold ids."""

import azure.functions as func

from shared.app import application
from shared.wake import RELAY

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.queue_trigger(arg_name="message", queue_name=RELAY, connection="AzureWebJobsStorage")
def relay_messages(message: func.QueueMessage) -> None:
    """Look at one lane, or at one conversation."""
    from shared.turnout import relay_messages as relay  # noqa: PLC0415 - loaded with the first message

    relay(application(), message.get_body())
