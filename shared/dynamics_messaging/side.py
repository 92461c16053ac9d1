"""The rep's side of an open conversation: pushed by the webhook, swept now and then, written to by activities.

The webhook promises neither an order nor to deliver once, and its documented activities have neither id nor time. So
what waits is put into the order of GET messages, and of what looks the same only as much is passed on as is listed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared import events
from shared.dynamics_messaging import MESSAGING, briefing, inbox, listing, names
from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.listing import Sorted
from shared.dynamics_messaging.people import OVER as OVER_STATUSES
from shared.dynamics_messaging.pieces import Piece, pieces
from shared.dynamics_messaging.settings import Messaging
from shared.dynamics_messaging.webhook import entry, is_ours
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.handoff.text import cut, one_line
from shared.relay.words import entry_text
from shared.relay.cursor import short
from shared.relay.model import OVER, Conversation, CustomerMessage, RepEntry

QUIET_AFTER = timedelta(minutes=10)
"""While people write, the APIs themselves say that it is over; after that the work item is asked, too."""
SENDER_NAME_MAX = 256
CLOCKS_DIFFER = timedelta(seconds=0.5)
"""By so much Dynamics' clock may be behind ours. The more, the sooner a rep's equal words are taken for these."""


class Written(Protocol):
    """What the customer wrote: `shared.relay.model.CustomerSide.messages`."""

    def __call__(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        """The messages since that time, oldest first."""


class Status(Protocol):
    """The work item's state: `shared.dynamics_messaging.people.People.status`."""

    def __call__(self, conversation_id: str, *, deadline: float) -> int | None:
        """Its ``statuscode``."""


class MessagingSide:
    """Implements `shared.relay.model.RepSide`; entries are pushed, and `entries` is the slow net below.

    Args:
        client: the Messaging APIs.
        settings: channel rows, and who the workstream's own messages are from.
        written: what the customer wrote, by which a listing is told apart.
        status: the work item's state.
        now: the time of day.
    """

    polls = False

    def __init__(
        self,
        client: MessagingClient,
        *,
        settings: Callable[[], Messaging],
        written: Written,
        status: Status,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._settings = settings
        self._written = written
        self._status = status
        self._now = now
        self._begun: set[str] = set()

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        """What the other side has written since that time, as far as it is sure whose it is; and whether it is over.

        Raises:
            ConversationEnded: the APIs know no active conversation of that id.
            TransientFailure, ConfigurationFault: it cannot be found out now.
        """
        found = self._missed(conversation, since, deadline)
        if self._is_over(conversation, deadline):
            found.append(RepEntry(f"over:{conversation.conversation_id}", self._now(), kind=OVER))
        return found

    def arrange(self, conversation: Conversation, pushed: Sequence[RepEntry], *, deadline: float) -> Sequence[RepEntry]:
        """What waits in the inbox, in the order in which it was written, each thing once.

        Two honest messages that say the same are both listed, so both pass. When the listing cannot be had, the
        order of arrival holds and what is in doubt is left out; a message that was left out wrongly is listed, and
        the next sweep brings it.
        """
        waiting = inbox.rows(pushed, conversation)
        is_doubtful = any(row.is_doubtful for row in waiting)
        listed: list[RepEntry] = []
        counts: dict[str, int] | None = None
        if is_doubtful or inbox.needs_order(waiting):
            try:
                others = self._others(conversation, deadline, is_exact=is_doubtful)
                listed = inbox.as_entries(others, conversation.channel)
                counts = inbox.said(listed)
            except HandoffError as error:  # it is over, or the listing fails: the messages must not wait for that
                events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, code=error.code, messages=len(waiting))
        dropped = inbox.doubles(waiting, conversation, listed=counts)
        for row in dropped:
            events.emit(events.DYNAMICS_MESSAGING_DUPLICATE, entry_id=row.entry.id)
        return inbox.in_order([row for row in waiting if row not in dropped], listed)

    def send(self, conversation: Conversation, message: CustomerMessage, *, deadline: float) -> None:
        """Show the customer's message to the rep: its text, then each file.

        Raises:
            TransientFailure: with ``is_unclear`` some of it may have arrived: `has_sent` tells.
            ConversationEnded: there is no active conversation of that id.
            ConfigurationFault, PermanentFailure: it is refused.
        """
        wanted = pieces(message)
        left = wanted
        if message.id in self._begun:
            self._begun.discard(message.id)
            left = self._unsent(conversation, message, message.at, deadline)
        for piece in left:
            try:
                self._send(conversation, message, piece, deadline)
            except (TransientFailure, ConfigurationFault) as failure:
                if piece is wanted[0]:
                    raise
                raise TransientFailure(  # what went before has arrived
                    failure.message,
                    code=failure.code,
                    system=MESSAGING,
                    retry_after_seconds=getattr(failure, "retry_after_seconds", None),
                    is_unclear=True,
                ) from failure

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        """Whether all of a message is listed: as often as the customer has written the same up to it, and lately.

        A rep may have written the same, which the customer has not heard yet: so it also counts when it was listed.
        What is there in part is completed by the next `send`.

        Raises:
            ConversationEnded: there is no active conversation of that id.
            TransientFailure, ConfigurationFault: it cannot be found out now.
        """
        is_one = len(pieces(message)) == 1  # of several, some may be from an earlier try
        if not self._unsent(conversation, message, since if is_one else message.at, deadline):
            return True
        self._begun.add(message.id)
        return False

    def end(self, conversation: Conversation, *, deadline: float) -> None:
        """The customer has left: end it. Harmless when it has ended.

        Raises:
            TransientFailure, ConfigurationFault, PermanentFailure: it is not ended.
        """
        try:
            self._client.send(
                conversation.conversation_id,
                {"type": "endOfConversation"},
                channel_id=self._channel_id(conversation),
                deadline=deadline,
            )
        except ConversationEnded as ended:
            events.emit(events.DYNAMICS_MESSAGING_IGNORED, code=ended.code)

    def _send(self, conversation: Conversation, message: CustomerMessage, piece: Piece, deadline: float) -> None:
        name = conversation.details.get("customer_name") or one_line(message.name or "") or "Customer"
        sender = {"id": names.customer_id(conversation.handoff_id), "name": cut(name, SENDER_NAME_MAX)}
        channel_id = self._channel_id(conversation)
        for as_link in (False, True):
            activity = piece.activity(sender=sender, as_link=as_link)
            try:
                self._client.send(conversation.conversation_id, activity, channel_id=channel_id, deadline=deadline)
                return
            except PermanentFailure as refusal:
                if piece.file is None or as_link:
                    raise
                events.emit(events.PART_LEFT_OUT, code=refusal.code, part="attachment", entry_id=message.id)

    def _missed(self, conversation: Conversation, since: datetime, deadline: float) -> list[RepEntry]:
        try:
            listed = self._listed(conversation, deadline)
        except PermanentFailure as refusal:
            events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, code=refusal.code)
            return []
        carried = conversation.to_customer + conversation.to_rep
        if sum(not briefing.is_ours(each.text, conversation.handoff_id) for each in listed) == carried:
            return []  # all that is listed was carried: OpenCX need not be asked whose it is
        sorted_ = self._sorted(listed, conversation, deadline)
        if sorted_.unclear:
            events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, reason="sender_unknown", messages=sorted_.unclear)
        senders = self._settings().automated_senders
        found = [
            entry(each, conversation, at=each.at or self._now(), automated_senders=senders) for each in sorted_.theirs
        ]
        return [each for each in found if each.at >= since]

    def _is_over(self, conversation: Conversation, deadline: float) -> bool:
        """Whether the work item says so. A state that cannot be read holds up no message."""
        active_at = conversation.active_at or conversation.opened_at
        if conversation.has_rep and self._now() - active_at < QUIET_AFTER:
            return False
        try:
            return self._status(conversation.conversation_id, deadline=deadline) in OVER_STATUSES
        except HandoffError as error:
            events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, code=error.code)
            return False

    def _others(self, conversation: Conversation, deadline: float, *, is_exact: bool) -> Sequence[Activity]:
        """The listed messages that are not ours; without ``is_exact`` the customer's may be among them."""
        listed = self._listed(conversation, deadline)
        if not is_exact:
            return [each for each in listed if not is_ours(each, conversation)]
        return self._sorted(listed, conversation, deadline).others

    def _unsent(
        self, conversation: Conversation, message: CustomerMessage, since: datetime, deadline: float
    ) -> list[Piece]:
        """The pieces of a message that are not listed since that time."""
        try:
            listed = self._listed(conversation, deadline)
        except PermanentFailure as refusal:
            raise TransientFailure(refusal.message, code=refusal.code, system=MESSAGING, is_unclear=False) from refusal
        left = self._without_said(listed, conversation)
        for each in self._customers(conversation, deadline):
            if each.id == message.id:
                break
            for piece in pieces(each):
                _take(left, piece)
        lately = [each for each in left if each.at is None or each.at >= since - CLOCKS_DIFFER]
        return [piece for piece in pieces(message) if not _take(lately, piece)]

    def _without_said(self, listed: Sequence[Activity], conversation: Conversation) -> list[Activity]:
        """What may be the customer's: without our own texts, and without what was said to the customer.

        Whether a text that both sides have written is this one's or that one's does not matter: it is counted.
        """
        said = Counter(dict(conversation.said))
        own = names.customer_id(conversation.handoff_id)
        left: list[Activity] = []
        for each in listed:
            if each.is_marked or (each.sender_id != own and is_ours(each, conversation)):
                continue
            as_said = inbox.as_entries([each], conversation.channel)[0]
            text = short(entry_text(as_said))
            if each.sender_id != own and said[text] > 0:
                said[text] -= 1
                continue
            left.append(each)
        return left

    def _sorted(self, listed: Sequence[Activity], conversation: Conversation, deadline: float) -> Sorted:
        return listing.sort(
            listed,
            conversation,
            written=self._customers(conversation, deadline),
            automated_senders=self._settings().automated_senders,
        )

    def _listed(self, conversation: Conversation, deadline: float) -> list[Activity]:
        channel_id = self._channel_id(conversation)
        given = self._client.messages(conversation.conversation_id, channel_id=channel_id, deadline=deadline)
        return listing.activities(given)

    def _customers(self, conversation: Conversation, deadline: float) -> list[CustomerMessage]:
        """What the customer wrote after the transcript that the rep was given."""
        told = conversation.details.get("transcript_end")
        start = datetime.fromisoformat(told) if told else conversation.opened_at - QUIET_AFTER
        found = self._written(conversation, since=start, deadline=deadline)
        return [each for each in found if not told or each.at > start]

    def _channel_id(self, conversation: Conversation) -> str:
        known = conversation.details.get("channel_id")
        return known or self._settings().channel_id(conversation.channel)


def _take(listed: list[Activity], piece: Piece) -> bool:
    """Take one listed message that is this piece, if there is one."""
    found = next((each for each in listed if piece.is_in(each)), None)
    if found is not None:
        listed.remove(found)
    return found is not None
