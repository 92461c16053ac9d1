"""The Messaging stand-in, representative's side, and what Dataverse shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.dataverse.availability import ACTION
from sandbox.dataverse.seed import QUEUE_ID, WORKSTREAM_ID
from sandbox.dynamics_messaging import CHANNEL_ID
from tests.sandbox.messaging_world import World, refused

Json = dict[str, Any]
WORK_ITEMS = "msdyn_ocliveworkitems"


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """The stand-in and its surroundings, on ports."""
    with World() as made:
        yield made


@pytest.fixture
def world(running: World) -> World:
    """The same as at the start."""
    return running.fresh()


def events(world: World, made: str) -> list[str]:
    """The names of a conversation's events, in order."""
    return [one["name"] for one in world.standin.conversation(made)["activities"] if one["type"] == "event"]


# -- states -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "state", "statuscode", "names"),
    [
        (["accept"], "Active", 2, ["AgentAccepted"]),
        (["accept", "end"], "Wrap-up", 5, ["AgentAccepted", "AgentClosed", "ConversationClosed"]),
        (["accept", "end", "close-tab"], "Closed", 4, ["AgentAccepted", "AgentClosed", "ConversationClosed"]),
        (["accept", "close-tab"], "Waiting", 3, ["AgentAccepted", "AgentClosed"]),
        (["accept", "close-tab", "accept"], "Active", 2, ["AgentAccepted", "AgentClosed", "AgentAccepted"]),
        (["accept", "disconnect"], "Open", 1, ["AgentAccepted", "AgentDisconnected"]),
        (["accept", "queue"], "Open", 1, ["AgentAccepted", "TransferToQueueInitiated"]),
        (
            ["accept", "transfer"],
            "Active",
            2,
            ["AgentAccepted", "TransferToAgentInitiated", "TransferAgentAcceptSession", "AgentAccepted"],
        ),
        (["force-close"], "Closed", 4, ["SupervisorForceClosedConversation"]),
        (["out-of-hours"], "Open", 1, ["OutOfOperatingHoursDueToNonWorkingHours"]),
    ],
)
def test_what_a_click_does(world: World, steps: list[str], state: str, statuscode: int, names: list[str]) -> None:
    """State, events in order, and the status of the row in Dataverse."""
    made = world.open()
    for step in steps:
        done = world.act(made, step)
    assert done["state"] == state
    assert events(world, made) == names
    (row,) = world.rows(WORK_ITEMS)
    assert (row["activityid"], row["statuscode"]) == (made, statuscode)
    assert row["statecode"] == {1: 0, 2: 0, 3: 0, 4: 1, 5: 4}[statuscode]


def test_a_message_to_a_waiting_conversation_opens_it(world: World) -> None:
    """Waiting becomes Open, and somebody can accept it again."""
    made = world.open()
    for step in ("accept", "close-tab"):
        world.act(made, step)
    assert world.send(made, text="still there?").status_code == 200
    assert world.standin.conversation(made)["state"] == "Open"
    assert world.act(made, "accept", rep="Sam Second")["state"] == "Active"
    assert world.standin.conversation(made)["rep"] == "Sam Second"


def test_the_customer_can_end_it(world: World) -> None:
    """Wrap-up by default, Closed by switch; the event is a switch, too."""
    made = world.open()
    world.send(made, type="endOfConversation")
    assert (world.standin.conversation(made)["state"], events(world, made)) == ("Wrap-up", ["CustomerDisconnected"])
    world.standin.switch(customer_end_state="Closed", events_on_customer_end=["ConversationClosed"])
    made = world.open()
    world.send(made, type="endOfConversation")
    assert (world.standin.conversation(made)["state"], events(world, made)) == ("Closed", ["ConversationClosed"])


def test_end_can_go_on_to_closed(world: World) -> None:
    """Both states in one step, for tests that do not care."""
    made = world.open()
    world.act(made, "accept")
    assert world.act(made, "end", is_closed=True)["state"] == "Closed"


@pytest.mark.parametrize("action", ["say", "typing", "file", "transfer", "queue", "end", "close-tab", "disconnect"])
def test_nobody_acts_on_what_nobody_has(world: World, action: str) -> None:
    """Only an Active conversation has a representative: 409 with the reason, and nothing is sent."""
    made = world.open()
    answer = world.door("POST", f"rep/{made}/{action}", {"text": "x"})
    assert answer.status_code == 409
    assert "Open" in answer.json()["error"]
    assert world.standin.deliveries() == []


def test_wrong_doors(world: World) -> None:
    """An unknown conversation is 404, an unknown action is 404, an empty text is 409."""
    made = world.open()
    world.act(made, "accept")
    assert world.door("POST", "rep/nobody/say", {"text": "x"}).status_code == 404
    assert world.door("POST", f"rep/{made}/sing", {}).status_code == 404
    assert world.door("POST", f"rep/{made}/say", {"text": ""}).status_code == 409
    assert world.door("POST", f"rep/{made}/say", {}).status_code == 400
    assert world.door("POST", f"rep/{made}/say", []).status_code == 400
    assert world.door("GET", "conversations/nobody").status_code == 404


def test_a_refused_transfer_stays(world: World) -> None:
    """The first representative keeps it."""
    made = world.open()
    world.act(made, "accept")
    world.act(made, "transfer", rep="Sam", is_refused=True)
    assert events(world, made)[-2:] == ["TransferAgentRejectSession", "TransferToAgentFailed"]
    assert world.standin.conversation(made)["rep"] == "Riley Rep"
    world.act(made, "transfer", rep="Sam")
    assert world.standin.conversation(made)["rep"] == "Sam"


def test_what_the_representative_sees(world: World) -> None:
    """Start message, then both sides in order, with names; the list of conversations is an outline."""
    customer = {"customerid": "opencx:1", "firstname": "John", "lastname": "Doe"}
    made = world.open(customercontext=customer, startmessage={"message": "Summary", "displayname": "AI"})
    world.act(made, "accept")
    world.send(made, text="hi")
    world.act(made, "say", text="**Hello**")
    seen = world.door("GET", f"conversations/{made}").json()
    assert [(line["from"], line["text"]) for line in seen["rep_sees"]] == [
        ("AI", "Summary"),
        ("John Doe", "hi"),
        ("Riley Rep", "**Hello**"),
    ]
    assert [one["way"] for one in seen["activities"]] == ["in", "out", "in", "out"]
    (outline,) = world.door("GET", "conversations").json()
    assert (outline["id"], outline["state"], outline["customer_id"]) == (made, "Active", "opencx:1")


def test_a_file_is_served_for_a_while(world: World) -> None:
    """Its address works without a token until its life is over; by switch it needs a token."""
    world.standin.set_channel(attachments_from_reps=True)
    made = world.open()
    world.act(made, "accept")
    world.act(made, "file", name="a b.png", content="iVBORw==", media_type="image/png")
    assert world.standin.wait_idle()
    attachment = json.loads(world.receiver.seen[-1].body)["attachments"][0]
    answer = requests.get(attachment["contentUrl"], timeout=5)
    assert (answer.content, answer.headers["Content-Type"]) == (b"\x89PNG", "image/png")
    world.standin.switch(file_token=True)
    refused(requests.get(attachment["contentUrl"], timeout=5), 401)
    assert requests.get(attachment["contentUrl"], headers=world.headers(), timeout=5).status_code == 200
    world.standin.switch(file_token=False)
    world.clock.now += 301
    assert requests.get(attachment["contentUrl"], timeout=5).status_code == 403
    assert requests.get(f"{world.server.url}/files/nothing/x", timeout=5).status_code == 404


def test_files_of_representatives_need_the_channels_leave(world: World) -> None:
    """Off until the row says so."""
    made = world.open()
    world.act(made, "accept")
    assert world.door("POST", f"rep/{made}/file", {"text": "x"}).status_code == 409


# -- Dataverse --------------------------------------------------------------------------------------------------


def test_the_work_item_is_found_by_the_conversations_id(world: World) -> None:
    """Over the Web API, after a short delay: id, workstream, queue; what others wrote there stays."""
    made = world.open(customercontext={"preferredname": "John Doe"})
    url = f"{world.organisation.url}/api/data/v9.2/{WORK_ITEMS}({made})"
    headers = {"Authorization": f"Bearer {world.token('https://org.crm.dynamics.com')}", "If-Match": "*"}
    assert requests.get(url, headers=headers, timeout=5).status_code == 404
    world.clock.now += 1
    row = requests.get(url, headers=headers, timeout=5).json()
    assert (row["activityid"], row["statuscode"], row["subject"]) == (made, 1, "John Doe")
    assert (row["_msdyn_liveworkstreamid_value"], row["_msdyn_cdsqueueid_value"]) == (WORKSTREAM_ID, QUEUE_ID)
    assert requests.patch(url, json={"subject": "Summary"}, headers=headers, timeout=5).status_code == 204
    world.act(made, "accept")
    world.clock.now += 1
    row = requests.get(url, headers=headers, timeout=5).json()
    assert (row["subject"], row["statuscode"]) == ("Summary", 2)


@pytest.mark.parametrize(
    ("contacts", "customer", "links"),
    [
        ([{"emailaddress1": "a@x.example"}], {"email": "A@X.example"}, True),
        ([{"mobilephone": "+15550100"}], {"phonenumber": "+15550100"}, True),
        ([{"telephone1": "+15550100"}], {"phonenumber": "+15550100"}, False),
        ([{"mobilephone": "555 0100"}], {"phonenumber": "+15550100"}, False),
        ([{"emailaddress1": "a@x.example"}] * 2, {"email": "a@x.example"}, False),
        ([{"emailaddress1": "a@x.example"}, {"mobilephone": "1"}], {"email": "a@x.example", "phonenumber": "1"}, False),
        ([{"emailaddress1": "a@x.example", "statecode": 1, "statuscode": 2}], {"email": "a@x.example"}, False),
        ([{"emailaddress1": "a@x.example"}], {"preferredname": "a@x.example"}, False),
    ],
)
def test_the_customer_is_linked_by_exactly_one_match(
    world: World, contacts: list[Json], customer: Json, *, links: bool
) -> None:
    """By e-mail or mobile phone, active records only, the same spelling; more than one is none."""
    ids = [world.dataverse.insert("contacts", {"lastname": "Doe", **one}) for one in contacts]
    made = world.open(customercontext=customer)
    (row,) = world.rows(WORK_ITEMS)
    assert row["_msdyn_customer_value"] == (ids[0] if links else None)
    seen = world.standin.conversation(made)
    assert seen["contact"] == ({"table": "contact", "id": ids[0]} if links else None)
    assert (seen["customer_name"] == "Doe") is links


def test_the_contact_must_be_there_before(world: World) -> None:
    """A contact that is made later is not linked; one active case of the contact is."""
    world.open(customercontext={"email": "a@x.example"})
    contact = world.dataverse.insert("contacts", {"lastname": "Doe", "emailaddress1": "a@x.example"})
    case = world.dataverse.insert("incidents", {"title": "t", "_customerid_value": contact})
    world.open(customercontext={"email": "a@x.example"})
    before, after = world.rows(WORK_ITEMS)
    assert (before["_msdyn_customer_value"], before["_msdyn_issueid_value"]) == (None, None)
    assert (after["_msdyn_customer_value"], after["_msdyn_issueid_value"]) == (contact, case)


def test_context_and_customer_rows(world: World) -> None:
    """A row a variable, cut at 512; who the customer is only by switch; both lose what is too long."""
    world.standin.switch(engagement_rows=True)
    made = world.open(
        customercontext={"customerid": "c" * 150, "email": "a@x.example"},
        conversationcontext={
            "sessionId": {"isDisplayable": True, "value": "s1"},
            "long": {"isDisplayable": False, "value": "x" * 600},
        },
    )
    items = {row["msdyn_name"]: row for row in world.rows("msdyn_ocliveworkitemcontextitems")}
    assert (items["sessionId"]["msdyn_value"], items["sessionId"]["_msdyn_ocliveworkitemid_value"]) == ("s1", made)
    assert items["long"]["msdyn_value"] == "x" * 512
    (engagement,) = world.rows("msdyn_customengagementctxes")
    assert (engagement["msdyn_customsenderid"], engagement["_msdyn_liveworkitemid_value"]) == ("c" * 100, made)
    world.standin.switch(engagement_rows=False)
    world.open(customercontext={"customerid": "other"})
    assert len(world.rows("msdyn_customengagementctxes")) == 1


def test_the_channels_row_says_what_the_channel_is(world: World) -> None:
    """App, tenant, webhook and workstream, at once, and still after a reset of Dataverse."""
    world.standin.set_channel(webhook_url="https://app.example/api", attachments_from_reps=True)
    world.dataverse.reset()
    (row,) = world.dataverse.rows("msdyn_occustommessagingchannels")
    assert row["msdyn_occustommessagingchannelid"] == CHANNEL_ID
    assert (row["msdyn_webhookurl"], row["msdyn_occustomchannelid"]) == ("https://app.example/api", 192350005)
    assert row["msdyn_enablefileattachmentsforagents"] is True
    assert row["_msdyn_liveworkstreamid_value"] == WORKSTREAM_ID


def test_without_the_table_nothing_is_written(world: World) -> None:
    """An organisation without Omnichannel's table is no reason to fail."""
    world.dataverse.schema.remove("msdyn_ocliveworkitem")
    made = world.open()
    world.clock.now += 5
    assert world.dataverse.rows("contacts") == []
    assert world.send(made, text="x").status_code == 200


# -- availability -----------------------------------------------------------------------------------------------


def ask(world: World, **changes: Any) -> requests.Response:
    """The availability action."""
    items = {"channel": {"value": "sms", "isDisplayable": True, "datatype": "192350000"}}
    body = {
        "ApiVersion": "1.0",
        "LiveWorkStreamId": WORKSTREAM_ID,
        "CustomContextItems": json.dumps(items),
        **changes,
    }
    headers = {"Authorization": f"Bearer {world.token('https://org.crm.dynamics.com')}"}
    return requests.post(f"{world.organisation.url}/api/data/v9.2/{ACTION}", json=body, headers=headers, timeout=5)


def staff(world: World, **changes: Any) -> int:
    """Changes hours and representatives by Dataverse's control door; its status."""
    url = f"{world.organisation.url}/_sandbox/availability"
    return requests.post(url, json=changes, timeout=5).status_code


def test_is_anybody_there(world: World) -> None:
    """Open with representatives, open without, closed."""
    answer = ask(world).json()
    assert (answer["IsQueueAvailable"], answer["IsAgentAvailable"]) == (True, True)
    assert (answer["QueueId"], answer["NumberOfExpertsAvailableInQueue"]) == (QUEUE_ID, 3)
    assert answer["NextTransitionTime"] == "9999-12-31T23:59:59Z"
    assert staff(world, agents=0) == 200
    answer = ask(world).json()
    assert (answer["IsQueueAvailable"], answer["IsAgentAvailable"]) == (True, False)
    assert staff(world, open=False, agents=3, opens_at="2027-01-15T09:00:00Z") == 200
    answer = ask(world).json()
    assert (answer["IsQueueAvailable"], answer["IsAgentAvailable"]) == (False, False)
    assert answer["StartTimeOfNextOperatingHour"] == answer["NextTransitionTime"] == "2027-01-15T09:00:00Z"
    world.dataverse.reset()
    assert ask(world).json()["IsAgentAvailable"] is True


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ApiVersion": "2.0"}, 400),
        ({"LiveWorkStreamId": "x"}, 400),
        ({"LiveWorkStreamId": QUEUE_ID}, 404),
        ({"CustomContextItems": {}}, 400),
        ({"CustomContextItems": "nonsense"}, 400),
        ({"CustomContextItems": "[]"}, 400),
        ({"CustomContextItems": '{"a": {"value": "x"}}'}, 400),
        ({"Channel": "x"}, 400),
    ],
)
def test_the_action_checks_its_parameters(world: World, changes: Json, status: int) -> None:
    """Version, workstream, and context as JSON in a text."""
    assert ask(world, **changes).status_code == status


def test_the_action_can_be_forbidden(world: World) -> None:
    """405 where the API is not allowed, 403 without the role; a wrong change of hours is 400."""
    staff(world, allowed=False)
    assert ask(world).status_code == 405
    staff(world, allowed=True, administrator=False)
    assert ask(world).status_code == 403
    assert [staff(world, nope=1), staff(world, open="yes"), staff(world, wait_seconds=None)] == [400, 400, 200]


def test_outside_the_hours_a_new_conversation_says_so(world: World) -> None:
    """It exists all the same, and the event comes; by switch it is closed at once."""
    staff(world, open=False)
    made = world.open()
    assert events(world, made) == ["OutOfOperatingHoursDueToNonWorkingHours"]
    assert world.standin.conversation(made)["state"] == "Open"
    world.standin.switch(out_of_hours_closes=True)
    assert world.standin.conversation(world.open(customercontext={}))["state"] == "Closed"
    world.act(made, "out-of-hours", is_holiday=True)
    assert events(world, made)[-1] == "OutOfOperatingHoursDueToHoliday"
