"""The control door: the representative's and the administrator's side, and what a test judges by."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.dynamics_messaging.rep import RepError
from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.wire import Request, Response

if TYPE_CHECKING:
    from sandbox.dynamics_messaging.standin import DynamicsMessaging

Json = dict[str, Any]

_PREFIX = "/_sandbox/"


def control(standin: DynamicsMessaging, request: Request) -> Response | None:
    """Answers a control request; None when the route is unknown.

    `GET conversations`, `GET conversations/{id}`, `GET deliveries`, `GET|POST switches`, `GET|POST channel`,
    `POST|DELETE webhook-faults`, `POST rep/{id}/{action}`.
    """
    try:
        match request.method, request.path.removeprefix(_PREFIX).strip("/").split("/"):
            case "GET", ["conversations"]:
                return Response.json(standin.conversations())
            case "GET", ["conversations", conversation_id]:
                return Response.json(standin.conversation(conversation_id))
            case "GET", ["deliveries"]:
                return Response.json(standin.deliveries())
            case "GET", ["switches"]:
                return Response.json(asdict(standin.switches))
            case "POST", ["switches"]:
                standin.switch(**_object(request.body))
                return Response.json(asdict(standin.switches))
            case "GET", ["channel"]:
                return Response.json([asdict(channel) for channel in standin.channels()])
            case "POST", ["channel"]:
                return Response.json(asdict(standin.set_channel(**_object(request.body))))
            case "POST", ["webhook-faults"]:
                standin.webhook_faults.add(*_rules(request.body))
                return Response(204)
            case "DELETE", ["webhook-faults"]:
                standin.webhook_faults.clear()
                return Response(204)
            case "POST", ["rep", conversation_id, action]:
                message_id = _act(standin, conversation_id, action, _object(request.body or b"{}"))
                if message_id is None:
                    return None
                state = standin.conversation(conversation_id)["state"]
                return Response.json({"state": state, "message_id": message_id})
    except KeyError as error:
        return Response.json({"error": f"no conversation, or no field, {error}"}, 404)
    except RepError as error:
        return Response.json({"error": str(error)}, 409)
    except (TypeError, ValueError) as error:
        return Response.json({"error": str(error)}, 400)
    return None


def _act(standin: DynamicsMessaging, conversation_id: str, action: str, given: Json) -> str | None:
    """What the representative does; the id of the message, empty when it is none, None for an unknown action."""
    rep = standin.rep
    match action:
        case "accept":
            rep.accept(conversation_id, **_texts(given, "rep"))
        case "say":
            return rep.say(conversation_id, **_texts(given, "text"))
        case "file":
            return _file(standin, conversation_id, given)
        case "typing":
            rep.typing(conversation_id)
        case "transfer":
            rep.transfer(conversation_id, **_texts(given, "rep"), is_refused=bool(given.get("is_refused")))
        case "queue":
            rep.queue(conversation_id, **_texts(given, "queue_id"))
        case "end":
            rep.end(conversation_id, is_closed=bool(given.get("is_closed")))
        case "close-tab":
            rep.close_tab(conversation_id)
        case "disconnect":
            rep.disconnect(conversation_id)
        case "force-close":
            rep.force_close(conversation_id)
        case "out-of-hours":
            rep.out_of_hours(conversation_id, is_holiday=bool(given.get("is_holiday")))
        case _:
            return None
    return ""


def _file(standin: DynamicsMessaging, conversation_id: str, given: Json) -> str:
    """`{"name", "content" in base64 | "text", "media_type"}`."""
    if "text" in given:
        content, media_type = str(given["text"]).encode(), "text/plain"
    else:
        try:
            content = base64.b64decode(given.get("content", ""), validate=True)
        except binascii.Error as error:
            raise ValueError(f"content is not base64: {error}") from error
        media_type = "application/octet-stream"
    name = str(given.get("name", "file.txt"))
    return standin.rep.file(conversation_id, name, content, media_type=str(given.get("media_type", media_type)))


def _texts(given: Json, *names: str) -> dict[str, str]:
    return {name: str(given[name]) for name in names if name in given}


def _rules(body: bytes) -> list[WebhookFault]:
    decoded = json.loads(body)
    return [WebhookFault.parse(rule) for rule in (decoded if isinstance(decoded, list) else [decoded])]


def _object(body: bytes) -> Json:
    decoded = json.loads(body)
    if not isinstance(decoded, dict):
        raise TypeError("the body must be a JSON object")
    return decoded
