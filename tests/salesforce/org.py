"""An org on the stand-in, and our side of it: each `worker` is a process of its own, with nothing in memory."""

import functools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.salesforce import Salesforce
from sandbox.server import Server
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.errors import TransientFailure
from shared.handoff.model import AI, CUSTOMER, Contact, Handoff, Outcome, Turn
from shared.relay.model import Conversation
from shared.salesforce.client import SalesforceClient
from shared.salesforce.destination import SalesforceDestination
from shared.salesforce.files import Fetch
from shared.salesforce.settings import Access, access
from shared.salesforce.side import SalesforceSide
from shared.salesforce.token import TokenSource
from shared.salesforce.wire import Reply, Wire
from tests.clock import ManualClock

ORG_ID = "00Dxx0000000001"
DEPLOYMENT = "OpenCX_Custom_Client"
ISSUER = "opencx"
KID = "key-1"
START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


@functools.cache
def key() -> RSAPrivateKey:
    """The org's key of verified users."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def pem() -> str:
    """The same, as it is stored."""
    return key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class KeptGuests:
    """Guests' tokens that outlive a worker; implements `shared.salesforce.token.GuestTokens`."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        """The token kept under that key."""
        return self.kept.get(key)

    def put(self, key: str, token: str) -> str:
        """Keep a token, unless there is one."""
        return self.kept.setdefault(key, token)

    def delete(self, key: str) -> None:
        """Forget it."""
        self.kept.pop(key, None)


class Killed(BaseException):
    """The worker is no more."""


class MortalWire(Wire):
    """A wire whose worker dies at one of its calls.

    Attributes:
        calls: how many there were.
    """

    dies_at: int | None = None
    dies_after: bool = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls = 0

    def call(self, *args: Any, **options: Any) -> Reply:
        """The call, unless this is the end."""
        self.calls += 1
        if self.calls == self.dies_at and not self.dies_after:
            raise Killed
        reply = super().call(*args, **options)
        if self.calls == self.dies_at:
            raise Killed
        return reply


class Worker:
    """One process: its own connections and memory."""

    def __init__(self, org: "Org", environ: dict[str, str], fetch: Fetch | None) -> None:
        settings = Settings(environ)
        self.access: Access = access(settings)
        self.wire = MortalWire(self.access.origin, monotonic=org.clock.monotonic, now=org.clock.now)
        self.tokens = TokenSource(
            self.access,
            wire=self.wire,
            secrets=Secrets(settings, clock=org.clock),
            guests=org.guests,
            clock=org.clock,
        )
        self.client = SalesforceClient(self.access, wire=self.wire, tokens=self.tokens)
        self.destination = SalesforceDestination(
            self.client, tokens=self.tokens, access=self.access, fetch=fetch, monotonic=org.clock.monotonic
        )
        self.side = SalesforceSide(self.client, tokens=self.tokens, access=self.access, fetch=fetch, clock=org.clock)


class Org:
    """The stand-in, the settings that fit it, and what an oracle wants to know."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.guests = KeptGuests()
        self.standin = Salesforce(
            org_id=ORG_ID,
            developer_name=DEPLOYMENT,
            issuer=ISSUER,
            keys={KID: key().public_key()},
            clock=lambda: self.clock.now().timestamp(),
        )
        self.server = Server(self.standin, tls=None)
        self._workers: list[Worker] = []
        self._lock = threading.Lock()

    def environ(self, **changes: str) -> dict[str, str]:
        """The settings; an empty one is as good as none."""
        return {
            "SALESFORCE_SCRT_URL": self.server.url,
            "SALESFORCE_ORG_ID": f"{ORG_ID}AAA",
            "SALESFORCE_ES_DEVELOPER_NAME": DEPLOYMENT,
            "SALESFORCE_JWT_ISSUER": ISSUER,
            "SALESFORCE_AUTH_KEY_ID": KID,
            "SALESFORCE_PRIVATE_KEY": pem(),
            **changes,
        }

    def worker(self, fetch: Fetch | None = None, /, **changes: str) -> Worker:
        """A new process."""
        made = Worker(self, self.environ(**changes), fetch)
        with self._lock:
            self._workers.append(made)
        return made

    def guest_worker(self, fetch: Fetch | None = None, /, **changes: str) -> Worker:
        """A new process without a private key."""
        none = dict.fromkeys(("SALESFORCE_PRIVATE_KEY", "SALESFORCE_JWT_ISSUER", "SALESFORCE_AUTH_KEY_ID"), "")
        return self.worker(fetch, **{**none, **changes})

    def deadline(self) -> float:
        """A budget of 25 s from now."""
        return self.clock.monotonic() + 25

    def land(self, handoff: Handoff, worker: Callable[[], Worker] | None = None, *, tries: int = 12) -> Outcome:
        """Try as the service tries, a new process each time, until it has landed."""
        for _ in range(tries):
            try:
                return (worker or self.worker)().destination.deliver(handoff, deadline=self.deadline())
            except TransientFailure as failure:
                self.clock.sleep(max(0.2, failure.retry_after_seconds or 0.0))
        raise AssertionError("it has not landed")

    def whole(self, conversation_id: str) -> dict[str, Any]:
        """Everything of one conversation."""
        return self.standin.conversation(conversation_id)

    def texts(self, conversation_id: str) -> list[str]:
        """What the rep reads of the customer, in order."""
        return [one["text"] for one in self.whole(conversation_id)["received"] if not one["fileId"]]

    def calls(self) -> list[str]:
        """The requests that Salesforce has had."""
        return [f"{entry.method} {entry.path.partition('?')[0]}" for entry in self.server.journal.entries()]

    def stop(self) -> None:
        """Close everything."""
        for worker in self._workers:
            worker.client.close()
        self.server.stop()


def handoff(turns: int = 3, /, **changes: Any) -> Handoff:
    """A handoff of a chat with that many turns."""
    said = tuple(
        Turn(CUSTOMER if number % 2 else AI, turn_text(number), at=START - timedelta(seconds=turns - number))
        for number in range(1, turns + 1)
    )
    known: dict[str, Any] = {
        "handoff_id": "h-1",
        "session_id": "sess_123",
        "channel": "sms",
        "contact": Contact(name="Jane van Doe", email="jane@example.com", phone="+15551234567"),
        "transcript": said,
        "summary": "Wants a refund.",
        "language": "en",
        "priority": 1,
    }
    return Handoff(**{**known, **changes})


def turn_text(number: int) -> str:
    """What is said in a turn: every one is different."""
    return f"turn {number:04} about the order, with enough words in it that a few of them fill a message of a chat"


def opened(outcome: Outcome, *, at: datetime = START) -> Conversation:
    """The relay's record of what a handoff has become."""
    return Conversation(
        handoff_id="h-1",
        session_id="sess_123",
        system=outcome.system,
        conversation_id=outcome.record_id,
        channel=outcome.channel,
        opened_at=at,
        details=dict(outcome.relay),
    )
