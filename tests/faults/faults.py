"""The kinds of faults that one call can meet, each as it looks to the client."""

import contextlib
import http.client
import json
from collections.abc import Callable, Mapping

import requests
import urllib3
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout

from tests.faults.wire import DATAVERSE, ENTRA, MESSAGING, OPENCX, QUEUES, SALESFORCE, TABLES, Call, Fault, Killed

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
RETRY_AFTER_SECONDS = 7


def refused(call: Call) -> requests.Response:
    """The connection is refused: nothing was sent."""
    pool = urllib3.connectionpool.HTTPConnectionPool("localhost")
    reason = urllib3.exceptions.NewConnectionError(
        urllib3.connection.HTTPConnection("localhost"), "Failed to establish a new connection: Connection refused"
    )
    raise NoConnection(urllib3.exceptions.MaxRetryError(pool, str(call.request.url), reason), request=call.request)


def lost(call: Call) -> requests.Response:
    """It is done, and the connection breaks before the answer."""
    call.work()
    return broken(call)


def broken(call: Call) -> requests.Response:
    """The connection breaks before the answer; nothing was done, yet."""
    closed = http.client.RemoteDisconnected("Remote end closed connection without response")
    raise NoConnection(urllib3.exceptions.ProtocolError("Connection aborted.", closed), request=call.request)


def timeout_before(call: Call) -> requests.Response:
    """No answer in time, and nothing was done."""
    call.wait()
    raise ReadTimeout("Read timed out.", request=call.request)


def timeout_after(call: Call) -> requests.Response:
    """No answer in time, and it is done."""
    call.work()
    return timeout_before(call)


def late(seconds: float, failure: Fault) -> Fault:
    """A failure that says nothing, and the work is done so many seconds after it."""

    def fault(call: Call) -> requests.Response:
        try:
            return failure(call)
        finally:
            call.clock.plan(call.clock.time() + seconds, lambda: _ignore(call.work))

    return fault


def _ignore(work: Callable[[], object]) -> None:
    """Nobody hears of the answer, nor that there is none."""
    with contextlib.suppress(requests.RequestException):
        work()


def truncated(call: Call) -> requests.Response:
    """It is done, and the connection breaks inside the body."""
    done = call.work()
    kept = {name: value for name, value in done.headers.items() if name.lower() in ("content-type", "etag")}
    length = {"Content-Length": str(len(done.content) + 10)}
    return call.answer(done.status_code, done.content[: len(done.content) // 2], {**kept, **length})


def wrong_json(call: Call) -> requests.Response:
    """A gateway answers 200 with a page of its own, and nothing was done."""
    return call.answer(200, HTML, {"Content-Type": "text/html"})


def wrong_json_done(call: Call) -> requests.Response:
    """It is done, and a gateway answers 200 with a page of its own."""
    call.work()
    return wrong_json(call)


def bad_gateway(call: Call) -> requests.Response:
    """502 with a page in HTML."""
    return call.answer(502, HTML, {"Content-Type": "text/html"})


def killed_before(call: Call) -> requests.Response:
    """The process dies before the call."""
    raise Killed(call.name)


def killed_after(call: Call) -> requests.Response:
    """The process dies after the call was done."""
    call.work()
    raise Killed(call.name)


def status(code: int, *, headers: Mapping[str, str] | None = None, done: bool = False) -> Fault:
    """The system itself answers with this status, in its own shape; with ``done`` after it has done the work."""

    def fault(call: Call) -> requests.Response:
        if done:
            call.work()
        body, media_type, real = _body(call, code)
        return call.answer(real, body, {"Content-Type": media_type, **(headers or {})})

    return fault


TRANSIENT: dict[str, Fault] = {
    "refused": refused,
    "lost": lost,
    "timeout before": timeout_before,
    "timeout after": timeout_after,
    "429 Retry-After": status(429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}),
    "429": status(429),
    "500": status(500),
    "500 done": status(500, done=True),
    "502": bad_gateway,
    "503": status(503),
    "503 done": status(503, done=True),
    "truncated": truncated,
    "wrong JSON": wrong_json,
    "wrong JSON done": wrong_json_done,
}
CONFIGURATION: dict[str, Fault] = {"401": status(401), "403": status(403)}
CONFLICT: dict[str, Fault] = {"409": status(409), "412": status(412), "412 done": status(412, done=True)}
KILL: dict[str, Fault] = {"killed before": killed_before, "killed after": killed_after}
KINDS: dict[str, Fault] = TRANSIENT | CONFIGURATION | CONFLICT | KILL
QUICK = ("lost", "timeout after", "429 Retry-After", "503 done", "412", "killed after")
WORK_IS_DONE = frozenset(
    {"lost", "timeout after", "500 done", "503 done", "truncated", "wrong JSON done", "412 done", "killed after"}
)


_TABLE_CODES = {
    401: "AuthenticationFailed",
    403: "AuthorizationPermissionMismatch",
    409: "EntityAlreadyExists",
    412: "UpdateConditionNotSatisfied",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServerBusy",
}
_QUEUE_CODES = {
    **_TABLE_CODES,
    409: "OperationTimedOut",
    412: "ConditionNotMet",
}
_DATAVERSE_CODES = {403: "0x80040220", 409: "0x80060891", 412: "0x80060882", 429: "0x80072322"}
_AADSTS = {401: 7000215, 429: 50196, 500: 90033, 503: 90033}


def _body(call: Call, code: int) -> tuple[bytes, str, int]:  # noqa: PLR0911 - a return a system
    """Body, media type and status as this system words them."""
    json_type = "application/json; charset=utf-8"
    if call.system == TABLES:
        value = {"lang": "en-US", "value": "The server said no.\nRequestId:0\nTime:2030-01-01T00:00:00.0Z"}
        error = json.dumps({"odata.error": {"code": _TABLE_CODES[code], "message": value}}).encode()
        if call.is_batch and code in (409, 412):
            return (*_in_a_batch(code, error), 202)
        return error, "application/json;odata=minimalmetadata;charset=utf-8", code
    if call.system == ENTRA:
        number = _AADSTS.get(code)
        text = f"AADSTS{number}: The server said no." if number else "The server said no."
        answer = {"error": "invalid_client" if code == 401 else "temporarily_unavailable", "error_description": text}
        return json.dumps(answer).encode(), json_type, code
    if call.system == QUEUES:
        xml = f'<?xml version="1.0"?><Error><Code>{_QUEUE_CODES[code]}</Code><Message>No.</Message></Error>'
        return xml.encode(), "application/xml", code
    if call.system == SALESFORCE:
        return json.dumps({"errorCode": "ERROR", "message": "The server said no."}).encode(), json_type, code
    if call.system == MESSAGING:
        problem = {"title": "Error", "status": code, "detail": "The server said no."}
        return json.dumps(problem).encode(), "application/problem+json", code
    if call.system == OPENCX:
        answer_of_opencx = {"statusCode": code, "error": "Error", "message": "The server said no."}
        return json.dumps(answer_of_opencx).encode(), json_type, code
    error_code = _DATAVERSE_CODES.get(code, "0x80040216") if call.system == DATAVERSE else "Error"
    return json.dumps({"error": {"code": error_code, "message": "The server said no."}}).encode(), json_type, code


def _in_a_batch(code: int, error: bytes) -> tuple[bytes, str]:
    """A refused entity group transaction (reference: "Performing entity group transactions")."""
    lines = (
        b"--batchresponse_0",
        b"Content-Type: multipart/mixed; boundary=changesetresponse_0",
        b"",
        b"--changesetresponse_0",
        b"Content-Type: application/http",
        b"Content-Transfer-Encoding: binary",
        b"",
        b"HTTP/1.1 %d %s" % (code, b"Conflict" if code == 409 else b"Precondition Failed"),
        b"DataServiceVersion: 3.0;",
        b"Content-Type: application/json;odata=minimalmetadata;streaming=true;charset=utf-8",
        b"",
        error,
        b"--changesetresponse_0--",
        b"--batchresponse_0--",
        b"",
    )
    return b"\r\n".join(lines), "multipart/mixed; boundary=batchresponse_0"
