"""What the rep, and a test's oracle, can see of a conversation."""

from __future__ import annotations

import json
from collections import Counter

from sandbox.salesforce.model import Conversation, Json


def summary(conversation: Conversation) -> Json:
    """One line in the list of conversations."""
    session = conversation.session
    return {
        "conversationId": conversation.id,
        "subject": conversation.customer.subject,
        "verified": conversation.verified,
        "startTimestamp": conversation.created_ms,
        "endTimestamp": conversation.closed_ms,
        "routingStatus": conversation.routing,
        "sessionId": session.id,
        "sessionStatus": session.status,
        "language": session.language,
        "routingAttributes": dict(session.attributes),
        "rep": conversation.rep.name if conversation.rep else None,
    }


def whole(conversation: Conversation) -> Json:
    """Everything of one conversation.

    `entries` are what the rep reads, by time; `received` is what the customer's client sent, in order of
    arrival; `duplicates` counts the message ids that came more than once.
    """
    counted = Counter(one.id for one in conversation.received)
    return {
        **summary(conversation),
        "droppedAttributes": conversation.dropped,
        "customerTypes": conversation.customer_types,
        "sessions": [
            {
                "id": one.id,
                "status": one.status,
                "startTimestamp": one.started_ms,
                "endTimestamp": one.ended_ms,
                "endedByRole": one.ended_by or None,
                "language": one.language,
                "routingAttributes": dict(one.attributes),
            }
            for one in conversation.sessions
        ],
        "entries": [{**json.loads(one.listed), "sessionId": one.session_id} for one in conversation.entries],
        "received": [
            {
                "id": one.id,
                "text": one.text,
                "timestamp": one.at_ms,
                "sessionId": one.session_id,
                "fileId": one.file_id or None,
            }
            for one in conversation.received
        ],
        "duplicates": {identifier: number for identifier, number in counted.items() if number > 1},
        "files": [
            {
                "id": one.id,
                "name": one.name,
                "mimeType": one.mime_type,
                "size": len(one.content),
                "role": one.role,
                "url": one.url,
            }
            for one in conversation.files
        ],
        "delivered": sorted(conversation.acknowledged["Delivery"]),
        "read": sorted(conversation.acknowledged["Read"]),
    }
