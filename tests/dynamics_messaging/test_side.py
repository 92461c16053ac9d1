"""What a rep writes reaches the customer, what the customer writes the rep: once, in order, never an echo."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.faults import Fault
from shared.dynamics_messaging.client import MessagingClient
from shared.errors import PermanentFailure, TransientFailure
from shared.relay.model import CustomerMessage, File
from tests.dynamics_messaging.organisation import Organisation, chat, long_chat
from tests.dynamics_messaging.talk import MESSAGES, SEND, customer_lines, run, say


def test_a_reps_words_reach_the_customer_in_order(org: Organisation) -> None:
    """Three messages and an event: three are told, by the rep's name."""
    made = org.accepted()
    say(org, made, "Hello", "I look at it", "Done")
    org.step(made)
    assert org.heard() == ["Hello", "I look at it", "Done"]
    assert {entry.author for entry in org.opencx.heard} == {"Riley Rep"}


def test_one_message_costs_no_look_at_the_listing(org: Organisation) -> None:
    """The usual case is pushed, carried, and nothing is asked of Dynamics: it says not to poll."""
    made = org.accepted()
    org.step(made)
    org.server.journal.clear()
    say(org, made, "Hello")
    org.step(made)
    say(org, made, "Hello again")
    org.step(made)
    assert org.heard() == ["Hello", "Hello again"]
    assert org.server.journal.entries() == []


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("is_swept", [False, True])
def test_what_is_delivered_twice_is_told_once(org: Organisation, *, ids: bool, is_swept: bool) -> None:
    """With and without ids; the second delivery may find the first carried, or waiting."""
    org.standin.switch(activity_ids=ids)
    made = org.accepted()
    org.standin.webhook_faults.add(WebhookFault(fault="duplicate", activity="message"))
    say(org, made, "Hello")
    if is_swept:
        pushed = org.ledger.pushed[made.key]
        later = pushed.pop()
        org.step(made)
        org.ledger.pushed[made.key].append(later)
    run(org, made)
    assert org.heard() == ["Hello"]


@pytest.mark.parametrize("shape", ["empty", "id", "full"])
@pytest.mark.parametrize("has_customer_said_it", [False, True])
def test_two_honest_messages_of_the_same_words_are_both_told(
    org: Organisation, shape: str, *, has_customer_said_it: bool
) -> None:
    """Within the minute, waiting together or one by one, whatever the customer has said."""
    org.standin.switch(messages_from=shape)
    made = org.accepted()
    if has_customer_said_it:
        org.customer_writes(made, "ok")
        org.step(made)
    say(org, made, "ok", "ok")
    org.step(made, org.worker())
    say(org, made, "ok")
    run(org, made)
    assert org.heard() == ["ok", "ok", "ok"]


def test_honest_repeats_are_told_at_once(org: Organisation) -> None:
    """The listing decides at the first look; the customer does not wait for a sweep."""
    made = org.accepted()
    say(org, made, "ok", "ok")
    org.step(made)
    assert org.heard() == ["ok", "ok"]
    say(org, made, "ok")
    org.step(made)
    assert org.heard() == ["ok", "ok", "ok"]


def test_two_honest_ones_and_a_double_of_one_are_two(org: Organisation) -> None:
    """The listing counts."""
    made = org.accepted()
    org.standin.webhook_faults.add(WebhookFault(fault="duplicate", activity="message"))
    say(org, made, "ok", "ok")
    assert len(org.ledger.inbox(made)) == 4  # the event, and three
    run(org, made)
    assert org.heard() == ["ok", "ok"]


@pytest.mark.parametrize("ids", [False, True])
def test_swapped_deliveries_are_told_in_the_order_of_writing(org: Organisation, *, ids: bool) -> None:
    """The webhook promises no order: the listing has it."""
    org.standin.switch(activity_ids=ids)
    made = org.accepted()
    org.standin.webhook_faults.add(WebhookFault(fault="swap", activity="message"))
    say(org, made, "first", "second", "third")
    org.step(made)
    assert org.heard() == ["first", "second", "third"]


def test_message_ids_are_order_enough(org: Organisation) -> None:
    """Thirteen digits that rise need no look at the listing."""
    org.standin.switch(message_id_in_channel_data=True)
    made = org.accepted()
    org.step(made)
    org.standin.webhook_faults.add(WebhookFault(fault="swap", activity="message"))
    org.server.journal.clear()
    say(org, made, "first", "second")
    org.step(made)
    assert org.heard() == ["first", "second"]
    assert org.server.journal.entries() == []


def test_while_the_listing_fails_the_order_of_arrival_holds(org: Organisation) -> None:
    """A rep's words must not wait for GET messages."""
    made = org.accepted()
    org.server.faults.add(Fault(path=MESSAGES, status=503, times=0))
    say(org, made, "first", "second")
    org.step(made)
    assert org.heard() == ["first", "second"]


@pytest.mark.parametrize("status", [503, 403])
def test_equal_words_wait_for_a_listing_that_fails_once(org: Organisation, status: int) -> None:
    """Left out, the second would come with a sweep, behind what was written after it."""
    made = org.accepted()
    say(org, made, "ok")
    org.step(made)
    org.server.faults.add(Fault(path=MESSAGES, status=status, times=1))
    say(org, made, "ok", "and more")
    run(org, made)
    assert org.heard() == ["ok", "ok", "and more"]


def test_a_listing_that_fails_for_long_keeps_no_other_words_back(org: Organisation) -> None:
    """After three looks what is in no doubt is told; what was in doubt is brought by a sweep."""
    made = org.accepted()
    say(org, made, "ok")
    org.step(made)
    org.server.faults.add(Fault(path=MESSAGES, status=503, times=0))
    say(org, made, "ok", "and more")
    run(org, made, steps=4)
    assert org.heard() == ["ok", "and more"]
    org.server.faults.clear()
    run(org, made)
    assert org.heard() == ["ok", "and more", "ok"]


def test_a_page_of_a_gateway_is_no_answer(org: Organisation) -> None:
    """200 with HTML says nothing: the message is looked for, and sent again where it is not there."""
    made = org.accepted()
    org.server.faults.add(Fault(path=SEND, method="POST", status=200, body="<html>Sign in</html>"))
    org.customer_writes(made, "hello")
    run(org, made)
    assert customer_lines(org, made) == ["hello"]


def test_last_words_are_told_though_the_conversation_is_over(org: Organisation) -> None:
    """Two alike, then End: the listing is gone by then, but nothing that waits is lost."""
    made = org.accepted()
    say(org, made, "bye", "see you")
    org.standin.rep.end(made.conversation_id)
    org.settle()
    org.step(made)
    assert org.heard() == ["bye", "see you"]
    run(org, made)
    assert org.opencx.closed == 1


@pytest.mark.parametrize("shape", ["empty", "id", "full"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_lost_webhook_is_made_up_for_by_the_sweep(org: Organisation, shape: str, *, listed: bool) -> None:
    """Missed words are told, each once; neither the briefing nor the customer's words are among them."""
    org.standin.switch(messages_from=shape, start_message_listed=listed)
    made = org.accepted(long_chat(120))
    for text in ("where is it?", "hello?", "ok"):
        org.customer_writes(made, text)
    org.step(made)
    say(org, made, "Hello", "ok")
    org.step(made)
    org.standin.webhook_faults.add(WebhookFault(fault="lose", times=2))
    say(org, made, "lost one", "ok")
    org.customer_writes(made, "ok")
    say(org, made, "not lost")
    run(org, made, steps=12)
    assert sorted(org.heard()) == sorted(["Hello", "ok", "lost one", "ok", "not lost"])


@pytest.mark.parametrize("shape", ["empty", "id", "full"])
def test_a_customers_words_in_another_spelling_are_never_told_to_them(org: Organisation, shape: str) -> None:
    """Dynamics may change a text on its way: what cannot be told apart is left out, and said to the log."""
    org.standin.switch(messages_from=shape)
    made = org.accepted()
    org.customer_writes(made, "my <b>words</b> & more")
    org.step(made)
    with org.standin._desk.changing(made.conversation_id) as stored:
        stored.entries = [replace(each, text=each.text.replace("words", "w0rds")) for each in stored.entries]
    org.standin.webhook_faults.add(WebhookFault(fault="lose"))
    say(org, made, "lost one")
    run(org, made, steps=8)
    assert org.heard() == ([] if shape == "empty" else ["lost one"])


def test_spaces_and_entities_are_no_other_spelling(org: Organisation) -> None:
    """A text that was trimmed or escaped is known again, so that the sweep goes on working."""
    made = org.accepted()
    org.customer_writes(made, "a  <b> & c")
    org.step(made)
    with org.standin._desk.changing(made.conversation_id) as stored:
        stored.entries = [
            replace(each, text="a &lt;b&gt; &amp; c") if each.text.startswith("a  ") else each
            for each in stored.entries
        ]
    org.standin.webhook_faults.add(WebhookFault(fault="lose"))
    say(org, made, "lost one")
    run(org, made, steps=8)
    assert org.heard() == ["lost one"]


def test_a_sweep_that_finds_nothing_new_does_not_ask_opencx(org: Organisation) -> None:
    """OpenCX gives 100 requests a minute to all conversations together."""
    made = org.accepted()
    org.customer_writes(made, "hello?")
    say(org, made, "Hello")
    org.step(made)
    org.clock.advance(125)
    org.opencx._faults.calls.clear()
    known = org.ledger.get(made.key)
    assert known is not None
    assert org.first.side.entries(known, since=known.opened_at, deadline=org.deadline) == []
    assert org.opencx._faults.calls == []


def test_the_workstreams_own_messages_are_not_told_where_their_sender_is_set(org: Organisation) -> None:
    """By the webhook they have a sender; a sweep that cannot see one passes nothing on."""
    org.standin.switch(automated_messages=True)
    settings = org.settings

    def with_senders(**more: str) -> object:
        return settings(DYNAMICS_AUTOMATED_SENDERS="Automated message", **more)

    org.settings = with_senders  # type: ignore[method-assign,assignment]
    made = org.accepted()
    say(org, made, "Hello")
    run(org, made, steps=8)
    assert org.heard() == ["Hello"]


def test_the_customers_words_reach_the_rep_once_each(org: Organisation) -> None:
    """In order, under the customer's name; honest repeats too."""
    made = org.accepted()
    for text in ("one", "two", "two"):
        org.customer_writes(made, text)
    org.step(made)
    run(org, made)
    assert customer_lines(org, made) == ["one", "two", "two"]
    lines = org.standin.conversation(made.conversation_id)["rep_sees"]
    assert {line["from"] for line in lines if line["by"] == "customer"} == {"Jo Doe"}


@pytest.mark.parametrize("shape", ["empty", "id", "full"])
@pytest.mark.parametrize(
    "fault",
    [{"drop": "before"}, {"drop": "after"}, {"status": 500}, {"status": 500, "after_work": True}, {"status": 429}],
)
@pytest.mark.parametrize("place", range(3))
def test_an_unclear_send_is_looked_up_and_never_doubled(
    org: Organisation, place: int, fault: dict[str, object], shape: str
) -> None:
    """The rep has said the same words, and so has the customer before: they are counted."""
    org.standin.switch(messages_from=shape)
    made = org.accepted()
    say(org, made, "ok", "two")
    org.step(made)
    for text in ("ok", "ok", "two"):
        org.customer_writes(made, text)
    org.server.faults.add(Fault(path=SEND, method="POST", skip=place, **fault))  # type: ignore[arg-type]
    run(org, made)
    assert customer_lines(org, made) == ["ok", "ok", "two"]
    assert org.heard() == ["ok", "two"]


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"drop": "before"}, {"status": 429}, {"status": 401}])
@pytest.mark.parametrize("place", range(3))
def test_a_long_message_goes_in_pieces_each_once(org: Organisation, place: int, fault: dict[str, object]) -> None:
    """6,000 characters an activity; what had arrived before the failure is not sent again."""
    made = org.accepted()
    text = "".join(f"{n:06d}" for n in range(2500))
    org.customer_writes(made, text)
    org.server.faults.add(Fault(path=SEND, method="POST", skip=place, times=2, **fault))  # type: ignore[arg-type]
    run(org, made, steps=10)
    lines = customer_lines(org, made)
    assert "".join(lines) == text
    assert max(map(len, lines)) <= 6000


def test_a_process_that_dies_in_a_send_leaves_it_to_the_next(
    org: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the message had arrived: the claim runs out, the listing has it."""

    class KilledError(BaseException):
        pass

    made = org.accepted()
    org.customer_writes(made, "hello?")
    once = MessagingClient.send

    def deadly(self: MessagingClient, *args: object, **options: object) -> None:
        once(self, *args, **options)  # type: ignore[arg-type]
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(MessagingClient, "send", deadly)
        with pytest.raises(KilledError):
            org.step(made, org.worker())
    org.clock.advance(25)
    run(org, made)
    assert customer_lines(org, made) == ["hello?"]


@pytest.mark.parametrize("are_allowed", [True, False])
def test_a_customers_file_is_attached_or_its_address_told(org: Organisation, *, are_allowed: bool) -> None:
    """Files from customers are off by default on a channel row: a link is better than nothing."""
    org.standin.set_channel(attachments_from_customers=are_allowed)
    made = org.accepted()
    file = File("photo.png", "https://files.example.com/photo.png", "image/png")
    message = CustomerMessage("m-1", org.clock.now(), text="look", files=(file,))
    org.first.side.send(made, message, deadline=org.deadline)
    lines = org.standin.conversation(made.conversation_id)["rep_sees"][-2:]
    assert lines[0]["text"] == "look"
    if are_allowed:
        assert lines[1]["attachments"] == ["photo.png"]
    else:
        assert lines[1]["text"] == "photo.png: https://files.example.com/photo.png"


def test_a_file_from_the_rep_reaches_the_customer(org: Organisation) -> None:
    """With name and address."""
    org.standin.set_channel(attachments_from_reps=True)
    made = org.accepted()
    org.standin.rep.file(made.conversation_id, "form.pdf", b"%PDF", media_type="application/pdf")
    org.settle()
    run(org, made, steps=8)
    (entry,) = org.opencx.heard
    assert [(file.name, file.content_type) for file in entry.files] == [("form.pdf", "application/pdf")]


@pytest.mark.parametrize("kind", ["message", "event"])
@pytest.mark.parametrize("closes", [True, False])
def test_the_reps_end_closes_the_session_and_its_events_are_never_told(
    org: Organisation, kind: str, *, closes: bool
) -> None:
    """Whether events come as messages or events, and Wrap-up or Closed."""
    org.standin.switch(events_as=kind)
    made = org.accepted()
    say(org, made, "bye")
    org.standin.rep.end(made.conversation_id, is_closed=closes)
    org.settle()
    run(org, made)
    assert org.heard() == ["bye"]
    assert org.opencx.closed == 1
    assert org.ledger.get(made.key) is None


@pytest.mark.parametrize("events", [("AgentClosed",), ("AgentEndSession",), ()])
def test_an_end_that_no_event_says_clearly_is_found_by_looking(org: Organisation, events: tuple[str, ...]) -> None:
    """Which events the End button causes is not documented."""
    org.standin.switch(events_on_end=events)
    made = org.accepted()
    say(org, made, "bye")
    org.step(made)
    org.standin.rep.end(made.conversation_id)
    org.settle()
    run(org, made, steps=8)
    assert org.heard() == ["bye"]
    assert org.opencx.closed == 1


def test_the_work_item_says_that_it_is_over_where_the_apis_do_not(org: Organisation) -> None:
    """GET messages may go on in wrap-up: Dataverse's status decides."""
    made = org.accepted()
    org.standin.rep.close_tab(made.conversation_id)
    org.settle()
    org.step(made)
    org.clock.advance(5)
    org.dataverse.rows("msdyn_ocliveworkitems")
    org.dataverse.store.put(
        "msdyn_ocliveworkitem",
        made.conversation_id,
        {**(org.dataverse.store.get("msdyn_ocliveworkitem", made.conversation_id) or {}), "statuscode": 5},
    )
    run(org, made, steps=8)
    assert org.opencx.closed == 1


def test_a_tab_that_was_closed_is_not_the_end(org: Organisation) -> None:
    """The conversation waits: the customer's next words bring it back, and nothing is closed."""
    made = org.accepted()
    org.standin.rep.close_tab(made.conversation_id)
    org.settle()
    run(org, made, steps=8)
    assert org.opencx.closed == 0
    org.customer_writes(made, "are you there?")
    org.step(made)
    assert customer_lines(org, made) == ["are you there?"]
    assert org.standin.conversation(made.conversation_id)["state"] == "Open"


@pytest.mark.parametrize("reply", [403, 404, 500])
def test_a_work_item_that_cannot_be_read_holds_up_nothing(org: Organisation, reply: int) -> None:
    """No privilege, no row, an outage: the sweep goes on without it."""
    made = org.accepted()
    org.standin.rep.close_tab(made.conversation_id)
    org.settle()
    org.organisation.faults.add(Fault(path="msdyn_ocliveworkitems", status=reply, times=0))
    org.customer_writes(made, "are you there?")
    run(org, made, steps=4)
    assert customer_lines(org, made) == ["are you there?"]
    assert org.opencx.closed == 0


def test_a_message_after_the_end_is_not_lost_silently(org: Organisation) -> None:
    """30013: it counts as undelivered, and OpenCX's session is closed."""
    made = org.accepted()
    org.standin.switch(events_on_end=())
    org.standin.rep.end(made.conversation_id)
    org.customer_writes(made, "one more thing")
    known = org.ledger.get(made.key)
    assert known is not None
    org.ledger.rows[made.key] = replace(known, swept_at=org.clock.now())
    run(org, made)
    ended = org.ledger.ended[made.key]
    assert (ended.undelivered, org.opencx.closed) == (1, 1)


@pytest.mark.parametrize("state", ["Wrap-up", "Closed"])
def test_the_customers_end_ends_the_reps_conversation_and_again_is_harmless(org: Organisation, state: str) -> None:
    """The endOfConversation activity, once and once more."""
    org.standin.switch(customer_end_state=state)
    made = org.accepted()
    for _ in range(2):
        org.first.side.end(made, deadline=org.deadline)
    assert org.standin.conversation(made.conversation_id)["state"] == state


def test_every_page_of_a_long_conversation_is_read(org: Organisation) -> None:
    """More than a hundred messages, with a continuation token after the last page or not."""
    for until_empty in (True, False):
        org.standin.switch(continuation_until_empty=until_empty)
        made = org.accepted(chat(f"h-{until_empty}"))
        for number in range(130):
            org.clock.advance(0.01)
            org.standin.rep.say(made.conversation_id, f"line {number}")
        listed = org.first.client.messages(
            made.conversation_id, channel_id=made.details["channel_id"], deadline=org.deadline
        )
        assert [each["text"] for each in listed[1:]] == [f"line {number}" for number in range(130)]


def test_a_message_that_is_refused_for_good_is_said_so(org: Organisation) -> None:
    """Not transient, not the conversation's end: the relay counts it and goes on."""
    made = org.accepted()
    org.server.faults.add(Fault(path=SEND, status=400, body={"code": "30003"}))
    with pytest.raises(PermanentFailure, match="30003"):
        org.first.side.send(made, CustomerMessage("m", org.clock.now(), text="x"), deadline=org.deadline)


def test_nothing_is_begun_when_no_time_is_left(org: Organisation) -> None:
    """A call that cannot be waited for would be unclear for nothing."""
    made = org.accepted()
    with pytest.raises(TransientFailure) as raised:
        org.first.side.send(made, CustomerMessage("m", org.clock.now(), text="x"), deadline=org.clock.monotonic() + 0.1)
    assert (raised.value.code, raised.value.is_unclear) == ("budget_used_up", False)


def test_a_whole_conversation_under_faults(org: Organisation) -> None:
    """Doubles, swaps, losses and outages both ways: each side hears everything, once."""
    made = org.accepted(long_chat(100))
    org.standin.webhook_faults.add(
        WebhookFault(fault="duplicate", activity="message", skip=1),
        WebhookFault(fault="swap", activity="message", skip=4),
        WebhookFault(fault="lose", activity="message", skip=7),
        WebhookFault(fault="unknown_event", activity="message", skip=2),
        WebhookFault(fault="expired", activity="message", skip=9),
    )
    org.server.faults.add(
        Fault(path=SEND, method="POST", skip=1, drop="after"),
        Fault(path=SEND, method="POST", skip=4, status=503),
        Fault(path=MESSAGES, skip=2, status=429, headers={"Retry-After": "2"}),
        Fault(path=MESSAGES, skip=5, drop="before"),
    )
    theirs = ["hi", "ok", "one moment", "ok", "found it", "ok", "anything else?", "ok", "ok", "good bye"]
    ours = ["hello", "ok", "thanks", "ok", "no", "ok"]
    for place, text in enumerate(theirs):
        say(org, made, text)
        if place < len(ours):
            org.customer_writes(made, ours[place])
        org.step(made, org.worker())
        org.clock.advance(7)
    run(org, made, steps=30, seconds=timedelta(minutes=2).total_seconds() / 4)
    assert sorted(org.heard()) == sorted(theirs)
    assert customer_lines(org, made) == ours
