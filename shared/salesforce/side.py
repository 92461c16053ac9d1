"""Salesforce as the rep's side of the relay: entries are fetched, the customer's words are sent."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.attachments import Fetched
from shared.errors import ConversationEnded, PermanentFailure
from shared.handoff.text import clean, one_line
from shared.relay.model import JOINED, LEFT, OVER, Conversation, CustomerMessage, File, RepEntry
from shared.salesforce import parts
from shared.salesforce.client import SalesforceClient, Session
from shared.salesforce.entry import KINDS, STATUSES, ids_of, payload_of, rep_entries
from shared.salesforce.files import Fetch
from shared.salesforce.grant import LARGEST_FILE_BYTES
from shared.salesforce.ids import derived
from shared.salesforce.token import Identity, TokenSource

TRANSFER_TAKES = timedelta(seconds=10)
"""How soon another rep follows, before a rep's leaving is looked into."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""How far Salesforce's clock may be from ours, when looking for what was sent at some time."""


@dataclass(frozen=True)
class _Piece:
    """One message of ours: a text, or a file that becomes a text where it cannot be one."""

    id: str
    text: str
    file: File | None = None


class SalesforceSide:
    """Implements `shared.relay.model.RepSide`.

    Args:
        client: calls the org.
        tokens: what they keep for a guest is forgotten when the conversation is over.
        reopens: whether a customer's message after the session's end begins a new session.
        fetch: fetches the customer's files; None: they stay links.
        now: the time of day.
    """

    polls = True

    def __init__(
        self,
        client: SalesforceClient,
        *,
        tokens: TokenSource,
        reopens: bool,
        fetch: Fetch | None,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._reopens = reopens
        self._fetch = fetch
        self._now = now
        self._lists_statuses = False
        """Whether this org's entries tell a session's status; older ones do not."""

    def entries(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[RepEntry]:
        """What happened since that time, oldest first, without the customer's own messages."""
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
        """Show the customer's message to the rep: its text, then its files."""
        pieces = _pieces(conversation, message)
        known: set[str] = set()
        if len(pieces) > 1:  # an earlier try may have been cut off between two of them
            known = self._known(conversation, since=message.at, deadline=deadline)
        for piece in pieces:
            if piece.id not in known:
                self._send(conversation, piece, deadline)

    def has_sent(
        self, conversation: Conversation, message: CustomerMessage, *, since: datetime, deadline: float
    ) -> bool:
        """Whether all of a message has arrived."""
        known = self._known(conversation, since=min(since, message.at), deadline=deadline)
        return all(piece.id in known for piece in _pieces(conversation, message))

    def end(self, conversation: Conversation, *, deadline: float) -> None:
        """The customer has left: end the session; a guest's conversation is closed for good."""
        identity = _identity(conversation)
        end = self._client.close_conversation if identity.is_guest else self._client.end_session
        with suppress(ConversationEnded, PermanentFailure):  # there is nothing to end
            end(conversation.conversation_id, identity=identity, deadline=deadline)
        self._tokens.forget(identity)

    def _send(self, conversation: Conversation, piece: _Piece, deadline: float) -> None:
        identity = _identity(conversation)
        session = Session(
            json.loads(conversation.details.get("attributes", "{}")), conversation.details.get("language", "en_US")
        )
        fetched = self._fetched(piece)
        if fetched is not None:
            try:
                self._client.send_file(
                    conversation.conversation_id,
                    piece.id,
                    name=(piece.file.name if piece.file else None) or fetched.name,
                    content=fetched.data,
                    identity=identity,
                    deadline=deadline,
                    session=session,
                    reopens=self._reopens,
                )
                return
            except PermanentFailure:
                pass  # the channel does not take it: its link goes instead
        self._client.send_text(
            conversation.conversation_id,
            piece.id,
            piece.text,
            identity=identity,
            deadline=deadline,
            session=session,
            reopens=self._reopens,
        )

    def _fetched(self, piece: _Piece) -> Fetched | None:
        if piece.file is None or not piece.file.url or self._fetch is None:
            return None
        fetched = self._fetch(piece.file.url)
        return fetched if fetched is not None and len(fetched.data) <= LARGEST_FILE_BYTES else None

    def _known(self, conversation: Conversation, *, since: datetime, deadline: float) -> set[str]:
        """The ids of the messages that are there since then."""
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
        if self._lists_statuses or not moves or moves[-1].kind != LEFT or moves[-1].at > self._now() - TRANSFER_TAKES:
            return []
        identity = _identity(conversation)
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


def _pieces(conversation: Conversation, message: CustomerMessage) -> list[_Piece]:
    """A message as what Salesforce takes; the same message always has the same ids."""

    def name(kind: str, number: int) -> str:
        return derived(conversation.conversation_id, kind, message.id, str(number))

    text = clean(message.text).strip()
    texts = parts.split(text) if text else []
    pieces = [_Piece(name("text", number), piece) for number, piece in enumerate(texts)]
    for number, file in enumerate(message.files):
        shown = one_line(" ".join(filter(None, (file.name, file.url))))
        if shown:
            pieces.append(_Piece(name("file", number), f"[attachment: {shown} ]", file))
    return pieces


def _milliseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
