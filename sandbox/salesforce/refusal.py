"""What Salesforce says when it refuses."""

from __future__ import annotations

from sandbox.server import Response

_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    417: "EXPECTATION_FAILED",
    429: "TOO_MANY_REQUESTS",
}


class Refused(Exception):
    """A request that Salesforce refuses, or something that a rep cannot do now; the text says why.

    Attributes:
        status: HTTP status.
        plain: whether the text goes out as it is, as on the event stream, and not in JSON.
        retry_after_seconds: for `Retry-After`; None leaves the header out.
    """

    def __init__(self, status: int, text: str, *, plain: bool = False, retry_after_seconds: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.plain = plain
        self.retry_after_seconds = retry_after_seconds

    def response(self) -> Response:
        """The answer that goes over the wire."""
        wait = self.retry_after_seconds
        headers = {} if wait is None else {"Retry-After": str(wait)}
        if self.plain:
            return Response(self.status, {"Content-Type": "text/plain", **headers}, str(self).encode())
        body = {"errorCode": _CODES.get(self.status, "ERROR"), "message": str(self)}
        return Response.json(body, self.status, headers)
