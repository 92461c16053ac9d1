"""The rep's side of an open conversation: pushed by the webhook, swept now and then, written to by activities.

The webhook promises neither an order nor to deliver once, and its documented activities have neither id nor time. So
what waits is put into the order of GET messages, and of what looks the same only as much is passed on as is listed.
What the customer wrote is never deduplicated by Dynamics: whether it arrived is found by counting what is listed.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared import events
from shared.dynamics_messaging import MESSAGING, briefing, inbox, listing, lookup, names, spelling
from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.listing import Sorted
from shared.dynamics_messaging.people import OVER as OVER_STATUSES
from shared.dynamics_messaging.pieces import Piece, pieces
from shared.dynamics_messaging.settings import Messaging
from shared.dynamics_messaging.webhook import entry, is_ours
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.handoff.text import cut, one_line
from shared.relay import cursor, transcript
from shared.relay.model import MESSAGE, OVER, TO_REP, Conversation, CustomerMessage, RepEntry
from shared.relay.to_customer import REFUSED

QUIET_AFTER = timedelta(minutes=10)
"""While people write, the APIs themselves say that it is over; after that the work item is asked, too."""
PATIENT_LOOKS = 3
"""So many failed looks in a row, 14 seconds, what is in doubt waits for the listing, and what follows it too; after a
refusal, which rarely passes, one look, 30 seconds."""
SENDER_NAME_MAX = 256
PIECES_AFTER = timedelta(seconds=60)
"""By so much OpenCX's clock may be ahead of Dynamics': a message in several pieces is looked for since it was written,
for some may be from an earlier try."""


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
        home: the environment.
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
        home: str,
    ) -> None:
        self.home = home
        self._client = client
        self._settings = settings
        self._written = written
        self._status = status
        self._now = now
        self._begun: dict[str, set[str]] = {}
        self._waiting: dict[str, tuple[str, tuple[lookup.Waiting, ...]]] = {}

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        """What the other side has written since that time, as far as it is sure whose it is; and whether it is over.

        Of one that is known to be over last words are looked for, as long as the APIs list it.

        Raises:
            ConversationEnded: the APIs know no active conversation of that id, which is news.
            TransientFailure, ConfigurationFault: it cannot be found out now.
        """
        try:
            found = self._missed(conversation, since, deadline)
        except ConversationEnded as ended:
            if not conversation.ending:
                raise
            events.emit(events.DYNAMICS_MESSAGING_IGNORED, code=ended.code)
            return []
        if not conversation.ending and self._is_over(conversation, deadline):
            found.append(RepEntry(f"over:{conversation.conversation_id}", self._now(), kind=OVER))
        return found

    def arrange(self, conversation: Conversation, pushed: Sequence[RepEntry], *, deadline: float) -> Sequence[RepEntry]:
        """What waits in the inbox, in the order in which it was written, each thing once.

        Two honest messages that say the same are both listed, so both pass. When the listing cannot be had for
        several looks, the order of arrival holds and what is in doubt is left out; a message that was left out
        wrongly is listed, and the next sweep brings it, late and out of its order.

        Raises:
            TransientFailure, ConfigurationFault: something is in doubt, and the listing cannot be had this time.
        """
        waiting = inbox.rows(pushed, conversation)
        is_doubtful = any(row.is_doubtful for row in waiting)
        listed: list[RepEntry] = []
        counts: dict[str, int] | None = None
        if is_doubtful or inbox.needs_order(waiting):
            try:
                others = self._others(conversation, deadline, is_exact=is_doubtful)
                known = {*conversation.said, *(row.text for row in waiting)}
                listed = spelling.as_known(inbox.as_entries(others, conversation.channel), known)
                counts = inbox.said(listed)
            except HandoffError as error:  # it is over, or the listing fails: messages do not wait for it for long
                if is_doubtful and conversation.failures < _patience(error):
                    raise
                events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, code=error.code, messages=len(waiting))
        dropped = inbox.doubles(waiting, conversation, listed=counts)
        for row in dropped:
            events.emit(events.DYNAMICS_MESSAGING_DUPLICATE, entry_id=row.entry.id)
        kept = [row for row in waiting if row not in dropped]
        if conversation.claim is not None and conversation.claim.direction == TO_REP:
            told = [row for row in kept if row.entry.kind == MESSAGE and not row.is_handled]
            waits = tuple(lookup.Waiting(row.text, row.entry.at) for row in told)
            self._waiting[conversation.key] = (conversation.version, waits)
        return inbox.in_order(kept, listed)

    def send(self, conversation: Conversation, message: CustomerMessage, *, deadline: float) -> None:
        """Show the customer's message to the rep: its text, then each file.

        Raises:
            TransientFailure: with ``is_unclear`` some of it may have arrived: `has_sent` tells.
            ConversationEnded: there is no active conversation of that id.
            ConfigurationFault, PermanentFailure: it is refused.
        """
        wanted = pieces(message)
        left = wanted
        begun = self._begun.get(conversation.key, set())
        if message.id in begun:
            left = self._left(conversation, message, deadline)
            begun.discard(message.id)
        for piece in left:
            try:
                self._send(conversation, message, piece, deadline)
            except (TransientFailure, ConfigurationFault) as failure:
                if piece is wanted[0]:
                    raise
                raise _unclear(failure) from failure  # what went before has arrived

    def _left(self, conversation: Conversation, message: CustomerMessage, deadline: float) -> list[Piece]:
        """What of a message that was begun is not there yet. A failure is unclear: some of the message has arrived."""
        try:
            return self._unsent(conversation, message, message.at - PIECES_AFTER, deadline)
        except (TransientFailure, ConfigurationFault) as failure:
            raise _unclear(failure) from failure

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        """Whether all of a message is listed: once more than what was carried of the same words, and lately.

        Each message that was carried takes the oldest listed one of its words, whatever the clocks say. A rep may have
        written the same, which the customer has not heard yet: so what is left must also have been listed since the
        send began. What is there in part is completed by the next `send`.

        Raises:
            ConversationEnded: there is no active conversation of that id.
            TransientFailure, ConfigurationFault: it cannot be found out now.
        """
        is_one = len(pieces(message)) == 1  # of several, some may be from an earlier try
        earliest = since if is_one else message.at - PIECES_AFTER
        if not self._unsent(conversation, message, earliest, deadline):
            return True
        if not is_one:
            self._begun.setdefault(conversation.key, set()).add(message.id)
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

    def delivered(self, conversation: Conversation, entry_ids: Sequence[str], *, deadline: float) -> None:
        """Nothing: Dynamics knows only that a message was read (event MessageRead), which OpenCX does not tell."""

    def forget(self, conversation: Conversation) -> None:
        """It has ended for good: what was begun in it is never completed."""
        self._begun.pop(conversation.key, None)
        self._waiting.pop(conversation.key, None)

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
        is_plain = not any(each.is_told_in_text for each in listed)
        if is_plain and sum(not briefing.is_ours(each.text, conversation.handoff_id) for each in listed) == carried:
            return []  # all that is listed was carried: OpenCX need not be asked whose it is
        sorted_ = self._sorted(listed, conversation, deadline)
        if sorted_.unclear:
            events.emit(events.DYNAMICS_MESSAGING_UNCLEAR, reason="sender_unknown", messages=sorted_.unclear)
        senders = self._settings().automated_senders
        found = [
            entry(each, conversation, at=each.at or self._now(), automated_senders=senders) for each in sorted_.theirs
        ]
        known = {text.removeprefix(REFUSED) for text in conversation.said}
        return spelling.as_known([each for each in found if each.at >= since], known)

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
        written = self._customers(conversation, deadline)
        version, waiting = self._waiting.get(conversation.key, ("", ()))
        if version != conversation.version:  # it was told since
            waiting = ()
        return lookup.unsent(message, conversation, listed=listed, written=written, since=since, waiting=waiting)

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
        told, accepted_at = conversation.details.get(transcript.END), conversation.accepted_at
        if told:
            start = datetime.fromisoformat(told)
        else:
            start = cursor.since(accepted_at) if accepted_at else conversation.opened_at - QUIET_AFTER
        found = self._written(conversation, since=start, deadline=deadline)
        return [each for each in found if transcript.is_after(conversation.details, each)]

    def _channel_id(self, conversation: Conversation) -> str:
        known = conversation.details.get("channel_id")
        return known or self._settings().channel_id(conversation.channel)


def _patience(error: HandoffError) -> int:
    """For how many failed looks in a row a listing is waited for."""
    if isinstance(error, TransientFailure):
        return PATIENT_LOOKS
    return 1 if isinstance(error, ConfigurationFault) else 0


def _unclear(failure: TransientFailure | ConfigurationFault) -> TransientFailure:
    """The same, of a message of which some has arrived."""
    return TransientFailure(
        failure.message,
        code=failure.code,
        system=MESSAGING,
        retry_after_seconds=getattr(failure, "retry_after_seconds", None),
        is_unclear=True,
    )
