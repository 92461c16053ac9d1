"""Reads: filters, order, paging, annotations, conditions, metadata."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from sandbox.dataverse.organisation import Organisation
from sandbox.dataverse.seed import QUEUE_ID

PEOPLE: list[dict[str, Any]] = [
    {"firstname": "Ann", "lastname": "Lee", "emailaddress1": "o'neil+x@b.com", "mobilephone": "+15551230000"},
    {"firstname": "Bob", "lastname": "Ray", "emailaddress1": "bob@b.com", "telephone1": "100%"},
    {"firstname": "ann", "lastname": "Zed", "emailaddress1": "a&b#c@d.com", "jobtitle": "a_b"},
    {"firstname": "Cy", "lastname": None, "jobtitle": "axb"},
]


@pytest.fixture(scope="module")
def org() -> Iterator[Organisation]:
    """Four contacts; no test of this module writes."""
    now = [1_800_000_000.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    with Organisation(clock=clock) as running:
        for person in PEOPLE:
            running.create("contacts", person)
        yield running


def names(org: Organisation, query: str) -> list[str]:
    """The full names that a query brings, in order."""
    answered = org.call("GET", f"contacts?{query}")
    assert answered.status_code == 200, answered.text
    return [row["fullname"] for row in answered.json()["value"]]


def refusal(response: requests.Response) -> tuple[int, str, str]:
    """Status, code and message."""
    body = response.json()["error"]
    return response.status_code, body["code"], body["message"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("firstname eq 'ANN'", ["Ann Lee", "ann Zed"]),
        ("firstname ne 'ann'", ["Bob Ray", "Cy"]),
        ("firstname eq 'ann' and lastname eq 'zed'", ["ann Zed"]),
        ("lastname eq 'lee' or lastname eq 'ray'", ["Ann Lee", "Bob Ray"]),
        ("not (firstname eq 'ann')", ["Bob Ray", "Cy"]),
        ("firstname eq 'ann' and (lastname eq 'x' or lastname eq 'lee')", ["Ann Lee"]),
        ("lastname eq null", ["Cy"]),
        ("lastname ne null and firstname gt 'ann'", ["Bob Ray"]),
        ("statecode eq 0 and firstname eq 'Cy'", ["Cy"]),
        ("statecode eq 1", []),
        ("contains(emailaddress1,'NEIL')", ["Ann Lee"]),
        ("startswith(lastname,'r')", ["Bob Ray"]),
        ("endswith(lastname,'d')", ["ann Zed"]),
        ("contains(jobtitle,'_')", ["ann Zed", "Cy"]),
        ("contains(telephone1,'[%]')", ["Bob Ray"]),
        ("jobtitle eq 'a_b'", ["ann Zed"]),
        ("createdon gt 2027-01-15", ["Ann Lee", "Bob Ray", "ann Zed", "Cy"]),
        ("createdon lt 2027-01-15T08:00:00Z", []),
        (f"contactid eq {QUEUE_ID}", []),
        ("_parentcustomerid_value eq null and firstname eq 'cy'", ["Cy"]),
        ("merged eq false and firstname eq 'cy'", ["Cy"]),
    ],
)
def test_filters(org: Organisation, expression: str, expected: list[str]) -> None:
    """Filters compare text without case; `%`, `_` and `[]` are wildcards in functions, not in eq."""
    assert names(org, f"$select=fullname&$filter={quote(expression)}") == expected


@pytest.mark.parametrize(
    "query",
    [
        "$filter=emailaddress1%20eq%20%27o%27%27neil%2Bx%40b.com%27",
        "$filter=emailaddress1+eq+%27o%27%27neil%2Bx%40b.com%27",
        "%24filter=emailaddress1+eq+'o''neil%2bx@b.com'",
    ],
)
def test_encodings(org: Organisation, query: str) -> None:
    """`+` and `%20` are spaces, `%2B` is a plus, and option names may be encoded."""
    assert names(org, query) == ["Ann Lee"]


def test_a_raw_plus_is_a_space(org: Organisation) -> None:
    """An address whose plus is not encoded is not found: 200 with no rows."""
    assert names(org, "$filter=emailaddress1+eq+'o''neil+x@b.com'") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("$filter=bogus eq 1", "Could not find a property named 'bogus' on type 'Microsoft.Dynamics.CRM.contact'."),
        ("$select=Fullname", "Could not find a property named 'Fullname' on type 'Microsoft.Dynamics.CRM.contact'."),
        ("$orderby=bogus", "Could not find a property named 'bogus' on type 'Microsoft.Dynamics.CRM.contact'."),
        ("$select=parentcustomerid", "Could not find a property named 'parentcustomerid' on type"),
        ("$filter=firstname eq 'o'neil'", "There is an unterminated literal at position 21 in"),
        ("$filter=firstname eq", "Expression expected at position"),
        ("$filter=firstname eq 5", "Found operand types 'Edm.String' and 'Edm.Int32' for operator kind 'Equal'."),
        ("$filter=contactid eq 'x'", "Found operand types 'Edm.Guid' and 'Edm.String'"),
        ("$filter=firstname is 'x'", "Syntax error at position 10"),
        ("$filter=firstname eq 'a' lastname eq 'b'", "Syntax error at position 17"),
        ("$top=x", "Invalid value 'x' for $top"),
        ("$skip=5", "'$skip' is not supported"),
        ("$top=1&$top=2", "more than once"),
        ("$expand=parentcustomerid_account", "not supported by this stand-in"),
        ("sql=SELECT 1", "not supported by this stand-in"),
    ],
)
def test_wrong_queries(org: Organisation, query: str, message: str) -> None:
    """A wrong query is 400 0x80060888 and says what is wrong."""
    status, code, text = refusal(org.call("GET", f"contacts?{query}"))
    assert (status, code) == (400, "0x80060888")
    assert message in text


def test_lookup_request(org: Organisation) -> None:
    """The contact lookup: chosen columns, key and ETag, nothing else."""
    query = "$select=fullname,statecode&$filter=emailaddress1 eq 'bob@b.com' and statecode eq 0&$top=2"
    body = org.call("GET", f"contacts?{query}").json()
    assert body["@odata.context"] == f"{org.root}$metadata#contacts(fullname,statecode)"
    assert [set(row) for row in body["value"]] == [{"@odata.etag", "contactid", "fullname", "statecode"}]


def test_order_and_top(org: Organisation) -> None:
    """Rows are ordered by several columns, without case, nulls first; $top cuts."""
    assert names(org, "$orderby=firstname desc,lastname desc") == ["Cy", "Bob Ray", "ann Zed", "Ann Lee"]
    assert names(org, "$orderby=lastname asc&$top=2") == ["Cy", "Ann Lee"]
    assert names(org, "$orderby=createdon asc,contactid asc&$top=1") == ["Ann Lee"]


def test_paging(org: Organisation) -> None:
    """odata.maxpagesize pages by nextLink until the rows are done; $count counts them all."""
    wish = {"Prefer": "odata.maxpagesize=3"}
    first = org.call("GET", "contacts?$select=fullname&$count=true", headers=wish)
    assert first.headers["Preference-Applied"] == "odata.maxpagesize=3"
    assert (first.json()["@odata.count"], len(first.json()["value"])) == (4, 3)
    second = org.session.get(first.json()["@odata.nextLink"], headers=wish).json()
    assert [row["fullname"] for row in second["value"]] == ["Cy"]
    assert "@odata.nextLink" not in second


def test_annotations(org: Organisation) -> None:
    """Annotations come when asked for: labels, and what a lookup points to."""
    wish = {"Prefer": 'odata.include-annotations="*"'}
    row = org.call("GET", f"queues({QUEUE_ID})?$select=statecode,_ownerid_value", headers=wish).json()
    assert row["statecode@OData.Community.Display.V1.FormattedValue"] == "Active"
    assert row["_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "systemuser"
    assert row["_ownerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty"] == "ownerid"
    assert row["_ownerid_value@OData.Community.Display.V1.FormattedValue"] == "# OpenCX"
    plain = org.call("GET", f"queues({QUEUE_ID})?$select=statecode").json()
    assert set(plain) == {"@odata.context", "@odata.etag", "statecode", "queueid"}


def test_conditional_get(org: Organisation) -> None:
    """If-None-Match with the current ETag is 304; the habit of sending `null` harms nothing."""
    url = f"queues({QUEUE_ID})"
    etag = org.call("GET", url, headers={"If-None-Match": "null"}).json()["@odata.etag"]
    assert org.call("GET", url, headers={"If-None-Match": etag}).status_code == 304
    assert org.call("GET", url, headers={"If-None-Match": 'W/"1"'}).status_code == 200


def test_navigation(org: Organisation) -> None:
    """A single-valued navigation property reads the row behind it."""
    owner = org.call("GET", f"queues({QUEUE_ID})/ownerid?$select=fullname").json()
    assert owner["fullname"] == "# OpenCX"


def test_ten_thousand_contacts() -> None:
    """A lookup by e-mail or parent uses an index: 300 of them among 10,000 rows take under a second."""
    org = Organisation()
    for number in range(10_000):
        org.standin.insert("contacts", {"emailaddress1": f"p{number}@x.com", "mobilephone": f"+1{number:07d}"})
    with org:
        assert names(org, "$filter=emailaddress1 eq 'P9999@x.com'") == [None]
        started = time.perf_counter()
        for number in range(300):
            query = f"$select=contactid&$filter=statecode eq 0 and emailaddress1 eq 'p{number}@x.com'"
            found = org.call("GET", f"contacts?{query}").json()["value"]
            assert len(found) == 1
        assert time.perf_counter() - started < 1.5


def test_rows_of_a_parent() -> None:
    """A lookup is filtered by its `_x_value`, with the id unquoted, in the order of creation."""
    with Organisation() as org:
        contact = org.create("contacts", {"firstname": "Ann"})
        for number in range(3):
            org.create("annotations", {"subject": str(number), "objectid_contact@odata.bind": f"contacts({contact})"})
        query = f"annotations?$select=subject&$filter=_objectid_value eq {contact}&$orderby=createdon asc"
        rows = org.call("GET", query).json()["value"]
    assert [row["subject"] for row in rows] == ["0", "1", "2"]


def test_deleted_rows_are_not_found() -> None:
    """A filter that has an index does not see a row that was deleted or changed since."""
    with Organisation() as org:
        query = "contacts?$select=firstname&$filter=firstname eq 'ann'"
        first, second = (org.create("contacts", {"firstname": "Ann"}) for _ in range(2))
        assert len(org.call("GET", query).json()["value"]) == 2
        org.call("DELETE", f"contacts({first})")
        org.call("PATCH", f"contacts({second})", {"firstname": "Eve"})
        assert org.call("GET", query).json()["value"] == []


def metadata(org: Organisation, path: str) -> Any:
    """A metadata answer."""
    answered = org.call("GET", f"EntityDefinitions{path}")
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_metadata_of_a_table(org: Organisation) -> None:
    """Set name, key, attributes and navigation properties of a table, in one request."""
    query = (
        "$select=EntitySetName,PrimaryIdAttribute&$expand=Attributes($select=LogicalName,AttributeType),"
        "ManyToOneRelationships($select=ReferencingEntityNavigationPropertyName,ReferencedEntity)"
    )
    body = metadata(org, f"(LogicalName='incident')?{query}")
    assert (body["EntitySetName"], body["PrimaryIdAttribute"]) == ("incidents", "incidentid")
    types = {row["LogicalName"]: row["AttributeType"] for row in body["Attributes"]}
    assert (types["description"], types["customerid"], types["prioritycode"]) == ("Memo", "Customer", "Picklist")
    links = {
        (row["ReferencingEntityNavigationPropertyName"], row["ReferencedEntity"])
        for row in body["ManyToOneRelationships"]
    }
    assert ("customerid_contact", "contact") in links
    assert set(body["Attributes"][0]) == {"LogicalName", "AttributeType", "MetadataId"}


def test_metadata_of_columns(org: Organisation) -> None:
    """MaxLength and options come through the typed segment."""
    start = "(LogicalName='incident')/Attributes(LogicalName="
    cast = "Microsoft.Dynamics.CRM"
    memo = metadata(org, f"{start}'description')/{cast}.MemoAttributeMetadata?$select=MaxLength,LogicalName")
    assert (memo["LogicalName"], memo["MaxLength"]) == ("description", 2000)
    title = metadata(org, f"{start}'title')/{cast}.StringAttributeMetadata?$select=MaxLength")
    assert title["MaxLength"] == 200
    options = metadata(
        org,
        f"{start}'prioritycode')/{cast}.PicklistAttributeMetadata?$select=LogicalName"
        "&$expand=OptionSet($select=Options)",
    )
    assert [option["Value"] for option in options["OptionSet"]["Options"]] == [1, 2, 3]
    label = options["OptionSet"]["Options"][0]["Label"]["UserLocalizedLabel"]["Label"]
    assert label == "High"


def test_metadata_lists(org: Organisation) -> None:
    """Tables and columns can be listed and filtered by equality."""
    found = metadata(org, "?$select=LogicalName,EntitySetName,PrimaryIdAttribute&$filter=LogicalName eq 'contact'")
    assert [row["EntitySetName"] for row in found["value"]] == ["contacts"]
    columns = metadata(org, "(LogicalName='contact')/Attributes?$select=LogicalName,AttributeType")
    assert {"LogicalName": "emailaddress1"}.items() <= next(
        row.items() for row in columns["value"] if row["LogicalName"] == "emailaddress1"
    )
    assert metadata(org, "?$select=LogicalName&$filter=LogicalName eq 'nope'")["value"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("(LogicalName='nope')", 404),
        ("(LogicalName='incident')/Attributes(LogicalName='nope')", 404),
        ("(LogicalName='incident')/Attributes(LogicalName='title')/Microsoft.Dynamics.CRM.MemoAttributeMetadata", 404),
        ("(LogicalName='incident')/Bogus", 404),
        ("(LogicalName='incident')?$select=Bogus", 400),
        ("(LogicalName='incident')?$expand=Attributes($select=LogicalName,MaxLength)", 400),
    ],
)
def test_metadata_that_is_not_there(org: Organisation, path: str, status: int) -> None:
    """Unknown tables and columns are 404; MaxLength without a cast is 400, as OData demands."""
    assert org.call("GET", f"EntityDefinitions{path}").status_code == status
