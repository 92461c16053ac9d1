"""From the rep to the customer: what happened on the rep's side, in order, each message once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from shared import events
from shared.relay import cursor, pace
from shared.relay.held import Held
from shared.relay.model import (
    JOINED,
    LEFT,
    MESSAGE,
    OVER,
    TO_CUSTOMER,
    UNANSWERED,
    CustomerSide,
    RepEntry,
    RepSide,
)
from shared.relay.store import Conversations
from shared.relay.words import entry_text

REP = "rep"
CLOCKS_DIFFER = timedelta(minutes=2)
"""How far OpenCX's clock and ours may be apart, when it is asked whether a message has arrived."""
REFUSED = "!"
"""Before a text's digest in ``Conversation.said``: how often OpenCX has refused it for good."""
MOST_TEXTS = 1000
"""Different texts that are counted for the sweep: some 22 KiB of the 64 KiB that a property holds."""
MOST_RECENT = 50


class ToCustomer:
    """One direction of one step.

    Args:
        said: gets the ids of the messages that have arrived.
    """

    def __init__(
        self,
        held: Held,
        *,
        conversations: Conversations,
        side: RepSide,
        customer: CustomerSide,
        relays_automated: bool,
        said: list[str],
    ) -> None:
        self._held = held
        self._conversations = conversations
        self._side = side
        self._customer = customer
        self._relays_automated = relays_automated
        self._has_swept = False
        self._pushed: Sequence[RepEntry] = ()
        self._entries: Sequence[RepEntry] = ()
        self._ids_said = said

    def read(self) -> None:
        """Find what is new. Raises ConversationEnded when the system knows the conversation no more."""
        held = self._held
        now = held.now
        self._pushed = [] if self._side.polls else self._conversations.inbox(now)
        if self._pushed:
            self._take(self._side.arrange(now, self._pushed, deadline=held.deadline()))
        if self._side.polls:
            asked = cursor.since(now.rep_cursor or now.accepted_at or now.opened_at, now.rep_seen)
            self._take(self._side.entries(now, since=asked, deadline=held.deadline()))
        elif self._must_sweep():
            asked = cursor.since(now.accepted_at or now.opened_at)
            missed = self._missed(self._side.entries(now, since=asked, deadline=held.deadline()))
            self._has_swept = not self._pushed
            # What else is listed may be what waits in the inbox: then only the claim is settled by this look.
            self._take(missed if self._has_swept else [each for each in missed if self._is_claimed(each)])

    def _take(self, found: Sequence[RepEntry]) -> None:
        """Add what is new of it."""
        fresh = {entry.delivery: entry for entry in self._entries}
        for entry in found:
            if not cursor.is_seen(self._held.now.rep_seen, entry.delivery):
                fresh.setdefault(entry.delivery, entry)
        self._entries = list(fresh.values())

    def settle(self) -> None:
        """Find out whether the message of an old claim has arrived."""
        held = self._held
        claim = held.now.claim
        if claim is None or claim.direction != TO_CUSTOMER:
            return
        # It counts as it waits in the inbox, too: what is in doubt today was sent when it was not.
        known = (*self._entries, *self._pushed)
        entry = next((each for each in known if each.delivery == claim.message_id), None)
        if entry is not None:
            since = claim.at - CLOCKS_DIFFER
            count = self._customer.count_said(held.now, entry, since=since, deadline=held.deadline())
            if count > self._recently_said(entry, since):
                self._said(entry, at=claim.at)
                # An old message's id is forgotten at once, where much newer ones were handled before it.
                self._entries = [each for each in self._entries if each is not entry]
        held.set(claim=None)  # without an entry there is nothing to settle: it was seen by another way

    def carry(self) -> None:
        """Carry what is new. Raises TransientFailure and ConfigurationFault: the rest waits."""
        held = self._held
        for entry in self._entries:
            if cursor.is_seen(held.now.rep_seen, entry.delivery):
                continue
            if entry.kind == MESSAGE and (self._relays_automated or not entry.is_automated):
                self._say(entry)
            else:
                if entry.kind == MESSAGE:  # not told, and never to be: a sweep must not bring it again
                    self._count(REFUSED + cursor.short(entry_text(entry)))
                self._note(entry)
        if self._has_swept:
            held.set(swept_at=held.time() if held.now.swept_at == held.stored.swept_at else held.now.swept_at)
        if self._pushed:
            # What leaves the inbox must be known to be handled, also what its side has left out as a double.
            self._know((each.delivery, each.at) for each in self._pushed)
            held.write()
            self._conversations.drop(held.now, self._pushed)

    def _is_claimed(self, entry: RepEntry) -> bool:
        claim = self._held.now.claim
        return claim is not None and claim.message_id == entry.delivery

    def _must_sweep(self) -> bool:
        """Whether to look for what no push has brought, or for the message of a claim that is in no inbox."""
        now = self._held.now
        claim = now.claim
        if claim is not None and claim.direction == TO_CUSTOMER:
            return claim.message_id not in {each.delivery for each in self._pushed}
        if now.ending:  # once, for the last words whose push was lost
            return now.over_at is not None and (now.swept_at is None or now.swept_at < now.over_at)
        if self._pushed:
            return False
        return now.swept_at is None or self._held.time() - now.swept_at >= pace.SWEEP

    def _missed(self, entries: Sequence[RepEntry]) -> list[RepEntry]:
        """What no push has brought: a pushed message may carry another id than a listed one, so texts are counted."""
        said = self._held.now.said
        times: dict[str, int] = {}
        missed = []
        for entry in entries:
            if entry.kind == MESSAGE:
                text = cursor.short(entry_text(entry))
                times[text] = times.get(text, 0) + 1
                if times[text] <= said.get(text, 0) + said.get(REFUSED + text, 0) or len(said) >= MOST_TEXTS:
                    continue
            missed.append(entry)
        return missed

    def _say(self, entry: RepEntry) -> None:
        held = self._held

        def send() -> None:
            self._customer.say(held.now, entry, deadline=held.deadline())

        if held.send(TO_CUSTOMER, entry.delivery, send):
            self._said(entry)
        else:
            self._count(REFUSED + cursor.short(entry_text(entry)))
            self._see(entry)

    def _said(self, entry: RepEntry, *, at: datetime | None = None) -> None:
        """It has arrived: now, or when its send began, which is found out only now."""
        held = self._held
        now = held.time()
        text = cursor.short(entry_text(entry))
        self._count(text)
        recent = [(name, at) for name, at in held.now.recent if at >= _milliseconds(now - 2 * CLOCKS_DIFFER)]
        held.set(
            recent=(*recent[-MOST_RECENT:], (text, _milliseconds(at or now))),
            to_customer=held.now.to_customer + 1,
            active_at=now,
            has_rep=True,
            claim=None,
        )
        self._see(entry)
        self._ids_said.append(entry.id)
        events.emit(
            events.RELAY_SAID,
            entry_id=entry.id,
            seconds=round((now - entry.at).total_seconds(), 3),
            characters=len(entry.text),
            files=len(entry.files),
        )

    def _count(self, text: str) -> None:
        """Count a text for the sweep; a system whose news is fetched has none."""
        said: Mapping[str, int] = self._held.now.said
        if not self._side.polls and (text in said or len(said) < MOST_TEXTS):
            self._held.set(said={**said, text: said.get(text, 0) + 1})

    def _recently_said(self, entry: RepEntry, since: datetime) -> int:
        text = cursor.short(entry_text(entry))
        return sum(name == text and at >= _milliseconds(since) for name, at in self._held.now.recent)

    def _note(self, entry: RepEntry) -> None:
        """Something other than a message for the customer."""
        held = self._held
        if entry.kind in (JOINED, LEFT):
            held.set(has_rep=entry.kind == JOINED, active_at=held.time())
        if entry.kind == LEFT:
            held.set(swept_at=None)  # it may be the end: the system is asked
        if entry.kind == OVER and not held.now.ending:
            held.set(ending=REP, over_at=held.time())
        if entry.kind == UNANSWERED:
            held.set(error_code="nobody_can_take_it")
            events.emit(events.RELAY_UNANSWERED, entry_id=entry.id)
        self._see(entry)

    def _see(self, entry: RepEntry) -> None:
        self._know((name, entry.at) for name in {entry.delivery, entry.id})

    def _know(self, handled: Iterable[tuple[str, datetime]]) -> None:
        held = self._held
        waiting = [each.delivery for each in self._pushed]
        rep_cursor, seen = cursor.passed(
            held.now.rep_cursor, held.now.rep_seen, handled, now=held.time(), waiting=waiting
        )
        held.set(rep_cursor=rep_cursor, rep_seen=seen)


def _milliseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
