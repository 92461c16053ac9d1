"""Tokens, roles, limits, queues, actions, headers and the control door."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.dataverse.errors import DataverseError
from sandbox.dataverse.limits import Allowance, Limits
from sandbox.dataverse.organisation import OneToken, Organisation
from sandbox.dataverse.seed import (
    APPLICATION_USER_ID,
    BUSINESS_UNIT_ID,
    FALLBACK_ACCOUNT_ID,
    ORGANIZATION_ID,
    QUEUE_ID,
    SECOND_QUEUE_ID,
)
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.wire import Request

ADD = "Microsoft.Dynamics.CRM.AddToQueue"


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def time() -> Time:
    """The organisation's clock."""
    return Time()


@pytest.fixture
def org(time: Time) -> Iterator[Organisation]:
    """A fresh organisation."""
    with Organisation(clock=time) as running:
        yield running


@pytest.fixture
def incident(org: Organisation) -> str:
    """A case's id."""
    bind = {"customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"}
    return org.create("incidents", {"title": "A case", **bind})


def refusal(response: requests.Response) -> tuple[int, str]:
    """Status and code."""
    return response.status_code, response.json()["error"]["code"]


def target(incident: str) -> dict[str, Any]:
    """AddToQueue's parameter."""
    return {"Target": {"@odata.type": "Microsoft.Dynamics.CRM.incident", "incidentid": incident}}


@pytest.mark.parametrize("value", [None, "Bearer bad", "Basic good"])
def test_token(org: Organisation, value: str | None) -> None:
    """Without a good bearer token: 401, no JSON, and the challenge with both its keys."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": value} if value else {}
        answered = session.get(f"{org.root}WhoAmI", headers=headers)
    assert (answered.status_code, answered.content) == (401, b"")
    challenge = answered.headers["WWW-Authenticate"]
    assert re.fullmatch(
        r"Bearer authorization_uri=https://login.microsoftonline.com/[0-9a-f-]{36}/oauth2/authorize, "
        rf"resource_id={re.escape(org.server.url)}/",
        challenge,
    )


def test_audience_and_application() -> None:
    """Tokens are verified for the given audience; another application is no member."""
    seen: list[str] = []

    class Spy(OneToken):
        def verify(self, token: str, audience: str) -> dict[str, Any]:
            seen.append(audience)
            return super().verify(token, audience)

    standin = DataverseStandIn(tokens=Spy(), base_url_audience="https://org.crm.dynamics.com", application_id="another")
    answered = standin.handle(Request.make("GET", "/api/data/v9.2/WhoAmI", {"Authorization": "Bearer good"}))
    assert seen == ["https://org.crm.dynamics.com"]
    assert answered.status == 403
    assert b"0x80072560" in answered.body


def test_who_am_i(org: Organisation) -> None:
    """WhoAmI names user, business unit and organisation, and hints at the parallelism."""
    answered = org.call("GET", "WhoAmI")
    assert answered.json() == {
        "@odata.context": f"{org.root}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse",
        "BusinessUnitId": BUSINESS_UNIT_ID,
        "UserId": APPLICATION_USER_ID,
        "OrganizationId": ORGANIZATION_ID,
    }
    assert int(answered.headers["x-ms-dop-hint"]) >= 1
    assert org.call("GET", "WhoAmI()").status_code == 200
    assert org.call("POST", "WhoAmI", {}).status_code == 405


def test_headers_of_every_answer(org: Organisation) -> None:
    """Each answer, refusals too, has version, request ids, limits and the affinity cookie."""
    for path in ("WhoAmI", "bogus"):
        headers = org.call("GET", path).headers
        assert headers["OData-Version"] == "4.0"
        assert uuid.UUID(headers["REQ_ID"])
        assert headers["x-ms-service-request-id"] == headers["REQ_ID"]
        assert headers["Set-Cookie"].startswith("ARRAffinity=")
        assert int(headers["x-ms-ratelimit-burst-remaining-xrm-requests"]) < 6000
        assert headers["x-ms-ratelimit-time-remaining-xrm-requests"] == "1,200.00"


def test_limit_of_requests(org: Organisation, time: Time) -> None:
    """Over the request limit: 429 0x80072322 until the oldest request leaves the window."""
    org.control("POST", "limits", {"requests": 3})
    time.now += 100
    assert [org.call("GET", "WhoAmI").status_code for _ in range(3)] == [200] * 3
    time.now += 50
    answered = org.call("GET", "WhoAmI")
    assert refusal(answered) == (429, "0x80072322")
    assert answered.json()["error"]["message"] == (
        "Number of requests exceeded the limit of 3 over time window of 300 seconds."
    )
    assert answered.headers["Retry-After"] == "250"
    assert org.server.journal.entries()[-1].note.startswith("0x80072322 ")
    time.now += 250
    assert org.call("GET", "WhoAmI").status_code == 200


def test_limit_of_execution_time(org: Organisation, time: Time) -> None:
    """Over the execution time: 429 0x80072321 with the documented text."""
    org.control("POST", "limits", {"seconds_per_request": 700})
    assert [org.call("GET", "WhoAmI").status_code for _ in range(2)] == [200, 200]
    answered = org.call("GET", "WhoAmI")
    assert refusal(answered) == (429, "0x80072321")
    assert answered.json()["error"]["message"] == (
        "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window "
        "of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and try "
        "again later."
    )
    time.now += int(answered.headers["Retry-After"])
    assert org.call("GET", "WhoAmI").status_code == 200


def test_limit_of_concurrency() -> None:
    """The 53rd request at once: 429 0x80072326; when one ends, the next passes."""
    limits = Limits(Time(), Allowance())
    for _ in range(52):
        limits.enter()
    with pytest.raises(DataverseError, match="Number of concurrent requests exceeded the limit of 52") as caught:
        limits.enter()
    assert (caught.value.status, caught.value.code) == (429, "0x80072326")
    assert int(caught.value.headers["Retry-After"]) >= 1
    limits.leave(0.1)
    limits.enter()


def test_add_to_queue(org: Organisation, incident: str) -> None:
    """AddToQueue queues a case; a repeat keeps the item; another queue moves it and frees the worker."""
    first = org.call("POST", f"queues({QUEUE_ID})/{ADD}", target(incident))
    assert first.status_code == 200
    body = first.json()
    assert body["@odata.context"] == f"{org.root}$metadata#Microsoft.Dynamics.CRM.AddToQueueResponse"
    assert org.call("POST", f"queues({QUEUE_ID})/{ADD}", target(incident)).json() == body
    moved = org.call("POST", f"queues({SECOND_QUEUE_ID})/{ADD}", target(incident)).json()
    assert moved["QueueItemId"] == body["QueueItemId"]
    (item,) = org.standin.rows("queueitems")
    assert (item["_queueid_value"], item["_objectid_value"], item["title"], item["objecttypecode"]) == (
        SECOND_QUEUE_ID,
        incident,
        "A case",
        112,
    )


def test_add_to_queue_refusals(org: Organisation, incident: str) -> None:
    """Namespace, type, rows and parameters of AddToQueue are checked."""
    url = f"queues({QUEUE_ID})/{ADD}"
    short = org.call("POST", f"queues({QUEUE_ID})/AddToQueue", target(incident))
    assert short.json()["error"]["message"] == "Request message has unresolved parameters."
    untyped = org.call("POST", url, {"Target": {"incidentid": incident}})
    assert untyped.json()["error"]["message"] == ("EdmEntityObject passed should have the key property value set.")
    absent = str(uuid.uuid4())
    assert refusal(org.call("POST", url, target(absent))) == (404, "0x80040217")
    assert refusal(org.call("POST", f"queues({absent})/{ADD}", target(incident))) == (404, "0x80040217")
    assert refusal(org.call("POST", url, target("$1")))[0] == 400
    assert refusal(org.call("POST", url, {**target(incident), "Bogus": 1})) == (400, "0x80048d19")
    assert org.call("GET", url).status_code == 405
    source = {"@odata.type": "Microsoft.Dynamics.CRM.queue", "queueid": SECOND_QUEUE_ID}
    moved = org.call("POST", url, {**target(incident), "SourceQueue": source})
    assert refusal(moved) == (400, "0x80040524")
    org.call("PATCH", f"queues({QUEUE_ID})", {"statecode": 1})
    assert refusal(org.call("POST", url, target(incident))) == (400, "0x80040521")


def test_queue_items_are_created_once(org: Organisation, incident: str) -> None:
    """A second active queue item of a case: 0x80040526; queue and object are needed; objectid is typed."""
    queue = {"queueid@odata.bind": f"/queues({QUEUE_ID})"}
    item = {**queue, "objectid_incident@odata.bind": f"/incidents({incident})"}
    assert org.call("POST", "queueitems", item).status_code == 204
    assert refusal(org.call("POST", "queueitems", item)) == (400, "0x80040526")
    assert refusal(org.call("POST", "queueitems", queue)) == (400, "0x80040529")
    untyped = {**queue, "objectid@odata.bind": f"/incidents({incident})"}
    assert refusal(org.call("POST", "queueitems", untyped)) == (400, "0x80048d19")
    no_queue = {"objectid_incident@odata.bind": f"/incidents({incident})"}
    assert refusal(org.call("POST", "queueitems", no_queue)) == (400, "0x80040528")


def test_apply_routing_rule(org: Organisation, incident: str) -> None:
    """ApplyRoutingRule is unbound and answers 204."""
    assert org.call("POST", "ApplyRoutingRule", target(incident)).status_code == 204
    assert refusal(org.call("POST", "ApplyRoutingRule", target(str(uuid.uuid4())))) == (404, "0x80040217")


@pytest.mark.parametrize("suffix", ["", "()"])
def test_privileges_can_be_listed(org: Organisation, suffix: str) -> None:
    """RetrieveUserPrivileges lists what the role holds, with and without parentheses."""
    org.control("POST", "role", {"missing": ["prvCreateIncident"]})
    url = f"systemusers({APPLICATION_USER_ID})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges{suffix}"
    privileges = org.call("GET", url).json()["RolePrivileges"]
    names = {row["PrivilegeName"] for row in privileges}
    assert {"prvReadContact", "prvAppendToQueue", "prvCreateNote", "prvCreateActivity"} <= names
    assert "prvCreateIncident" not in names
    assert set(privileges[0]) == {"Depth", "PrivilegeId", "BusinessUnitId", "PrivilegeName", "RecordFilterId"}


PATCH_CASE = ("PATCH", "incidents(6f1d0c1e-9f3b-4c0b-8d56-2f9d1f3f7a10)")


@pytest.mark.parametrize(
    ("missing", "method", "path"),
    [
        ("prvReadContact", "GET", "contacts"),
        ("prvCreateContact", "POST", "contacts"),
        ("prvCreateIncident", "POST", "incidents"),
        ("prvAppendIncident", "POST", "incidents"),
        ("prvAppendToAccount", "POST", "incidents"),
        ("prvCreateIncident", *PATCH_CASE),
        ("prvWriteIncident", *PATCH_CASE),
        ("prvDeleteAccount", "DELETE", f"accounts({FALLBACK_ACCOUNT_ID})"),
    ],
)
def test_missing_privileges(org: Organisation, missing: str, method: str, path: str) -> None:
    """Each operation names the privilege that it misses: 403 0x80040220, and nothing is done."""
    org.control("POST", "role", {"missing": [missing]})
    customer = {"customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"}
    body = None if method in {"GET", "DELETE"} else customer if "incidents" in path else {}
    answered = org.call(method, path, body, headers={"If-None-Match": "*"} if method == "PATCH" else {})
    assert refusal(answered) == (403, "0x80040220")
    message = answered.json()["error"]["message"]
    assert f"is missing {missing} privilege (Id=" in message
    assert message.endswith(f"context.Caller={APPLICATION_USER_ID}")
    assert org.standin.rows("incidents") == []
    assert len(org.standin.rows("accounts")) == 1


@pytest.mark.parametrize(
    "missing", ["prvReadQueue", "prvAppendToQueue", "prvCreateQueueItem", "prvWriteQueueItem", "prvReadIncident"]
)
def test_privileges_of_add_to_queue(org: Organisation, incident: str, missing: str) -> None:
    """AddToQueue needs rights on queue, queue item and case."""
    org.control("POST", "role", {"missing": [missing]})
    answered = org.call("POST", f"queues({QUEUE_ID})/{ADD}", target(incident))
    assert refusal(answered) == (403, "0x80040220")
    assert missing in answered.json()["error"]["message"]


@pytest.mark.parametrize(
    ("role", "code", "message"),
    [
        ({"application_user": False}, "0x80072560", "The user is not a member of the organization."),
        (
            {"roles": False},
            "0x80042f09",
            f"The user (Id = {APPLICATION_USER_ID}) has not been assigned any roles.",
        ),
    ],
)
def test_no_user_or_role(org: Organisation, role: dict[str, bool], code: str, message: str) -> None:
    """Without application user or role every call is 403 with its own code."""
    org.control("POST", "role", role)
    answered = org.call("GET", "WhoAmI")
    assert refusal(answered) == (403, code)
    assert answered.json()["error"]["message"] == message
    org.control("POST", "reset")
    assert org.call("GET", "WhoAmI").status_code == 200


def test_rows_door(org: Organisation) -> None:
    """Rows can be listed, put in unchecked and taken out; lookups read as `_x_value` with their table."""
    stale = {"firstname": "Old", "emailaddress1": "x" * 300, "statecode": 1, "createdon": "2001-01-01T00:00:00Z"}
    made = org.control("POST", "rows/contacts", stale)
    assert made.status_code == 201
    contact = made.json()["id"]
    case = {
        "title": "t",
        "_customerid_value": contact,
        "_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname": "contact",
    }
    org.control("POST", "rows/incidents", case)
    (row,) = org.control("GET", "rows/incidents").json()
    assert row["_customerid_value"] == contact
    assert row["_customerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "contact"
    (held,) = org.control("GET", "rows/contacts").json()
    assert (held["statecode"], held["createdon"], held["fullname"]) == (1, "2001-01-01T00:00:00Z", "Old")
    assert org.control("DELETE", f"rows/contacts/{contact}").status_code == 204
    assert org.control("DELETE", f"rows/contacts/{contact}").status_code == 400
    assert org.control("POST", "rows/contacts", {"bogus": 1}).status_code == 400
    assert org.control("GET", "rows/bogus").status_code == 400
    assert [entry.path for entry in org.server.journal.entries()] == []


def test_schema_door(org: Organisation) -> None:
    """The door changes lengths and options, adds keys, removes tables; reset brings all back."""
    change = {"table": "contact", "column": "firstname", "max_length": 2}
    assert org.control("POST", "schema", change).status_code == 204
    assert refusal(org.call("POST", "contacts", {"firstname": "Ann"})) == (400, "0x80044331")
    options = {"table": "incident", "column": "prioritycode", "options": {"1": "One"}}
    assert org.control("POST", "schema", options).status_code == 204
    assert org.control("POST", "schema", {"table": "contact", "key": ["emailaddress1"]}).status_code == 204
    assert refusal(org.call("GET", "contacts(emailaddress1='x')")) == (404, "0x80060891")
    assert org.control("POST", "schema", {"table": "oc_liveworkitem", "remove": True}).status_code == 204
    assert org.call("GET", "oc_liveworkitems").status_code == 404
    assert org.control("POST", "schema", {"table": "bogus"}).status_code == 400
    assert org.control("POST", "reset").status_code == 204
    assert org.call("GET", "oc_liveworkitems").status_code == 200
    assert org.call("POST", "contacts", {"firstname": "Ann"}).status_code == 204


@pytest.mark.parametrize(("route", "body"), [("limits", {"bogus": 1}), ("role", {"bogus": 1}), ("limits", [])])
def test_wrong_control_requests(org: Organisation, route: str, body: Any) -> None:
    """A control request that is wrong is 400 and says why."""
    answered = org.control("POST", route, body)
    assert answered.status_code == 400
    assert answered.json()["error"]


def test_paths_outside_the_root(org: Organisation) -> None:
    """Another version or path is 404."""
    assert org.session.get(f"{org.server.url}/api/data/v8.0/contacts").status_code == 404
    assert org.session.get(f"{org.server.url}/").status_code == 404
