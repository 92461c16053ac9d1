"""The control door of the OpenCX stand-in, under `/_sandbox/`.

=====================================  =================================================================
`POST sessions`                        makes a session
`GET sessions/{id}`                    it as it stands, with its history
`POST sessions/{id}/contact-says`      `{"text", "name"?, "attachments"?}`: the customer writes
`POST sessions/{id}/hand-off`          the AI gives up; the body replaces what the event says by itself
`POST sessions/{id}/close`             the session is closed
`POST webhook`                         `{"url", "secret"}`: where events go from now on
`POST webhook/faults`                  `{"fault", "times"?}`: what goes wrong with the next ones
`POST limits`                          `{"requests_per_minute"}`: over it the answer is 429
`GET deliveries`                       all events since the start, with every attempt
=====================================  =================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.server import Request, Response

if TYPE_CHECKING:
    from sandbox.opencx import OpenCX

_PREFIX = "/_sandbox/"


def control(standin: OpenCX, request: Request) -> Response | None:
    """Answers a control request; None when there is no such route."""
    given: Any = {}
    try:
        given = json.loads(request.body or b"{}")
        return _answer(standin, request.method, request.path.removeprefix(_PREFIX).split("/"), given)
    except KeyError as error:
        return Response.json({"error": f"no {error}"}, 404)
    except ValueError as error:
        return Response.json({"error": str(error)}, 400)


def _answer(standin: OpenCX, method: str, path: list[str], given: Mapping[str, Any]) -> Response | None:
    match method, path:
        case "POST", ["sessions"]:
            return Response.json(standin.add_session(given), 201)
        case "GET", ["sessions", session_id]:
            return Response.json(standin.session(session_id))
        case "POST", ["sessions", session_id, "contact-says"]:
            text, name = str(given.get("text", "")), str(given.get("name", ""))
            files = given.get("attachments", ())
            return Response.json(standin.contact_says(session_id, text, name=name, attachments=files), 201)
        case "POST", ["sessions", session_id, "hand-off"]:
            return Response.json(standin.hand_off(session_id, **given), 201)
        case "POST", ["sessions", session_id, "close"]:
            standin.close(session_id)
            return Response(204)
        case "POST", ["limits"]:
            standin.requests_per_minute = int(given["requests_per_minute"])
            return Response(204)
        case "GET", ["deliveries"]:
            return Response.json(standin.webhooks.deliveries())
        case "POST", ["webhook"]:
            standin.webhooks.point(given.get("url"), str(given.get("secret", "")))
            return Response(204)
        case "POST", ["webhook", "faults"]:
            standin.webhooks.fail_next(str(given.get("fault")), int(given.get("times", 1)))
            return Response(204)
    return None
