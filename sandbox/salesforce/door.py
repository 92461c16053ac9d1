"""The doors under `/_sandbox/`: the rep's, and the org's switches, keys and tokens.

| route | does |
|---|---|
| `GET conversations`, `GET conversations/{id}` | what the rep and an oracle see |
| `POST rep/{id}/accept` | `{"name"?}` |
| `POST rep/{id}/say` | `{"text", "seconds_ago"?}`, `{"choices": []}`, `{"link": {"url", "title"?}}`, `"name"?` |
| `POST rep/{id}/file` | `{"name"?, "content"` (base64) or `"text", "mime_type"?, "caption"?}` |
| `POST rep/{id}/typing` | `{"on"?}` |
| `POST rep/{id}/transfer` | `{"to"?, "gap_seconds"?}`; without `gap_seconds` the gap lasts until the next accept |
| `POST rep/{id}/end` | `{"told_after_seconds"?}` |
| `POST rep/{id}/close-tab`, `POST rep/{id}/inactivate` | the session becomes inactive |
| `POST rep/{id}/routing-fail` | `{"failure"?, "reason"?}` |
| `POST rep/{id}/auto-response` | `{"text"}` |
| `GET switches`, `POST switches` | how the org behaves |
| `POST keys` | `{"kid", "key"}`: a PEM, or null to delete it |
| `POST expire-tokens` | every access token is expired now |
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.salesforce import view
from sandbox.salesforce.model import Json
from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.rep import DEFAULT_NAME, Rep
from sandbox.salesforce.tokens import Tokens
from sandbox.server import CONTROL, Request, Response


class Door:
    """Answers control requests for a stand-in."""

    def __init__(self, rep: Rep, tokens: Tokens) -> None:
        self._rep = rep
        self._tokens = tokens

    def control(self, request: Request) -> Response | None:
        """Answers one; None for a route that is not here."""
        try:
            return self._route(request)
        except Refused as refused:
            return Response.json({"error": str(refused)}, refused.status)
        except (ValueError, TypeError) as error:
            return Response.json({"error": str(error)}, 400)

    def _route(self, request: Request) -> Response | None:
        match request.method, request.path.removeprefix(CONTROL).split("/"):
            case "GET", ["conversations"]:
                return Response.json(self.conversations())
            case "GET", ["conversations", conversation_id]:
                return Response.json(self.conversation(conversation_id))
            case "POST", ["rep", conversation_id, act] if act in _ACTS:
                return Response.json(_ACTS[act](self._rep, conversation_id, _body(request)), 201)
            case "GET", ["switches"]:
                return Response.json(self._rep.desk.switches.as_json())
            case "POST", ["switches"]:
                self._rep.desk.switches.change(_body(request))
                return Response.json(self._rep.desk.switches.as_json())
            case "POST", ["keys"]:
                given = _body(request)
                self._tokens.set_key(_text(given, "kid"), given.get("key"))
                return Response(204)
            case "POST", ["expire-tokens"]:
                return Response.json({"expired": self._tokens.expire_all()})
        return None

    def conversations(self) -> list[Json]:
        """One summary a conversation, oldest first."""
        desk = self._rep.desk
        with desk.lock:
            for conversation in desk.conversations.values():
                desk.catch_up(conversation)
            return [view.summary(one) for one in desk.conversations.values()]

    def conversation(self, conversation_id: str) -> Json:
        """Everything of one conversation. Raises Refused (404)."""
        with self._rep.desk.at(conversation_id) as conversation:
            return view.whole(conversation)


def _body(request: Request) -> Json:
    given = json.loads(request.body or b"{}")
    if not isinstance(given, dict):
        raise TypeError("the body must be a JSON object")
    return given


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string")
    return value


def _seconds(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds")
    return float(value)


def _accept(rep: Rep, conversation_id: str, given: Json) -> Json:
    rep.rep_accepts(conversation_id, name=_text(given, "name", DEFAULT_NAME))
    return {}


def _say(rep: Rep, conversation_id: str, given: Json) -> Json:
    name = _text(given, "name", "")
    if "choices" in given:
        titles = [str(one["title"] if isinstance(one, dict) else one) for one in given["choices"]]
        made = rep.rep_offers(conversation_id, titles, text=_text(given, "text", ""), name=name)
    elif "link" in given:
        link = given["link"]
        made = rep.rep_links(conversation_id, _text(link, "url"), title=_text(link, "title", ""), name=name)
    else:
        ago = _seconds(given, "seconds_ago")
        made = rep.rep_says(conversation_id, _text(given, "text"), name=name, seconds_ago=ago)
    return {"identifier": made}


def _file(rep: Rep, conversation_id: str, given: Json) -> Json:
    if "content" in given:
        content = base64.b64decode(_text(given, "content"), validate=True)
    else:
        content = _text(given, "text", "A file from the sandbox.\n").encode()
    made = rep.rep_sends_file(
        conversation_id,
        _text(given, "name", "file.txt"),
        content,
        mime_type=_text(given, "mime_type", ""),
        text=_text(given, "caption", ""),
    )
    return {"identifier": made}


def _typing(rep: Rep, conversation_id: str, given: Json) -> Json:
    rep.rep_types(conversation_id, on=given.get("on", True) is True)
    return {}


def _transfer(rep: Rep, conversation_id: str, given: Json) -> Json:
    gap = _seconds(given, "gap_seconds") if "gap_seconds" in given else None
    rep.rep_transfers(conversation_id, to=_text(given, "to", ""), gap_seconds=gap)
    return {}


def _end(rep: Rep, conversation_id: str, given: Json) -> Json:
    rep.rep_ends(conversation_id, told_after_seconds=_seconds(given, "told_after_seconds"))
    return {}


def _close_tab(rep: Rep, conversation_id: str, _: Json) -> Json:
    rep.rep_closes_tab(conversation_id)
    return {}


def _routing_fail(rep: Rep, conversation_id: str, given: Json) -> Json:
    rep.routing_fails(
        conversation_id,
        failure=_text(given, "failure", "RoutingError"),
        reason=_text(given, "reason", "Agents are not available"),
    )
    return {}


def _auto_response(rep: Rep, conversation_id: str, given: Json) -> Json:
    return {"identifier": rep.automation_says(conversation_id, _text(given, "text"))}


_ACTS: Mapping[str, Callable[[Rep, str, Json], Json]] = {
    "accept": _accept,
    "say": _say,
    "file": _file,
    "typing": _typing,
    "transfer": _transfer,
    "end": _end,
    "close-tab": _close_tab,
    "inactivate": _close_tab,
    "routing-fail": _routing_fail,
    "auto-response": _auto_response,
}
