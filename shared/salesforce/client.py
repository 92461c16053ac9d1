"""Conversations as a few safe calls: authenticated, timed out, and with every failure sorted.

Facts: Salesforce's messaging API for custom clients, ``/iamessage/api/v2`` (reference: REST endpoints).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from shared.errors import ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.salesforce import CONVERSATION, SYSTEM, files, refusal
from shared.salesforce.entry import ids_of
from shared.salesforce.ids import derived
from shared.salesforce.settings import Access
from shared.salesforce.token import Identity, TokenSource
from shared.salesforce.wire import Reply, Wire

PAGE = 50
"""Entries that one call gives at most."""
MOST_PAGES = 200


@dataclass(frozen=True)
class Session:
    """What a new messaging session begins with: routing attributes and language."""

    attributes: Mapping[str, str]
    language: str


class SalesforceClient:
    """Calls one deployment. Every method raises TransientFailure and ConfigurationFault; ``deadline`` is monotonic.

    Where it says so a method raises ConversationEnded: Salesforce takes no more messages, or does not know the
    conversation; or a guest's token has expired.
    """

    def __init__(self, access: Access, *, wire: Wire, tokens: TokenSource) -> None:
        self._access = access
        self._wire = wire
        self._tokens = tokens

    def create(self, conversation_id: str, session: Session, *, identity: Identity, deadline: float) -> bool:
        """Begin a conversation, which routes it at once.

        Returns:
            True when it was made now, False when it was there.

        Raises:
            PermanentFailure: it is refused as it is, perhaps for an attribute.
            ConversationEnded: a guest's token has expired.
        """
        body = {
            "conversationId": conversation_id,
            "esDeveloperName": self._access.developer_name,
            "language": session.language,
            "routingAttributes": dict(session.attributes),
        }
        reply = self._call("POST", "/conversation", "create", identity, deadline, json_body=body)
        if reply.status == HTTPStatus.CONFLICT:
            return False
        self._judge(reply, refusal.of_create, system=SYSTEM)
        return True

    def send_text(
        self,
        conversation_id: str,
        message_id: str,
        text: str,
        *,
        identity: Identity,
        deadline: float,
        session: Session | None = None,
        reopens: bool = False,
    ) -> None:
        """Write as the customer.

        Args:
            conversation_id: where.
            message_id: ours; the entry bears it.
            text: at most some 4,000 characters.
            identity: the customer.
            deadline: by when.
            session: goes along with the message, should Salesforce begin a new session with it.
            reopens: whether to ask for that session where Salesforce does not begin one by itself (HTTP 417).

        Raises:
            ConversationEnded: see the class.
            PermanentFailure: this message is refused for good.
        """
        content = {"formatType": "Text", "text": text}
        body: dict[str, Any] = {
            "message": {"id": message_id, "messageType": "StaticContentMessage", "staticContent": content},
            "esDeveloperName": self._access.developer_name,
        }

        def post(given: dict[str, Any]) -> Reply:
            path = f"/conversation/{conversation_id}/message"
            return self._call("POST", path, "message", identity, deadline, json_body=given)

        reply = post({**body, **_attached(session, is_new=False)})
        if reply.status == HTTPStatus.EXPECTATION_FAILED and reopens and session is not None:
            reply = post({**body, **_attached(session, is_new=True)})
        self._judge_sent(reply, conversation_id, message_id, identity, deadline)

    def send_file(
        self,
        conversation_id: str,
        message_id: str,
        *,
        name: str,
        content: bytes,
        identity: Identity,
        deadline: float,
        session: Session | None = None,
        reopens: bool = False,
    ) -> None:
        """Send a file as the customer; see `send_text`.

        Raises:
            ConversationEnded: see the class.
            PermanentFailure: the channel takes no files, or none of this kind or size.
        """
        message = {"id": message_id, "fileId": derived("file", message_id)}
        body: dict[str, Any] = {"message": message, "esDeveloperName": self._access.developer_name}

        def post(given: dict[str, Any]) -> Reply:
            path = f"/conversation/{conversation_id}/file"
            encoded = files.form(given, name=name, content=content)
            return self._call("POST", path, "file", identity, deadline, body=encoded)

        reply = post(body)
        if reply.status == HTTPStatus.EXPECTATION_FAILED and reopens and session is not None:
            reply = post({**body, **_attached(session, is_new=True)})
        if reply.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
            message_text = f"The messaging channel does not take the file (HTTP {reply.status})."
            raise PermanentFailure(message_text, code="salesforce_file_refused")
        self._judge_sent(reply, conversation_id, message_id, identity, deadline)

    def entries(
        self,
        conversation_id: str,
        *,
        identity: Identity,
        kinds: str,
        deadline: float,
        since_ms: int | None = None,
    ) -> list[dict[str, Any]]:
        """All entries since that time, each once, as Salesforce gives them.

        Args:
            conversation_id: where.
            identity: the customer.
            kinds: entry types, with commas between them.
            deadline: by when.
            since_ms: milliseconds since 1970; None: from the start.

        Raises:
            ConversationEnded: see the class; another read has agreed.
        """
        try:
            return self._entries(conversation_id, identity, kinds, since_ms, deadline)
        except ConversationEnded as ended:
            self._confirm(ended, lambda: self._status(conversation_id, identity, deadline))
            raise

    def _entries(
        self, conversation_id: str, identity: Identity, kinds: str, since_ms: int | None, deadline: float
    ) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        start = since_ms
        for _ in range(MOST_PAGES):
            page = self._page(conversation_id, identity, kinds, start, deadline)
            fresh = {key: entry for entry in page for key in [_key(entry)] if key not in found}
            found.update(fresh)
            if len(page) < PAGE:
                return list(found.values())
            latest = max(_time(entry) for entry in page)
            # A page may end in the middle of a millisecond: it is asked for again, unless that brings nothing new.
            start = latest if fresh and latest != start else latest + 1
        message = "The conversation's entries do not end."
        raise TransientFailure(message, code="salesforce_bad_answer", system=CONVERSATION, is_unclear=False)

    def routing_status(self, conversation_id: str, *, identity: Identity, deadline: float) -> str:
        """``INITIAL``, ``NEEDS_ROUTING``, ``ROUTED``, ``TRANSFER`` or empty. Raises ConversationEnded as `entries`."""
        try:
            return self._status(conversation_id, identity, deadline)
        except ConversationEnded as ended:
            self._confirm(ended, lambda: self._page(conversation_id, identity, "Message", None, deadline))
            raise

    def acknowledge(
        self, conversation_id: str, entry_ids: Sequence[str], *, identity: Identity, deadline: float
    ) -> None:
        """Show the rep that these entries have been delivered. Raises ConversationEnded, PermanentFailure."""
        acks = [
            {"id": derived("delivered", each), "entryType": "Delivery", "conversationEntryId": each}
            for each in entry_ids
        ]
        path = f"/conversation/{conversation_id}/acknowledge-entries"
        # Best effort: a refusal of this call says nothing about the token that all others go by.
        token = self._tokens.get(identity, deadline=deadline)
        reply = self._wire.call(
            "POST",
            path,
            operation="acknowledge",
            deadline=deadline,
            token=token.value,
            json_body={"acks": acks},
            body=None,
        )
        self._judge(reply, refusal.of_conversation)

    def end_session(self, conversation_id: str, *, identity: Identity, deadline: float) -> None:
        """End the messaging session; the conversation stays. Raises ConversationEnded when there is none."""
        path = f"/conversation/{conversation_id}/session?{self._deployment}"
        self._judge_end(self._call("DELETE", path, "end_session", identity, deadline))

    def close_conversation(self, conversation_id: str, *, identity: Identity, deadline: float) -> None:
        """Close the conversation for good, as guests do. Raises ConversationEnded when it is closed."""
        path = f"/conversation/{conversation_id}?{self._deployment}"
        self._judge_end(self._call("DELETE", path, "close", identity, deadline))

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    @property
    def _deployment(self) -> str:
        return urlencode({"esDeveloperName": self._access.developer_name})

    def _status(self, conversation_id: str, identity: Identity, deadline: float) -> str:
        reply = self._call("GET", f"/conversation/{conversation_id}", "routing_status", identity, deadline)
        self._judge(reply, refusal.of_read)
        return str(reply.json().get("routingStatus") or "")

    @staticmethod
    def _confirm(ended: ConversationEnded, read: Callable[[], object]) -> None:
        """Return only when another read says, too, that the conversation is over. Raises TransientFailure."""
        if ended.is_shut_out:
            return
        try:
            read()
        except ConversationEnded as second:
            if second.is_shut_out:
                raise
            return
        message = f"Two reads of a conversation do not agree. {ended.message}"
        raise TransientFailure(message, code="salesforce_unavailable", system=SYSTEM, is_unclear=False) from ended

    def _page(
        self, conversation_id: str, identity: Identity, kinds: str, start: int | None, deadline: float
    ) -> list[dict[str, Any]]:
        query: dict[str, str | int] = {"limit": PAGE, "direction": "FromStart", "entryTypeFilter": kinds}
        if start is not None:
            query["startTimestamp"] = max(0, start)
        path = f"/conversation/{conversation_id}/entries?{urlencode(query, safe=',')}"
        reply = self._call("GET", path, "entries", identity, deadline)
        self._judge(reply, refusal.of_read)
        page = reply.json().get("conversationEntries")
        if not isinstance(page, list):
            message = "Salesforce sent an answer without entries."
            raise TransientFailure(message, code="salesforce_bad_answer", system=CONVERSATION, is_unclear=False)
        return [entry for entry in page if isinstance(entry, dict)]

    def _call(
        self,
        method: str,
        path: str,
        operation: str,
        identity: Identity,
        deadline: float,
        *,
        json_body: object = None,
        body: tuple[bytes, str] | None = None,
    ) -> Reply:
        """One call; once more after a 401: with a new token, or a guest's only one."""
        reply = Reply(0, {}, b"")
        for is_second in (False, True):
            token = self._tokens.get(identity, deadline=deadline)
            reply = self._wire.call(
                method,
                path,
                operation=operation,
                deadline=deadline,
                token=token.value,
                json_body=json_body,
                body=body,
            )
            if reply.status != HTTPStatus.UNAUTHORIZED:
                break
            self._tokens.refuse(identity, token, is_certain=is_second and refusal.is_expiry(reply))
        if reply.status == HTTPStatus.UNAUTHORIZED and identity.is_guest:
            raise refusal.uncertain(reply.status, is_unclear=False)
        return reply

    def _judge(self, reply: Reply, why: Callable[[Reply], HandoffError], *, system: str = CONVERSATION) -> None:
        error = refusal.general(reply, system=system, now=self._wire.now())
        if error is not None:
            raise error
        if not reply.is_success:
            raise why(reply)

    def _judge_end(self, reply: Reply) -> None:
        self._judge(reply, refusal.of_conversation)
        if reply.is_foreign:
            message = "An end was answered by something other than Salesforce."
            raise TransientFailure(message, code="salesforce_bad_answer", system=CONVERSATION)

    def _judge_sent(
        self, reply: Reply, conversation_id: str, message_id: str, identity: Identity, deadline: float
    ) -> None:
        """Judge a send; "it exists" is success when it is our own message that exists."""
        exists = reply.status == HTTPStatus.CONFLICT
        exists = exists or (reply.status == HTTPStatus.BAD_REQUEST and "already exists" in reply.says())
        if exists:
            known = self.entries(conversation_id, identity=identity, kinds="Message", deadline=deadline)
            if any(message_id in ids_of(entry) for entry in known):
                return
        self._judge(reply, refusal.of_conversation)
        if reply.is_foreign:
            message = "A message was answered by something other than Salesforce."
            raise TransientFailure(message, code="salesforce_bad_answer", system=CONVERSATION)


def _attached(session: Session | None, *, is_new: bool) -> dict[str, Any]:
    """What a message says of the session that it may begin."""
    if session is None:
        return {}
    attributes = {"routingAttributes": dict(session.attributes), "language": session.language}
    return {"isNewMessagingSession": True, **attributes} if is_new else attributes


def _key(entry: dict[str, Any]) -> str:
    return str(entry.get("identifier") or sorted(ids_of(entry)) or id(entry))


def _time(entry: dict[str, Any]) -> int:
    value = entry.get("transcriptedTimestamp")
    return value if isinstance(value, int) else 0
