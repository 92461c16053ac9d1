"""What callers read: the answer to a handoff, the record of one, and errors, as the contract words them."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from shared.errors import HandoffError, InvalidRequest
from shared.handoff import channel as channels
from shared.handoff.desk import Answer
from shared.handoff.model import Notice
from shared.handoff.record import COMPLETED, FAILED, Record

OVER = Notice(
    "handoff_over", "The conversation of this handoff has ended, nobody is called: a further one needs its handoff_id."
)
ENDED = "The conversation with my colleague has ended."
"""What the AI may say then: it must not promise that somebody comes."""
_STATUS = {COMPLETED: "completed", FAILED: "failed"}


def status_of(answer: Answer) -> HTTPStatus:
    """201 done now, 200 done before, 202 stored and not done yet, 502 refused for good."""
    if answer.record.state == COMPLETED:
        return HTTPStatus.OK if answer.replayed else HTTPStatus.CREATED
    return HTTPStatus.BAD_GATEWAY if answer.record.state == FAILED else HTTPStatus.ACCEPTED


def handoff_body(answer: Answer) -> dict[str, Any]:
    """The body of a handoff that is done or on its way; `failure_body` is for one that failed."""
    record = answer.record
    outcome = record.outcome
    body: dict[str, Any] = {
        "status": _STATUS.get(record.state, "accepted"),
        "replayed": answer.replayed,
        "handoff_id": record.handoff_id,
        "session_id": record.session_id,
        "system": record.target,
        "kind": outcome.kind if outcome else None,
        "channel": record.channel,
        **_ids(record),
        "url": outcome.url if outcome else None,
        "contact": None,
        "warnings": [],
        "message": ENDED if answer.is_over else sentence(record),
    }
    if outcome:
        contact = outcome.contact
        body["contact"] = {"id": contact.id, "linked": contact.linked, "created": contact.created}
        notices = (*outcome.warnings, OVER) if answer.is_over else outcome.warnings
        body["warnings"] = [{"code": notice.code, "message": notice.message} for notice in notices]
    return body


def record_body(record: Record) -> dict[str, Any]:
    """The record as ``GET /api/handoff/{id}`` shows it."""
    body = handoff_body(Answer(record))
    del body["replayed"], body["message"]
    error = record.last_error
    body |= {
        "state": record.state,
        "attempts": record.attempts,
        "created_at": _time(record.created_at),
        "updated_at": _time(record.updated_at),
        "completed_at": _time(record.completed_at),
        "next_attempt_at": _time(record.due_at),
        "last_error": None,
    }
    if error:
        body["last_error"] = {"code": error.code, "message": error.message, "fix": error.fix}
    return body


def error_body(error: HandoffError, *, handoff_id: str | None = None) -> dict[str, Any]:
    """Any error, in OpenCX's error shape with our code and details."""
    details = error.details if isinstance(error, InvalidRequest) else ()
    return _error(
        error.http_status,
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        details=[{"field": detail.field, "message": detail.message} for detail in details],
        handoff_id=handoff_id,
    )


def failure_body(record: Record) -> dict[str, Any]:
    """A handoff that the target refused for good, as a 502."""
    error = record.last_error
    code, message = (error.code, error.message) if error else ("refused", "The target refused the handoff.")
    message = f"{message} It is stored as failed: replay it after the fix."
    return _error(
        HTTPStatus.BAD_GATEWAY,
        code=code,
        message=message,
        retryable=False,
        details=[],
        handoff_id=record.handoff_id,
    )


def _error(
    status: HTTPStatus,
    *,
    code: str,
    message: str,
    retryable: bool,
    details: list[dict[str, str]],
    handoff_id: str | None,
) -> dict[str, Any]:
    return {
        "statusCode": status.value,
        "error": status.phrase,
        "message": message,
        "code": code,
        "retryable": retryable,
        "details": details,
        "handoff_id": handoff_id,
    }


def _ids(record: Record) -> dict[str, str | None]:
    ids: dict[str, str | None] = {
        "dynamics365_incident_id": None,
        "dynamics365_ticket_number": None,
        "dynamics365_chat_id": None,
        "salesforce_conversation_id": None,
        "salesforce_case_id": None,
    }
    outcome = record.outcome
    if outcome and outcome.system == "dynamics365":
        if outcome.kind == "incident":
            ids["dynamics365_incident_id"] = outcome.record_id
            ids["dynamics365_ticket_number"] = outcome.ticket_number
        else:
            ids["dynamics365_chat_id"] = outcome.record_id
    elif outcome and outcome.system == "salesforce":
        ids["salesforce_conversation_id"] = outcome.record_id
    return ids


def sentence(record: Record) -> str:
    """One sentence that the AI may say to the customer; true in every state."""
    if record.state == COMPLETED and record.outcome:
        if channels.is_chat(record.outcome.channel):
            return "I have passed our conversation to a colleague, who will continue with you here."
        number = record.outcome.ticket_number
        named = f" under the number {number}" if number else ""
        return f"I have passed your request to our team{named}; a colleague will get back to you."
    return "Your request is recorded, and I am passing it to a colleague now."


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
