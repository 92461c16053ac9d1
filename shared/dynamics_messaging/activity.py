"""An activity from Dynamics: what it is, who wrote it, what of it is for the customer.

Facts: Microsoft's page "Webhook" of the Messaging APIs. Its table says that events are of type ``event``, its samples
show type ``message`` with a name and a text that must never reach the customer; so both are taken for an event. A text
alone is weaker: anybody can write it, and who did has to be asked first (`Activity.is_told_in_text`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.dynamics_messaging import markdown
from shared.handoff.text import clean, cut, one_line
from shared.relay.model import JOINED, LEFT, OVER, UNANSWERED, File

AUTOMATED = "AutomatedMessage"
OURS = "messagingapi-oc"
LONGEST_NAME = 100

_EVENT_TEXT = re.compile(r"\s*EventName:\s*([*_\s]*)([A-Za-z0-9]+)[*_\s]*")
_EMPHASIS = "**_"
"""What Microsoft's samples have around the name, and nobody writes by hand."""
_MESSAGE_ID = re.compile(r"\d{13}")

KINDS = {
    "AgentAccepted": JOINED,
    "AgentJoinedCustomerConversation": JOINED,
    "AgentJoinedConversation": JOINED,
    "TransferAgentAcceptSession": JOINED,
    "AgentTransferAcceptedSession": JOINED,
    "PrimaryAgentEndConversation": OVER,
    "ConversationClose": OVER,
    "ConversationClosed": OVER,
    "SupervisorForceClosedConversation": OVER,
    "AgentEndSession": LEFT,
    "AgentEndedSession": LEFT,
    "AgentClosed": LEFT,
    "AgentDisconnected": LEFT,
    "TransferToQueueInitiated": LEFT,
    "CustomerDisconnected": LEFT,
    "CustomerDisconnectedAgentWaiting": LEFT,
    "OutOfOperatingHoursDueToNonWorkingHours": UNANSWERED,
    "OutOfOperatingHoursDueToHoliday": UNANSWERED,
}
"""What an event means. `LEFT` is "perhaps over": the work item's status says whether it is."""

QUIET = frozenset(
    {
        "AgentAssigned",
        "AgentStartSecondaryChannel",
        "AgentRaiseSecondaryChannel",
        "AgentEndSecondaryChannel",
        "AgentEndedConsult",
        "ConsultAgentInitiated",
        "ConsultAgentFailed",
        "ConsultAgentAcceptSession",
        "ConsultAgentEndSession",
        "ConsultAgentRejectSession",
        "ConsultAgentSessionTimedOut",
        "ConsultAgentRemoved",
        "ConsultAgentLeftPublicConversation",
        "TransferToAgentInitiated",
        "TransferToAgentFailed",
        "TransferAgentRejectSession",
        "TransferAgentTimedOutSession",
        "TransferToQueueFailed",
        "AgentTransferFailed",
        "QueueTransferFailed",
        "MessageRead",
    }
)
"""Known events that change nothing for the customer."""


@dataclass(frozen=True)
class Activity:
    """One activity, read.

    Attributes:
        kind: ``message``, ``typing``, ``event``, or the activity's own type.
        name: of an event.
        text: as it came.
        sender_id, sender_name: of ``from``; empty when nothing is told.
        message_id: the 13-digit id, when it is told.
        id: the activity's own id, when there is one.
        at: the activity's own time, when there is one.
        is_marked: it carries the mark of automated messages.
        is_told_in_text: it is an event by its text alone, and so may be a customer's or a rep's message.
    """

    kind: str
    name: str = ""
    text: str = ""
    files: tuple[File, ...] = ()
    sender_id: str = ""
    sender_name: str = ""
    message_id: str = ""
    id: str = ""
    at: datetime | None = None
    is_marked: bool = False
    is_told_in_text: bool = False

    def words(self, channel: str) -> str:
        """The text for the customer: as it is for the web, which shows Markdown, flattened for others.

        The same for the webhook's copy and the listed one, though one of them were trimmed.
        """
        text = clean(self.text).strip()
        return text if channel == "web" else markdown.flatten(text)

    def is_automated(self, senders: frozenset[str]) -> bool:
        """Whether the system wrote it: it is marked so, or its sender is one of these (in lower case)."""
        named = {self.sender_id.lower(), self.sender_name.lower()} - {""}
        return self.is_marked or bool(named & senders)

    @property
    def key(self) -> str:
        """The same for every delivery of the same thing: an id of Dynamics', else what it says."""
        if self.message_id:
            return f"m:{self.message_id}"
        if self.id:
            return f"a:{self.id}"
        files = [[file.name, file.url, file.content_type] for file in self.files]
        said = json.dumps([self.kind, self.name, self.sender_id, self.text, files])
        return f"h:{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def read(data: Mapping[str, Any]) -> Activity:
    """Read an activity of the webhook, or a message of GET messages, whatever the case of its keys.

    What has another shape than documented is read as absent; nothing is raised.
    """
    given = {str(key).lower(): value for key, value in data.items()}
    text = _text(given.get("text"))
    kind, name = _text(given.get("type")) or "message", _text(given.get("name"))
    in_text = _event_in(text)
    is_told_in_text = bool(in_text) and kind == "message" and not name
    if kind == "event" or name or is_told_in_text:
        kind, name = "event", name or in_text
    sender, extra = _lowered(given.get("from")), _lowered(given.get("channeldata"))
    mark = _lowered(extra.get(OURS))
    message_id = _text(given.get("messageid")) or _message_id(extra) or _digits(_text(given.get("id")))
    return Activity(
        kind=kind,
        name=name,
        text=text,
        files=_files(given.get("attachments")),
        sender_id=_text(sender.get("id")),
        sender_name=cut(one_line(_text(sender.get("name"))), LONGEST_NAME),
        message_id=message_id,
        id="" if message_id else _text(given.get("id"))[:200],
        at=_time(given.get("timestamp")) or _stamp(message_id),
        is_marked=_text(mark.get("type")) == AUTOMATED,
        is_told_in_text=is_told_in_text,
    )


def _event_in(text: str) -> str:
    """The event's name that a text tells: a known one, or one that is written as only Dynamics writes it."""
    found = _EVENT_TEXT.fullmatch(text)
    if found is None:
        return ""
    return found[2] if found[2] in KINDS or found[2] in QUIET or found[1].strip() == _EMPHASIS else ""


def _files(given: object) -> tuple[File, ...]:
    """The attachments that have an address; a card has none, and is no file."""
    if not isinstance(given, list):
        return ()
    found = (_lowered(each) for each in given[:50])
    return tuple(
        File(
            name=cut(one_line(_text(each.get("name")) or _last_part(_text(each.get("contenturl")))), 256) or None,
            url=_text(each.get("contenturl")),
            content_type=_text(each.get("contenttype"))[:256] or None,
        )
        for each in found
        if _text(each.get("contenturl"))
    )


def _last_part(url: str) -> str:
    """A file's name as its address has it. An address that comes again may be signed anew, a name stays."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""


def _message_id(extra: Mapping[str, Any]) -> str:
    """The id in ``channelData``, where public code and the stand-in look for it; Microsoft's pages do not say."""
    for place in (extra, *(_lowered(value) for value in extra.values() if isinstance(value, dict))):
        found = _digits(_text(place.get("messageid")))
        if found:
            return found
    return ""


def _digits(text: str) -> str:
    return text if _MESSAGE_ID.fullmatch(text) else ""


def _stamp(message_id: str) -> datetime | None:
    """The time in a 13-digit id: milliseconds since 1970 (page "Create conversation")."""
    return datetime.fromtimestamp(int(message_id) / 1000, UTC) if _MESSAGE_ID.fullmatch(message_id) else None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year > 1970 else None  # .NET writes 0001-01-01 for a time that is not set


def _lowered(data: object) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in data.items()} if isinstance(data, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)
