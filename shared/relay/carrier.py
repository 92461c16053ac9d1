"""Carries one conversation's messages both ways: in order, each once.

Each send is claimed before it is made, by a conditional write of the conversation (`shared.relay.held`)::

    claim ─▶ send ─▶ seen (written together with the next claim)

A worker that dies leaves its claim. When the claim is over, the next worker asks the other side whether the message is
there: what is there is seen, what is not is sent again. While a claim is held nobody else sends anything in this
conversation, so the order stands too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared import events
from shared.config.clock import Clock
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, PermanentFailure, TransientFailure
from shared.relay import pace
from shared.relay.held import Held, Taken
from shared.relay.model import HOME, KEEPS_SESSION, TO_CUSTOMER, TO_REP, Conversation, CustomerSide, RepSide
from shared.relay.store import Conversations
from shared.relay.to_customer import REP, ToCustomer
from shared.relay.to_rep import ToRep

CONFIGURATION_WAIT_SECONDS = 30.0
CLOSING_TRIES = 10
MISSING_TRIES = 30
"""Looks in a row, half an hour of them, at a session that OpenCX does not know, before it is taken for deleted."""
SESSION_MISSING = "opencx_session_missing"
FORGOTTEN_AFTER = timedelta(days=30)
POLLS_A_MINUTE = 30
"""Of OpenCX's 100 requests a minute, what looks without a webhook may use, all conversations together."""
RECEIPT_SECONDS = 3.0
"""What a receipt may take: no message waits for one any longer."""
CUSTOMER, SILENCE, SHUT_OUT = "customer", "silence", "shutout"

type Failure = TransientFailure | ConfigurationFault | PermanentFailure


@dataclass(frozen=True)
class Options:
    """How the relay behaves.

    Attributes:
        relays_automated: whether what the rep's system writes by itself is carried to the customer.
        closes_session: whether OpenCX's session is closed when the rep ends the conversation.
        ends_conversation: whether the rep's conversation is ended when OpenCX's session is closed.
        contact_poll: how often OpenCX's history is read without a webhook.
    """

    relays_automated: bool = False
    closes_session: bool = True
    ends_conversation: bool = True
    contact_poll: timedelta = timedelta(minutes=5)


class Carrier:
    """Takes one conversation one step further. Two of them at one conversation are harmless.

    Attributes:
        open_estimate: how many conversations are open, as far as this instance has seen; the more, the rarer OpenCX
            is polled.
    """

    def __init__(
        self,
        *,
        conversations: Conversations,
        sides: Callable[[str], RepSide],
        customer: Callable[[], CustomerSide],
        options: Options,
        clock: Clock,
    ) -> None:
        self._conversations = conversations
        self._sides = sides
        self._customer = customer
        self._options = options
        self._clock = clock
        self.open_estimate = 0

    def step(self, conversation: Conversation) -> Conversation | None:
        """Carry what there is to carry, and say when to look next.

        Returns:
            The conversation as it is stored now; None when it has ended, or another worker has it.

        Raises:
            LedgerUnavailable: nothing can be written; the timer comes back.
        """
        claim = conversation.claim
        if claim is not None and self._clock.now() < claim.until:
            return None
        with events.scope(
            handoff_id=conversation.handoff_id, session_id=conversation.session_id, system=conversation.system
        ):
            held = Held(conversation, conversations=self._conversations, clock=self._clock)
            try:
                return self._step(held)
            except Taken:
                return None

    def _step(self, held: Held) -> Conversation | None:
        side: RepSide | None = None
        said: list[str] = []
        try:
            side = _at_home(self._sides(held.now.system), held.now)
            self._carry(held, side, said)
            if held.now.failures:
                held.set(failures=0, error_code="" if held.now.undelivered == 0 else held.now.error_code)
            rest = self._rest(held, side)
        except (TransientFailure, ConfigurationFault, PermanentFailure) as failure:
            rest = self._later(held, failure)
        now = self._clock.now()
        if rest is None and not held.now.ending and now - (held.now.active_at or held.now.opened_at) > FORGOTTEN_AFTER:
            held.set(ending=SILENCE)
        if rest is None and held.now.ending:
            held.end()
            self._receipts(held, side, said)
            self._forget(held, side)
            return None
        if rest is not None:
            held.set(next_at=now + rest)
        else:
            look = pace.next_look(held.now, polls=side is None or side.polls, now=now)
            if held.stored.next_at is None or look > now or held.stored.next_at > now:
                held.set(next_at=look)
        held.write()
        self._receipts(held, side, said)
        return held.now

    def _receipts(self, held: Held, side: RepSide | None, said: list[str]) -> None:
        """Show the rep what has arrived, when all of it is written down; a receipt that fails is not tried again."""
        if side is None or not said:
            return
        deadline = min(held.deadline(), self._clock.monotonic() + RECEIPT_SECONDS)
        try:
            side.delivered(held.now, said, deadline=deadline)
        except HandoffError as error:
            events.emit(events.RELAY_RECEIPT_FAILED, code=error.code)

    def _forget(self, held: Held, side: RepSide | None) -> None:
        """What was kept for a conversation that has ended: what cannot be deleted now expires by itself."""
        try:
            if side is not None:
                side.forget(held.now)
        except (TransientFailure, ConfigurationFault) as failure:
            events.emit(events.RELAY_TOKEN_KEPT, code=failure.code)

    def _carry(self, held: Held, side: RepSide, said: list[str]) -> None:
        """Both directions. One that fails does not keep the other waiting, unless it leaves a claim.

        ``said`` gets the ids of what has reached OpenCX.
        """
        customer = self._customer()
        poll = max(self._options.contact_poll, timedelta(minutes=self.open_estimate / POLLS_A_MINUTE))
        outward = ToCustomer(
            held,
            conversations=self._conversations,
            side=side,
            customer=customer,
            relays_automated=self._options.relays_automated,
            said=said,
        )
        inward = ToRep(held, side=side, customer=customer, poll=poll)
        try:
            outward.read()
            inward.settle()
            outward.settle()
        except ConversationEnded as ended:
            self._over(held, ended, TO_CUSTOMER)
        ways: list[Callable[[], None]] = [outward.carry, lambda: self._inward(held, inward)]
        failures: list[Failure] = []
        for way in ways if held.now.failures % 2 == 0 else reversed(ways):
            if failures and held.now.claim is not None:
                break
            try:
                way()
            except (TransientFailure, ConfigurationFault, PermanentFailure) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def _inward(self, held: Held, inward: ToRep) -> None:
        """What the customer wrote; nothing any more when the rep's side is over."""
        if held.now.ending in (REP, SHUT_OUT):
            return
        try:
            inward.carry()
        except ConversationEnded as ended:
            held.set(claim=None, undelivered=held.now.undelivered + 1)
            self._over(held, ended, TO_REP)

    def _over(self, held: Held, ended: ConversationEnded, direction: str) -> None:
        """The rep's side says that it is over, or that the service is shut out."""
        if ended.is_shut_out or direction == TO_REP:
            events.emit(events.RELAY_REFUSED, code=ended.code, direction=direction)
            held.set(error_code=ended.code)
        if not held.now.ending:
            held.set(ending=SHUT_OUT if ended.is_shut_out else REP, over_at=self._clock.now())

    def _rest(self, held: Held, side: RepSide) -> timedelta | None:
        """What is still to do before it has ended: how long to wait for last words; None: nothing."""
        if held.now.ending == REP:
            patience = pace.LAST_WORDS if side.polls else pace.LAST_WORDS_PUSHED
            waited = self._clock.now() - (held.now.over_at or held.now.opened_at)
            if waited < patience:
                return patience - waited
            if self._options.closes_session and not self._is_needed(held.now):
                held.write()  # closing comes back as a webhook, which must not be taken for the customer's doing
                self._close(held, lambda: self._customer().close(held.now, deadline=held.deadline()))
        elif held.now.ending == CUSTOMER and self._options.ends_conversation:
            held.write()  # of a conversation that is over nobody tells whether the last words have arrived
            self._close(held, lambda: side.end(held.now, deadline=held.deadline()))
        return None

    def _is_needed(self, conversation: Conversation) -> bool:
        """Whether OpenCX's session goes on: another rep is in it, or is being called."""
        others = self._conversations.of_session(conversation.session_id)
        return KEEPS_SESSION in conversation.details or any(
            not other.ending for other in others if other.key != conversation.key
        )

    def _close(self, held: Held, close: Callable[[], None]) -> None:
        """Tell the other side that it is over; after many failures it is over without that."""
        try:
            close()
        except ConversationEnded:
            return
        except PermanentFailure as failure:
            events.emit(events.RELAY_REFUSED, code=failure.code, direction="close")
        except (TransientFailure, ConfigurationFault) as failure:
            if held.now.failures < CLOSING_TRIES:
                raise
            events.emit(events.RELAY_REFUSED, code=failure.code, direction="close")

    def _later(self, held: Held, failure: Failure) -> timedelta | None:
        """When to look again after a look that has failed; None: never, for it has failed for too long."""
        failures = held.now.failures + 1
        asked = failure.retry_after_seconds if isinstance(failure, TransientFailure) else CONFIGURATION_WAIT_SECONDS
        wait = pace.retry_wait(failures, at_least_seconds=asked)
        if held.now.claim is not None:
            wait = max(wait, held.now.claim.until - self._clock.now())
        held.set(failures=failures, error_code=failure.code)
        events.emit(events.RELAY_WAITING, code=failure.code, failures=failures)
        if failure.code == SESSION_MISSING and failures >= MISSING_TRIES and not held.now.ending:
            held.set(ending=SHUT_OUT)
            return None
        silent = self._clock.now() - (held.now.active_at or held.now.opened_at)
        if silent > FORGOTTEN_AFTER or (held.now.ending and failures > MISSING_TRIES):
            return None
        return wait


def _at_home(side: RepSide, conversation: Conversation) -> RepSide:
    """The side, if it is where the conversation stands.

    Raises:
        ConfigurationFault: the settings name another organization by now, which would call it unknown, and so ended.
    """
    if conversation.details.get(HOME, side.home) != side.home:
        raise ConfigurationFault(
            "The conversation stands in another organization or deployment than the settings name.",
            code="conversation_elsewhere",
            system=conversation.system,
            fix="Set the former values again until it has ended, or end it in both systems.",
        )
    return side
