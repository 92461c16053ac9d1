"""An organisation on the stand-ins, and our side of it: each `worker` is a process of its own, nothing in memory."""

import functools
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from azure.core.credentials import AccessToken

from sandbox.dataverse.seed import ORGANIZATION_ID
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.dynamics_messaging import CHANNEL_ID, DynamicsMessaging, audience
from sandbox.entra import App, Entra
from sandbox.server import Server
from sandbox.tokens import Tokens
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.dataverse.client import DataverseClient
from shared.dataverse.settings import Access
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import settings as settings_of
from shared.dynamics_messaging import webhook
from shared.dynamics_messaging.availability import Availability
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.destination import MessagingDestination
from shared.dynamics_messaging.events import DynamicsEvents
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.organization import Organization
from shared.dynamics_messaging.people import People
from shared.dynamics_messaging.side import MessagingSide
from shared.errors import HandoffError
from shared.handoff.model import AI, CUSTOMER, Contact, Handoff, Outcome, Turn
from shared.relay.carrier import Carrier, Options
from shared.relay.model import Conversation, CustomerMessage, RepEntry
from tests.clock import ManualClock
from tests.relay.doubles import Faults, Memory, OpenCX

TENANT = "11111111-2222-4333-8444-555555555555"
CLIENT = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
ENVIRONMENT = "https://org.crm.dynamics.com"
LOCK = "a-lock-of-many-letters"
MANY_SECONDS = 1e9


_clocks: list[ManualClock] = []


def _seconds() -> float:
    """The time of the organisation that was made last, seconds since the epoch."""
    return _clocks[0].now().timestamp()


@functools.cache
def _tokens() -> Tokens:
    """One signing key for all tests: making one takes as long as some of them."""
    return Tokens(clock=_seconds)


@dataclass
class Credential:
    """Gives tokens of the Entra stand-in's, without asking it over HTTP."""

    tokens: Tokens
    asked: list[str] = field(default_factory=list)

    def get_token(self, *scopes: str) -> AccessToken:
        """A token for the scope."""
        self.asked.append(scopes[0])
        token = self.tokens.issue(TENANT, CLIENT, scopes[0].removesuffix("/.default"))
        return AccessToken(token, int(MANY_SECONDS * 1000))

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class Worker:
    """Our side, as one process has it."""

    client: MessagingClient
    people: People
    destination: MessagingDestination
    side: MessagingSide
    carrier: Carrier
    credential: Credential


@dataclass(frozen=True)
class Pushed:
    """What the webhook needs of the relay; nobody is woken, for the tests look when they want to."""

    ledger: Memory

    def find(self, system: str, conversation_id: str) -> Conversation | None:
        """As `Relay.find`."""
        return self.ledger.find(system, conversation_id)

    def has_ended(self, system: str, conversation_id: str) -> bool:
        """As `Relay.has_ended`."""
        return self.ledger.has_ended(system, conversation_id)

    def pushed(self, conversation: Conversation, entries: Sequence[RepEntry]) -> None:
        """As `Relay.pushed`."""
        self.ledger.push(conversation, entries)


class Organisation:
    """Dynamics 365 on loopback ports, an OpenCX and a ledger in memory, and a webhook that leads to them."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2027, 1, 15, 8, 0, tzinfo=UTC))
        self.skew_seconds = 0.0  # by which Dynamics' clock is ahead of ours
        _clocks[:] = [self.clock]
        seconds = _seconds
        self.tokens = _tokens()
        self.entra = Server(Entra([App(TENANT, CLIENT, secrets=("s",))], tokens=self.tokens, clock=seconds), tls=None)
        self.dataverse = DataverseStandIn(
            tokens=self.tokens,
            base_url_audience=ENVIRONMENT,
            clock=seconds,
            tenant_id=TENANT,
            application_id=CLIENT,
        )
        self.organisation = Server(self.dataverse, tls=None)
        self.standin = DynamicsMessaging(
            tokens=self.tokens,
            tenant_id=TENANT,
            client_id=CLIENT,
            audience=audience(ORGANIZATION_ID),
            authority=self.entra.url,
            webhook=self._take,
            dataverse=self.dataverse,
            clock=lambda: seconds() + self.skew_seconds,
        )
        self.server = Server(self.standin, tls=None)
        self.ledger = Memory(Faults())
        self.opencx = OpenCX(Faults(), self.clock)  # type: ignore[arg-type]
        self.refused: list[str] = []
        self._running = ExitStack()
        self._lock = threading.Lock()
        self._first: Worker | None = None

    def start(self) -> Self:
        """Open the ports."""
        for server in (self.entra, self.organisation, self.server):
            self._running.enter_context(server)
        self.standin.switch(create_seconds=0.0, webhook_retry_delay_seconds=0.0)
        return self

    def stop(self) -> None:
        """Close them."""
        self.standin.reset()
        self._running.close()

    def settings(self, **more: str) -> Settings:
        """The settings of a service that works here."""
        return Settings(
            {
                "AZURE_AUTHORITY_HOST": self.entra.url,
                "DYNAMICS_TENANT_ID": TENANT,
                "DYNAMICS_CLIENT_ID": CLIENT,
                "DYNAMICS_CLIENT_SECRET": "s",
                "DYNAMICS_MESSAGING_URL": self.server.url,
                "DYNAMICS_MESSAGING_CHANNEL_ID": CHANNEL_ID,
                "DYNAMICS_WEBHOOK_LOCK": LOCK,
                **more,
            }
        )

    def worker(self, **more: str) -> Worker:
        """A new process."""
        settings = self.settings(**more)
        credential = Credential(self.tokens)
        dataverse = DataverseClient(
            self.organisation.url,
            tokens=self._tokens(settings, credential, ENVIRONMENT),
            monotonic=self.clock.monotonic,
            now=self.clock.now,
        )
        known = settings_of.messaging(settings)
        organization = Organization(known.organization_id, dataverse=lambda: dataverse)
        resource = known.resource or settings_of.derived_resource(
            organization_id=ORGANIZATION_ID, environment=ENVIRONMENT
        )
        client = MessagingClient(
            known.origin,
            organization=organization,
            tokens=self._tokens(settings, credential, resource),
            monotonic=self.clock.monotonic,
            now=self.clock.now,
        )
        people = People(dataverse, contact_match=("email",))
        destination = MessagingDestination(
            client,
            people=people,
            settings=lambda: known,
            availability=Availability(dataverse, mode=settings_of.availability(settings), workstream_id=None),
            environment=self.organisation.url,
            monotonic=self.clock.monotonic,
        )
        side = MessagingSide(
            client,
            settings=lambda: known,
            written=self.opencx.messages,
            status=people.status,
            now=self.clock.now,
            home=self.organisation.url,
        )
        carrier = Carrier(
            conversations=self.ledger,
            sides=lambda _: side,
            customer=lambda: self.opencx,
            options=Options(),
            clock=self.clock,
        )
        return Worker(client, people, destination, side, carrier, credential)

    @property
    def first(self) -> Worker:
        """A worker that stays."""
        if self._first is None:
            self._first = self.worker()
        return self._first

    def deliver(self, handoff: Handoff, worker: Worker | None = None) -> Outcome:
        """One try."""
        return (worker or self.first).destination.deliver(handoff, deadline=self.deadline)

    def deliver_at_last(self, handoff: Handoff) -> Outcome:
        """Tries, each of a process of its own, until one lands."""
        for _ in range(10):
            try:
                return self.deliver(handoff, self.worker())
            except HandoffError as error:
                self.refused.append(error.code)
                self.clock.advance(5)
        raise AssertionError(self.refused)

    def open(self, handoff: Handoff | None = None) -> Conversation:
        """A handoff that has landed, and whose messages are carried."""
        handoff = handoff or chat()
        outcome = self.deliver(handoff)
        now = self.clock.now()
        return self.ledger.open(
            Conversation(
                handoff_id=handoff.handoff_id,
                session_id=handoff.session_id,
                system=outcome.system,
                conversation_id=outcome.record_id,
                channel=outcome.channel,
                opened_at=now,
                details={**outcome.relay, "transcript_end": now.isoformat()},
                contact_cursor=now,
                next_at=now,
                contact_poll_at=now,
            )
        )

    def accepted(self, handoff: Handoff | None = None) -> Conversation:
        """The same, and a rep has it."""
        conversation = self.open(handoff)
        self.standin.rep.accept(conversation.conversation_id)
        self.settle()
        return conversation

    def step(self, conversation: Conversation, worker: Worker | None = None) -> Conversation | None:
        """One look at a conversation."""
        known = self.ledger.get(conversation.key)
        return (worker or self.first).carrier.step(known) if known else None

    def settle(self) -> None:
        """All that the webhook has under way has come."""
        assert self.standin.wait_idle()

    def customer_writes(self, conversation: Conversation, text: str) -> CustomerMessage:
        """The customer writes, and OpenCX tells us."""
        self.clock.advance(1)
        message = self.opencx.writes(text)
        known = self.ledger.get(conversation.key)
        if known is not None:
            from dataclasses import replace

            self.ledger.change(replace(known, contact_poll_at=self.clock.now(), next_at=self.clock.now()))
        return message

    def heard(self) -> list[str]:
        """What the customer was told, in order."""
        return [entry.text for entry in self.opencx.heard]

    def sees(self, conversation_id: str) -> list[str]:
        """What the rep reads, in order."""
        return [line["text"] for line in self.standin.conversation(conversation_id)["rep_sees"]]

    def verifier(self, **more: str) -> webhook.Verifier:
        """What lets the webhook in."""
        settings = self.settings(**more)
        secrets = Secrets(settings, clock=self.clock)
        made: list[SigningKeys] = []

        def keys(wanted: settings_of.Webhook) -> SigningKeys:
            made[:] = made or [
                SigningKeys(authority=wanted.authority, tenant=wanted.tenant, monotonic=self.clock.monotonic)
            ]
            return made[0]

        return webhook.Verifier(
            lambda: settings_of.webhook(settings),
            keys=keys,
            lock=functools.partial(settings_of.lock, secrets),
            now=self.clock.now,
        )

    def events(self, **more: str) -> DynamicsEvents:
        """What takes the webhook's requests, as the service has it; the ledger is in memory."""
        senders = settings_of.messaging(self.settings()).automated_senders
        relay = Pushed(self.ledger)
        return DynamicsEvents(
            verifier=self.verifier(**more),
            relay=lambda: relay,
            automated_senders=lambda: senders,
            now=self.clock.now,
        )

    @property
    def deadline(self) -> float:
        """A time to be done by, seconds."""
        return self.clock.monotonic() + 20

    def _take(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The door of the webhook, as the host would call it; the status."""
        with self._lock:
            if not hasattr(self, "_events"):
                self._events = self.events()
        try:
            self._events.receive(
                lock=LOCK,
                authorization=headers.get("Authorization"),
                conversation_id=url.split("/")[-2],
                body=lambda: body,
            )
        except HandoffError as error:
            self.refused.append(error.code)
            return int(error.http_status)
        return 200

    def _tokens(self, settings: Settings, credential: Credential, resource: str) -> TokenSource:
        access = Access(origin=resource, uses_managed_identity=False, tenant_id=TENANT, client_id=CLIENT)
        return TokenSource(
            lambda: access,
            secrets=Secrets(settings, clock=self.clock),
            clock=self.clock,
            wall_seconds=lambda: self.clock.now().timestamp(),
            credential=lambda *_: credential,
        )


def chat(handoff_id: str = "session-1", **more: Any) -> Handoff:
    """A chat with a short transcript."""
    at = datetime(2027, 1, 15, 7, 58, tzinfo=UTC)
    given: dict[str, Any] = {
        "session_id": handoff_id,
        "channel": "whatsapp",
        "summary": "Wants help",
        "contact": Contact(name="Jo Doe", email="jo@example.com", phone="+12025550100"),
        "transcript": (Turn(CUSTOMER, "My parcel is late", at), Turn(AI, "I get somebody for you", at)),
        **more,
    }
    return Handoff(handoff_id=handoff_id, **given)


def long_chat(turns: int, *, characters: int = 400, handoff_id: str = "session-1", **more: Any) -> Handoff:
    """A chat whose transcript does not fit into one message; every turn says its number."""
    at = datetime(2027, 1, 15, 7, 0, tzinfo=UTC)
    transcript = tuple(Turn((CUSTOMER, AI)[n % 2], f"turn {n:05d} {'é' * characters}", at) for n in range(turns))
    return chat(handoff_id, transcript=transcript, **more)


def activity(conversation_id: str, **fields: Any) -> bytes:
    """A body of the webhook."""
    return json.dumps({"type": "message", "conversation": {"id": conversation_id}, **fields}).encode()
