"""What GET messages lists, sorted by whose it is: it holds both ways, and need not say who wrote what.

Microsoft's page shows an empty ``from``. So what we have sent ourselves is taken out first: our texts by their first
line, the customer's messages by their words, each as often as it was sent. What is left is the rep's, but only if
everything that the customer wrote was found; else a message may be the customer's in another spelling, and nothing is
passed on that does not itself say whose it is. A customer must never hear their own words from us.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.dynamics_messaging import names
from shared.dynamics_messaging.activity import Activity, read
from shared.dynamics_messaging.pieces import Piece, pieces
from shared.dynamics_messaging.webhook import is_ours
from shared.relay.model import Conversation, CustomerMessage


@dataclass(frozen=True)
class Sorted:
    """A listing, sorted.

    Attributes:
        theirs: what the other side wrote, oldest first: reps, and the system.
        others: the same with what is unclear; the customer's may be among it.
        unclear: how many messages were left out because it cannot be told whose they are.
    """

    theirs: tuple[Activity, ...]
    others: tuple[Activity, ...]
    unclear: int = 0


def activities(listed: Iterable[Mapping[str, Any]]) -> list[Activity]:
    """The messages of a listing; events among them are left out, for the webhook and the work item tell of those.

    What is an event by its text alone stays: a customer may have written it, which `sort` finds out.
    """
    read_all = (read(each) for each in listed)
    return [
        each
        for each in read_all
        if each.is_told_in_text or (each.kind == "message" and (each.text.strip() or each.files))
    ]


def sort(
    listed: Sequence[Activity],
    conversation: Conversation,
    *,
    written: Sequence[CustomerMessage],
    automated_senders: frozenset[str] = frozenset(),
) -> Sorted:
    """Sort a listing of the whole conversation.

    Args:
        listed: from `activities`, oldest first.
        conversation: what has been carried so far.
        written: what the customer wrote since the handoff, oldest first.
        automated_senders: where there are such, a message without a sender may be the system's, and is left out.
    """
    rest = [each for each in listed if not is_ours(each, conversation) and not each.is_marked]
    marked = [each for each in listed if each.is_marked and not is_ours(each, conversation)]
    own = [each for each in listed if is_ours(each, conversation) and not each.is_marked]
    customers: list[Activity] = []
    lost = 0
    for message in written:
        for piece in pieces(message):
            found = _find(own, piece)
            if found is not None:
                own.remove(found)  # it says itself that it is the customer's
                customers.append(found)
                continue
            found = _find(rest, piece)
            if found is not None:
                rest.remove(found)
                customers.append(found)
            elif conversation.contact_cursor is not None and message.at <= conversation.contact_cursor:
                lost += 1
    rest = [each for each in rest if not each.is_told_in_text]
    marked = [each for each in marked if not each.is_told_in_text]
    our_id = names.customer_id(conversation.handoff_id)
    says_who = any(each.sender_id == our_id for each in (*own, *customers))
    senders = {each.sender_id for each in customers if each.sender_id}
    rest = [each for each in rest if each.sender_id not in senders]
    is_sure = lost <= conversation.undelivered

    def is_told(activity: Activity) -> bool:
        if says_who and activity.sender_id:
            return True
        return is_sure and not (automated_senders and not (activity.sender_id or activity.sender_name))

    theirs = [each for each in rest if is_told(each)]
    order = {id(each): place for place, each in enumerate(listed)}

    def ordered(found: Sequence[Activity]) -> tuple[Activity, ...]:
        return tuple(sorted(found, key=lambda each: order[id(each)]))

    return Sorted(ordered([*theirs, *marked]), ordered([*rest, *marked]), unclear=len(rest) - len(theirs))


def _find(listed: Sequence[Activity], piece: Piece) -> Activity | None:
    """The listed message that is this piece: the very same text before one that only looks like it."""
    return next((each for each in listed if piece.file is None and each.text == piece.text), None) or next(
        (each for each in listed if piece.is_in(each)), None
    )
