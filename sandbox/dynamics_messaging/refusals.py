"""How the Messaging APIs say no: RFC 7807 bodies, the codes 30001 to 30016, a correlation id.

Reference: Microsoft's page "Error handling" of the Messaging APIs. It does not show where the code stands in
the body: a switch says.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sandbox.wire import Response

CORRELATION = "x-ms-correlation-id"

INVALID_ORGANIZATION = 30001
INVALID_CHANNEL = 30002
INVALID_OPERATION = 30003
NO_CHANNEL = 30004
INVALID_CONVERSATION = 30005
INVALID_TIMESTAMP = 30006
INVALID_CONVERSATIONS_PAGE = 30007
INVALID_MESSAGES_PAGE = 30008
INVALID_TOKEN = 30009
TOO_MUCH_CONTEXT = 30010
TEXT_TOO_LONG = 30011
MALFORMED = 30012
NO_CONVERSATION = 30013
NO_WORKSTREAM = 30014
NO_CONTENT = 30016


class RefusalError(Exception):
    """A refusal: HTTP status, code (None where Microsoft lists none), text, headers."""

    def __init__(
        self, status: int, code: int | None, text: str, *, title: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text
        self.title = title or HTTPStatus(status).phrase
        self.headers = dict(headers or {})


def malformed(text: str) -> RefusalError:
    """400 with 30012: the body, or a field of it, is not as the contract has it."""
    return RefusalError(400, MALFORMED, text)


def ended(conversation_id: str) -> RefusalError:
    """404 with 30013: there is no such conversation, or it is over."""
    return RefusalError(404, NO_CONVERSATION, f"Conversation {conversation_id} does not exist.")


def answer(refusal: RefusalError, place: str) -> Response:
    """The response, with the code where `Switches.error_code_place` wants it."""
    body: dict[str, Any] = {
        "type": f"https://httpstatuses.io/{refusal.status}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.text,
    }
    if refusal.code is not None:
        match place:
            case "code":
                body["code"] = str(refusal.code)
            case "errorCode":
                body["errorCode"] = refusal.code
            case "error.code":
                body["error"] = {"code": str(refusal.code), "message": refusal.text}
            case "extensions":
                body["extensions"] = {"code": refusal.code}
            case _:
                body["detail"] = f"{refusal.code}: {refusal.text}"
    headers = {
        "Content-Type": "application/problem+json; charset=utf-8",
        CORRELATION: str(uuid.uuid4()),
        **refusal.headers,
    }
    response = Response.json(body, refusal.status, headers)
    response.note = f"{refusal.code or refusal.status} {refusal.text[:120]}"
    return response
