"""A chat becomes one conversation, and the rep is told everything once, whatever goes wrong on the way."""

import re

import pytest

from sandbox.dataverse.seed import ORGANIZATION_ID
from sandbox.dynamics_messaging import CHANNEL_ID
from sandbox.faults import Fault
from shared.dynamics_messaging.availability import OutOfHours
from shared.dynamics_messaging.client import MessagingClient
from shared.dynamics_messaging.names import customer_id
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff.model import Contact
from tests.dynamics_messaging.organisation import ENVIRONMENT, Organisation, chat, long_chat

CREATE = "/conversation/create"
SEND = r"/conversation/[0-9a-f-]{36}$"


def turns(text: str) -> list[str]:
    """The numbers of the turns in a text, in order."""
    return re.findall(r"turn (\d{5})", text)


def told_once(org: Organisation, conversation_id: str, count: int) -> None:
    """Every turn was told to the rep exactly once: the newest with the start, the older ones in order."""
    lines = org.standin.conversation(conversation_id)["rep_sees"]
    start = [line for line in lines if line["by"] == "start"]
    parts = [line for line in lines if line["by"] == "automated"]
    assert len(start) + len(parts) == len(lines)
    newest = [number for line in start for number in turns(line["text"])]
    told = [number for line in parts for number in turns(line["text"])]
    assert told + newest == [f"{number:05d}" for number in range(count)]


def test_the_rep_gets_who_it_is_what_it_is_about_and_the_transcript(org: Organisation) -> None:
    """One conversation with name, summary, transcript, context variables, and the contact linked by e-mail."""
    outcome = org.deliver(chat(classification="billing", custom_data={"plan": "gold"}))
    made = org.standin.conversation(outcome.record_id)
    assert (outcome.kind, outcome.warnings) == ("messaging_conversation", ())
    assert (
        outcome.url
        == f"{org.organisation.url}/main.aspx?etn=msdyn_ocliveworkitem&pagetype=entityrecord&id={made['id']}"
    )
    assert made["customer_name"] == "Jo Doe"
    assert made["customer"]["customerid"] == "opencx:session-1"
    assert made["is_bot_skipped"]
    (line,) = made["rep_sees"]
    assert "Summary: Wants help" in line["text"]
    assert line["text"].index("My parcel is late") < line["text"].index("I get somebody for you")
    context = {name: each["value"] for name, each in made["context"].items()}
    assert (context["sessionId"], context["channel"], context["plan"]) == ("session-1", "whatsapp", "gold")
    (contact,) = org.dataverse.rows("contacts")
    assert made["contact"] == {"table": "contact", "id": contact["contactid"]}
    assert (outcome.contact.id, outcome.contact.linked, outcome.contact.created) == (contact["contactid"], True, True)
    assert outcome.relay["channel_id"] == CHANNEL_ID


def test_a_known_contact_is_linked_and_no_second_one_made(org: Organisation) -> None:
    """The look-up is by e-mail, whatever its case."""
    known = org.dataverse.insert("contacts", {"lastname": "Jo", "emailaddress1": "JO@example.com"})
    outcome = org.deliver(chat())
    assert (outcome.contact.id, outcome.contact.created) == (known, False)
    assert len(org.dataverse.rows("contacts")) == 1


def test_an_address_that_nobody_verified_links_nobody(org: Organisation) -> None:
    """It is not told as the customer's e-mail, for Dynamics would link by it; the text holds it."""
    org.dataverse.insert("contacts", {"lastname": "Victim", "emailaddress1": "jo@example.com"})
    contact = Contact(name="Jo", email="jo@example.com", phone="+12025550100", verified=False)
    outcome = org.deliver(chat(channel="web", contact=contact))
    made = org.standin.conversation(outcome.record_id)
    assert made["contact"] is None
    assert "email" not in made["customer"]
    assert "phonenumber" not in made["customer"]
    assert "jo@example.com" in made["rep_sees"][0]["text"]
    assert not outcome.contact.linked
    assert [notice.code for notice in outcome.warnings] == ["contact_not_verified"]


def test_two_contacts_of_one_address_are_said_not_to_be_linked(org: Organisation) -> None:
    """Dynamics links nobody when several match: the answer must not claim otherwise."""
    for _ in range(2):
        org.dataverse.insert("contacts", {"lastname": "Jo", "emailaddress1": "jo@example.com"})
    outcome = org.deliver(chat())
    assert org.standin.conversation(outcome.record_id)["contact"] is None
    assert not outcome.contact.linked
    assert [notice.code for notice in outcome.warnings] == ["contact_ambiguous"]


def test_a_long_transcript_is_told_whole_and_in_order(org: Organisation) -> None:
    """The start message holds the newest turns, each whole, within 27 KB; the older ones follow in parts."""
    outcome = org.deliver(long_chat(200))
    told_once(org, outcome.record_id, 200)
    made = org.standin.conversation(outcome.record_id)
    start = made["start_message"]["message"]
    assert len(start.encode()) <= 27 * 1024
    assert "older messages in the" in start
    parts = [line["text"] for line in made["rep_sees"] if line["by"] == "automated"]
    for place, part in enumerate(parts, start=1):
        assert f", part {place} of {len(parts)}\n" in part
        assert len(part) <= 6000


@pytest.mark.parametrize("count", [1, 40, 200])
def test_a_repeat_finds_the_same_conversation_and_tells_nothing_twice(org: Organisation, count: int) -> None:
    """A second process with the same handoff adds nothing."""
    first = org.deliver(long_chat(count))
    second = org.deliver(long_chat(count), org.worker())
    assert second.record_id == first.record_id
    assert len(org.standin.conversations()) == 1
    told_once(org, first.record_id, count)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "before"},
        {"drop": "after"},
        {"status": 503},
        {"status": 500, "after_work": True},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"truncate": 5},
    ],
)
def test_whatever_fails_at_whatever_call_the_rep_is_told_once(
    org: Organisation, place: int, fault: dict[str, object]
) -> None:
    """Create, each part: the next process goes on where this one was lost; one conversation, every turn once."""
    handoff = long_chat(120)
    org.server.faults.add(Fault(skip=place, times=1, **fault))  # type: ignore[arg-type]
    outcome = org.deliver_at_last(handoff)
    assert len(org.standin.conversations()) == 1
    told_once(org, outcome.record_id, 120)


@pytest.mark.parametrize("calls", range(1, 7))
def test_a_process_that_dies_between_two_calls_loses_nothing(
    org: Organisation, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Killed after each of the calls in turn, in the middle of the parts too."""

    class KilledError(BaseException):
        pass

    made: list[object] = []
    once = MessagingClient._call

    def counted(self: MessagingClient, *args: object, **options: object) -> object:
        if len(made) == calls:
            raise KilledError
        made.append(args)
        return once(self, *args, **options)  # type: ignore[arg-type]

    handoff = long_chat(120)
    with monkeypatch.context() as patch:
        patch.setattr(MessagingClient, "_call", counted)
        with pytest.raises(KilledError):
            org.deliver(handoff, org.worker())
    outcome = org.deliver(handoff, org.worker())
    assert len(org.standin.conversations()) == 1
    told_once(org, outcome.record_id, 120)


@pytest.mark.parametrize("count", [1, 200])
def test_a_start_message_that_was_not_taken_is_sent_as_messages(org: Organisation, count: int) -> None:
    """The answer to the create says whether it was taken; if not, its text follows, once."""
    org.standin.switch(start_message_taken=False)
    outcome = org.deliver(long_chat(count))
    org.deliver(long_chat(count), org.worker())
    everything = "\n".join(org.sees(outcome.record_id))
    assert sorted(turns(everything)) == [f"{number:05d}" for number in range(count)]
    assert everything.count("Summary: Wants help") == 1


def test_where_the_start_message_is_not_listed_it_is_told_at_most_twice(org: Organisation) -> None:
    """A repeat cannot know that it was taken, and tells it again as messages; once more is not told thrice."""
    org.standin.switch(start_message_listed=False)
    outcome = org.deliver(chat())
    for _ in range(3):
        org.deliver(chat(), org.worker())
    assert sum("My parcel is late" in text for text in org.sees(outcome.record_id)) == 2


def test_a_transcript_that_grew_between_two_tries_is_told_without_a_hole(org: Organisation) -> None:
    """A repeat with more turns than the try that was lost tells all of them."""
    org.server.faults.add(Fault(path=CREATE, drop="after"))
    with pytest.raises(TransientFailure):
        org.deliver(long_chat(3))
    outcome = org.deliver(long_chat(5), org.worker())
    assert set(turns("\n".join(org.sees(outcome.record_id)))) == {f"{number:05d}" for number in range(5)}


def test_a_conversation_that_a_rep_has_ended_between_two_tries_is_not_made_again(org: Organisation) -> None:
    """The create's answer was lost, the rep worked and ended it: the repeat finds that, by the context variable."""
    org.server.faults.add(Fault(path=CREATE, drop="after"))
    with pytest.raises(TransientFailure):
        org.deliver(chat())
    (made,) = org.standin.conversations()
    org.standin.rep.accept(made["id"])
    org.standin.rep.end(made["id"])
    org.clock.advance(120)
    outcome = org.deliver(chat(), org.worker())
    assert outcome.record_id == made["id"]
    assert len(org.standin.conversations()) == 1
    assert [notice.code for notice in outcome.warnings] == ["conversation_ended"]


@pytest.mark.parametrize(("context_rows", "engagement_rows"), [(True, False), (False, True)])
def test_either_table_may_name_the_conversation_of_an_earlier_try(
    org: Organisation, *, context_rows: bool, engagement_rows: bool
) -> None:
    """Which of the two is filled is not documented: both are asked."""
    org.standin.switch(context_rows=context_rows, engagement_rows=engagement_rows)
    first = org.deliver(chat())
    org.standin.rep.accept(first.record_id)
    org.standin.rep.end(first.record_id)
    org.clock.advance(120)
    assert org.deliver(chat(), org.worker()).record_id == first.record_id


@pytest.mark.parametrize("finds_same", [True, False])
def test_a_waiting_conversation_is_found_or_a_new_one_told_whole(org: Organisation, *, finds_same: bool) -> None:
    """What customerid means in Waiting is not documented: in both readings the rep can read everything."""
    org.standin.switch(waiting_finds_same=finds_same, context_rows=False)
    first = org.deliver(long_chat(100))
    org.standin.rep.accept(first.record_id)
    org.standin.rep.close_tab(first.record_id)
    second = org.deliver(long_chat(100), org.worker())
    assert (second.record_id == first.record_id) is finds_same
    told_once(org, second.record_id, 100)


@pytest.mark.parametrize("finds_same", [True, False])
def test_a_waiting_conversation_that_dataverse_names_is_not_made_again(org: Organisation, *, finds_same: bool) -> None:
    """The context variable names it, so what a create would find does not matter."""
    org.standin.switch(waiting_finds_same=finds_same)
    first = org.deliver(long_chat(100))
    org.standin.rep.accept(first.record_id)
    org.standin.rep.close_tab(first.record_id)
    org.clock.advance(120)
    assert org.deliver(long_chat(100), org.worker()).record_id == first.record_id
    assert len(org.standin.conversations()) == 1
    told_once(org, first.record_id, 100)


def test_two_handoffs_of_one_session_are_two_conversations(org: Organisation) -> None:
    """A deliberate second handoff brings its own id, and the customer's contact is one."""
    first = org.deliver(chat("h-1", session_id="s"))
    second = org.deliver(chat("h-2", session_id="s"))
    assert first.record_id != second.record_id
    assert len(org.dataverse.rows("contacts")) == 1


@pytest.mark.parametrize("place", ["text", "code", "errorCode", "error.code", "extensions"])
def test_a_channel_without_a_workstream_names_the_fix_wherever_the_code_stands(org: Organisation, place: str) -> None:
    """Where the code 3000x stands in an error's body is not documented."""
    org.standin.switch(error_code_place=place)
    org.standin.set_channel(workstream_id="")
    with pytest.raises(ConfigurationFault) as raised:
        org.deliver(chat())
    assert raised.value.code == "messaging_workstream_missing"
    assert raised.value.system != "dynamics365"  # incidents go on


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"DYNAMICS_MESSAGING_CHANNEL_ID": "0a9b1c2d-0000-4000-8000-0000000000aa"}, "messaging_channel_missing"),
        ({"DYNAMICS_MESSAGING_SCOPE": "https://org.crm.dynamics.com/.default"}, "messaging_unauthorized"),
        ({"DYNAMICS_ORGANIZATION_ID": "0a9b1c2d-0000-4000-8000-0000000000aa"}, "messaging_unauthorized"),
    ],
)
def test_a_wrong_setting_is_an_administrators_matter(org: Organisation, settings: dict[str, str], code: str) -> None:
    """Channel, scope, organization: each is a configuration fault of chats alone, with a fix."""
    with pytest.raises(ConfigurationFault) as raised:
        org.deliver(chat(), org.worker(**settings))
    assert raised.value.code == code
    assert raised.value.fix


def test_an_app_that_the_channel_row_does_not_name_is_refused_with_the_fix(org: Organisation) -> None:
    """401 means the channel row as often as the token."""
    org.standin.set_channel(app_id="0badc0de-0000-4000-8000-000000000009")
    with pytest.raises(ConfigurationFault, match="messaging_unauthorized"):
        org.deliver(chat())


def test_an_address_without_the_apis_is_a_wrong_setting_and_no_ended_conversation(org: Organisation) -> None:
    """404 RouteNotFound is not 30013."""
    with pytest.raises(ConfigurationFault, match="messaging_url_wrong"):
        org.deliver(chat(), org.worker(DYNAMICS_MESSAGING_URL=org.entra.url))


def test_an_expired_token_is_replaced_on_the_way(org: Organisation) -> None:
    """One 401 costs a new token, not the handoff."""
    org.server.faults.add(Fault(path=CREATE, status=401))
    worker = org.worker()
    org.deliver(chat(), worker)
    assert len([scope for scope in worker.credential.asked if "-c.crm" in scope]) == 2


def test_dataverse_and_messaging_have_tokens_of_their_own(org: Organisation) -> None:
    """The audience with -c for the one, the environment for the other."""
    worker = org.worker()
    org.deliver(chat(), worker)
    assert {scope.removesuffix("/.default") for scope in worker.credential.asked} == {
        ENVIRONMENT,
        f"https://{ORGANIZATION_ID.replace('-', '')}-c.crm.dynamics.com",
    }


def test_who_the_organization_is_is_asked_once(org: Organisation) -> None:
    """Two handoffs, one WhoAmI; with the setting, none."""
    worker = org.worker()
    for number in range(2):
        org.deliver(chat(f"h-{number}"), worker)
    asked = [entry.path for entry in org.organisation.journal.entries() if "WhoAmI" in entry.path]
    assert len(asked) == 1


def test_long_values_are_cut_and_the_text_holds_them_whole(org: Organisation) -> None:
    """A context variable holds 512 characters."""
    outcome = org.deliver(chat(reason="r" * 600))
    made = org.standin.conversation(outcome.record_id)
    assert len(made["context"]["reason"]["value"]) == 512
    assert "r" * 600 in made["rep_sees"][0]["text"]
    assert [notice.code for notice in outcome.warnings] == ["context_shortened"]


def test_more_than_a_hundred_variables_cost_the_last_ones_only(org: Organisation) -> None:
    """Session id and channel are never crowded out."""
    outcome = org.deliver(chat(custom_data={f"k{n}": "v" for n in range(150)}))
    context = org.standin.conversation(outcome.record_id)["context"]
    assert len(context) == 100
    assert {"sessionId", "channel"} <= set(context)
    assert [notice.code for notice in outcome.warnings] == ["context_dropped"]


def test_a_header_that_is_too_long_is_told_whole_all_the_same(org: Organisation) -> None:
    """Details beyond what the start message can hold stand in the parts."""
    data = {f"key{n:02d}": f"value{n:02d} {'z' * 480}" for n in range(50)}
    outcome = org.deliver(long_chat(60, custom_data=data))
    told_once(org, outcome.record_id, 60)
    everything = "\n".join(org.sees(outcome.record_id))
    assert all(everything.count(f"value{n:02d} {'z' * 480}") == 1 for n in range(50))


def test_ids_of_any_length_and_letters_are_told_apart(org: Organisation) -> None:
    """A long handoff id becomes a digest; two long ones do not meet."""
    ids = ["x" * 120 + "1", "x" * 120 + "2"]
    made = {org.deliver(chat(each)).record_id for each in ids}
    assert len(made) == 2
    assert all(len(customer_id(each)) <= 100 for each in ids)


def test_sms_without_an_address_goes_by_the_number(org: Organisation) -> None:
    """The number that a customer writes from is told; nobody is created for it."""
    outcome = org.deliver(chat(channel="sms", contact=Contact(phone="+12025550100")))
    made = org.standin.conversation(outcome.record_id)
    assert made["customer"]["phonenumber"] == "+12025550100"
    assert org.dataverse.rows("contacts") == []
    assert outcome.contact.id is None


def test_each_channel_may_have_a_row_of_its_own(org: Organisation) -> None:
    """A map sends channels to different rows, and so to different workstreams."""
    other = "0a9b1c2d-0000-4000-8000-000000000071"
    org.standin.set_channel(id=other)
    worker = org.worker(DYNAMICS_MESSAGING_CHANNEL_ID=f'{{"sms": "{other}", "default": "{CHANNEL_ID}"}}')
    rows = {}
    for channel in ("sms", "web"):
        outcome = org.deliver(chat(channel, channel=channel), worker)
        rows[channel] = org.standin.conversation(outcome.record_id)["channel_id"]
    assert rows == {"sms": other, "web": CHANNEL_ID}


def test_outside_the_hours_the_caller_is_told_or_makes_an_incident(org: Organisation) -> None:
    """DYNAMICS_AVAILABILITY: off asks nothing, say tells, incident raises before anything is made."""
    org.dataverse.availability.change({"open": False, "opens_at": "2027-01-18T08:00:00Z"})
    assert org.deliver(chat("h-off")).warnings == ()
    (notice,) = org.deliver(chat("h-say"), org.worker(DYNAMICS_AVAILABILITY="say")).warnings
    assert notice.code == "out_of_hours"
    assert "2027-01-18 08:00 UTC" in notice.message
    before = len(org.standin.conversations())
    with pytest.raises(OutOfHours):
        org.deliver(chat("h-incident"), org.worker(DYNAMICS_AVAILABILITY="incident"))
    assert len(org.standin.conversations()) == before


def test_a_conversation_that_stands_is_not_turned_into_an_incident(org: Organisation) -> None:
    """The first try made it in time, its answer was lost, and now it is out of hours."""
    org.server.faults.add(Fault(path=CREATE, drop="after"))
    with pytest.raises(TransientFailure):
        org.deliver(chat())
    org.clock.advance(60)
    org.dataverse.availability.change({"open": False})
    outcome = org.deliver(chat(), org.worker(DYNAMICS_AVAILABILITY="incident"))
    assert outcome.record_id == org.standin.conversations()[0]["id"]


@pytest.mark.parametrize("trouble", [{"allowed": False}, {"administrator": False}])
def test_a_failed_look_at_the_hours_stops_no_handoff(org: Organisation, trouble: dict[str, bool]) -> None:
    """Not allowed, or without the role: the conversation is made, and nothing is said about hours."""
    org.dataverse.availability.change(trouble)
    outcome = org.deliver(chat(), org.worker(DYNAMICS_AVAILABILITY="incident"))
    assert (outcome.kind, outcome.warnings) == ("messaging_conversation", ())


def test_the_wait_is_told_in_minutes(org: Organisation) -> None:
    """An average of 200 seconds is about 3 minutes."""
    org.dataverse.availability.change({"wait_seconds": 200})
    (notice,) = org.deliver(chat(), org.worker(DYNAMICS_AVAILABILITY="say")).warnings
    assert (notice.code, notice.message) == ("wait_time", "The wait is about 3 minutes.")


def test_what_a_conversation_has_no_place_for_is_said(org: Organisation) -> None:
    """Queue, owner and extra columns are for incidents."""
    handoff = chat(queue_id="0a9b1c2d-0000-4000-8000-0000000000aa", ticket_properties={"a": 1})
    (notice,) = org.deliver(handoff).warnings
    assert notice.code == "not_for_chats"


def test_a_refused_call_is_permanent_and_names_the_code(org: Organisation) -> None:
    """30012 is nobody's setting."""
    body = {"title": "Bad Request", "status": 400, "errorCode": 30012}
    org.server.faults.add(Fault(path=CREATE, status=400, body=body))
    with pytest.raises(PermanentFailure, match="30012"):
        org.deliver(chat())


def test_throttling_asks_for_the_wait_that_was_named(org: Organisation) -> None:
    """Retry-After is handed on."""
    org.server.faults.add(Fault(path=CREATE, status=429, headers={"Retry-After": "17"}))
    with pytest.raises(TransientFailure) as raised:
        org.deliver(chat())
    assert (raised.value.retry_after_seconds, raised.value.kind) == (17.0, "throttled")
    assert not raised.value.is_unclear
