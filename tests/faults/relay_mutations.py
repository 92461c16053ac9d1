"""Ways to break the relay, each a patch: whoever judges it must see it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from shared.ledger.conversations import TableConversations
from shared.opencx.side import OpenCXSide
from shared.relay import cursor
from shared.relay.held import Held
from shared.relay.lanes import WATCH_SECONDS
from shared.relay.model import Conversation
from shared.salesforce.side import SalesforceSide
from shared.wake import QueueWake


def no_claim() -> AbstractContextManager[Any]:
    """A message is sent without a trace of it being written before."""

    def send(_held: Held, _direction: str, _message_id: str, call: Callable[[], None]) -> bool:
        call()
        return True

    return patch.object(Held, "send", send)


@contextmanager
def no_look() -> Iterator[None]:
    """What an unclear answer left open is sent again without asking."""
    with (
        patch.object(OpenCXSide, "count_said", lambda *_args, **_options: 0),
        patch.object(SalesforceSide, "has_sent", lambda *_args, **_options: False),
    ):
        yield


def no_overlap() -> AbstractContextManager[Any]:
    """Entries are asked for from the newest one on."""

    def since(moment: datetime) -> datetime:
        return moment

    return patch.object(cursor, "since", since)


def last_write_wins() -> AbstractContextManager[Any]:
    """A conversation is written over whatever stands."""
    original = TableConversations.change

    def change(store: TableConversations, conversation: Conversation) -> Conversation | None:
        current = store.get(conversation.key)
        return original(store, replace(conversation, version=current.version)) if current is not None else None

    return patch.object(TableConversations, "change", change)


@contextmanager
def successor_late() -> Iterator[None]:
    """A lane's next message is put in when the look is over, not before it."""
    really_put = QueueWake.lane

    def lane(wake: QueueWake, name: str, sequence: int, *, delay_seconds: float) -> Any:
        if delay_seconds == WATCH_SECONDS:
            return name, sequence
        return really_put(wake, name, sequence, delay_seconds=delay_seconds)

    def sooner(wake: QueueWake, handle: Any, *, delay_seconds: float) -> None:
        really_put(wake, *handle, delay_seconds=delay_seconds)

    with patch.object(QueueWake, "lane", lane), patch.object(QueueWake, "sooner", sooner):
        yield


@contextmanager
def opened_over() -> Iterator[None]:
    """A conversation that is opened again begins anew."""
    original = TableConversations.open

    def open_(store: TableConversations, conversation: Conversation) -> Conversation:
        known = store.get(conversation.key)
        if known is None:
            return original(store, conversation)
        stored = store.change(replace(conversation, version=known.version))
        return stored or known

    with patch.object(TableConversations, "open", open_):
        yield
