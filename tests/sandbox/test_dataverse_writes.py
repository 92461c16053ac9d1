"""Create, update, upsert and delete: exact statuses, codes and messages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.dataverse.organisation import Organisation
from sandbox.dataverse.schema import Column
from sandbox.dataverse.seed import (
    FALLBACK_ACCOUNT_ID,
    QUEUE_ID,
    REP_USER_ID,
    SECOND_QUEUE_ID,
    TEAM_ID,
    WORKSTREAM_ID,
)

GUID = "6f1d0c1e-9f3b-4c0b-8d56-2f9d1f3f7a10"
ABSENT = "00000000-0000-4000-8000-00000000dead"
REPRESENTATION = {"Prefer": "return=representation"}
CREATE_ONLY = {"If-None-Match": "*"}


@pytest.fixture
def org() -> Iterator[Organisation]:
    """A fresh organisation."""
    with Organisation() as running:
        yield running


@pytest.fixture
def contact(org: Organisation) -> str:
    """A contact's id."""
    return org.create("contacts", {"firstname": "Ann", "lastname": "Lee", "emailaddress1": "ann@b.co"})


def error(response: requests.Response) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    body = response.json()["error"]
    return response.status_code, body["code"], body["message"]


def case(contact: str, **more: Any) -> dict[str, Any]:
    """A minimal case."""
    return {"title": "t", "customerid_contact@odata.bind": f"/contacts({contact})", **more}


def test_post_answers_with_the_address(org: Organisation) -> None:
    """POST: 204 and OData-EntityId, no body."""
    answered = org.call("POST", "contacts", {"firstname": "Ann"})
    assert (answered.status_code, answered.content) == (204, b"")
    assert re.fullmatch(rf"{org.root}contacts\([0-9a-f-]{{36}}\)", answered.headers["OData-EntityId"])
    assert answered.headers["OData-Version"] == "4.0"


def test_post_with_representation(org: Organisation) -> None:
    """POST with return=representation: 201, the chosen columns, key and ETag, no OData-EntityId."""
    answered = org.call(
        "POST", "contacts?$select=fullname", {"firstname": "Ann", "lastname": "Lee"}, headers=REPRESENTATION
    )
    assert answered.status_code == 201
    assert answered.headers["Preference-Applied"] == "return=representation"
    assert "OData-EntityId" not in answered.headers
    body = answered.json()
    assert set(body) == {"@odata.context", "@odata.etag", "fullname", "contactid"}
    assert body["fullname"] == "Ann Lee"
    assert body["@odata.context"] == f"{org.root}$metadata#contacts(fullname)/$entity"
    assert answered.headers["ETag"] == body["@odata.etag"]


def test_post_with_a_taken_id(org: Organisation, contact: str) -> None:
    """POST with a primary key that exists: 412 0x80040237."""
    answered = org.call("POST", "contacts", {"contactid": contact})
    assert error(answered) == (412, "0x80040237", "A record with matching key values already exists.")


def test_conditional_create(org: Organisation, contact: str) -> None:
    """PATCH with If-None-Match: * creates once; the repeat is 412 and changes nothing."""
    body = case(contact)
    first = org.call(
        "PATCH",
        f"incidents({GUID})?$select=incidentid,ticketnumber",
        body,
        headers=CREATE_ONLY | REPRESENTATION,
    )
    assert first.status_code == 201
    assert first.json()["incidentid"] == GUID
    assert re.fullmatch(r"CAS-\d{5}-[A-Z0-9]{6}", first.json()["ticketnumber"])
    again = org.call("PATCH", f"incidents({GUID})", {**body, "title": "other"}, headers=CREATE_ONLY)
    assert error(again) == (412, "0x80040237", "A record with matching key values already exists.")
    assert [row["title"] for row in org.standin.rows("incidents")] == ["t"]


def test_conditional_create_is_no_deep_insert(org: Organisation) -> None:
    """A conditional create that nests a row is refused."""
    body = {"title": "t", "customerid_contact": {"firstname": "Ann"}}
    answered = org.call("PATCH", f"incidents({GUID})", body, headers=CREATE_ONLY)
    assert error(answered)[:2] == (400, "0x80048d19")
    assert org.standin.rows("contacts") == []


def test_deep_insert(org: Organisation) -> None:
    """POST with nested rows creates all of them, or none."""
    body = {
        "title": "t",
        "customerid_contact": {"firstname": "Ann"},
        "Incident_Annotation": [{"subject": "s", "notetext": "n"}],
    }
    incident = org.create("incidents", body)
    assert org.standin.rows("annotations")[0]["_objectid_value"] == incident
    assert len(org.standin.rows("contacts")) == 1
    assert org.call("POST", "incidents", {**body, "title": "x" * 201}).status_code == 400
    assert len(org.standin.rows("contacts")) == 1


def test_upsert_without_conditions(org: Organisation, contact: str) -> None:
    """PATCH creates an absent row (204, 201) and updates a present one (204, 200)."""
    absent = f"contacts({GUID})"
    assert org.call("PATCH", absent, {"firstname": "Bob"}).status_code == 204
    answered = org.call("PATCH", absent, {"lastname": "Ray"}, headers=REPRESENTATION)
    assert (answered.status_code, answered.json()["fullname"]) == (200, "Bob Ray")
    other = f"contacts({uuid.uuid4()})"
    assert org.call("PATCH", other, {"firstname": "Eve"}, headers=REPRESENTATION).status_code == 201
    updated = org.call("PATCH", f"contacts({contact})", {"firstname": "Anna"})
    assert (updated.status_code, updated.headers["OData-EntityId"]) == (204, f"{org.root}contacts({contact})")


def test_if_match(org: Organisation, contact: str) -> None:
    """If-Match: * on an absent row is 404; an old ETag is 412; the current one passes and changes."""
    missing = org.call("PATCH", f"contacts({ABSENT})", {"firstname": "x"}, headers={"If-Match": "*"})
    assert error(missing) == (404, "0x80040217", f"Entity 'Contact' With Id = {ABSENT} Does Not Exist")
    url = f"contacts({contact})"
    etag = org.call("GET", url).json()["@odata.etag"]
    assert org.call("PATCH", url, {"firstname": "A"}, headers={"If-Match": etag}).status_code == 204
    stale = org.call("PATCH", url, {"firstname": "B"}, headers={"If-Match": etag})
    assert error(stale) == (
        412,
        "0x80060882",
        "The version of the existing record doesn't match the RowVersion property provided.",
    )
    assert error(org.call("DELETE", url, headers={"If-Match": etag}))[:2] == (412, "0x80060882")


def test_delete(org: Organisation, contact: str) -> None:
    """DELETE is 204, then 404; a case takes its notes and queue items along."""
    incident = org.create("incidents", case(contact))
    bind = {"objectid_incident@odata.bind": f"/incidents({incident})"}
    org.create("annotations", {"subject": "s", **bind})
    org.create("queueitems", {"queueid@odata.bind": f"/queues({QUEUE_ID})", **bind})
    assert org.call("DELETE", f"incidents({incident})").status_code == 204
    assert error(org.call("DELETE", f"incidents({incident})"))[:2] == (404, "0x80040217")
    assert (org.standin.rows("annotations"), org.standin.rows("queueitems")) == ([], [])


def test_case_needs_one_customer(org: Organisation, contact: str) -> None:
    """No customer: 0x80044410. Two: 0x8004440f. The untyped bind is not declared."""
    answered = org.call("POST", "incidents", {"title": "t"})
    assert error(answered) == (400, "0x80044410", "You should specify a parent contact or account.")
    both = case(contact, **{"customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"})
    assert error(org.call("POST", "incidents", both)) == (
        400,
        "0x8004440f",
        "You can either specify a parent contact or account, but not both.",
    )
    untyped = {"customerid@odata.bind": f"/contacts({contact})"}
    code = error(org.call("POST", "incidents", untyped))
    assert code[:2] == (400, "0x80048d19")
    assert "An undeclared property 'customerid' which only has property annotations" in code[2]
    account = {"customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"}
    assert org.call("POST", "incidents", account).status_code == 204


def test_primary_contact_belongs_to_the_customer(org: Organisation, contact: str) -> None:
    """The contact of a case is its customer, or belongs to it."""
    same = case(contact, **{"primarycontactid@odata.bind": f"/contacts({contact})"})
    assert org.call("POST", "incidents", same).status_code == 204
    account = {
        "customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})",
        "primarycontactid@odata.bind": f"/contacts({contact})",
    }
    assert error(org.call("POST", "incidents", account))[:2] == (400, "0x8004f864")
    bind = {"parentcustomerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"}
    org.call("PATCH", f"contacts({contact})", bind)
    assert org.call("POST", "incidents", account).status_code == 204


@pytest.mark.parametrize(
    ("bind", "schema_name", "set_name"),
    [
        ("customerid_contact", "Contact", "contacts"),
        ("ownerid", "Team", "teams"),
        ("subjectid", "Subject", "subjects"),
    ],
)
def test_bind_to_a_missing_row(org: Organisation, contact: str, bind: str, schema_name: str, set_name: str) -> None:
    """A bind to an absent row: 404 0x80040217 that names table and id, and nothing is stored."""
    body = case(contact, **{f"{bind}@odata.bind": f"/{set_name}({ABSENT})"})
    answered = error(org.call("POST", "incidents", body))
    assert answered == (404, "0x80040217", f"Entity '{schema_name}' With Id = {ABSENT} Does Not Exist")
    assert org.standin.rows("incidents") == []


@pytest.mark.parametrize(
    "reference", ["/contacts({})", "contacts({})", "/api/data/v9.2/contacts({})", "{root}contacts({})"]
)
def test_forms_of_a_bind(org: Organisation, contact: str, reference: str) -> None:
    """A bind may be relative, rooted or absolute."""
    value = reference.format(contact, root=org.root)
    body = {"customerid_contact@odata.bind": value}
    assert org.call("POST", "incidents", body).status_code == 204


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [("/Contacts({})", 404, "0x8006088a"), ("/accounts({})", 400, "0x80048d19"), ("$1", 400, "0x80060888")],
)
def test_wrong_binds(org: Organisation, contact: str, reference: str, status: int, code: str) -> None:
    """Wrong case, wrong table and a Content-ID outside a change set are refused."""
    body = {"customerid_contact@odata.bind": reference.format(contact)}
    assert error(org.call("POST", "incidents", body))[:2] == (status, code)


@pytest.mark.parametrize("name", ["queueid", "Customerid_contact", "oc_contactid"])
def test_undeclared_binds(org: Organisation, contact: str, name: str) -> None:
    """An incident has no such navigation property; names are case-sensitive."""
    body = case(contact, **{f"{name}@odata.bind": f"/queues({QUEUE_ID})"})
    code = error(org.call("POST", "incidents", body))
    assert code[:2] == (400, "0x80048d19")
    assert f"An undeclared property '{name}' which only has" in code[2]
    assert "Error identified in Payload provided by the user for Entity :'incidents'" in code[2]


@pytest.mark.parametrize("name", ["bogus", "Title", "queueid"])
def test_unknown_columns(org: Organisation, contact: str, name: str) -> None:
    """An unknown column: 400 0x80048d19 that names it and the table."""
    code = error(org.call("POST", "incidents", case(contact, **{name: "x"})))
    assert code[:2] == (400, "0x80048d19")
    assert f"Invalid property '{name}' was found in entity 'Microsoft.Dynamics.CRM.incident'." in code[2]


@pytest.mark.parametrize("name", ["customerid", "_customerid_value"])
def test_lookups_are_not_written_directly(org: Organisation, contact: str, name: str) -> None:
    """A lookup's column or read-only property cannot be written."""
    code = error(org.call("POST", "incidents", case(contact, **{name: contact})))
    assert code[:2] == (400, "0x80048d19")
    assert "direct update of Entity Reference" in code[2]


@pytest.mark.parametrize(
    ("name", "value"),
    [("title", 5), ("prioritycode", "2"), ("prioritycode", True), ("routecase", 1), ("sentimentvalue", "x")],
)
def test_wrong_types(org: Organisation, contact: str, name: str, value: object) -> None:
    """A value of the wrong JSON type: 400 0x80048d19."""
    code = error(org.call("POST", "incidents", case(contact, **{name: value})))
    assert code[:2] == (400, "0x80048d19")
    assert "Cannot convert the literal" in code[2]


@pytest.mark.parametrize(
    ("set_name", "column", "limit"),
    [
        ("contacts", "emailaddress1", 100),
        ("contacts", "firstname", 50),
        ("contacts", "mobilephone", 50),
        ("annotations", "notetext", 100_000),
        ("annotations", "subject", 500),
        ("msdyn_ocliveworkitems", "subject", 200),
        ("msdyn_ocliveworkitemcontextitems", "msdyn_value", 512),
        ("oc_liveworkitems", "oc_contextvariables", 10_000),
    ],
)
def test_lengths(org: Organisation, set_name: str, column: str, limit: int) -> None:
    """Text of MaxLength passes; one more unit is 400 0x80044331 with the limit in the message."""
    assert org.call("POST", set_name, {column: "x" * limit}).status_code == 204
    table = org.standin.schema.by_set(set_name)
    assert table is not None
    message = (
        f"A validation error occurred.  The length of the '{column}' attribute of the '{table.logical}' "
        f"entity exceeded the maximum allowed length of '{limit}'."
    )
    refused = error(org.call("POST", set_name, {column: "x" * (limit + 1)}))
    assert refused == (400, "0x80044331", message)


def test_description_holds_2000_utf16_units(org: Organisation, contact: str) -> None:
    """A character outside the BMP counts twice, as in .NET; the limit can be raised."""
    assert org.call("POST", "incidents", case(contact, description="😀" * 1000)).status_code == 204
    long = case(contact, description="😀" * 1001)
    assert error(org.call("POST", "incidents", long))[1] == "0x80044331"
    org.standin.schema.table("incident").column("description").max_length = 10_000
    assert org.call("POST", "incidents", long).status_code == 204


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ud800", "￿"])
def test_forbidden_characters(org: Organisation, contact: str, character: str) -> None:
    """What XML cannot hold is 400 0x80040278; tab, CR and LF pass."""
    code = error(org.call("POST", "incidents", case(contact, description=f"a{character}b")))
    assert code[:2] == (400, "0x80040278")
    assert f"hexadecimal value 0x{ord(character):02X}, is an invalid character." in code[2]
    assert org.call("POST", "incidents", case(contact, description="a\t\r\nb")).status_code == 204


def test_priority_four(org: Organisation, contact: str) -> None:
    """A stock case has no priority 4: 400 0x8004431a; an organisation may add it."""
    message = (
        "A validation error occurred. The value 4 of 'prioritycode' on record of type 'incident' is outside "
        "the valid range. Accepted Values: 1,2,3"
    )
    refused = error(org.call("POST", "incidents", case(contact, prioritycode=4)))
    assert refused == (400, "0x8004431a", message)
    org.standin.schema.table("incident").column("prioritycode").options[4] = "Lowest"
    assert org.call("POST", "incidents", case(contact, prioritycode=4)).status_code == 204


def test_conversation_row(org: Organisation, contact: str) -> None:
    """Conversation: own priority scale, channel as text, suffixed navigation properties."""
    name = "msdyn_ocliveworkitem"
    body = {
        "subject": "s",
        "prioritycode": 0,
        "msdyn_channel": "192350002",
        f"msdyn_customer_{name}_contact@odata.bind": f"/contacts({contact})",
        f"msdyn_liveworkstreamid_{name}@odata.bind": f"/msdyn_liveworkstreams({WORKSTREAM_ID})",
        f"msdyn_cdsqueueid_{name}@odata.bind": f"/queues({QUEUE_ID})",
        f"ownerid_{name}@odata.bind": f"/teams({TEAM_ID})",
    }
    made = org.create(f"{name}s", body)
    row = org.call("GET", f"{name}s({made})").json()
    assert (row["activityid"], row["_msdyn_customer_value"], row["_ownerid_value"]) == (
        made,
        contact,
        TEAM_ID,
    )
    assert error(org.call("POST", f"{name}s", {"msdyn_channel": "5"}))[1] == "0x8004431a"
    assert error(org.call("POST", f"{name}s", {"msdyn_channel": 192350002}))[1] == "0x80048d19"
    assert error(org.call("POST", f"{name}s", {"prioritycode": 3}))[1] == "0x8004431a"
    bare = {"msdyn_liveworkstreamid@odata.bind": f"/msdyn_liveworkstreams({WORKSTREAM_ID})"}
    assert error(org.call("POST", f"{name}s", bare))[1] == "0x80048d19"
    item = {"msdyn_name": "n", "msdyn_value": "v", "msdyn_ocliveworkitemid@odata.bind": f"/{name}s({made})"}
    assert org.call("POST", f"{name}contextitems", item).status_code == 204
    note = {"subject": "s", f"objectid_{name}@odata.bind": f"/{name}s({made})"}
    assert org.call("POST", "annotations", note).status_code == 204


def test_custom_work_item(org: Organisation, contact: str) -> None:
    """The custom table takes its binds and carries notes; without the solution its set is unknown."""
    body = {
        "oc_subject": "s",
        "oc_contactid@odata.bind": f"/contacts({contact})",
        "oc_workstreamid@odata.bind": f"/msdyn_liveworkstreams({WORKSTREAM_ID})",
    }
    made = org.create("oc_liveworkitems", body)
    note = {"subject": "s", "objectid_oc_liveworkitem@odata.bind": f"/oc_liveworkitems({made})"}
    assert org.call("POST", "annotations", note).status_code == 204
    org.standin.schema.remove("oc_liveworkitem")
    assert error(org.call("POST", "oc_liveworkitems", body)) == (
        404,
        "0x8006088a",
        "Resource not found for the segment 'oc_liveworkitems'.",
    )


def test_ignored_columns(org: Organisation, contact: str) -> None:
    """What is not valid for create or update is ignored, not refused."""
    made = org.create("incidents", case(contact, statecode=1, createdon="2001-01-01T00:00:00Z"))
    row = org.call("GET", f"incidents({made})").json()
    assert (row["statecode"], row["statuscode"], row["prioritycode"]) == (0, 1, 2)
    assert not row["createdon"].startswith("2001")
    org.call("PATCH", f"incidents({made})", {"ticketnumber": "X"})
    assert org.call("GET", f"incidents({made})").json()["ticketnumber"] == row["ticketnumber"]


def test_state_and_reason_agree(org: Organisation, contact: str) -> None:
    """A new state brings its default reason; a reason of another state is refused."""
    made = org.create("incidents", case(contact))
    assert org.call("PATCH", f"incidents({made})", {"statecode": 1}).status_code == 204
    assert org.call("GET", f"incidents({made})").json()["statuscode"] == 5
    answered = org.call("PATCH", f"incidents({made})", {"statecode": 0, "statuscode": 5})
    assert error(answered)[:2] == (400, "0x80048408")


def test_owner(org: Organisation, contact: str) -> None:
    """The owner is the caller unless a user or team is bound."""
    body = case(contact, **{"ownerid@odata.bind": f"/systemusers({REP_USER_ID})"})
    made = org.create("incidents", body)
    assert org.call("GET", f"incidents({made})").json()["_ownerid_value"] == REP_USER_ID


def test_clearing_a_lookup(org: Organisation, contact: str) -> None:
    """A bind to null clears a lookup, but a case keeps a customer."""
    made = org.create("incidents", case(contact, **{"primarycontactid@odata.bind": f"/contacts({contact})"}))
    assert org.call("PATCH", f"incidents({made})", {"primarycontactid@odata.bind": None}).status_code == 204
    assert org.call("GET", f"incidents({made})").json()["_primarycontactid_value"] is None
    answered = org.call("PATCH", f"incidents({made})", {"customerid_contact@odata.bind": None})
    assert error(answered)[1] == "0x80044410"


def test_bodies_that_are_no_json(org: Organisation) -> None:
    """Bad JSON, an array and a missing content type: 400 0x80048d19."""
    for body, kind in ((b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")):
        answered = org.session.post(f"{org.root}contacts", data=body, headers={"Content-Type": kind})
        assert error(answered)[:2] == (400, "0x80048d19")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "Contacts", 404, "0x8006088a"),
        ("POST", "contact", 404, "0x8006088a"),
        ("PATCH", "contacts", 405, "0x80040227"),
        ("PUT", f"contacts({GUID})", 405, "0x80040227"),
        ("POST", f"contacts({GUID})", 405, "0x80040227"),
    ],
)
def test_wrong_urls(org: Organisation, method: str, path: str, status: int, code: str) -> None:
    """Set names are case-sensitive plurals; a method that does not fit is 405."""
    assert error(org.call(method, path, {}))[:2] == (status, code)


def test_alternate_keys(org: Organisation) -> None:
    """Without a key: 400 0x80060890. With one: upsert by it, 404 0x80060891, uniqueness 412 0x80060892."""
    url = "contacts(emailaddress1='o''neil+x@b.c')"
    assert error(org.call("PATCH", url, {"firstname": "A"}))[:2] == (400, "0x80060890")
    org.standin.schema.table("contact").add_key("emailaddress1")
    missing = org.call("PATCH", url, {"firstname": "A"}, headers={"If-Match": "*"})
    assert error(missing) == (
        404,
        "0x80060891",
        "A record with the specified key values does not exist in contact entity",
    )
    made = org.call("PATCH", url, {"firstname": "A"}, headers=REPRESENTATION)
    assert (made.status_code, made.json()["emailaddress1"]) == (201, "o'neil+x@b.c")
    again = org.call("PATCH", url, {"firstname": "B"})
    assert again.status_code == 204
    assert again.headers["OData-EntityId"] == f"{org.root}{url}"
    twin = org.call("POST", "contacts", {"emailaddress1": "O'Neil+x@b.c"})
    assert error(twin)[:2] == (412, "0x80060892")
    assert len(org.standin.rows("contacts")) == 1


def test_duplicate_detection_is_off_by_default(org: Organisation, contact: str) -> None:
    """Only `MSCRM.SuppressDuplicateDetection: false` looks for duplicates: 412 0x80040333."""
    twin = {"emailaddress1": "Ann@B.co"}
    detect = {"MSCRM.SuppressDuplicateDetection": "false"}
    assert error(org.call("POST", "contacts", twin, headers=detect))[:2] == (412, "0x80040333")
    assert org.call("POST", "contacts", twin).status_code == 204
    assert contact


def test_a_bad_select_leaves_nothing_behind(org: Organisation) -> None:
    """A create whose $select is wrong is refused as a whole."""
    answered = org.call("POST", "contacts?$select=bogus", {"firstname": "A"}, headers=REPRESENTATION)
    assert error(answered)[:2] == (400, "0x80060888")
    assert org.standin.rows("contacts") == []


def test_columns_can_be_added(org: Organisation, contact: str) -> None:
    """A custom column of the organisation is accepted once the schema has it."""
    body = case(contact, oc_tier="gold")
    assert org.call("POST", "incidents", body).status_code == 400
    org.standin.schema.table("incident").add(Column("oc_tier", "String", max_length=10))
    assert org.call("POST", "incidents", body).status_code == 204


def test_seed(org: Organisation) -> None:
    """Two queues, a workstream, a team, two users, one account, no contact, no case."""
    counts = {
        set_name: len(org.standin.rows(set_name))
        for set_name in ("queues", "msdyn_liveworkstreams", "teams", "systemusers", "accounts", "contacts")
    }
    assert counts == {
        "queues": 2,
        "msdyn_liveworkstreams": 1,
        "teams": 1,
        "systemusers": 2,
        "accounts": 1,
        "contacts": 0,
    }
    assert org.call("GET", f"queues({SECOND_QUEUE_ID})").status_code == 200
