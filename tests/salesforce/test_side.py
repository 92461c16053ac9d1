"""Messages both ways: what the rep writes comes out once and in order, what the customer writes arrives once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.server import Fault
from shared.attachments import Fetched
from shared.errors import ConversationEnded, PermanentFailure, TransientFailure
from shared.relay.model import JOINED, LEFT, MESSAGE, OVER, UNANSWERED, Conversation, CustomerMessage, File, RepEntry
from shared.salesforce.client import Session
from shared.salesforce.token import Identity
from shared.salesforce.wire import Reply
from tests.salesforce.org import START, Killed, Org, Worker, handoff, opened


@pytest.fixture
def conversation(org: Org) -> Conversation:
    """A conversation that a rep has taken."""
    made = opened(org.land(handoff()))
    org.clock.advance(1)
    org.standin.rep_accepts(made.conversation_id)
    return made


def heard(worker: Worker, conversation: Conversation, org: Org, *, ago: timedelta = timedelta(0)) -> list[RepEntry]:
    """What the side hears."""
    since = (START if not ago else org.clock.now() - ago) - timedelta(seconds=60)
    return list(worker.side.entries(conversation, since=since, deadline=org.deadline()))


def written(text: str, *files: File, number: int = 1, org: Org) -> CustomerMessage:
    """What the customer writes."""
    return CustomerMessage(f"m{number}", org.clock.now(), text=text, files=files)


def photo(url: str, /, *, deadline: float | None = None) -> Fetched | None:
    """Fetches every file."""
    return Fetched("photo.jpg", "image/jpeg", b"x")


def test_a_reps_words_come_out_as_plain_text(org: Org, conversation: Conversation) -> None:
    """Text, links, choices and files, oldest first, with the rep's name; the customer's own words do not."""
    org.clock.advance(1)
    ids = [org.standin.rep_says(conversation.conversation_id, "Hello, this is Sara.")]
    org.clock.advance(1)
    ids.append(org.standin.rep_links(conversation.conversation_id, "https://example.com/a", title="Our terms"))
    org.clock.advance(1)
    ids.append(org.standin.rep_offers(conversation.conversation_id, ["Refund", "Exchange"], text="Which?"))
    org.clock.advance(1)
    ids.append(org.standin.rep_sends_file(conversation.conversation_id, "a.pdf", b"%PDF", text="See this."))
    found = heard(org.worker(), conversation, org)
    messages = [entry for entry in found if entry.kind == MESSAGE]
    assert [entry.id for entry in messages] == ids
    assert [entry.text for entry in messages] == [
        "Hello, this is Sara.",
        "Our terms\nhttps://example.com/a",
        "Which?\n1. Refund\n2. Exchange",
        "See this.",
    ]
    (file,) = messages[-1].files
    assert (file.name, file.content_type) == ("a.pdf", "application/pdf")
    assert file.url is not None
    assert {entry.author for entry in messages} == {"Sara"}
    assert not any(entry.is_automated for entry in messages)
    assert [entry.at for entry in found] == sorted(entry.at for entry in found)
    assert [entry.kind for entry in found if entry.kind != MESSAGE] == [JOINED]


def test_more_than_a_page_is_heard_whole_each_once(org: Org, conversation: Conversation) -> None:
    """Pages of 50, doubled entries, and many of one millisecond: nothing is missing, nothing is there twice."""
    org.standin.switches.duplicate_every = 3
    words = [f"word {number}" for number in range(180)]
    for number, word in enumerate(words):
        if number % 30 == 0:
            org.clock.advance(1)
        org.standin.rep_says(conversation.conversation_id, word)
    found = heard(org.worker(), conversation, org)
    assert [entry.text for entry in found if entry.kind == MESSAGE] == words
    assert len({entry.id for entry in found}) == len(found)


def test_what_the_system_writes_is_told_apart(org: Org, conversation: Conversation) -> None:
    """Automated responses are marked, so that they are carried only where that is wanted."""
    org.standin.automation_says(conversation.conversation_id, "All our agents are busy.")
    (entry,) = [entry for entry in heard(org.worker(), conversation, org) if entry.kind == MESSAGE]
    assert (entry.text, entry.is_automated) == ("All our agents are busy.", True)


@pytest.mark.parametrize("sends", [True, False])
def test_the_rep_sees_what_was_delivered(org: Org, conversation: Conversation, *, sends: bool) -> None:
    """A receipt for each message; none by setting."""
    worker = org.worker(SALESFORCE_RECEIPTS=str(sends).lower())
    org.standin.rep_says(conversation.conversation_id, "hello")
    org.standin.rep_says(conversation.conversation_id, "again")
    ids = [entry.id for entry in heard(worker, conversation, org) if entry.kind == MESSAGE]
    worker.side.delivered(conversation, ids, deadline=org.deadline())
    seen = org.standin.conversation(conversation.conversation_id)["delivered"]
    assert seen == (sorted(ids) if sends else [])


def test_a_transfer_is_no_end_and_the_reps_end_is(org: Org, conversation: Conversation) -> None:
    """A rep who hands over leaves and another comes; the session's end is the conversation's."""
    worker = org.worker()
    org.clock.advance(1)
    org.standin.rep_transfers(conversation.conversation_id, to="Ben", gap_seconds=20)
    org.clock.advance(15)
    assert [entry.kind for entry in heard(worker, conversation, org)] == [JOINED, LEFT]
    org.clock.advance(10)
    assert [entry.kind for entry in heard(worker, conversation, org)] == [JOINED, LEFT, JOINED]
    org.standin.rep_ends(conversation.conversation_id)
    assert [entry.kind for entry in heard(worker, conversation, org)] == [JOINED, LEFT, JOINED, LEFT, OVER]


def test_a_session_that_is_only_inactive_goes_on(org: Org, conversation: Conversation) -> None:
    """A rep who closes the tab, or a customer who is silent, ends nothing."""
    org.standin.rep_closes_tab(conversation.conversation_id)
    org.clock.advance(60)
    assert OVER not in [entry.kind for entry in heard(org.worker(), conversation, org)]


def test_the_end_is_noticed_where_entries_do_not_tell_it(org: Org, conversation: Conversation) -> None:
    """An older org lists no session status: a rep who has left, and whom nobody follows, has ended it."""
    org.standin.switches.lists_session_status = False
    worker = org.worker()
    org.standin.rep_transfers(conversation.conversation_id)
    org.clock.advance(30)
    assert OVER not in [entry.kind for entry in heard(worker, conversation, org)]
    org.standin.rep_accepts(conversation.conversation_id, name="Ben")
    org.standin.rep_ends(conversation.conversation_id)
    assert OVER not in [entry.kind for entry in heard(worker, conversation, org)]  # it may be a transfer still
    org.clock.advance(11)
    first, second = (heard(worker, conversation, org)[-1] for _ in range(2))
    assert first.kind == OVER
    assert first == second


def test_where_nobody_can_take_it_that_is_told(org: Org) -> None:
    """Routing that fails is not silence."""
    org.standin.switches.routing_fails = True
    conversation = opened(org.land(handoff()))
    assert [entry.kind for entry in heard(org.worker(), conversation, org)] == [UNANSWERED]


def test_a_customers_message_arrives_once(org: Org, conversation: Conversation) -> None:
    """The id derives from OpenCX's: a second send is the same message, and can be looked for."""
    worker = org.worker()
    message = written("Are you there?", org=org)
    since = org.clock.now()
    assert not worker.side.has_sent(conversation, message, since=since, deadline=org.deadline())
    worker.side.send(conversation, message, deadline=org.deadline())
    assert org.worker().side.has_sent(conversation, message, since=since, deadline=org.deadline())
    other = written("Are you there?", number=2, org=org)
    assert not worker.side.has_sent(conversation, other, since=since, deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-1] == "Are you there?"
    assert [entry.kind for entry in heard(worker, conversation, org)] == [JOINED]  # no echo


@pytest.mark.parametrize("text", ["https://example.com/a", "See https://example.com/a", "https://example.com/a is it"])
def test_a_message_that_salesforce_cuts_in_two_is_found(org: Org, conversation: Conversation, text: str) -> None:
    """An address at an edge becomes an entry of its own; the message has arrived all the same."""
    worker = org.worker()
    message = written(text, org=org)
    worker.side.send(conversation, message, deadline=org.deadline())
    assert worker.side.has_sent(conversation, message, since=org.clock.now(), deadline=org.deadline())


@pytest.mark.parametrize(
    ("fault", "is_unclear"),
    [
        ({"drop": "before"}, True),
        ({"drop": "after"}, True),
        ({"status": 500}, True),
        ({"status": 503}, True),
        ({"status": 429}, False),
        ({"status": 423}, False),
        ({"status": 200, "body": "<html>A gateway's page</html>"}, True),
    ],
    ids=str,
)
def test_a_failed_send_says_whether_it_may_have_arrived(
    org: Org, conversation: Conversation, fault: dict[str, object], is_unclear: bool
) -> None:
    """Only what cannot have arrived is sent again without a look."""
    org.server.faults.add(Fault(path="/message", **fault))  # type: ignore[arg-type]
    with pytest.raises(TransientFailure) as caught:
        org.worker().side.send(conversation, written("x", org=org), deadline=org.deadline())
    assert caught.value.is_unclear is is_unclear


def test_a_refused_connection_is_clear(org: Org, conversation: Conversation) -> None:
    """Where nobody listens nothing has arrived."""
    worker = org.worker()
    worker.side.send(conversation, written("x", org=org), deadline=org.deadline())
    org.server.stop()
    identity = Identity(conversation.details["subject"])
    with pytest.raises(TransientFailure) as caught:
        org.worker().client.create("x", Session({}, "en_US"), identity=identity, deadline=org.deadline())
    assert (caught.value.code, caught.value.kind) == ("salesforce_unreachable", "unreachable")
    assert caught.value.is_unclear is False


def test_a_message_with_files_is_completed_where_it_was_cut_off(org: Org, conversation: Conversation) -> None:
    """Killed between the text and the file: only what is missing is sent again."""

    def fetch(url: str, /, *, deadline: float | None = None) -> Fetched | None:
        return Fetched("photo.jpg", "image/jpeg", b"x") if url.endswith("jpg") else None

    files = (
        File("photo.jpg", "https://files.example.com/photo.jpg"),
        File("big.mov", "https://files.example.com/big.mov"),
    )
    message = written("Look:", *files, org=org)
    for call in range(1, 7):
        worker = org.worker(fetch)
        worker.wire.dies_at, worker.wire.dies_after = call, True
        try:
            worker.side.send(conversation, message, deadline=org.deadline())
        except Killed:
            continue
    org.worker(fetch).side.send(conversation, message, deadline=org.deadline())
    assert org.worker(fetch).side.has_sent(conversation, message, since=message.at, deadline=org.deadline())
    found = org.whole(conversation.conversation_id)
    assert found["duplicates"] == {}
    received = [(one["text"], bool(one["fileId"])) for one in found["received"][1:]]
    link = "[attachment: big.mov https://files.example.com/big.mov ]"
    assert received == [("Look:", False), ("", True), (link, False)]


def test_a_file_that_the_channel_refuses_goes_as_a_link(org: Org, conversation: Conversation) -> None:
    """The rep sees that there is one, and where."""
    org.standin.switches.attachments = False
    worker = org.worker(photo)
    message = written("", File("photo.jpg", "https://files.example.com/photo.jpg"), org=org)
    worker.side.send(conversation, message, deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-1] == "[attachment: photo.jpg https://files.example.com/photo.jpg ]"


def test_after_the_reps_end_nothing_is_reopened(org: Org, conversation: Conversation) -> None:
    """HTTP 417: the conversation is over, and the message has not arrived."""
    org.standin.switches.prechat_every_session = True
    org.standin.rep_ends(conversation.conversation_id)
    with pytest.raises(ConversationEnded) as caught:
        org.worker().side.send(conversation, written("Hello?", org=org), deadline=org.deadline())
    assert caught.value.code == "salesforce_session_ended"
    assert len(org.texts(conversation.conversation_id)) == 1


def test_a_setting_reopens_it(org: Org, conversation: Conversation) -> None:
    """SALESFORCE_REOPEN: the same message begins a new session, with the routing attributes of the first."""
    org.standin.switches.prechat_every_session = True
    org.standin.rep_ends(conversation.conversation_id)
    worker = org.worker(SALESFORCE_REOPEN="true")
    worker.side.send(conversation, written("Hello?", org=org), deadline=org.deadline())
    found = org.whole(conversation.conversation_id)
    assert len(found["sessions"]) == 2
    assert found["routingAttributes"] == {
        "OpencxSessionId": "sess_123",
        "Phone": "+15551234567",
        "Channel": "sms",
        "Language": "en",
        "Priority": "1",
        "Chat_Consumer_Type": "Unauthenticated",
    }


@pytest.mark.parametrize("wreck", ["close", "forget", "subject"])
def test_a_conversation_that_is_not_ours_any_more_is_over(org: Org, conversation: Conversation, wreck: str) -> None:
    """403 for a closed or somebody else's conversation, 404 for one that Salesforce does not know.

    A closed one can be read, so its refusal of a message is taken at its word; else it must be said for a minute.
    """
    worker = org.worker()
    if wreck == "close":
        with org.standin.desk.at(conversation.conversation_id) as known:
            org.standin.desk.close(known)
    elif wreck == "forget":
        org.standin.desk.clear()
    else:
        conversation = replace(conversation, details={**conversation.details, "subject": "session:other"})
    if wreck != "close":
        for _ in range(2):
            with pytest.raises(TransientFailure) as caught:
                heard(worker, conversation, org)
            assert (caught.value.code, caught.value.system) == ("salesforce_unavailable", "salesforce")
            org.clock.advance(30)
        with pytest.raises(ConversationEnded):
            heard(worker, conversation, org)
    with pytest.raises(ConversationEnded):
        worker.side.send(conversation, written("x", org=org), deadline=org.deadline())


OWN = {"errorCode": "FORBIDDEN", "message": "Not now"}
PAGE = "<html>Request blocked</html>"


@pytest.mark.parametrize(
    ("status", "body"), [(404, PAGE), (403, PAGE), (403, None), (400, {"message": "It is closed for maintenance"})]
)
def test_a_gateways_refusal_of_a_read_ends_nothing(
    org: Org, conversation: Conversation, status: int, body: object
) -> None:
    """However long it lasts: only Salesforce's own 403 or 404 can mean the conversation."""
    org.server.faults.add(Fault(path=r"/conversation/[^/]+(/entries)?(\?|$)", status=status, body=body, times=0))
    worker = org.worker()
    for _ in range(5):
        with pytest.raises(TransientFailure) as caught:
            heard(worker, conversation, org)
        assert (caught.value.code, caught.value.kind) == ("salesforce_unavailable", "server_error")
        org.clock.advance(60)
    org.server.faults.clear()
    assert [entry.kind for entry in heard(worker, conversation, org)] == [JOINED]


def test_one_kind_of_read_that_is_refused_ends_nothing(org: Org, conversation: Conversation) -> None:
    """Salesforce refuses the entries, in its own form and for long, and still knows the conversation."""
    org.server.faults.add(Fault(path="/entries", status=403, body=OWN, times=0))
    worker = org.worker()
    for _ in range(5):
        with pytest.raises(TransientFailure) as caught:
            heard(worker, conversation, org)
        assert caught.value.code == "salesforce_unavailable"
        org.clock.advance(60)


def test_a_channel_that_was_switched_off_for_less_than_a_minute_ends_nothing(
    org: Org, conversation: Conversation
) -> None:
    """A good answer takes the doubt away: the minute begins anew."""
    worker = org.worker()
    for _ in range(3):
        org.server.faults.add(Fault(method="GET", path="/conversation/", status=403, body=OWN, times=2))
        with pytest.raises(TransientFailure):
            heard(worker, conversation, org)
        org.clock.advance(45)
        assert heard(worker, conversation, org)


def test_a_message_that_a_gateway_refuses_may_be_sent_again(org: Org, conversation: Conversation) -> None:
    """HTTP 403 with a page: the message is neither lost, nor the conversation's last."""
    org.server.faults.add(Fault(path="/message", status=403, body=PAGE))
    worker = org.worker()
    message = written("x", org=org)
    with pytest.raises(TransientFailure) as caught:
        worker.side.send(conversation, message, deadline=org.deadline())
    assert (caught.value.code, caught.value.is_unclear) == ("salesforce_unavailable", True)
    assert not worker.side.has_sent(conversation, message, since=message.at, deadline=org.deadline())
    worker.side.send(conversation, message, deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-1] == "x"


def test_a_refusal_in_words_costs_the_message_and_not_the_conversation(org: Org, conversation: Conversation) -> None:
    """HTTP 400 is about what was sent, whatever words it is put in."""
    org.server.faults.add(Fault(path="/message", status=400, body={"message": "That format is no longer supported"}))
    with pytest.raises(PermanentFailure):
        org.worker().side.send(conversation, written("x", org=org), deadline=org.deadline())


def test_a_file_from_a_slow_host_goes_as_a_link(org: Org, conversation: Conversation) -> None:
    """It gets 4 s of a send, or half of what is left: the text and the link arrive within the same send."""
    waited: list[float] = []

    def slow(url: str, /, *, deadline: float | None = None) -> Fetched | None:
        assert deadline is not None
        waited.append(deadline - org.clock.monotonic())
        org.clock.advance(waited[-1])
        return None

    files = (File("a.pdf", "https://files.example/a.pdf"), File("b.pdf", "https://files.example/b.pdf"))
    message = written("See these", *files, org=org)
    org.worker(slow).side.send(conversation, message, deadline=org.clock.monotonic() + 10)
    assert waited == [4, 3]
    assert org.texts(conversation.conversation_id)[1:] == [
        "See these",
        "[attachment: a.pdf https://files.example/a.pdf ]",
        "[attachment: b.pdf https://files.example/b.pdf ]",
    ]


def test_a_file_that_was_not_fetched_once_is_not_fetched_again(org: Org, conversation: Conversation) -> None:
    """Its link was throttled: the next send has the link, without another wait for the host."""
    asked: list[str] = []

    def slow(url: str, /, *, deadline: float | None = None) -> Fetched | None:
        asked.append(url)
        return None

    org.server.faults.add(Fault(path="/message", status=429))
    worker = org.worker(slow)
    message = written("", File("a.pdf", "https://files.example/a.pdf"), org=org)
    with pytest.raises(TransientFailure):
        worker.side.send(conversation, message, deadline=org.deadline())
    worker.side.send(conversation, message, deadline=org.deadline())
    assert asked == ["https://files.example/a.pdf"]
    assert org.texts(conversation.conversation_id)[-1] == "[attachment: a.pdf https://files.example/a.pdf ]"


def test_an_upload_leaves_time_for_the_link(org: Org, conversation: Conversation) -> None:
    """2.5 s of a send, or half of what is left."""
    worker = org.worker(photo)
    call, given = worker.wire.call, []

    def spy(*args: Any, operation: str, deadline: float, **options: Any) -> Reply:
        given.append((operation, deadline - org.clock.monotonic()))
        return call(*args, operation=operation, deadline=deadline, **options)

    worker.wire.call = spy  # type: ignore[method-assign]
    for number, seconds in enumerate((10, 3), 1):
        message = written("", File("a.jpg", "https://files.example/a.jpg"), number=number, org=org)
        worker.side.send(conversation, message, deadline=org.clock.monotonic() + seconds)
    assert [seconds for operation, seconds in given if operation == "file"] == [7.5, 1.5]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_file_whose_upload_is_not_answered_is_tried_once(org: Org, conversation: Conversation, drop: str) -> None:
    """The next send of the message finds it there, or goes with its link; the text is not sent twice."""
    org.server.faults.add(Fault(path="/file", drop=drop, times=0))  # type: ignore[arg-type]
    worker = org.worker(photo)
    message = written("See this", File("photo.jpg", "https://files.example/photo.jpg"), org=org)
    with pytest.raises(TransientFailure) as caught:
        worker.side.send(conversation, message, deadline=org.deadline())
    assert caught.value.is_unclear
    worker.side.send(conversation, message, deadline=org.deadline())
    found = org.whole(conversation.conversation_id)
    assert found["duplicates"] == {}
    received = [(one["text"], bool(one["fileId"])) for one in found["received"][1:]]
    link = "[attachment: photo.jpg https://files.example/photo.jpg ]"
    assert received == [("See this", False), ("", True) if drop == "after" else (link, False)]


def test_a_file_that_is_refused_for_now_goes_as_a_link(org: Org, conversation: Conversation) -> None:
    """It cannot have arrived, so its link goes at once."""
    org.server.faults.add(Fault(path="/file", status=423, times=0))
    message = written("", File("photo.jpg", "https://files.example/photo.jpg"), org=org)
    org.worker(photo).side.send(conversation, message, deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-1] == "[attachment: photo.jpg https://files.example/photo.jpg ]"


def test_what_salesforce_has_taken_is_not_sent_again_before_it_is_listed(org: Org, conversation: Conversation) -> None:
    """The file was throttled, and Salesforce does not list the text yet: only the file follows."""
    org.server.faults.add(Fault(path="/file", status=429))
    worker = org.worker(photo)
    message = written("See this", File("photo.jpg", "https://files.example/photo.jpg"), org=org)
    with pytest.raises(TransientFailure) as caught:
        worker.side.send(conversation, message, deadline=org.deadline())
    assert caught.value.code == "salesforce_throttled"
    org.server.faults.add(Fault(path="/entries", status=200, body={"conversationEntries": []}))
    worker.side.send(conversation, message, deadline=org.deadline())
    found = org.whole(conversation.conversation_id)
    assert found["duplicates"] == {}
    assert [(one["text"], bool(one["fileId"])) for one in found["received"][1:]] == [("See this", False), ("", True)]


@pytest.mark.parametrize(
    ("text", "setting", "shown"),
    [
        ("STOP", "", "Customer wrote: STOP"),
        (" Cancel\n", "", "Customer wrote: Cancel"),
        ("help", "", "Customer wrote: help"),
        ("Please stop", "", "Please stop"),
        ("stop", "none", "stop"),
        ("stop", "Arret, ENDE", "stop"),
        ("ende", "Arret, ENDE", "Customer wrote: ende"),
    ],
)
def test_a_word_that_may_opt_the_customer_out_gets_words_around_it(
    org: Org, conversation: Conversation, text: str, setting: str, shown: str
) -> None:
    """Only where the message is nothing else; what has arrived is found all the same."""
    worker = org.worker(SALESFORCE_GUARDED_WORDS=setting)
    message = written(text, org=org)
    worker.side.send(conversation, message, deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-1] == shown
    assert worker.side.has_sent(conversation, message, since=message.at, deadline=org.deadline())


@pytest.mark.parametrize("is_guest", [False, True])
def test_what_was_kept_for_a_conversation_is_forgotten_when_it_is_told(org: Org, is_guest: bool) -> None:
    """The rep's end alone deletes nothing: what they wrote last may still have to be read."""
    made = org.guest_worker if is_guest else org.worker
    conversation = opened(org.land(handoff(), made))
    org.standin.rep_accepts(conversation.conversation_id)
    org.standin.rep_ends(conversation.conversation_id)
    worker = made()
    for _ in range(2):
        assert heard(worker, conversation, org)[-1].kind == OVER
    assert len(org.guests.kept) == is_guest
    for _ in range(2):
        worker.side.forget(conversation)
        assert org.guests.kept == {}


@pytest.mark.parametrize("is_guest", [False, True])
def test_when_the_customer_leaves_the_session_ends(org: Org, is_guest: bool) -> None:
    """It can be told twice; a guest's token is then forgotten."""
    made = org.guest_worker if is_guest else org.worker
    conversation = opened(org.land(handoff(), made))
    assert len(org.guests.kept) == is_guest
    made().side.end(conversation, deadline=org.deadline())
    assert org.whole(conversation.conversation_id)["sessionStatus"] == "Ended"
    assert org.guests.kept == {}
    if not is_guest:
        made().side.end(conversation, deadline=org.deadline())


def test_a_rep_sees_that_the_customer_is_gone_only_once(org: Org, conversation: Conversation) -> None:
    """Ending what the rep has ended is harmless."""
    org.standin.rep_ends(conversation.conversation_id)
    org.worker().side.end(conversation, deadline=org.deadline())
    assert len(org.whole(conversation.conversation_id)["sessions"]) == 1


def test_a_conversation_outlives_its_token(org: Org, conversation: Conversation) -> None:
    """Hours later, and with every token expired by the org, words go both ways."""
    worker = org.worker()
    later: list[Callable[[], object]] = [lambda: org.clock.advance(5 * 3600), org.standin.tokens.expire_all]
    for number, pass_time in enumerate(later, 1):
        worker.side.send(conversation, written(f"number {number}", number=number, org=org), deadline=org.deadline())
        pass_time()
        org.standin.rep_says(conversation.conversation_id, f"answer {number}")
        assert heard(worker, conversation, org)[-1].text == f"answer {number}"
    worker.side.send(conversation, written("last", number=3, org=org), deadline=org.deadline())
    assert org.texts(conversation.conversation_id)[-3:] == ["number 1", "number 2", "last"]
