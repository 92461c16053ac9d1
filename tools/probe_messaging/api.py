"""The Messaging APIs as they answer, judged by nobody: `shared.dynamics_messaging.client` hides what is asked here."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests

from shared import http
from shared.config.clock import Clock
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import MESSAGING
from shared.dynamics_messaging.client import ROOT
from shared.dynamics_messaging.organization import Organization
from shared.errors import TransientFailure
from tools.probe_messaging.budget import Budget

CALL_SECONDS = 30.0
TRIES = 3
LONGEST_WAIT_SECONDS = 60.0

type Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        status: HTTP status.
        body: as it came.
        seconds: how long it took.
    """

    status: int
    body: bytes = field(repr=False)
    seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    @property
    def tells(self) -> bool:
        """Whether it is about what was asked: an overload or an outage tells nothing."""
        return self.status not in (0, 401, 408, 429) and self.status < 500

    @property
    def json(self) -> Json:
        """The object, its keys as they are; empty when there is none."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def get(self, name: str) -> Any:
        """A field, whatever the case of its key."""
        return next((value for key, value in self.json.items() if key.lower() == name.lower()), None)

    def rows(self, name: str) -> list[Json]:
        """A field that is a list of objects."""
        found = self.get(name)
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


class Api:
    """Calls one organization with one channel row, within a budget.

    Args:
        origin: scheme and host.
        channel_id: GUID of the row msdyn_occustommessagingchannel.
        organization: gives the organization's id.
        tokens: gives the bearer token.
        clock: time.
        budget: counts the calls.

    Attributes:
        throttled: how often an answer was 429.
        seconds: how long each call took.
    """

    def __init__(
        self,
        origin: str,
        *,
        channel_id: str,
        organization: Organization,
        tokens: TokenSource,
        clock: Clock,
        budget: Budget,
    ) -> None:
        self.origin = origin
        self.channel_id = channel_id
        self.throttled = 0
        self.seconds: list[float] = []
        self._organization = organization
        self._tokens = tokens
        self._clock = clock
        self._budget = budget
        self._lock = threading.Lock()
        self._session = http.session(origin)

    def sign_in(self) -> str:
        """Get a token. Returns the organization's id. Raises ConfigurationFault or TransientFailure."""
        self._budget.spend()
        deadline = self._clock.monotonic() + CALL_SECONDS
        self._tokens.get(deadline=deadline)
        return self._organization.id(deadline=deadline)

    def create(self, body: Json) -> Answer:
        """Start a conversation, or find one."""
        return self._call("POST", "conversation/create", body)

    def send(self, conversation_id: str, activity: Json) -> Answer:
        """Send an activity."""
        whole = {**activity, "channelId": self.channel_id, "conversation": {"id": conversation_id}}
        return self._call("POST", f"conversation/{quote(conversation_id)}", whole)

    def messages(self, conversation_id: str) -> Answer:
        """The first 100 messages."""
        return self._call("GET", f"conversation/{quote(conversation_id)}/messages?PageSize=100")

    def context(self, conversation_id: str) -> Answer:
        """The context variables."""
        return self._call("GET", f"conversation/{quote(conversation_id)}/context")

    def bearer(self) -> str:
        """The token, for what is at the APIs' own host."""
        return self._tokens.get(deadline=self._clock.monotonic() + CALL_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._tokens.close()
        self._session.close()

    def _call(self, method: str, path: str, body: Json | None = None) -> Answer:
        """One call; repeated after 401 with a new token and after 429 when that is over, three times in all.

        Raises:
            TransientFailure: no answer.
            ConfigurationFault: Entra refuses a token.
            Over: the budget is used up.
        """
        for left in reversed(range(TRIES)):
            self._budget.spend()
            deadline = self._clock.monotonic() + CALL_SECONDS
            token = self._tokens.get(deadline=deadline)
            began = self._clock.monotonic()
            response = self._send(method, path, body, self._headers(token, deadline))
            with self._lock:
                self.seconds.append(self._clock.monotonic() - began)
            if response.status_code == 401 and left:
                self._tokens.refuse(token, deadline=deadline)
                continue
            if response.status_code == 429 and left:
                with self._lock:
                    self.throttled += 1
                wait = http.retry_after_seconds(response.headers, now=self._clock.now())
                self._clock.sleep(min(wait or 5.0, LONGEST_WAIT_SECONDS, self._budget.seconds_left()))
                continue
            break
        return Answer(response.status_code, response.content, self._clock.monotonic() - began)

    def _headers(self, token: str, deadline: float) -> Mapping[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            "channel-id": self.channel_id,
            "organization-id": self._organization.id(deadline=deadline),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "opencx-handoff-probe/1.0",
        }

    def _send(self, method: str, path: str, body: Json | None, headers: Mapping[str, str]) -> requests.Response:
        sent = json.dumps(body).encode() if body is not None else None
        url = f"{self.origin}{ROOT}{path}"
        timeout = http.timeouts(CALL_SECONDS)
        try:
            return http.send(self._session, method, url, body=sent, headers=headers, timeout=timeout)
        except requests.RequestException as error:
            message = f"The Messaging APIs did not answer ({type(error).__name__})."
            raise TransientFailure(message, code="messaging_unreachable", system=MESSAGING) from None
