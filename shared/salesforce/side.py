"""Salesforce as the rep's side of the relay: entries are fetched, the customer's words are sent."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from shared.attachments import Fetched
from shared.config.clock import Clock
from shared.errors import ConversationEnded, PermanentFailure, TransientFailure
from shared.relay.model import JOINED, LEFT, OVER, Conversation, CustomerMessage, RepEntry
from shared.salesforce.client import SalesforceClient, Session
from shared.salesforce.doubt import Doubts
from shared.salesforce.entry import KINDS, STATUSES, ids_of, payload_of, rep_entries
from shared.salesforce.files import Fetch, fetch_deadline
from shared.salesforce.grant import LARGEST_FILE_BYTES
from shared.salesforce.piece import Piece, pieces
from shared.salesforce.remembered import Remembered
from shared.salesforce.settings import Access
from shared.salesforce.token import Identity, TokenSource

TRANSFER_TAKES = timedelta(seconds=10)
"""How soon another rep follows, before a rep's leaving is looked into."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""How far Salesforce's clock may be from ours, when looking for what was sent at some time."""
LINK_SECONDS = 2.5
"""Of a send, kept for the link of a file that Salesforce has not answered to in time."""
MOST_REMEMBERED = 5000
"""Pieces of messages that a side remembers, each by an id."""

_ENDS = frozenset({"salesforce_conversation_ended", "salesforce_conversation_unknown"})
_UNKNOWN = frozenset({"salesforce_conversation_unknown"})


class SalesforceSide:
    """Implements `shared.relay.model.RepSide`.

    Args:
        client: calls the org.
        tokens: what they keep for a guest is forgotten when the conversation is over.
        access: says whether a message after the session's end begins a new one, and which words are guarded.
        fetch: fetches the customer's files; None: they stay links.
        clock: the time.
    """

    polls = True

    def __init__(
        self,
        client: SalesforceClient,
        *,
        tokens: TokenSource,
        access: Access,
        fetch: Fetch | None,
        clock: Clock,
    ) -> None:
        self._client = client
        self._tokens = tokens
        self.home = access.home
        self._reopens = access.reopens
        self._sends_receipts = access.sends_receipts
        self._guarded = access.guarded_words
        self._fetch = fetch
        self._clock = clock
        self._doubts = Doubts(monotonic=clock.monotonic)
        self._arrived = Remembered(MOST_REMEMBERED)
        """Pieces that Salesforce has taken: what it has not listed yet is not sent twice."""
        self._links = Remembered(MOST_REMEMBERED)
        """Files that could not be fetched, or whose upload was not answered: no second try, their links go."""
        self._lists_statuses = False
        """Whether this org's entries tell a session's status; older ones do not."""

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        """What happened since that time, oldest first, without the customer's own messages."""
        with self._doubts.about(conversation.conversation_id, codes=_ENDS):
            listed = self._client.entries(
                conversation.conversation_id,
                identity=_identity(conversation),
                kinds=KINDS,
                since_ms=_milliseconds(since),
                deadline=deadline,
            )
        self._learn(listed)
        found = rep_entries(listed, since=since)
        found += self._silent_end(conversation, found, deadline)
        return found

    def arrange(self, conversation: Conversation, pushed: Sequence[RepEntry], *, deadline: float) -> Sequence[RepEntry]:  # noqa: ARG002
        """Nothing is pushed here; what was all the same is put in order."""
        return sorted({entry.id: entry for entry in pushed}.values(), key=lambda entry: entry.at)

    def send(self, conversation: Conversation, message: CustomerMessage, *, deadline: float) -> None:
        """Show the customer's message to the rep: its text, then its files.

        A file that cannot be fetched in time, or that Salesforce does not take, goes as its link.
        """
        every = self._pieces(conversation, message)
        known: set[str] = set()
        if len(every) > 1:  # an earlier try may have been cut off between two of them
            known = self._known(conversation, since=message.at, deadline=deadline)
        for piece in every:
            if piece.id not in known and piece.id not in self._arrived:
                with self._doubts.about(conversation.conversation_id, codes=_UNKNOWN):
                    self._send(conversation, piece, deadline)
                self._arrived.add(piece.id)

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        """Whether all of a message has arrived."""
        known = self._known(conversation, since=min(since, message.at), deadline=deadline)
        every = self._pieces(conversation, message)
        return all(piece.id in known for piece in every)

    def end(self, conversation: Conversation, *, deadline: float) -> None:
        """The customer has left: end the session; a guest's conversation is closed for good."""
        identity = _identity(conversation)
        end = self._client.close_conversation if identity.is_guest else self._client.end_session
        with suppress(ConversationEnded, PermanentFailure):  # there is nothing to end
            end(conversation.conversation_id, identity=identity, deadline=deadline)
        self._tokens.forget(identity)

    def delivered(self, conversation: Conversation, entry_ids: Sequence[str], *, deadline: float) -> None:
        """Show the rep that these messages have been delivered, unless SALESFORCE_RECEIPTS is false."""
        if self._sends_receipts:
            identity = _identity(conversation)
            self._client.acknowledge(conversation.conversation_id, entry_ids, identity=identity, deadline=deadline)

    def forget(self, conversation: Conversation) -> None:
        """The conversation has ended for good: forget what was kept for it, such as a guest's token.

        Harmless when there is nothing. After this a guest's conversation cannot be read any more.

        Raises:
            TransientFailure: the guest's token could not be deleted.
        """
        self._doubts.forget(conversation.conversation_id)
        self._tokens.forget(_identity(conversation))

    def _pieces(self, conversation: Conversation, message: CustomerMessage) -> list[Piece]:
        return pieces(conversation, message, guarded=self._guarded)

    def _send(self, conversation: Conversation, piece: Piece, deadline: float) -> None:
        session = Session(
            json.loads(conversation.details.get("attributes", "{}")), conversation.details.get("language", "en_US")
        )
        fetched = self._fetched(piece, deadline)
        if fetched is not None and self._has_sent_file(conversation, piece, fetched, session, deadline):
            return
        self._client.send_text(
            conversation.conversation_id,
            piece.id,
            piece.text,
            identity=_identity(conversation),
            deadline=deadline,
            session=session,
            reopens=self._reopens,
        )

    def _has_sent_file(
        self, conversation: Conversation, piece: Piece, fetched: Fetched, session: Session, deadline: float
    ) -> bool:
        """Send a file; False when it is not there for sure, and its link must go.

        Raises:
            TransientFailure: it may be there. Where it is not, the next send goes with the link.
        """
        kept = min(LINK_SECONDS, (deadline - self._clock.monotonic()) / 2)
        try:
            self._client.send_file(
                conversation.conversation_id,
                piece.id,
                name=(piece.file.name if piece.file else None) or fetched.name,
                content=fetched.data,
                identity=_identity(conversation),
                deadline=deadline - kept,
                session=session,
                reopens=self._reopens,
            )
        except PermanentFailure:
            return False  # the channel does not take it
        except TransientFailure as failure:
            if failure.is_unclear:
                self._links.add(piece.id)
                raise
            if failure.kind == "throttled":
                raise
            return False
        return True

    def _fetched(self, piece: Piece, deadline: float) -> Fetched | None:
        if piece.file is None or not piece.file.url or self._fetch is None or piece.id in self._links:
            return None
        fetched = self._fetch(piece.file.url, deadline=fetch_deadline(self._clock.monotonic(), deadline))
        if fetched is None or len(fetched.data) > LARGEST_FILE_BYTES:
            self._links.add(piece.id)  # should the link not get through now, it is not fetched once more
            return None
        return fetched

    def _known(self, conversation: Conversation, *, since: datetime, deadline: float) -> set[str]:
        """The ids of the messages that are there since then."""
        with self._doubts.about(conversation.conversation_id, codes=_ENDS):
            listed = self._client.entries(
                conversation.conversation_id,
                identity=_identity(conversation),
                kinds="Message",
                since_ms=_milliseconds(since - CLOCKS_DIFFER),
                deadline=deadline,
            )
        return {each for entry in listed for each in ids_of(entry)}

    def _learn(self, listed: Sequence[dict[str, object]]) -> None:
        self._lists_statuses = self._lists_statuses or any(
            payload_of(entry).get("entryType", entry.get("entryType")) == STATUSES for entry in listed
        )

    def _silent_end(self, conversation: Conversation, found: list[RepEntry], deadline: float) -> list[RepEntry]:
        """The end, where entries do not tell it: the rep has left, nobody has followed, and nobody is looked for."""
        moves = [entry for entry in found if entry.kind in (JOINED, LEFT)]
        if (
            self._lists_statuses
            or not moves
            or moves[-1].kind != LEFT
            or moves[-1].at > self._clock.now() - TRANSFER_TAKES
        ):
            return []
        identity = _identity(conversation)
        with self._doubts.about(conversation.conversation_id, codes=_ENDS):
            self._learn(
                self._client.entries(
                    conversation.conversation_id, identity=identity, kinds=STATUSES, since_ms=None, deadline=deadline
                )
            )
            if self._lists_statuses:
                return []
            status = self._client.routing_status(conversation.conversation_id, identity=identity, deadline=deadline)
        if status != "NEEDS_ROUTING":
            return []
        left = moves[-1]
        return [RepEntry(f"{left.id}:over", left.at, OVER, is_automated=True)]


def _identity(conversation: Conversation) -> Identity:
    details = conversation.details
    return Identity(details["subject"], is_guest=details.get("guest") == "true")


def _milliseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
