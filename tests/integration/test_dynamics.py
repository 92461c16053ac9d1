"""Handoffs into the Dataverse stand-in: what is written, in how many round trips, and what outages cost."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox.dataverse import seed
from sandbox.faults import Fault
from shared.errors import LedgerUnavailable
from shared.handoff.record import COMPLETED, RETRYING
from tests.clock import ManualClock
from tests.conftest import World
from tests.integration.sending import LONG, phone, post, transcript_of, web

pytestmark = pytest.mark.integration


def test_an_incident_has_everything_a_rep_needs(world: World, new_id: Callable[[], str]) -> None:
    """Title, description, priority, owner, contact, queue, extra columns, and the whole transcript."""
    body = phone(
        new_id(),
        classification="billing",
        sentiment="angry",
        priority=1,
        owner_id=f"teams({seed.TEAM_ID})",
        queue_id=seed.SECOND_QUEUE_ID,
        ticket_properties={"casetypecode": 2},
    )
    got = post(world.application(), body)
    assert (got["http"], got["status"], got["kind"], got["warnings"]) == (201, "completed", "incident", [])
    (incident,) = world.rows("incidents")
    (contact,) = world.rows("contacts")
    assert incident["incidentid"] == got["dynamics365_incident_id"]
    assert incident["ticketnumber"] == got["dynamics365_ticket_number"]
    assert incident["title"] == "billing - Jo Doe"
    assert (incident["prioritycode"], incident["caseorigincode"], incident["casetypecode"]) == (1, 1, 2)
    assert incident["_ownerid_value"] == seed.TEAM_ID
    assert incident["_customerid_value"] == incident["_primarycontactid_value"] == contact["contactid"]
    assert (contact["firstname"], contact["lastname"], contact["mobilephone"]) == ("Jo", "Doe", "+12025550100")
    assert got["contact"] == {"id": contact["contactid"], "linked": True, "created": True}
    (item,) = world.rows("queueitems")
    assert (item["_queueid_value"], item["_objectid_value"]) == (seed.SECOND_QUEUE_ID, incident["incidentid"])
    text = transcript_of(world, incident["incidentid"], incident["description"])
    positions = [text.index(turn["text"]) for turn in LONG]
    assert positions == sorted(positions)
    assert "complete in the notes" in incident["description"]


@pytest.mark.parametrize(
    ("channel", "contact", "trips"),
    [
        ("phone", {"name": "Jo", "email": "jo@example.com"}, 2),
        ("phone", {"phone_number": "+12025550100"}, 2),
        ("email", {"email": "jo@example.com"}, 2),
        ("web", {"email": "jo@example.com"}, 2),
        ("sms", {"phone_number": "+12025550100"}, 1),
        ("whatsapp", {"name": "Jo"}, 1),
    ],
)
@pytest.mark.parametrize("is_known", [False, True])
def test_round_trips(
    world: World, new_id: Callable[[], str], channel: str, contact: dict[str, str], trips: int, is_known: bool
) -> None:
    """Two for an incident with queue, two for a chat with an e-mail, one without: contact known or new."""
    if is_known:
        world.dataverse.insert(
            "contacts", {"lastname": "Jo", "emailaddress1": "JO@example.com", "mobilephone": "+12025550100"}
        )
    application = world.application()
    for _ in range(2):
        before = len(world.standins.dataverse.journal)
        got = post(application, phone(new_id(), channel=channel, contact=contact))
        assert got["http"] == 201
        assert len(world.calls(after=before)) == trips
    assert len(world.rows("contacts")) == (1 if is_known or trips == 2 else 0)


def test_a_chat_is_a_live_work_item(world: World, new_id: Callable[[], str]) -> None:
    """Subject, channel, phone, e-mail, name, context variables, workstream and contact are on it."""
    session = new_id()
    got = post(world.application(), web(session, classification="billing", language="en"))
    assert (got["http"], got["kind"]) == (201, "live_work_item")
    (item,) = world.rows("oc_liveworkitems")
    assert item["oc_liveworkitemid"] == got["dynamics365_chat_id"]
    assert (item["oc_subject"], item["oc_channel"], item["oc_email"]) == ("Wants help", "web", "jo@example.com")
    assert item["_oc_workstreamid_value"] == seed.WORKSTREAM_ID
    assert item["_oc_contactid_value"] == got["contact"]["id"]
    variables = json.loads(item["oc_contextvariables"])
    assert (variables["sessionId"], variables["channel"], variables["language"]) == (session, "web", "en")
    text = transcript_of(world, item["oc_liveworkitemid"], item["oc_description"])
    assert all(turn["text"] in text for turn in LONG)


def test_microsofts_own_table_takes_a_chat_too(world: World, new_id: Callable[[], str]) -> None:
    """The msdyn preset writes msdyn_ocliveworkitem, with its context variables as rows."""
    got = post(world.application(LIVE_WORK_ITEM_PRESET="msdyn"), web(new_id()))
    assert (got["http"], got["warnings"]) == (201, [])
    (item,) = world.rows("msdyn_ocliveworkitems")
    assert item["activityid"] == got["dynamics365_chat_id"]
    assert item["_msdyn_liveworkstreamid_value"] == seed.WORKSTREAM_ID
    items = {row["msdyn_name"]: row["msdyn_value"] for row in world.rows("msdyn_ocliveworkitemcontextitems")}
    assert items["channel"] == "web"


def test_a_repeat_answers_from_the_record(world: World, new_id: Callable[[], str]) -> None:
    """Posted twice: 200, replayed, the same ids, and Dataverse hears nothing of it."""
    application = world.application()
    body = phone(new_id())
    first = post(application, body)
    calls = len(world.standins.dataverse.journal)
    second = post(world.application(), body)
    assert (second["http"], second["replayed"]) == (200, True)
    assert second["dynamics365_incident_id"] == first["dynamics365_incident_id"]
    assert len(world.standins.dataverse.journal) == calls


def test_a_second_handoff_of_one_session_brings_its_own_id(world: World, new_id: Callable[[], str]) -> None:
    """handoff_id is the identity: two ids, two incidents, one contact."""
    session = new_id()
    application = world.application()
    post(application, phone(session))
    post(application, phone(session, handoff_id=new_id()))
    assert len(world.rows("incidents")) == 2
    assert len(world.rows("contacts")) == 1


def test_an_existing_contact_is_linked_whatever_its_case(world: World, new_id: Callable[[], str]) -> None:
    """Looked up by emailaddress1 among active rows; the oldest wins, and an ambiguous match is told."""
    world.dataverse.insert("contacts", {"emailaddress1": "jo@example.com", "statecode": 1, "lastname": "Gone"})
    first = world.dataverse.insert("contacts", {"emailaddress1": "Jo@Example.com", "lastname": "A"})
    got = post(world.application(), web(new_id()))
    assert got["contact"] == {"id": first, "linked": True, "created": False}
    world.dataverse.insert("contacts", {"emailaddress1": "jo@example.com", "lastname": "B"})
    got = post(world.application(), web(new_id()))
    assert [warning["code"] for warning in got["warnings"]] == ["contact_ambiguous"]
    assert got["contact"]["linked"] is True


def test_email_and_phone_can_both_match(world: World, new_id: Callable[[], str]) -> None:
    """CONTACT_MATCH=email,phone finds by the number when the address finds nobody, in one round trip."""
    known = world.dataverse.insert("contacts", {"mobilephone": "+12025550100", "lastname": "A"})
    body = web(new_id(), contact={"email": "new@example.com", "phone_number": "+1 202 555 0100"})
    got = post(world.application(CONTACT_MATCH="email,phone"), body)
    assert got["contact"]["id"] == known
    assert len(world.calls()) == 2


def test_a_caller_without_any_identity_gets_a_contact(world: World, new_id: Callable[[], str]) -> None:
    """A case needs a customer: nobody known is a contact of this session."""
    got = post(world.application(), phone(new_id(), contact={}))
    assert got["contact"]["created"] is True
    assert world.rows("contacts")[0]["lastname"].startswith("Caller test-")


def test_a_repeat_does_not_undo_a_reps_work(world: World, new_id: Callable[[], str]) -> None:
    """The answer was lost, and a rep moved and edited the case before the retry: it stays as the rep has it."""

    class BusyRep(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            (item,), (incident,) = world.rows("queueitems"), world.rows("incidents")
            world.dataverse.remove("queueitems", item["queueitemid"])
            world.dataverse.insert(
                "queueitems",
                {
                    "queueitemid": item["queueitemid"],
                    "_queueid_value": seed.SECOND_QUEUE_ID,
                    "_objectid_value": incident["incidentid"],
                },
            )
            world.dataverse.store.get("incident", incident["incidentid"])["title"] = "Edited by a rep"  # type: ignore[index]

    world.standins.dataverse.faults.add(Fault(method="POST", path=r"\$batch", body_contains="changeset", drop="after"))
    got = post(world.application(BusyRep()), phone(new_id()))
    assert (got["http"], got["dynamics365_incident_id"]) == (201, world.rows("incidents")[0]["incidentid"])
    assert [row["_queueid_value"] for row in world.rows("queueitems")] == [seed.SECOND_QUEUE_ID]
    assert [row["title"] for row in world.rows("incidents")] == ["Edited by a rep"]
    assert got["dynamics365_ticket_number"] == world.rows("incidents")[0]["ticketnumber"]


def test_an_outage_is_answered_with_202_and_lands_by_the_timer(world: World, new_id: Callable[[], str]) -> None:
    """Dataverse down: stored, 202 within the budget, the next one at once; when it is back all land."""
    clock = ManualClock()
    application = world.application(clock)
    world.standins.dataverse.faults.add(Fault(status=503, times=0))
    first, second = new_id(), new_id()
    got = post(application, phone(first))
    assert (got["http"], got["status"], got["record"].state) == (202, "accepted", RETRYING)
    assert clock.monotonic() < 25
    for _ in range(2):
        post(application, phone(new_id()))
    calls, waited = len(world.standins.dataverse.journal), clock.monotonic()
    got = post(application, phone(second))
    assert (got["http"], len(world.standins.dataverse.journal), clock.monotonic()) == (202, calls, waited)
    world.standins.dataverse.faults.clear()
    clock.advance(120)
    application.reconciler.run()
    assert application.desk.look(first).state == COMPLETED
    assert application.desk.look(second).state == COMPLETED
    assert len(world.rows("incidents")) == 4


def test_a_missing_privilege_pauses_and_names_the_fix(world: World, new_id: Callable[[], str]) -> None:
    """403: the handoff waits without using up attempts, the record says what to do, and it lands after the fix."""
    clock = ManualClock()
    application = world.application(clock)
    world.dataverse.access.missing = frozenset({"prvCreateIncident"})
    session = new_id()
    got = post(application, phone(session))
    assert got["http"] == 202
    error = application.desk.look(session).last_error
    assert error is not None
    assert "prvCreateIncident" in (error.fix or "")
    assert application.desk.look(session).attempts == 0
    clock.advance(10)
    application.reconciler.run()
    assert application.desk.look(session).attempts == 0
    world.dataverse.access.missing = frozenset()
    clock.advance(120)
    application.reconciler.run()
    record = application.desk.look(session)
    assert (record.state, record.attempts) == (COMPLETED, 1)


def test_a_rotated_secret_is_followed(world: World, new_id: Callable[[], str]) -> None:
    """The vault has a new secret and Entra refuses the old one: the next handoff lands, with no pause."""
    clock = ManualClock()
    application = world.application(clock)
    assert post(application, phone(new_id()))["http"] == 201
    clock.advance(120)
    app_id = world.environ["DYNAMICS_CLIENT_ID"]
    known = world.entra._apps[app_id]
    world.entra._apps[app_id] = replace(known, secrets=("brand-new",))
    world.key_vault.put("dynamics-client-secret", "brand-new")
    application.dataverse._tokens.refuse(application.dataverse._tokens.get())
    assert post(application, phone(new_id()))["http"] == 201


def test_what_is_missing_is_read_from_opencx(world: World, new_id: Callable[[], str]) -> None:
    """Only a session id: channel, contact, summary and all pages of the history come from OpenCX's API."""
    session = new_id()
    history = [
        {
            "id": str(n),
            "created_at": f"2026-01-01T10:{n // 60:02d}:{n % 60:02d}Z",
            "event": {
                "type": "message",
                "sender": {"type": ("contact", "ai")[n % 2]},
                "content": {"type": "text", "text": f"message number {n}."},
            },
        }
        for n in range(120)
    ]
    world.opencx.add_session(
        {
            "id": session,
            "channel": {"type": "phone_voice"},
            "contact": {"name": "Jo Doe", "email": "jo@example.com"},
            "handoff": {"summary": "Wants a refund", "sentiment": "angry"},
            "history": history,
        }
    )
    got = post(world.application(), {"session_id": session})
    assert (got["http"], got["kind"], got["channel"], got["warnings"]) == (201, "incident", "phone", [])
    (incident,) = world.rows("incidents")
    assert "Summary: Wants a refund" in incident["description"]
    text = transcript_of(world, incident["incidentid"], incident["description"])
    positions = [text.index(f"message number {n}.") for n in range(120)]
    assert positions == sorted(positions)


def test_without_opencx_a_handoff_lands_all_the_same(world: World, new_id: Callable[[], str]) -> None:
    """OpenCX does not know the session: the case lands with a warning, for a customer is waiting."""
    got = post(world.application(), {"session_id": new_id(), "channel": "phone"})
    assert got["http"] == 201
    assert [warning["code"] for warning in got["warnings"]] == ["transcript_unavailable"]


def test_table_storage_down_does_not_stop_a_handoff(world: World, new_id: Callable[[], str]) -> None:
    """Derived ids make delivering safe without a record; with Dataverse down as well it is a 503."""
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:9/a"
    application = world.application(TABLES_CONNECTION_STRING=nowhere)
    body = phone(new_id())
    got = post(application, body)
    assert got["http"] == 201
    assert [warning["code"] for warning in got["warnings"]] == ["ledger_unavailable"]
    again = post(world.application(TABLES_CONNECTION_STRING=nowhere), body)
    assert again["dynamics365_incident_id"] == got["dynamics365_incident_id"]
    assert len(world.rows("incidents")) == 1
    world.standins.dataverse.faults.add(Fault(status=500, times=0))
    with pytest.raises(LedgerUnavailable) as caught:
        post(world.application(TABLES_CONNECTION_STRING=nowhere, HANDOFF_BUDGET_SECONDS="3"), phone(new_id()))
    assert caught.value.code == "not_stored_not_delivered"


def test_affinity_cookies_are_never_sent_back(world: World, new_id: Callable[[], str]) -> None:
    """Dataverse's cookie would tie all calls to one web server."""
    application = world.application()
    post(application, phone(new_id()))
    assert len(application.dataverse._session.cookies) == 0


def test_a_managed_identity_needs_no_secret(
    world: World, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DYNAMICS_AUTH=managed_identity: the token comes from the platform's endpoint, the vault is not asked."""
    client_id = world.environ["DYNAMICS_CLIENT_ID"]
    world.entra._apps[client_id] = replace(world.entra._apps[client_id], secrets=(), managed_identity=True)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{world.standins.entra.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", world.entra.identity_header)
    got = post(world.application(DYNAMICS_AUTH="managed_identity", AZURE_CLIENT_ID=client_id), phone(new_id()))
    assert got["http"] == 201
    assert [entry.path for entry in world.standins.key_vault.journal.entries() if "dynamics" in entry.path] == []
