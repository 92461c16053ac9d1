"""The three reads, with their pages. Keys are spelled as each of Microsoft's pages spells them."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.consumer import Consumer
from sandbox.dynamics_messaging.conversation import OVER, Entry, Json
from sandbox.dynamics_messaging.omnichannel import Omnichannel
from sandbox.dynamics_messaging.refusals import (
    INVALID_CONVERSATIONS_PAGE,
    INVALID_MESSAGES_PAGE,
    INVALID_TIMESTAMP,
    INVALID_TOKEN,
    RefusalError,
)
from sandbox.wire import Request, Response

PAGE = 50
MAX_CONVERSATIONS = 250
MAX_MESSAGES = 100
_NUMBER = re.compile(r"[0-9]{1,6}")


class Reads:
    """Answers the GETs. Raises RefusalError."""

    def __init__(self, desk: Omnichannel, consumer: Consumer) -> None:
        self._desk = desk
        self._consumer = consumer
        self.reset()

    def reset(self) -> None:
        """No continuation token is good any more."""
        self._pages: dict[str, str] = {}
        self._stamps: set[tuple[str, str]] = set()

    def conversations(self, request: Request, channel: Channel) -> Response:
        """Those of the channel that are not over, created after `StartTimeStamp`, oldest first."""
        query = dict(parse_qsl(request.query))
        size = _size(query, MAX_CONVERSATIONS, INVALID_CONVERSATIONS_PAGE)
        after = _after(query)
        token = query.get("ContinuationToken")
        if token is not None and token not in self._pages:
            raise RefusalError(400, INVALID_TOKEN, "The continuation token is invalid. Use the same token as before.")
        everything = [one for one in self._desk.conversations() if one.channel_id == channel.id.lower()]
        start = 0
        if token is not None:
            # A token names the last conversation that was shown: its place stays right when others end.
            start = next(i for i, one in enumerate(everything) if one.id == self._pages[token]) + 1
        matching = [one for one in everything[start:] if one.state not in OVER and one.created_at > after]
        shown = matching[:size]
        following: str | None = None
        if shown and (len(matching) > size or self._desk.switches.continuation_until_empty):
            following = str(uuid.uuid4())
            self._pages[following] = shown[-1].id
        listed = [{"conversationid": one.id, "timestamp": _seven_digits(one.created_at)} for one in shown]
        return Response.json({"conversations": listed, "continuationtoken": following})

    def messages(self, request: Request, channel: Channel, conversation_id: str) -> Response:
        """The messages both ways after `StartTimeStamp`, oldest first."""
        with self._consumer.active(conversation_id, channel) as conversation:
            query = dict(parse_qsl(request.query))
            size = _size(query, MAX_MESSAGES, INVALID_MESSAGES_PAGE)
            after = _after(query)
            token = query.get("ContinuationToken")
            if token is not None and (conversation.id, token) not in self._stamps:
                text = "The continuation token is invalid. Use the same token as before."
                raise RefusalError(400, INVALID_TOKEN, text)
            matching = [one for one in conversation.listed() if one.stamp.timestamp() > after]
            if token is not None:
                start = datetime.fromisoformat(token)
                matching = [one for one in matching if one.stamp >= start]
            shown = matching[:size]
            following: str | None = None
            if shown and (len(matching) > size or self._desk.switches.continuation_until_empty):
                following = _offset(shown[-1].stamp + timedelta(milliseconds=1))
                self._stamps.add((conversation.id, following))
            listed = [self._message(one) for one in shown]
        return Response.json({"messages": listed, "continuationToken": following})

    def context(self, channel: Channel, conversation_id: str) -> Response:
        """The context variables, those that are visible already."""
        with self._consumer.active(conversation_id, channel) as conversation:
            now = self._desk.now()
            shown = [
                {"name": name, "value": one.value}
                for name, one in conversation.context.items()
                if one.visible_at <= now
            ]
        return Response.json({"context": shown})

    def _message(self, entry: Entry) -> Json:
        sender: Json = {}
        shape = self._desk.switches.messages_from
        if shape != "empty":
            names = ("id",) if shape == "id" else ("id", "name")
            sender = {name: entry.sender[name] for name in names if name in entry.sender}
        return {
            "type": "message",
            "attachments": list(entry.attachments),
            "text": entry.text,
            "messageId": entry.message_id,
            "timestamp": _offset(entry.stamp),
            "from": sender,
            "channelData": entry.channel_data if shape == "full" else {},
        }


def _size(query: dict[str, str], limit: int, code: int) -> int:
    given = query.get("PageSize")
    if given is None:
        return PAGE
    if not _NUMBER.fullmatch(given) or not 1 <= int(given) <= limit:
        raise RefusalError(400, code, f"PageSize must be null or between 1 and {limit}.")
    return int(given)


def _after(query: dict[str, str]) -> float:
    given = query.get("StartTimeStamp")
    if given is None:
        return 0.0
    try:
        parsed = datetime.fromisoformat(given)
    except ValueError as error:
        raise RefusalError(400, INVALID_TIMESTAMP, "StartTimeStamp is not an ISO 8601 time.") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _offset(stamp: datetime) -> str:
    return stamp.astimezone(UTC).isoformat(timespec="milliseconds")


def _seven_digits(seconds: float) -> str:
    """As .NET writes a time: ticks of 100 ns."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
