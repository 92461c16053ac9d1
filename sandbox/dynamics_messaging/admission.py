"""Who may call: token, organisation, channel, and how often."""

from __future__ import annotations

import threading
from collections import deque

from sandbox.dataverse.address import GUID
from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.omnichannel import Omnichannel
from sandbox.dynamics_messaging.refusals import (
    INVALID_CHANNEL,
    INVALID_ORGANIZATION,
    NO_CHANNEL,
    NO_WORKSTREAM,
    RefusalError,
)
from sandbox.tokens import TokenRefused, Tokens
from sandbox.wire import Request

CHANNEL_HEADER = "channel-id"
ORGANIZATION_HEADER = "organization-id"


class Admission:
    """Lets requests in. The order of the checks is the stand-in's choice."""

    def __init__(self, desk: Omnichannel, *, tokens: Tokens, audience: str, organization_id: str) -> None:
        """`audience` is the resource that tokens must be for: the one with `-c`, not the Web API's."""
        self._desk = desk
        self._tokens = tokens
        self._audience = audience
        self._organization_id = organization_id
        self._lock = threading.Lock()
        self._recent: dict[str, deque[float]] = {}

    def reset(self) -> None:
        """No requests counted."""
        with self._lock:
            self._recent = {}

    def admit(self, request: Request) -> Channel:
        """The channel that a request is for. Raises RefusalError 400, 401, 404 or 429."""
        claims = self.authenticate(request)
        organization_id = request.headers.get(ORGANIZATION_HEADER, "")
        channel_id = request.headers.get(CHANNEL_HEADER, "")
        for name, value in ((ORGANIZATION_HEADER, organization_id), (CHANNEL_HEADER, channel_id)):
            if not value:
                raise RefusalError(401, None, f"The header {name} is missing.")
        if not GUID.fullmatch(organization_id):
            raise RefusalError(400, INVALID_ORGANIZATION, "The organization id is not valid.")
        if not GUID.fullmatch(channel_id):
            raise RefusalError(400, INVALID_CHANNEL, "The channel id is not valid.")
        if organization_id.lower() != self._organization_id.lower():
            raise RefusalError(401, None, "The token is not good for this organization.")
        channel = self._desk.channel(channel_id)
        if channel is None:
            raise RefusalError(404, NO_CHANNEL, f"The configuration of channel {channel_id} does not exist.")
        caller = claims.get("appid") or claims.get("azp")
        if caller != channel.app_id or claims.get("tid") != channel.tenant_id:
            raise RefusalError(401, None, "The channel ID isn't authorized for the organization.")
        self._within_limit(channel)
        if not channel.workstream_id:
            raise RefusalError(400, NO_WORKSTREAM, "The channel is not linked to a workstream.")
        return channel

    def authenticate(self, request: Request) -> dict[str, object]:
        """The claims of the request's token. Raises RefusalError 401."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusalError(401, None, "The header Authorization is missing.")
        try:
            return self._tokens.verify(token, self._audience)
        except TokenRefused as error:
            raise RefusalError(401, None, f"The token is not good: {error}.") from error

    def _within_limit(self, channel: Channel) -> None:
        limit = self._desk.switches.requests_per_minute
        if not limit:
            return
        now = self._desk.now()
        with self._lock:
            recent = self._recent.setdefault(channel.id, deque())
            while recent and recent[0] <= now - 60:
                recent.popleft()
            if len(recent) >= limit:
                wait = max(1, round(recent[0] + 60 - now))
                raise RefusalError(429, None, "Too many requests.", headers={"Retry-After": str(wait)})
            recent.append(now)
