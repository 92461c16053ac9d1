"""What Dataverse refuses is left out, told, and never costs a customer their answer or a rep the text."""

import html
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox.dataverse import seed
from sandbox.faults import Fault
from shared.handoff.record import COMPLETED, FAILED
from tests.conftest import World
from tests.integration.sending import LONG, NOBODY, phone, post, transcript_of, web

pytestmark = pytest.mark.integration


def refuse(path: str, code: str = "0x80040265", message: str = "A plug-in says no.") -> Fault:
    """A rule: Dataverse refuses to create rows of a table, and names no column."""
    return Fault(
        method="PATCH", path=path, inner=True, status=400, times=0, body={"error": {"code": code, "message": message}}
    )


@pytest.mark.parametrize(
    ("part", "more"),
    [
        ("ticket_properties", {"ticket_properties": {"bogus": 1, "casetypecode": 1}}),
        ("ticket_properties", {"ticket_properties": {"casetypecode": 99}}),
        ("owner_id", {"owner_id": NOBODY}),
        ("queue_id", {"queue_id": NOBODY}),
    ],
)
def test_a_refused_part_is_left_out(world: World, new_id: Callable[[], str], part: str, more: dict[str, Any]) -> None:
    """A configuration mistake costs a warning, never the customer's case."""
    got = post(world.application(), phone(new_id(), **more))
    assert got["http"] == 201
    assert len(world.rows("incidents")) == 1
    assert any(part in warning["message"] for warning in got["warnings"])


def test_a_priority_that_the_org_lacks_is_told(world: World, new_id: Callable[[], str]) -> None:
    """A stock case table has 1 to 3; where an organisation added 4, 4 is written."""
    got = post(world.application(), phone(new_id(), priority=4))
    assert [warning["code"] for warning in got["warnings"]] == ["priority_out_of_range"]
    world.dataverse.schema.table("incident").column("prioritycode").options[4] = "Lowest"
    got = post(world.application(), phone(new_id(), priority=4))
    assert (got["warnings"], world.rows("incidents")[-1]["prioritycode"]) == ([], 4)


def test_a_raised_description_limit_is_used(world: World, new_id: Callable[[], str]) -> None:
    """The organisation's real limit is read: what fits needs no note."""
    world.dataverse.schema.table("incident").column("description").max_length = 100_000
    post(world.application(), phone(new_id()))
    assert world.rows("annotations") == []
    assert all(turn["text"] in world.rows("incidents")[0]["description"] for turn in LONG)


def test_a_lowered_description_limit_loses_nothing(world: World, new_id: Callable[[], str]) -> None:
    """A text that should have fitted goes into notes when the organisation's limit is lower."""
    world.dataverse.schema.table("incident").column("description").max_length = 400
    short = LONG[:5]
    got = post(world.application(), phone(new_id(), transcript=short))
    (incident,) = world.rows("incidents")
    text = transcript_of(world, got["dynamics365_incident_id"], incident["description"])
    assert all(turn["text"] in text for turn in short)


def test_a_table_without_notes_gets_the_newest_messages(world: World, new_id: Callable[[], str]) -> None:
    """Where notes are refused the description holds the end of the conversation, and a warning says so."""
    got = post(world.application(LIVE_WORK_ITEM_NOTE_BIND="objectid_nothing"), web(new_id()))
    assert [warning["code"] for warning in got["warnings"]] == ["transcript_truncated"]
    assert LONG[-1]["text"] in world.rows("oc_liveworkitems")[0]["oc_description"]


def test_a_refusal_that_names_nothing_costs_no_text(world: World, new_id: Callable[[], str]) -> None:
    """An owner who is disabled, say: what is optional goes tier by tier, title and transcript stay."""
    rule = refuse("incidents", "0x8004022b", "The owner of the record is disabled.")
    world.standins.dataverse.faults.add(replace(rule, times=2))
    short = LONG[:3]
    got = post(
        world.application(),
        phone(new_id(), transcript=short, owner_id=seed.REP_USER_ID, ticket_properties={"casetypecode": 1}),
    )
    assert got["http"] == 201
    assert [warning["code"] for warning in got["warnings"]] == ["parts_refused", "parts_refused"]
    (incident,) = world.rows("incidents")
    assert incident["title"] == "Support - Jo Doe"
    assert incident["prioritycode"] == 2
    assert all(turn["text"] in incident["description"] for turn in short)


@pytest.mark.parametrize("name", ["description", "Description", "customerid_contact@odata.bind", "incidentid"])
def test_ticket_properties_cannot_replace_the_conversation(world: World, new_id: Callable[[], str], name: str) -> None:
    """Columns that carry the id, the text or the customer are ours, in any spelling."""
    got = post(world.application(), phone(new_id(), transcript=LONG[:3], ticket_properties={name: "x"}))
    assert [warning["code"] for warning in got["warnings"]] == ["property_reserved"]
    assert LONG[2]["text"] in world.rows("incidents")[0]["description"]


def test_many_wrong_properties_cost_few_round_trips(world: World, new_id: Callable[[], str]) -> None:
    """After a few refusals by name the rest of their kind goes at once."""
    got = post(world.application(), phone(new_id(), ticket_properties={f"bogus{n}": n for n in range(60)}))
    assert got["http"] == 201
    assert len(world.calls()) < 12


def test_a_description_that_is_refused_moves_into_notes(world: World, new_id: Callable[[], str]) -> None:
    """A column that the role may not write, say: the whole text stands in the notes instead."""
    message = "Caller does not have permission to write 'description' of entity 'incident'."
    world.standins.dataverse.faults.add(replace(refuse("incidents", "0x80040203", message), times=1))
    got = post(world.application(), phone(new_id(), transcript=LONG[:3]))
    assert [warning["code"] for warning in got["warnings"]] == ["part_refused"]
    (note,) = world.rows("annotations")
    assert all(html.escape(turn["text"], quote=False) in note["notetext"] for turn in LONG[:3])


@pytest.mark.parametrize("limit", [40, 90, 300])
def test_a_tiny_description_still_lands(world: World, new_id: Callable[[], str], limit: int) -> None:
    """However little the column holds, the case lands and the notes are whole."""
    world.dataverse.schema.table("incident").column("description").max_length = limit
    got = post(world.application(), phone(new_id(), transcript=LONG[:3]))
    assert got["http"] == 201
    text = transcript_of(world, got["dynamics365_incident_id"], "")
    assert all(turn["text"] in text for turn in LONG[:3])


def test_a_chat_lands_without_the_contact_that_is_refused(world: World, new_id: Callable[[], str]) -> None:
    """A plug-in that refuses new contacts must not stop a live chat."""
    world.standins.dataverse.faults.add(refuse("contacts"))
    got = post(world.application(), web(new_id()))
    assert (got["http"], got["contact"]["linked"]) == (201, False)
    assert "contact_refused" in [warning["code"] for warning in got["warnings"]]


def test_a_contact_that_an_alternate_key_holds_is_linked(world: World, new_id: Callable[[], str]) -> None:
    """The organisation has a key on the e-mail, and its contact is deactivated: it is linked, not doubled."""
    known = world.dataverse.insert("contacts", {"emailaddress1": "jo@example.com", "statecode": 1, "lastname": "Gone"})
    body = {
        "error": {"code": "0x80060892", "message": "Entity key E-mail violated. A record with the same value exists."}
    }
    world.standins.dataverse.faults.add(
        Fault(method="PATCH", path="contacts", inner=True, status=412, times=0, body=body)
    )
    got = post(world.application(), web(new_id()))
    assert (got["http"], got["contact"]["id"], got["contact"]["created"]) == (201, known, False)
    assert len(world.rows("contacts")) == 1


def test_an_unverified_address_links_no_contact_to_a_chat(world: World, new_id: Callable[[], str]) -> None:
    """Anybody can type an address into a widget; a rep must not take them for the customer."""
    world.dataverse.insert("contacts", {"emailaddress1": "jo@example.com", "lastname": "Doe"})
    got = post(world.application(), web(new_id(), contact={"email": "jo@example.com", "verified": False}))
    assert (got["contact"]["linked"], [warning["code"] for warning in got["warnings"]]) == (
        False,
        ["contact_not_verified"],
    )
    assert len(world.rows("contacts")) == 1


def test_what_a_chat_has_no_place_for_is_told(world: World, new_id: Callable[[], str]) -> None:
    """owner_id, queue_id and ticket_properties are for incidents."""
    got = post(world.application(), web(new_id(), owner_id=seed.REP_USER_ID, ticket_properties={"casetypecode": 1}))
    assert [warning["code"] for warning in got["warnings"]] == ["not_for_chats"]
    assert "owner_id, ticket_properties" in got["warnings"][0]["message"]


def test_context_variables_stay_readable(world: World, new_id: Callable[[], str]) -> None:
    """However long a variable is, the column holds valid JSON."""
    post(world.application(), web(new_id(), reason="r" * 5000))
    assert json.loads(world.rows("oc_liveworkitems")[0]["oc_contextvariables"])["reason"].startswith("rrr")


def test_a_known_caller_is_linked_also_where_the_policy_fails(world: World, new_id: Callable[[], str]) -> None:
    """UNLINKED_INCIDENTS=omit on a stock organisation: the number's own contact is found, and asked for only once."""
    known = world.dataverse.insert("contacts", {"mobilephone": "+12025550100", "lastname": "Doe"})
    application = world.application(UNLINKED_INCIDENTS="omit")
    assert post(application, phone(new_id()))["contact"]["id"] == known
    before = len(world.standins.dataverse.journal)
    assert post(application, phone(new_id()))["contact"]["id"] == known
    assert len(world.calls(after=before)) == 2
    assert len(world.rows("contacts")) == 1


@pytest.mark.parametrize(
    ("settings", "customer", "warning"),
    [
        (
            {"UNLINKED_INCIDENTS": "fallback_customer", "FALLBACK_CUSTOMER": f"accounts({seed.FALLBACK_ACCOUNT_ID})"},
            seed.FALLBACK_ACCOUNT_ID,
            None,
        ),
        (
            {"UNLINKED_INCIDENTS": "fallback_customer", "FALLBACK_CUSTOMER": f"accounts({NOBODY})"},
            None,
            "customer_missing",
        ),
        ({"UNLINKED_INCIDENTS": "fallback_customer"}, None, "customer_needed"),
        ({"UNLINKED_INCIDENTS": "omit"}, None, "customer_needed"),
    ],
)
def test_unlinked_incidents(
    world: World, new_id: Callable[[], str], settings: dict[str, str], customer: str | None, warning: str | None
) -> None:
    """The fallback customer where it exists; else the caller's own contact, with a warning, and never no case."""
    got = post(world.application(**settings), phone(new_id()))
    assert got["http"] == 201
    (incident,) = world.rows("incidents")
    assert incident["_customerid_value"] == (customer or world.rows("contacts")[0]["contactid"])
    assert [each["code"] for each in got["warnings"]] == ([warning] if warning else [])


def test_a_queue_without_privilege_does_not_hold_up_the_case(world: World, new_id: Callable[[], str]) -> None:
    """The case has landed before its queue was refused: a warning, no pause."""
    world.dataverse.access.missing = frozenset({"prvCreateQueueItem"})
    got = post(world.application(), phone(new_id()))
    assert got["http"] == 201
    assert [warning["code"] for warning in got["warnings"]] == ["queue_refused"]


@pytest.mark.parametrize("earlier_parts", [True, False], ids=["all answers", "failing answer alone"])
@pytest.mark.parametrize(
    ("missing", "queue"), [("prvCreateQueueItem", seed.QUEUE_ID), ("", NOBODY)], ids=["no privilege", "no queue"]
)
def test_a_failing_queue_is_told_apart_from_a_failing_case(
    world: World, new_id: Callable[[], str], earlier_parts: bool, missing: str, queue: str
) -> None:
    """Whether a stopped batch answers all it did or the failure alone: the case lands once, with one true warning."""
    world.dataverse.batch.earlier_parts = earlier_parts
    world.dataverse.access.missing = frozenset(filter(None, [missing]))
    try:
        got = post(world.application(), phone(new_id(), queue_id=queue, owner_id=seed.REP_USER_ID))
    finally:
        world.dataverse.batch.earlier_parts = True
    assert got["http"] == 201
    assert [warning["code"] for warning in got["warnings"]] == ["queue_refused"]
    (incident,) = world.rows("incidents")
    assert incident["_ownerid_value"] == seed.REP_USER_ID
    assert got["dynamics365_ticket_number"] == incident["ticketnumber"]


def test_what_dataverse_refuses_for_good_is_kept_and_replayable(world: World, new_id: Callable[[], str]) -> None:
    """With nothing left to leave out: 502, failed, with the reason; a replay after the fix lands it."""
    application = world.application()
    rule = Fault(
        method="PATCH",
        path="incidents",
        inner=True,
        status=400,
        times=0,
        body={"error": {"code": "0x80040265", "message": "A plug-in says no."}},
    )
    world.standins.dataverse.faults.add(rule)
    session = new_id()
    got = post(application, phone(session))
    assert (got["http"], got["code"], got["retryable"]) == (502, "dynamics_refused", False)
    assert session in {
        record.handoff_id for record in application.desk.page(state=FAILED, limit=50, cursor=None).records
    }
    world.standins.dataverse.faults.clear()
    assert application.desk.replay(session).record.state == COMPLETED
    assert len(world.rows("incidents")) == 1
