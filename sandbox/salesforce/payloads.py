"""Entry payloads, as Salesforce's schema has them (`outbound-custom-event-payload.yaml` of salesforce-misc)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from sandbox.salesforce.model import Json, Participant, Session, StoredFile

MESSAGE = "Message"
PARTICIPANT_CHANGED = "ParticipantChanged"
ROUTING_RESULT = "RoutingResult"
SESSION_STATUS_CHANGED = "SessionStatusChanged"
LISTED = frozenset({MESSAGE, PARTICIPANT_CHANGED, ROUTING_RESULT, SESSION_STATUS_CHANGED})
EVENTS = {
    MESSAGE: "CONVERSATION_MESSAGE",
    PARTICIPANT_CHANGED: "CONVERSATION_PARTICIPANT_CHANGED",
    ROUTING_RESULT: "CONVERSATION_ROUTING_RESULT",
    SESSION_STATUS_CHANGED: "CONVERSATION_SESSION_STATUS_CHANGED",
    "RoutingWorkResult": "CONVERSATION_ROUTING_WORK_RESULT",
    "CloseConversation": "CONVERSATION_CLOSE_CONVERSATION",
    "TypingStartedIndicator": "CONVERSATION_TYPING_STARTED_INDICATOR",
    "TypingStoppedIndicator": "CONVERSATION_TYPING_STOPPED_INDICATOR",
}
_URL = r"https?://\S+"
_WITH_LINKS = re.compile(rf"\s*(?P<first>{_URL})?(?P<rest>.*?)(?P<last>(?:(?<=\s)|^){_URL})?\s*", re.DOTALL)


def new_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


def pieces(text: str) -> list[tuple[bool, str]]:
    """Cut a text as Salesforce does: a URL at its start or end becomes an entry of its own.

    Returns:
        (whether it is a link, the text) in order; at least one.
    """
    found = _WITH_LINKS.fullmatch(text)
    if found is None or not (found["first"] or found["last"]):
        return [(False, text)]
    rest = found["rest"].strip()
    cut = [(True, found["first"]), (False, rest), (True, found["last"])]
    return [(link, part) for link, part in cut if part]


def _message(identifier: str, static: Json, *, reply_to: str | None = None, reason: str | None = None) -> Json:
    body: Json = {
        "messageType": "StaticContentMessage",
        "id": identifier,
        "inReplyToMessageId": reply_to,
        "references": [],
        "staticContent": static,
    }
    return {"entryType": MESSAGE, "id": identifier, "abstractMessage": body, "messageReason": reason}


def text(identifier: str, words: str, *, reply_to: str | None = None, reason: str | None = None) -> Json:
    """A text message; `reason` is `AutomatedResponse` for one that nobody wrote."""
    return _message(identifier, {"formatType": "Text", "text": words}, reply_to=reply_to, reason=reason)


def link(identifier: str, url: str, title: str, *, reply_to: str | None = None) -> Json:
    """A link preview."""
    item = {"itemType": "TitleLinkItem", "titleItem": {"itemType": "TitleItem", "title": title}, "url": url}
    image = {"assetId": None, "mimeType": None, "url": None}
    static = {"formatType": "RichLink", "text": None, "linkItem": item, "image": image}
    return _message(identifier, static, reply_to=reply_to)


def attachments(identifier: str, caption: str | None, files: Sequence[StoredFile]) -> Json:
    """A message with files."""
    shown = [
        {
            "id": one.id,
            "name": one.name,
            "mimeType": one.mime_type,
            "url": one.url,
            "referenceId": new_id(),
            "attachmentUploadResult": None,
        }
        for one in files
    ]
    return _message(identifier, {"formatType": "Attachments", "text": caption, "attachments": shown})


def choices(identifier: str, question: str, titles: Sequence[str]) -> Json:
    """Buttons to choose from."""
    options = [
        {
            "itemType": "TitleOptionItem",
            "optionIdentifier": new_id(),
            "titleItem": {"itemType": "TitleItem", "title": title, "subTitle": None},
        }
        for title in titles
    ]
    body: Json = {
        "messageType": "ChoicesMessage",
        "id": identifier,
        "inReplyToMessageId": None,
        "references": [],
        "choices": {"formatType": "Buttons", "text": question, "optionItems": options},
    }
    return {"entryType": MESSAGE, "id": identifier, "abstractMessage": body, "messageReason": None}


def participant_changed(operation: str, who: Participant) -> Json:
    """Somebody came or went; `operation` is `add` or `remove`."""
    change = {
        "operation": operation,
        "menuMetadata": None,
        "displayName": who.name,
        "participant": who.as_json(),
    }
    return {"entryType": PARTICIPANT_CHANGED, "id": new_id(), "entries": [change]}


def routing_result(session_id: str, *, kind: str = "Initial", failure: str = "None", reason: str = "") -> Json:
    """What routing came to. `kind` is Initial or Transfer; `failure` None, SubmissionError, RoutingError, ….

    The failure "None" is a word of the schema.
    """
    return {
        "entryType": ROUTING_RESULT,
        "id": new_id(),
        "recordId": session_id,
        "errorMessages": [reason] if reason else [],
        "pendingServiceRoutingId": None if failure != "None" else "0JRxx0000000001AAA",
        "skipRouterCPRemovalIfNoRoutingFailures": False,
        "workOwnerId": None,
        "routingType": kind,
        "estimatedWaitTime": {"estimatedWaitTimeInSeconds": None, "isEWTRequested": False},
        "failureReason": reason,
        "failureType": failure,
        "isExternallyRouted": False,
        "cancelReason": None,
        "routingConfigurationDetails": {
            "routingConfigurationType": "QueueRoutingType",
            "queueId": "00Gxx0000000001AAA",
        },
    }


def session_status(conversation_id: str, channel_id: str, session: Session, before: str) -> Json:
    """A session has taken the status that it has now; `before` is the one that it had."""
    return {
        "entryType": SESSION_STATUS_CHANGED,
        "id": new_id(),
        "conversationIdentifier": conversation_id,
        "channelAddressIdentifier": channel_id,
        "sessionId": session.id,
        "sessionStatus": session.status,
        "sessionStatusPrev": before,
        "sessionEndedByRole": session.ended_by or None,
        "sessionStartTime": session.started_ms,
        "sessionEndTime": session.ended_ms or None,
    }


def signal(kind: str, **rest: object) -> Json:
    """A payload that is not listed: typing, routing work, the close."""
    return {"entryType": kind, "id": new_id(), **rest}
