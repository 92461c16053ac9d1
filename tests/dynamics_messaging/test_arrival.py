"""Whether what the customer wrote has arrived is found by counting, whatever the clocks and the words."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.faults import Fault
from shared.errors import TransientFailure
from shared.relay.model import CustomerMessage
from tests.dynamics_messaging.organisation import Organisation
from tests.dynamics_messaging.talk import SEND, customer_lines, run, say

SKEWS = [-5.0, -2.0, 0.0, 2.0, 5.0]


@pytest.mark.parametrize("shape", ["empty", "full"])
@pytest.mark.parametrize("skew_seconds", SKEWS)
@pytest.mark.parametrize("place", range(2))
@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 500}])
def test_equal_words_within_seconds_both_arrive_whatever_the_clocks(
    org: Organisation, skew_seconds: float, place: int, fault: dict[str, Any], shape: str
) -> None:
    """One of the two did not arrive at the first try: the other is not taken for it."""
    org.standin.switch(messages_from=shape)
    org.skew_seconds = skew_seconds
    made = org.accepted()
    for _ in range(2):
        org.customer_writes(made, "ok")
    org.server.faults.add(Fault(path=SEND, method="POST", skip=place, **fault))
    run(org, made)
    assert customer_lines(org, made) == ["ok", "ok"]


@pytest.mark.parametrize("shape", ["empty", "full"])
@pytest.mark.parametrize("skew_seconds", SKEWS)
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 500, "after_work": True}])
def test_an_unclear_message_that_has_arrived_is_found_whatever_the_clocks(
    org: Organisation, skew_seconds: float, place: int, fault: dict[str, Any], shape: str
) -> None:
    """Dynamics' clock is ahead of ours, or behind: by five seconds at most nothing is sent twice."""
    org.standin.switch(messages_from=shape)
    org.skew_seconds = skew_seconds
    made = org.accepted()
    for text in ("ok", "ok", "and now?"):
        org.customer_writes(made, text)
    org.server.faults.add(Fault(path=SEND, method="POST", skip=place, **fault))
    run(org, made)
    assert customer_lines(org, made) == ["ok", "ok", "and now?"]


@pytest.mark.parametrize("has_arrived", [True, False])
@pytest.mark.parametrize("skew_seconds", SKEWS)
def test_a_reps_equal_words_that_wait_are_not_taken_for_the_customers(
    org: Organisation, skew_seconds: float, *, has_arrived: bool
) -> None:
    """They are listed, and the customer was not told yet: a push has told us, so they are counted."""
    org.skew_seconds = skew_seconds
    made = org.accepted()
    org.customer_writes(made, "hello?")
    org.step(made)
    org.customer_writes(made, "ok")
    fault: dict[str, Any] = {"drop": "after"} if has_arrived else {"drop": "before"}
    org.server.faults.add(Fault(path=SEND, method="POST", **fault))
    org.step(made, org.worker())
    say(org, made, "ok")
    run(org, made)
    assert customer_lines(org, made) == ["hello?", "ok"]
    assert org.heard() == ["ok"]


def test_a_message_that_opencx_lists_late_is_not_mistaken_for_a_newer_one(org: Organisation) -> None:
    """Carried is what the ledger says, not what was written before."""
    made = org.accepted()
    late = CustomerMessage("late", org.clock.now() + timedelta(seconds=0.5), text="ok")
    org.customer_writes(made, "ok")
    org.step(made)
    org.opencx.written.insert(0, late)
    org.server.faults.add(Fault(path=SEND, method="POST", drop="before"))
    known = org.ledger.get(made.key)
    assert known is not None
    org.ledger.change(replace(known, contact_poll_at=org.clock.now()))
    run(org, made)
    assert customer_lines(org, made) == ["ok", "ok"]


@pytest.mark.parametrize("text", ["EventName: ConversationClosed", "EventName: **_AgentClosed_**", "EventName: X"])
@pytest.mark.parametrize("shape", ["empty", "id", "full"])
def test_a_customers_text_that_looks_like_an_event_is_a_message(org: Organisation, shape: str, text: str) -> None:
    """It reaches the rep once, though its send was unclear, ends nothing, and the sweep goes on working."""
    org.standin.switch(messages_from=shape)
    made = org.accepted()
    org.customer_writes(made, text)
    org.server.faults.add(Fault(path=SEND, method="POST", drop="after"))
    run(org, made, steps=2)
    org.standin.webhook_faults.add(WebhookFault(fault="lose"))
    say(org, made, "lost one")
    run(org, made, steps=8)
    assert customer_lines(org, made) == [text]
    assert org.heard() == ["lost one"]
    assert org.ledger.get(made.key) is not None


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_begun_message_whose_look_fails_is_not_begun_again(org: Organisation, fails_at: int) -> None:
    """Two pieces, the second fails once, and then OpenCX does: the first piece is shown once all the same."""
    made = org.accepted()
    org.step(made)
    text = "A" * 6000 + "B" * 50
    org.server.faults.add(Fault(path=SEND, method="POST", skip=1, status=503, times=1))
    org.customer_writes(made, text)
    side, calls = org.first.side, [0]
    asked = side._written

    def written(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == fails_at:
            raise TransientFailure("Busy.", code="throttled", system="opencx", kind="throttled", is_unclear=False)
        return asked(*args, **options)

    side._written = written
    for _ in range(8):
        org.step(made)
        org.clock.advance(12)
    assert calls[0] >= fails_at
    assert customer_lines(org, made) == [text[:6000], text[6000:]]
