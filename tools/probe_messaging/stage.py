"""What the steps share: the APIs, Dataverse, the webhook, the rep's desk, and the names of this run."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.config.clock import Clock
from shared.dataverse.batch import Reply
from shared.dataverse.client import DataverseClient
from shared.dynamics_messaging import names
from shared.handoff.identity import record_id
from tools.probe_messaging.api import Answer, Api, Json
from tools.probe_messaging.budget import Budget
from tools.probe_messaging.desk import Desk, Skipped
from tools.probe_messaging.listener import Listener, Received
from tools.probe_messaging.seen import LABELS, Seen

DATAVERSE_SECONDS = 30.0
NAME = "OpenCX probe"


@dataclass(frozen=True)
class Pace:
    """How long to wait for what may never come, in seconds.

    Attributes:
        arrive: for the webhook, after something was done.
        quiet: after the last that came, until it counts as all.
        look: for what becomes visible late.
        poll: between two looks.
        again: for another delivery of what was refused.
    """

    arrive: float = 30.0
    quiet: float = 4.0
    look: float = 60.0
    poll: float = 2.0
    again: float = 90.0


@dataclass
class Stage:
    """One run.

    Attributes:
        run_id: makes the names of this run its own.
        listener: None: there is no webhook here.
        made: the conversations of this run.
        over: those of them that have ended.
    """

    api: Api
    dataverse: DataverseClient
    desk: Desk
    clock: Clock
    budget: Budget
    say: Callable[[str], None]
    listener: Listener | None = None
    pace: Pace = field(default_factory=Pace)
    seen: Seen = field(default_factory=Seen)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    made: list[str] = field(default_factory=list)
    over: set[str] = field(default_factory=set)

    # -- names ------------------------------------------------------------------------------------------------------

    def handoff_id(self, letter: str) -> str:
        """As a handoff of the service's would be named."""
        return f"probe-{self.run_id}-{letter}"

    def customer(self, letter: str) -> Json:
        """Who writes."""
        return {"id": names.customer_id(self.handoff_id(letter)), "name": NAME}

    def start(self, letter: str) -> str:
        """The start message, marked as the service marks its own."""
        mark = names.reference(self.handoff_id(letter))
        return f"OpenCX handoff {mark}-0000\nA probe of the Messaging APIs ({self.run_id}): no customer waits."

    def body(self, letter: str, *, is_named: bool = True, request: str = "") -> Json:
        """A create call, as the service makes it."""
        handoff_id = self.handoff_id(letter)
        customer = {"preferredname": f"{NAME} {self.run_id}"}
        variables = {"sessionId": handoff_id, "channel": "web", "handoffId": handoff_id}
        return {
            "customercontext": {**({"customerid": names.customer_id(handoff_id)} if is_named else {}), **customer},
            "conversationcontext": {name: {"isDisplayable": True, "value": value} for name, value in variables.items()},
            "conversationrequestid": request
            or record_id(environment=self.dataverse.origin, kind="messaging_probe", handoff_id=handoff_id),
            "startmessage": {"message": self.start(letter), "displayname": NAME},
            "skipdeflectionbot": True,
        }

    # -- conversations ----------------------------------------------------------------------------------------------

    def create(self, body: Json) -> tuple[Answer, str]:
        """Create, and remember what was made; the id is empty when it was refused."""
        answer = self.api.create(body)
        found = answer.get("conversationId")
        conversation_id = found.lower() if answer.is_success and isinstance(found, str) else ""
        if conversation_id and conversation_id not in self.made:
            self.made.append(conversation_id)
        return answer, conversation_id

    def finish(self, conversation_id: str) -> str:
        """End it as a customer who leaves; its state then."""
        self.api.send(conversation_id, {"type": "endOfConversation"})
        self.over.add(conversation_id)
        return self.state(conversation_id, "Wrap-up", "Closed")

    def state(self, conversation_id: str, *wanted: str) -> str:
        """What Dataverse says, at last: it may be late. Empty: nothing; an unknown statuscode as a number."""
        found = ""

        def is_there() -> bool:
            nonlocal found
            code = self.rows(f"msdyn_ocliveworkitems({conversation_id})?$select=statuscode").json().get("statuscode")
            found = LABELS.get(code, str(code)) if isinstance(code, int) else ""
            return found in wanted

        self.until(is_there)
        return found

    def rows(self, path: str) -> Reply:
        """Read from Dataverse."""
        self.budget.spend()
        return self.dataverse.get(path, deadline=self.clock.monotonic() + DATAVERSE_SECONDS)

    # -- waiting ----------------------------------------------------------------------------------------------------

    def until(self, holds: Callable[[], bool]) -> float | None:
        """Look until it holds; how many seconds that took, None when it never did."""
        began = self.clock.monotonic()
        while not holds():
            if self.clock.monotonic() - began > self.pace.look:
                return None
            self.clock.sleep(self.pace.poll)
        return self.clock.monotonic() - began

    def phase(self, name: str) -> None:
        """What the webhook brings from now on belongs to this."""
        if self.listener is not None:
            self.listener.phase = name

    def at_desk(
        self,
        phase: str,
        conversation_id: str,
        act: Callable[[str], None],
        *,
        until: Callable[[list[Received]], bool] = bool,
    ) -> None:
        """Have something done to a conversation, and wait for what the webhook brings of it.

        Raises:
            Skipped: it was not done.
        """
        self.phase(phase)
        act(conversation_id)
        self.seen.phases[phase] = conversation_id
        self.arrive(phase, conversation_id, until=until)

    def arrive(
        self, phase: str, conversation_id: str, *, until: Callable[[list[Received]], bool] = bool
    ) -> list[Received]:
        """Wait for what the webhook brings of a conversation in this phase; what has come then."""
        listener = self.listener
        if listener is None:
            return []
        listener.settle(
            lambda: until(listener.requests([conversation_id], phase=phase)),
            seconds=self.pace.arrive,
            quiet_seconds=self.pace.quiet,
        )
        return listener.requests([conversation_id], phase=phase)

    def need(self, conversation_id: str) -> str:
        """The id, if there is one. Raises Skipped."""
        if not conversation_id:
            message = "there is no conversation to do it in"
            raise Skipped(message)
        return conversation_id
