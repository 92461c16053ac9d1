"""OpenCX as the relay sees it: what reps write is said to the customer, what the customer writes is read.

Facts: docs.open.cx, API reference. ``POST …/send`` takes a message as an agent, with attachments by address, session
data (flat) and a flag that takes the session over from the AI; no key makes it safe to repeat, so `count_said` looks
the message up. The literal for an agent is shown nowhere: a setting names it. The history's order is not stated.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from shared import events
from shared.config.settings import Settings
from shared.errors import PermanentFailure
from shared.handoff.message import Message, flatten_all
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
    """One message of a history."""

    id: str
    at: datetime | None
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
            and (item.at is None or item.at >= since)
            and _form(item.turn.text, [_name(file) for file in item.files]) in forms
            for item in self._history(conversation, deadline)
        )

    def messages(self, conversation: Conversation, *, since: datetime, deadline: float) -> Sequence[CustomerMessage]:
        """What the customer wrote since that time, oldest first."""
        return [
            CustomerMessage(id=item.id, at=item.at, text=item.turn.text, name=item.turn.name, files=item.files)
            for item in self._history(conversation, deadline)
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

    def _history(self, conversation: Conversation, deadline: float) -> list[_Item]:
        """The session's messages, oldest first; those of one time in the order in which they were written."""
        found = _items(self._client.history(conversation.session_id, deadline=deadline))
        times = [item.at for item in found if item.at is not None]
        if times and times[0] > times[-1]:
            found.reverse()
        return sorted(found, key=lambda item: item.at or datetime.min.replace(tzinfo=UTC))


def side(settings: Settings, client: OpenCXClient) -> OpenCXSide:
    """The side as the settings say.

    Raises:
        ConfigurationFault: OPENCX_WRITE_BACK is malformed.
    """
    return OpenCXSide(
        client, sender=write_back.sender(settings), writes_ids=write_back.mode(settings) != write_back.OFF
    )


def _items(history: Sequence[Any]) -> list[_Item]:
    """The messages among a history's items; what is not one, or has a shape of tomorrow, is left out."""
    items: list[_Item] = []
    same: Counter[str] = Counter()
    for raw in history:
        flattened = flatten_all([raw])
        flat = flattened[0] if isinstance(flattened, list) else None
        if not isinstance(raw, dict) or not isinstance(flat, dict):
            continue
        try:
            turn = Message.model_validate(flat).to_turn()
        except ValidationError:
            continue
        given = raw.get("id")
        if not isinstance(given, str) or not given:  # older answers have none: the same item gets the same
            name = f"{raw.get('created_at')}\n{turn.role}\n{turn.text}"
            same[name] += 1
            given = digest(f"{name}\n{same[name]}")
        items.append(_Item(given, turn.at, turn, _files(turn, flat.get("attachments"))))
    return items


def _files(turn: Turn, attachments: object) -> tuple[File, ...]:
    kinds = attachments if isinstance(attachments, list) else []
    return tuple(
        File(attachment.name, attachment.url, _text(kind, "type") or _text(kind, "mime_type"))
        for attachment, kind in zip(turn.attachments, kinds, strict=False)
    )


def _text(data: object, name: str) -> str | None:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, str) and value else None


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
