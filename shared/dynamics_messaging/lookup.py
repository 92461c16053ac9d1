"""Whether what the customer wrote has arrived: looked up among what GET messages lists, and counted.

Dynamics never deduplicates what is sent to it (Microsoft's page "Send activity"), and does not promise to list the id
that we gave. So words are compared, and the same words are counted: each message that was carried takes one of them.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.dynamics_messaging import briefing, inbox, names, spelling
from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.pieces import Piece, pieces
from shared.dynamics_messaging.webhook import is_ours
from shared.relay import cursor
from shared.relay.model import Conversation, CustomerMessage
from shared.relay.words import entry_text

CLOCKS_DIFFER = timedelta(seconds=5)
"""By so much Dynamics' clock may be behind ours. The more, the sooner a rep's equal words are taken for these, where
no push has told of them yet and the listing does not say who wrote them."""


@dataclass(frozen=True)
class Waiting:
    """What a rep has written and the customer was not told yet.

    Attributes:
        text: its digest.
        at: when it was written, or came.
    """

    text: str
    at: datetime


def unsent(
    message: CustomerMessage,
    conversation: Conversation,
    *,
    listed: Sequence[Activity],
    written: Iterable[CustomerMessage],
    since: datetime,
    waiting: Sequence[Waiting] = (),
) -> list[Piece]:
    """The pieces of a message that are not listed.

    Each message that was carried takes the oldest listed one of its words, whatever the clocks say, and what is looked
    for comes after all of these. Of what is left only what was listed lately counts, for a rep may have written the
    same.

    Args:
        message: what is looked for.
        conversation: what has been carried so far.
        listed: the whole conversation, oldest first.
        written: what the customer wrote since the handoff, oldest first.
        since: when its send began, by our clock.
        waiting: what is listed, and not in ``conversation.said`` yet.
    """
    known = {*conversation.said, *(each.text for each in waiting)}
    left = _customers(listed, conversation, known)
    places = {id(each): place for place, each in enumerate(listed)}
    last = -1
    for each in written:
        if each.id != message.id and _was_carried(each, conversation):
            for piece in pieces(each):
                found = _take(left, piece)
                last = max(last, places[id(found)]) if found is not None else last
    after = [each for each in left if places[id(each)] > last]
    lately = [each for each in after if each.at is None or each.at >= since - CLOCKS_DIFFER]
    own = names.customer_id(conversation.handoff_id)
    for reps in waiting:
        if reps.at >= since - 2 * CLOCKS_DIFFER:  # else it was listed before
            found = next((each for each in lately if _said(each, conversation, known) == reps.text), None)
            if found is not None and found.sender_id != own:
                lately.remove(found)
    return [piece for piece in pieces(message) if _take(lately, piece) is None]


def _customers(listed: Sequence[Activity], conversation: Conversation, known: Container[str]) -> list[Activity]:
    """What may be the customer's: without our own texts, and without what was said to the customer.

    Whether a text that both sides have written is this one's or that one's does not matter: it is counted. Where the
    listing says which are the customer's, all others are not.
    """
    said = Counter(dict(conversation.said))
    own = names.customer_id(conversation.handoff_id)
    left: list[Activity] = []
    for each in listed:
        if each.is_marked or (each.sender_id != own and is_ours(each, conversation)):
            continue
        text = _said(each, conversation, known)
        if each.sender_id != own and said[text] > 0:
            said[text] -= 1
            continue
        left.append(each)
    owned = [each for each in left if each.sender_id == own]
    says_who = any(not briefing.is_ours(each.text, conversation.handoff_id) for each in owned)
    return owned if says_who else left


def _said(listed: Activity, conversation: Conversation, known: Container[str]) -> str:
    """The digest that a listed message would have if a rep had written it."""
    (as_said,) = spelling.as_known(inbox.as_entries([listed], conversation.channel), known)
    return cursor.short(entry_text(as_said))


def _was_carried(message: CustomerMessage, conversation: Conversation) -> bool:
    """Whether a message was carried; ids from long before the newest one are forgotten, and were."""
    if cursor.is_seen(conversation.contact_seen, message.id):
        return True
    newest = conversation.contact_cursor
    return newest is not None and message.at < cursor.since(newest) - cursor.OVERLAP


def _take(listed: list[Activity], piece: Piece) -> Activity | None:
    """Take one listed message that is this piece, if there is one."""
    found = next((each for each in listed if piece.is_in(each)), None)
    if found is not None:
        listed.remove(found)
    return found
