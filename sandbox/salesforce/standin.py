"""Stand-in for Messaging for In-App and Web, custom clients.

Reference: developer.salesforce.com/docs/service/messaging-api. Where it is silent the stricter reading is taken,
and `Switches` says which one that is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sandbox.salesforce import bodies, listing
from sandbox.salesforce.desk import Desk
from sandbox.salesforce.door import Door
from sandbox.salesforce.inbox import Inbox
from sandbox.salesforce.model import Json
from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.rep import Rep
from sandbox.salesforce.switches import Switches
from sandbox.salesforce.tokens import Holder, Key, Tokens
from sandbox.server import Request, Response, Server

_ORG_ID_CHARS = 15
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


class Salesforce(Rep):
    """The stand-in. Its methods `rep_…` are the rep; `POST /_sandbox/rep/…` is the same over HTTP.

    Attributes:
        switches: how this org behaves; see `Switches`.
        tokens: access tokens and the keys of verified users.
        desk: the conversations; for what no method here does.
    """

    name = "salesforce"

    def __init__(
        self,
        *,
        org_id: str,
        developer_name: str,
        issuer: str,
        keys: Mapping[str, Key],
        clock: Callable[[], float] = time.time,
        **switches: Any,
    ) -> None:
        """Make an org.

        Args:
            org_id: 15 characters.
            developer_name: API name of the deployment, of type `api`.
            issuer: the keyset's JSON Web Key Issuer.
            keys: RSA public keys of verified users by `kid`: a PEM (public key or certificate) or a key.
            clock: returns seconds since the epoch.
            switches: fields of `Switches`.

        Raises:
            ValueError: the org id is not of 15 characters, or a key is not RSA.
            TypeError: a switch is unknown.
        """
        if len(org_id) != _ORG_ID_CHARS:
            raise ValueError(f"org_id has {len(org_id)} characters; 15 are needed")
        self._org_id = org_id
        self._developer_name = developer_name
        self.switches = Switches(**switches)
        self._first = replace(self.switches)
        self.tokens = Tokens(org_id=org_id, issuer=issuer, keys=keys, switches=self.switches, clock=clock)
        self.desk = Desk(switches=self.switches, clock=clock)
        self.inbox = Inbox(self.desk, developer_name=developer_name)
        self._door = Door(self, self.tokens)

    def attach(self, server: Server) -> None:
        """Learn the address at which files are served."""
        self.desk.base_url = server.url

    def reset(self) -> None:
        """No conversations, and the switches and keys of the start. Access tokens stay good."""
        vars(self.switches).update(vars(self._first))
        self.desk.clear()
        self.tokens.reset()

    def conversations(self) -> list[Json]:
        """One summary a conversation, oldest first."""
        return self._door.conversations()

    def conversation(self, conversation_id: str) -> Json:
        """Everything of one conversation; see `view.whole`. Raises Refused (404)."""
        return self._door.conversation(conversation_id)

    def control(self, request: Request) -> Response | None:
        """Answer a request under `/_sandbox/`; see `door`."""
        return self._door.control(request)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        try:
            match request.path.split("/")[1:]:
                case ["iamessage", "api", "v2", "conversation", *rest]:
                    return self._conversation(request, rest)
                case ["iamessage", "api", "v2", "authorization", *rest]:
                    return self._authorization(request, rest)
                case ["eventrouter", "v1", "sse"] if request.method == "GET":
                    return self._events(request)
                case ["files", file_id, _] if request.method == "GET":
                    return self._file(request, file_id)
        except Refused as refused:
            return refused.response()
        return Response.json({"errorCode": "NOT_FOUND", "message": "Not found"}, 404)

    def _holder(self, request: Request) -> Holder:
        return self.tokens.holder(request.headers.get("authorization"))

    def _authorization(self, request: Request, rest: list[str]) -> Response:
        match request.method, rest:
            case "POST", ["unauthenticated" | "authenticated" as kind, "access-token"]:
                return self._token(request, authenticated=kind == "authenticated")
            case "GET", ["continuation-access-token"]:
                holder = self._holder(request)
                self.tokens.count(renewal=True)
                return Response.json(self._granted(*self.tokens.continued(holder)))
            case "DELETE", ["authenticated", "access-token"]:
                self._holder(request)
                self.tokens.revoke(request.headers["authorization"])
                return Response(204)
        raise Refused(404, "Not found")

    def _token(self, request: Request, *, authenticated: bool) -> Response:
        self.tokens.count(renewal=False)
        given = bodies.parse(request.headers.get("content-type", ""), request.body)
        asked = bodies.token_request(given, authenticated=authenticated)
        # 18 characters are taken here; only the event stream insists on 15.
        if asked.org_id[:_ORG_ID_CHARS] != self._org_id or len(asked.org_id) not in {_ORG_ID_CHARS, 18}:
            raise Refused(400, "orgId is not valid")
        if asked.developer_name != self._developer_name:
            raise Refused(400, bodies.NOT_API)
        device = asked.device_id or str(uuid.uuid4())
        if asked.identity is None:
            return Response.json(self._granted(*self.tokens.guest(device)))
        token, holder, why = self.tokens.identified(asked.identity, device)
        answer = Response.json(self._granted(token, holder))
        if why:
            answer.note = f"a guest's token, as the identity token is not good: {why}"
        return answer

    def _granted(self, token: str, holder: Holder) -> Json:
        user = {"appType": "iamessage", "role": "EndUser", "subject": holder.subject, "displayName": "Guest"}
        attachments = {
            "endUserToAgent": self.switches.attachments,
            "maxFileSize": max(1, self.switches.file_max_bytes // (1024 * 1024)),
        }
        service = {
            "name": self._developer_name,
            "deploymentType": "api",
            "embeddedServiceMessagingChannel": {
                "channelAddressIdentifier": self.desk.channel_id,
                "authMode": "Auth" if holder.verified else "UnAuth",
            },
            "forms": [],
            "attachments": attachments,
            "choiceListConfig": {"choiceList": []},
            "transcript": {"allowTranscriptDownload": self.switches.transcript_enabled},
        }
        configuration = {"embeddedServiceConfig": service, "timestamp": self.desk.now_ms()}
        context = {"deviceId": holder.device_id, "endUser": user, "configuration": configuration}
        return {"accessToken": token, "lastEventId": self.desk.stream.last_event_id, "context": context}

    def _conversation(self, request: Request, rest: list[str]) -> Response:
        holder = self._holder(request)
        match request.method, rest:
            case "GET", [conversation_id, "entries"]:
                return self._entries(holder, conversation_id, request.query)
            case "POST", [conversation_id, "message"]:
                return Response.json(self.inbox.message(holder, conversation_id, _parsed(request)), 202)
            case "POST", []:
                self.inbox.create(holder, _parsed(request))
                return Response(201)
            case "GET", ["list"]:
                return self._list(holder, request.query)
            case "GET", [conversation_id]:
                with self.inbox.of(holder, conversation_id) as conversation:
                    status = {"conversationId": conversation.id, "routingStatus": conversation.routing}
                return Response.json(status)
            case "POST", [conversation_id, "file"]:
                media_type = request.headers.get("content-type", "")
                return Response.json(self.inbox.file(holder, conversation_id, media_type, request.body), 202)
            case "POST", [conversation_id, "entry"]:
                self.inbox.typing(holder, conversation_id, _parsed(request))
                return Response(202)
            case "POST", [conversation_id, "acknowledge-entries"]:
                self.inbox.acknowledge(holder, conversation_id, _parsed(request))
                return Response(202)
            case "DELETE", [conversation_id, "session"]:
                self.inbox.end_session(holder, conversation_id, _developer_name(request))
                return Response(204)
            case "DELETE", [conversation_id]:
                self.inbox.close(holder, conversation_id, _developer_name(request))
                return Response(204)
            case "GET", [conversation_id, "transcript"]:
                return self._transcript(holder, conversation_id, _developer_name(request))
        raise Refused(404, "Not found")

    def _entries(self, holder: Holder, conversation_id: str, query: str) -> Response:
        asked = listing.window(query)
        with self.inbox.of(holder, conversation_id) as conversation:
            body = listing.entries(
                conversation,
                asked,
                duplicate_every=self.switches.duplicate_every,
                with_status=self.switches.lists_session_status,
            )
        return Response(200, {"Content-Type": "application/json; charset=utf-8"}, body)

    def _list(self, holder: Holder, query: str) -> Response:
        with self.desk.lock:
            mine = [one for one in self.desk.conversations.values() if one.customer.subject == holder.subject]
            return Response.json(listing.conversations(mine, query))

    def _transcript(self, holder: Holder, conversation_id: str, developer_name: str) -> Response:
        with self.inbox.of(holder, conversation_id):
            if developer_name != self._developer_name:
                raise Refused(400, bodies.NOT_API)
            if not self.switches.transcript_enabled:
                raise Refused(403, "Conversation transcripts aren't enabled for this deployment")
        return Response(200, {"Content-Type": "application/pdf"}, _PDF)

    def _events(self, request: Request) -> Response:
        try:
            holder = self._holder(request)
        except Refused as refused:
            raise Refused(401, str(refused), plain=True) from refused
        if request.headers.get("x-org-id") != self._org_id:
            raise Refused(400, "OrgId in the header and token must match")
        last = request.headers.get("last-event-id", "")
        if not last.isdecimal():
            raise Refused(400, "Last-Event-Id is needed")
        with self.desk.lock:
            for conversation in self.desk.conversations.values():
                if conversation.customer.subject == holder.subject:
                    self.desk.catch_up(conversation)
            body = self.desk.stream.since(holder.subject, int(last))
        headers = {"Content-Type": "text/event-stream;charset=utf-8", "Cache-Control": "no-cache"}
        return Response(200, headers, body)

    def _file(self, request: Request, file_id: str) -> Response:
        with self.desk.lock:
            stored = self.desk.files.get(file_id)
        if stored is None:
            raise Refused(404, "The file doesn't exist")
        if self.switches.files_need_token and self._holder(request).subject != stored.owner:
            raise Refused(403, "You aren't a participant of this conversation")
        return Response(200, {"Content-Type": stored.mime_type}, stored.content)


def _parsed(request: Request) -> Json:
    return bodies.parse(request.headers.get("content-type", ""), request.body)


def _developer_name(request: Request) -> str:
    return listing.query(request.query, {"esDeveloperName"}).get("esDeveloperName", "")
