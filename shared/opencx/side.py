"""OpenCX as the relay sees it: what reps write is said to the customer, what the customer writes is read.

Facts: docs.open.cx, API reference. ``POST …/send`` takes a message as an agent, with attachments by address, session
data (flat) and a flag that takes the session over from the AI; no key makes it safe to repeat, so `count_said` looks
the message up. The literal for an agent is shown nowhere: a setting names it. The history's order is not stated.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from urllib.parse import unquote, urlsplit

from shared import events
from shared.config.settings import Settings
from shared.errors import PermanentFailure
from shared.handoff.message import message_of, time_of
from shared.handoff.model import AGENT, CUSTOMER, Turn
from shared.handoff.text import clean, one_line
from shared.opencx import write_back
from shared.opencx.client import REFUSED, OpenCXClient
from shared.relay.model import Conversation, CustomerMessage, File, RepEntry, digest

CLOSED = {"status": "closed_resolved"}
CLOSED_QUIETLY = {
    **CLOSED,
    "generate_summary_and_sentiment_on_resolve": True,
    "reflect_status_change_for_integration": False,
}
"""Not mirrored: the rep's side has ended already, and a native integration must not hear of it."""

_ID_NAMES = {"salesforce": "salesforce_conversation_id", "dynamics365": "dynamics365_chat_id"}


@dataclass(frozen=True)
class _Item:
    """One message of a history.

    Attributes:
        at: its time, or that of the item before it; None: nothing that was read has a time.
        latest: when it was written at the latest, as far as what was read tells.
    """

    id: str
    at: datetime | None
    latest: datetime | None
    turn: Turn
    files: tuple[File, ...]


class OpenCXSide:
    """Implements `shared.relay.model.CustomerSide`.

    Args:
        client: OpenCX's API.
        sender: what an agent is called in ``sender``.
        writes_ids: whether the first message also stores the conversation's id with the session.
    """

    def __init__(self, client: OpenCXClient, *, sender: str = "agent", writes_ids: bool = True) -> None:
        self._client = client
        self._sender = sender
        self._writes_ids = writes_ids

    def say(self, conversation: Conversation, entry: RepEntry, *, deadline: float) -> None:
        """Send what a rep wrote; what OpenCX refuses is sent again with less in it: links, then the bare words.

        Raises:
            TransientFailure: with ``is_unclear`` it may have arrived all the same: `count_said` tells.
            ConfigurationFault: the key is refused.
            PermanentFailure: there is no such session, or not even the bare words are taken.
        """
        bodies = self._bodies(conversation, entry)
        for body, following in zip(bodies, [*bodies[1:], None], strict=True):
            try:
                self._client.send(conversation.session_id, body, deadline=deadline)
                return
            except PermanentFailure as refusal:
                if refusal.code != REFUSED or following is None:
                    raise
                left_out = ", ".join(sorted(_parts(body) - _parts(following)))
                events.emit(events.PART_LEFT_OUT, code=refusal.code, part=left_out, entry_id=entry.id)

    def count_said(self, conversation: Conversation, entry: RepEntry, *, since: datetime, deadline: float) -> int:
        """How many of an agent's messages since then have this text and these files, in any form that `say` sends."""
        forms = {_form(text, [_name(file) for file in files]) for text, files in _forms(entry)}
        return sum(
            item.turn.role == AGENT
            and (item.latest is None or item.latest >= since)
            and _form(item.turn.text, [_name(file) for file in item.files]) in forms
            for item in self._history(conversation, since, deadline)
        )

    def messages(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        """What the customer wrote since that time, oldest first."""
        return [
            CustomerMessage(id=item.id, at=item.at, text=item.turn.text, name=item.turn.name, files=item.files)
            for item in self._history(conversation, since, deadline)
            if item.turn.role == CUSTOMER and item.at is not None and item.at >= since
        ]

    def close(self, conversation: Conversation, *, deadline: float) -> None:
        """Resolve the session. Harmless when it is closed."""
        try:
            self._client.change(conversation.session_id, CLOSED_QUIETLY, deadline=deadline)
        except PermanentFailure as refusal:
            if refusal.code != REFUSED:
                raise
            session = self._client.session(conversation.session_id, deadline=deadline)
            if not str(session.get("status")).startswith("closed"):
                self._client.change(conversation.session_id, CLOSED, deadline=deadline)

    def _bodies(self, conversation: Conversation, entry: RepEntry) -> list[dict[str, Any]]:
        """What to send: the whole, then each time with less in it; equal ones once."""
        extra: dict[str, Any] = {}
        if entry.author:
            extra["agent"] = {"name": one_line(entry.author)}
        if conversation.to_customer == 0:
            extra["should_take_over_session_from_ai"] = True
            name = _ID_NAMES.get(conversation.system)
            if name and self._writes_ids:
                extra["custom_data"] = {name: conversation.conversation_id}
        (text, files), (linked, _) = _forms(entry)
        bodies = [
            {"sender": self._sender, "message": _message(text, files), **extra},
            {"sender": self._sender, "message": _message(linked, ()), **extra},
            {"sender": self._sender, "message": _message(linked, ())},
        ]
        return [body for place, body in enumerate(bodies) if body not in bodies[:place]]

    def _history(self, conversation: Conversation, since: datetime, deadline: float) -> list[_Item]:
        """The session's messages since then, and some before: oldest first, those of one time as they were written."""
        return _items(self._client.history_since(conversation.session_id, since=since, deadline=deadline))


def side(settings: Settings, client: OpenCXClient) -> OpenCXSide:
    """The side as the settings say.

    Raises:
        ConfigurationFault: OPENCX_WRITE_BACK is malformed.
    """
    return OpenCXSide(
        client, sender=write_back.sender(settings), writes_ids=write_back.mode(settings) != write_back.OFF
    )


def _items(history: Sequence[Any]) -> list[_Item]:
    """The messages among a history's items, oldest first; what is not one, or has a shape of tomorrow, is left out."""
    items: dict[str, _Item] = {}
    same: Counter[str] = Counter()
    for raw, at, latest in _dated(history):
        message = message_of(raw)
        if message is None:
            continue
        turn = message.to_turn()
        given = raw.get("id")
        if not isinstance(given, str) or not given:  # older answers have none: the same item gets the same
            when = raw.get("created_at") if time_of(raw) else at
            name = f"{when}\n{turn.role}\n{turn.text}"
            same[name] += 1
            given = digest(f"{name}\n{same[name]}")
        files = tuple(File(file.name, file.url, file.content_type) for file in message.attachments or ())
        items.setdefault(given, _Item(given, at, latest, turn, files))  # a page that moved meanwhile repeats some
    return sorted(items.values(), key=lambda item: item.at or datetime.min.replace(tzinfo=UTC))


def _dated(history: Sequence[Any]) -> list[tuple[Any, datetime | None, datetime | None]]:
    """A history's items, oldest first as far as its order tells, each with its time, and the latest that it can be.

    One without a time gets that of the item before it, which stays what it is whatever is written later; the first
    ones get that of the item after them. How late one can be is not known where the times tell no order.
    """
    known = [at for at in map(time_of, history) if at is not None]
    raws = list(reversed(history)) if known and known[0] > known[-1] else list(history)
    times = [time_of(raw) for raw in raws]
    earlier = list(accumulate(times, _own_or))
    later = list(accumulate(reversed(times), _own_or))[::-1]
    latest = later if known and known[0] != known[-1] else times
    return [(raw, before or after, end) for raw, before, after, end in zip(raws, earlier, later, latest, strict=True)]


def _own_or(neighbour: datetime | None, own: datetime | None) -> datetime | None:
    return own or neighbour


def _forms(entry: RepEntry) -> tuple[tuple[str, tuple[File, ...]], tuple[str, tuple[File, ...]]]:
    """The text and the attachments of a message: with the files attached, and with their addresses in the text."""
    attached = tuple(file for file in entry.files if file.url)
    unreachable = [f"[{_name(file)}]" for file in entry.files if not file.url]
    links = [f"{_name(file)}: {file.url}" for file in attached]
    text = clean(entry.text)
    whole = "\n".join(filter(None, [text, *unreachable]))
    linked = "\n".join(filter(None, [text, *unreachable, *links]))
    return (whole, attached), (linked, ())


def _form(text: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What two messages are compared by: white space and the order of files do not count."""
    return " ".join(clean(text).split()), tuple(sorted(names))


def _name(file: File) -> str:
    """A file's name, else the last part of its address: OpenCX may keep a copy at an address of its own."""
    path = urlsplit(file.url).path if file.url else ""
    return one_line(file.name or unquote(path.rpartition("/")[2]) or "file")


def _message(text: str, files: Sequence[File]) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "text", "text": text}
    if files:
        message["attachments"] = [
            {"name": _name(file), "url": file.url, **({"mime_type": file.content_type} if file.content_type else {})}
            for file in files
        ]
    return message


def _parts(body: Mapping[str, Any]) -> set[str]:
    return {*body, *(f"message.{name}" for name in body["message"])}
