"""The Dataverse stand-in, checked by the official PowerPlatform-Dataverse-Client, unmodified, over TLS."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from sandbox.certificates import Authority
from sandbox.dataverse.seed import FALLBACK_ACCOUNT_ID
from sandbox.dataverse.standin import DataverseStandIn
from sandbox.server import Fault, Server
from sandbox.tokens import Tokens

pytestmark = pytest.mark.conformance

TENANT, APPLICATION = str(uuid.uuid4()), str(uuid.uuid4())
ABSENT = "00000000-0000-4000-8000-00000000dead"


class Credential:
    """Real tokens for the audience that the client asks for."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.scopes: list[str] = []

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """A token for the scope's resource."""
        self.scopes.extend(scopes)
        audience = scopes[0].removesuffix("/.default")
        return AccessToken(self._tokens.issue(TENANT, APPLICATION, audience), int(time.time()) + 3599)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The stand-in on TLS, with an alternate key on contact."""
    authority = Authority(Path(tmp_path_factory.mktemp("sdk")) / "ca.pem")
    tokens = Tokens()
    standin = DataverseStandIn(tokens=tokens, tenant_id=TENANT, application_id=APPLICATION)
    running = Server(standin, tls=authority.server_context())
    with pytest.MonkeyPatch.context() as patch, running:
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
        patch.setenv("NO_PROXY", "localhost")
        yield running


@pytest.fixture
def standin(server: Server) -> DataverseStandIn:
    """The stand-in, as at the start but with an alternate key on contact."""
    held = server.standin
    assert isinstance(held, DataverseStandIn)
    held.reset()
    server.faults.clear()
    held.schema.table("contact").add_key("emailaddress1")
    return held


@pytest.fixture
def client(server: Server, standin: DataverseStandIn) -> Iterator[Any]:
    """The official client; its import brings pandas, so it happens here."""
    from PowerPlatform.Dataverse.client import DataverseClient

    tokens = standin._tokens
    assert isinstance(tokens, Tokens)
    with DataverseClient(server.url, Credential(tokens)) as opened:
        yield opened


def contact(client: Any, **more: Any) -> str:
    """Creates a contact; returns its id."""
    return str(client.records.create("contact", {"firstname": "Ann", **more}))


def test_create_and_retrieve(client: Any) -> None:
    """A created row reads back by its id."""
    made = contact(client, lastname="Lee")
    row = client.records.retrieve("contact", made, select=["fullname"])
    assert row is not None
    assert (row["fullname"], row["contactid"]) == ("Ann Lee", made)


def test_retrieve_an_absent_row(client: Any) -> None:
    """An absent row is None for the client: it understood the 404."""
    assert client.records.retrieve("contact", ABSENT) is None


def test_list(client: Any) -> None:
    """Filter, order and top act together; a plus and a quote in the value survive."""
    for name in ("Cy", "Bo", "Al"):
        contact(client, lastname=name, emailaddress1=f"{name}@x.com")
    contact(client, emailaddress1="o'neil+x@b.com")
    rows = client.records.list(
        "contact",
        select=["lastname"],
        filter="firstname eq 'ann' and lastname ne null",
        orderby=["lastname asc"],
        top=2,
    )
    assert [row["lastname"] for row in rows] == ["Al", "Bo"]
    found = client.records.list("contact", filter="emailaddress1 eq 'o''neil+x@b.com'")
    assert len(list(found)) == 1


def test_pages(client: Any) -> None:
    """The client follows next links until the rows are done."""
    for _ in range(5):
        contact(client)
    pages = [len(list(page)) for page in client.records.list_pages("contact", page_size=2)]
    assert pages == [2, 2, 1]


def test_update_and_delete(client: Any, standin: DataverseStandIn) -> None:
    """Update and delete, which the client sends with If-Match: *, change the row and take it away."""
    made = contact(client)
    client.records.update("contact", made, {"lastname": "Ray"})
    assert standin.rows("contacts")[0]["fullname"] == "Ann Ray"
    client.records.delete("contact", made)
    assert standin.rows("contacts") == []


def test_update_of_an_absent_row(client: Any, standin: DataverseStandIn) -> None:
    """If-Match: * does not create: 404 with the documented code."""
    from PowerPlatform.Dataverse.core.errors import HttpError

    with pytest.raises(HttpError, match="Does Not Exist") as caught:
        client.records.update("contact", ABSENT, {"lastname": "Ray"})
    assert caught.value.status_code == 404
    assert caught.value.details["service_error_code"] == "0x80040217"
    assert standin.rows("contacts") == []


def test_labels_become_values(client: Any, standin: DataverseStandIn) -> None:
    """The client reads option sets and turns a label into its value."""
    bind = {"customerid_account@odata.bind": f"/accounts({FALLBACK_ACCOUNT_ID})"}
    client.records.create("incident", {"title": "t", "prioritycode": "High", **bind})
    assert standin.rows("incidents")[0]["prioritycode"] == 1


def test_alternate_key(client: Any, standin: DataverseStandIn) -> None:
    """An upsert by alternate key creates, then updates the same row."""
    for name in ("Ann", "Anna"):
        item = {"alternate_key": {"emailaddress1": "o'neil+x@b.c"}, "record": {"firstname": name}}
        client.records.upsert("contact", [item])
    assert [(row["firstname"], row["emailaddress1"]) for row in standin.rows("contacts")] == [("Anna", "o'neil+x@b.c")]


def test_change_set(client: Any, standin: DataverseStandIn) -> None:
    """A change set links its rows by Content-ID and returns their ids."""
    batch = client.batch.new()
    with batch.changeset() as changes:
        person = changes.records.create("contact", {"firstname": "Ann"})
        changes.records.create("incident", {"title": "t", "customerid_contact@odata.bind": person})
        changes.records.update("contact", person, {"lastname": "Lee"})
    result = batch.execute()
    assert not result.has_errors
    assert [item.status_code for item in result.responses] == [204, 204, 204]
    (row,) = standin.rows("contacts")
    assert row["fullname"] == "Ann Lee"
    assert row["contactid"] in result.entity_ids
    assert standin.rows("incidents")[0]["_customerid_value"] == row["contactid"]


def test_change_set_rolls_back(client: Any, standin: DataverseStandIn) -> None:
    """A refused part undoes the change set; the client reports the part's status and code."""
    batch = client.batch.new()
    with batch.changeset() as changes:
        changes.records.create("contact", {"firstname": "Ann"})
        changes.records.create("incident", {"title": "no customer"})
    result = batch.execute()
    assert [(item.status_code, item.error_code) for item in result.failed] == [(400, "0x80044410")]
    assert standin.rows("contacts") == []


def test_reads_in_a_batch(client: Any) -> None:
    """A batch holds reads next to writes; this client leaves the spaces of the filter unencoded."""
    contact(client, emailaddress1="o'neil@b.com")
    batch = client.batch.new()
    batch.records.list("contact", filter="emailaddress1 eq 'o''neil@b.com'", select=["firstname"], top=2)
    batch.records.create("contact", {"firstname": "Bob"})
    found, made = batch.execute().responses
    assert [row["firstname"] for row in found.data["value"]] == ["Ann"]
    assert uuid.UUID(made.entity_id)


def test_batch_continues(client: Any) -> None:
    """With continue_on_error each operation has its own outcome, in order."""
    batch = client.batch.new()
    batch.records.create("contact", {"firstname": "Ann"})
    batch.records.create("contact", {"firstname": "x" * 51})
    batch.records.create("contact", {"firstname": "Bob"})
    result = batch.execute(continue_on_error=True)
    assert [item.status_code for item in result.responses] == [204, 400, 204]
    assert result.failed[0].error_code == "0x80044331"


@pytest.mark.parametrize(
    ("table", "body", "status", "code"),
    [
        ("incident", {"title": "t"}, 400, "0x80044410"),
        ("contact", {"bogus": 1}, 400, "0x80048d19"),
        ("contact", {"firstname": "x" * 51}, 400, "0x80044331"),
        ("incident", {"customerid_contact@odata.bind": f"/contacts({ABSENT})"}, 404, "0x80040217"),
    ],
)
def test_errors(client: Any, table: str, body: dict[str, Any], status: int, code: str) -> None:
    """The client reads status and code of a refusal."""
    from PowerPlatform.Dataverse.core.errors import HttpError

    with pytest.raises(HttpError) as caught:
        client.records.create(table, body)
    assert (caught.value.status_code, caught.value.details["service_error_code"]) == (status, code)
    assert not caught.value.is_transient
    assert uuid.UUID(caught.value.details["service_request_id"])


def test_unknown_table(client: Any) -> None:
    """A table that metadata does not list is an error of the client's own."""
    from PowerPlatform.Dataverse.core.errors import MetadataError

    with pytest.raises(MetadataError):
        client.records.create("nope", {"a": 1})


def test_throttling(client: Any, server: Server) -> None:
    """A 429 is transient for the client, with the seconds of Retry-After."""
    from PowerPlatform.Dataverse.core.errors import HttpError

    contact(client)  # so that metadata is cached
    body = {"error": {"code": "0x80072322", "message": "Number of requests exceeded the limit of 6000."}}
    server.faults.add(Fault(method="POST", status=429, body=body, headers={"Retry-After": "7"}))
    with pytest.raises(HttpError) as caught:
        contact(client)
    assert caught.value.is_transient
    assert (caught.value.subcode, caught.value.details["retry_after"]) == ("http_429", 7)


def test_another_audience_is_refused(server: Server, standin: DataverseStandIn) -> None:
    """A token for another resource is a 401 for the client."""
    from PowerPlatform.Dataverse.client import DataverseClient
    from PowerPlatform.Dataverse.core.errors import HttpError

    class Stray(Credential):
        def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
            return super().get_token("https://other.crm.dynamics.com/.default")

    tokens = standin._tokens
    assert isinstance(tokens, Tokens)
    with DataverseClient(server.url, Stray(tokens)) as client, pytest.raises(HttpError) as caught:
        client.records.create("contact", {"firstname": "Ann"})
    assert caught.value.status_code == 401
