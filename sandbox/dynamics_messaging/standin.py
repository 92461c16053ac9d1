"""Stand-in for the Messaging APIs of Dynamics 365 (reference: Microsoft's pages "Messaging APIs").

Where the documentation is silent the stricter reading is taken, and a switch gives the other ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sandbox.dataverse.seed import ORGANIZATION_ID, WORKSTREAM_ID
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging import door
from sandbox.dynamics_messaging import files as file_store
from sandbox.dynamics_messaging.admission import Admission
from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.consumer import Consumer
from sandbox.dynamics_messaging.delivery import Post
from sandbox.dynamics_messaging.omnichannel import Omnichannel
from sandbox.dynamics_messaging.reads import Reads
from sandbox.dynamics_messaging.records import Records
from sandbox.dynamics_messaging.refusals import RefusalError, answer
from sandbox.dynamics_messaging.rep import Rep
from sandbox.dynamics_messaging.switches import Switches
from sandbox.dynamics_messaging.webhook import Webhook
from sandbox.dynamics_messaging.webhook_faults import WebhookFaults
from sandbox.dynamics_messaging.webhook_token import Signer
from sandbox.server import Server
from sandbox.tokens import Tokens
from sandbox.wire import Request, Response

Json = dict[str, Any]

CHANNEL_ID = "0a9b1c2d-0000-4000-8000-000000000070"
_ROOT = "/api/v1.0/consumer/"


def audience(organization_id: str, zone: str = "crm") -> str:
    """The resource whose tokens the Messaging APIs take; `zone` is the middle of the environment's URL."""
    return f"https://{organization_id.replace('-', '')}-c.{zone}.dynamics.com"


class DynamicsMessaging:
    """An organisation with a custom messaging channel.

    Attributes:
        rep: the representative.
        webhook_faults: what the webhook does wrong on purpose.
    """

    name = "dynamics_messaging"

    def __init__(
        self,
        *,
        tokens: Tokens,
        tenant_id: str,
        client_id: str,
        audience: str,
        organization_id: str = ORGANIZATION_ID,
        channel_id: str = CHANNEL_ID,
        workstream_id: str = WORKSTREAM_ID,
        webhook: str | Post = "",
        ca_file: str | None = None,
        authority: str = "https://login.microsoftonline.com",
        dataverse: DataverseStandIn | None = None,
        clock: Callable[[], float] = time.time,
        switches: Switches | None = None,
    ) -> None:
        """Binds one channel.

        Args:
            tokens: checks callers' tokens and signs the webhook's.
            tenant_id: tenant of the app.
            client_id: the app that the channel's row names.
            audience: what callers' tokens must be for.
            organization_id: GUID that callers send.
            channel_id: GUID of the channel's row.
            workstream_id: GUID of its workstream; empty for none.
            webhook: base URL, or what is called instead of HTTP.
            ca_file: PEM file with the authorities that the webhook's server may have; None for the usual ones.
            authority: what comes before the tenant in the issuer of version 2.0 tokens.
            dataverse: where work items show up; None for nowhere.
            clock: returns seconds since the epoch.
            switches: how to behave where the truth is unknown.
        """
        signer = Signer(tokens, authority=authority, clock=clock)
        channel = Channel(
            id=channel_id.lower(),
            app_id=client_id,
            tenant_id=tenant_id,
            workstream_id=workstream_id,
            webhook_url=webhook if isinstance(webhook, str) else "",
        )
        post = None if isinstance(webhook, str) else webhook
        self._desk = Omnichannel(
            channel,
            webhook=lambda current: Webhook(signer, switches=current, clock=clock, ca_file=ca_file, post=post),
            records=Records(dataverse, clock=clock),
            clock=clock,
            switches=switches or Switches(),
        )
        self._admission = Admission(self._desk, tokens=tokens, audience=audience, organization_id=organization_id)
        self._consumer = Consumer(self._desk)
        self._reads = Reads(self._desk, self._consumer)
        self.rep = Rep(self._desk)
        self.webhook_faults: WebhookFaults = self._desk.webhook.faults

    def attach(self, server: Server) -> None:
        """Takes the origin for the addresses of files from the server."""
        self._desk.files.base_url = server.url

    def reset(self) -> None:
        """No conversations; channel and switches as at the start."""
        self._desk.reset()
        self._admission.reset()
        self._reads.reset()

    def control(self, request: Request) -> Response | None:
        """Routes under `/_sandbox/`: see `sandbox.dynamics_messaging.door.control`."""
        return door.control(self, request)

    def handle(self, request: Request) -> Response:
        """Answers one request."""
        try:
            if request.path.startswith(file_store.PREFIX) and request.method == "GET":
                return self._file(request)
            return self._route(request)
        except RefusalError as refusal:
            return answer(refusal, self._desk.switches.error_code_place)

    # -- the same as the control door, for tests in this process ------------------------------------------------

    @property
    def switches(self) -> Switches:
        """How it behaves now where the truth is unknown."""
        return self._desk.switches

    def switch(self, **wanted: Any) -> None:
        """Changes switches. Raises ValueError."""
        self._desk.switches = self._desk.switches.changed(wanted)

    def channels(self) -> list[Channel]:
        """All channels."""
        return self._desk.channels()

    def set_channel(self, **wanted: Any) -> Channel:
        """Changes the channel of `id` (the first one without it), or makes one. Raises ValueError."""
        return self._desk.change_channel(wanted)

    def conversations(self) -> list[Json]:
        """An outline of all conversations, in the order of creation."""
        with self._desk.lock:
            return [one.outline() for one in self._desk.conversations()]

    def conversation(self, conversation_id: str) -> Json:
        """Everything about one. Raises KeyError."""
        with self._desk.changing(conversation_id) as conversation:
            return conversation.as_json()

    def deliveries(self) -> list[Json]:
        """What the webhook was sent, and what became of it."""
        return self._desk.webhook.deliveries()

    def wait_idle(self, timeout_seconds: float = 10.0) -> bool:
        """Waits until the webhook has nothing under way. False after the timeout."""
        return self._desk.webhook.wait_idle(timeout_seconds)

    # -- routes -------------------------------------------------------------------------------------------------

    def _route(self, request: Request) -> Response:
        method, rest = request.method, request.path.removeprefix(_ROOT).split("/")
        if not request.path.startswith(_ROOT):
            rest = []
        match rest:
            case ["conversation", "create"]:
                return self._consumer.create(request, self._admit(request, "POST"))
            case ["conversation", conversation_id]:
                return self._consumer.send(request, self._admit(request, "POST"), conversation_id.lower())
            case ["conversations"]:
                return self._reads.conversations(request, self._admit(request, "GET"))
            case ["conversation", conversation_id, "messages"]:
                return self._reads.messages(request, self._admit(request, "GET"), conversation_id.lower())
            case ["conversation", conversation_id, "context"]:
                return self._reads.context(self._admit(request, "GET"), conversation_id.lower())
        raise RefusalError(404, None, f"No route matches {method} {request.path}.", title="RouteNotFound")

    def _admit(self, request: Request, method: str) -> Channel:
        if request.method != method:
            text = f"The requested resource does not support http method '{request.method}'."
            raise RefusalError(405, None, text, headers={"Allow": method})
        return self._admission.admit(request)

    def _file(self, request: Request) -> Response:
        switches = self._desk.switches
        if switches.file_token:
            self._admission.authenticate(request)
        return self._desk.files.read(request.path, lifetime_seconds=switches.file_lifetime_seconds)
