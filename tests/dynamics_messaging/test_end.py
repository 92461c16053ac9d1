"""The end of a conversation: what it has overtaken, and what comes after it."""

from dataclasses import replace
from typing import Any

import pytest

from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.faults import Fault
from shared.errors import ConversationEnded, NotFound
from tests.dynamics_messaging.organisation import LOCK, Organisation, activity
from tests.dynamics_messaging.talk import MESSAGES, run, say


def test_what_the_end_has_overtaken_is_told(org: Organisation) -> None:
    """The webhook promises no order: a message that comes after the end is told, if it comes soon."""
    org.standin.switch(events_on_end=("ConversationClosed",))
    made = org.accepted()
    org.step(made)
    say(org, made, "good bye")
    late = org.ledger.pushed[made.key].pop()
    org.standin.rep.end(made.conversation_id)
    org.settle()
    org.step(made)
    org.clock.advance(5)
    org.ledger.pushed[made.key].append(late)
    run(org, made)
    assert org.heard() == ["good bye"]
    assert org.opencx.closed == 1


def test_what_comes_long_after_the_end_is_acknowledged(org: Organisation, caplog: pytest.LogCaptureFixture) -> None:
    """200, for nothing would change if Dynamics sent it again; 404 for what was never ours."""
    caplog.set_level("INFO", "opencx_handoff")
    made = org.accepted()
    org.standin.rep.end(made.conversation_id)
    org.settle()
    run(org, made)
    assert org.ledger.get(made.key) is None
    body = activity(made.conversation_id, text="too late")
    events = org.events(DYNAMICS_WEBHOOK_AUTH="lock")

    def come(conversation_id: str, body: bytes) -> None:
        events.receive(lock=LOCK, authorization=None, conversation_id=conversation_id, body=lambda: body)

    come(made.conversation_id, body)
    come(made.conversation_id.upper(), body)
    assert caplog.text.count('"code": "conversation_ended"') == 2
    assert "too late" not in caplog.text
    unknown = "0a9b1c2d-0000-4000-8000-0000000000ff"
    with pytest.raises(NotFound, match="conversation_not_open"):
        come(unknown, activity(unknown, text="whose?"))


@pytest.mark.parametrize("body", [{"code": 30013}, {"title": "Not Found", "detail": "The conversation is closed."}])
def test_a_conversation_that_is_known_to_be_over_may_be_unknown_to_the_apis(
    org: Organisation, body: dict[str, Any]
) -> None:
    """News while it is open, and no error after its end; as long as it is listed, what was missed is found."""
    made = org.accepted()
    org.standin.webhook_faults.add(WebhookFault(fault="lose"))
    say(org, made, "last words")
    over = replace(made, ending="rep")
    found = org.first.side.entries(over, since=made.opened_at, deadline=org.deadline)
    assert [(entry.kind, entry.text) for entry in found] == [("message", "last words")]
    org.server.faults.add(Fault(path=MESSAGES, status=404, body=body, times=0))
    assert org.first.side.entries(over, since=made.opened_at, deadline=org.deadline) == []
    with pytest.raises(ConversationEnded):
        org.first.side.entries(made, since=made.opened_at, deadline=org.deadline)
