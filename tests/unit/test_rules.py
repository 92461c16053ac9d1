"""Small rules: identities, the schedule, batches, refusals, tokens, settings."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from shared import http
from shared.config.settings import Settings
from shared.dataverse import batch, refusal, settings
from shared.dataverse.batch import ChangeSet, MalformedAnswer, Operation, Reply
from shared.dataverse.contacts import lookups, new_row, split_name
from shared.dataverse.token import classify
from shared.errors import ConfigurationFault, TransientFailure
from shared.handoff import schedule
from shared.handoff.identity import contact_id, record_id
from shared.handoff.model import Contact, Handoff


def test_the_same_handoff_has_the_same_ids_everywhere() -> None:
    """Ids depend on environment, kind, handoff and part, and on nothing else; they never change."""
    one = record_id(environment="https://a", kind="incident", handoff_id="h")
    assert one == "770f7b52-7359-511b-bd7e-8e5cd25f1c71"
    assert one == record_id(environment="https://a", kind="incident", handoff_id="h")
    others = {
        record_id(environment="https://b", kind="incident", handoff_id="h"),
        record_id(environment="https://a", kind="annotation", handoff_id="h"),
        record_id(environment="https://a", kind="incident", handoff_id="i"),
        record_id(environment="https://a", kind="incident", handoff_id="h", part=1),
    }
    assert len(others | {one}) == 5


def test_two_sessions_of_one_customer_meet_at_one_contact() -> None:
    """A contact's id comes from the e-mail in any case, else the phone, else the session."""

    def made(session: str, **known: str) -> str:
        return contact_id(environment="e", contact=Contact(**known), session_id=session)  # type: ignore[arg-type]

    assert made("1", email="Jo@Example.com", phone="+1") == made("2", email="jo@example.com")
    assert made("1", phone="+12025550100") == made("2", phone="+12025550100", name="Jo")
    assert made("1", name="Jo") != made("2", name="Jo")


def test_the_schedule_is_dense_at_first_and_ends() -> None:
    """5 s, 30 s, 2 m, … 24 h with 20 % jitter, Retry-After as a floor, then no more."""
    middle = [schedule.next_delay(n, random=0.5) for n in range(1, 11)]
    assert middle[:3] == [timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2)]
    assert middle[8] == timedelta(hours=24)
    assert middle[9] is None
    assert schedule.next_delay(1, random=0.0) == timedelta(seconds=4)
    assert schedule.next_delay(1, random=1.0) == timedelta(seconds=6)
    assert schedule.next_delay(1, random=0.5, at_least_seconds=90) == timedelta(seconds=90)
    assert [schedule.quick_delay(n) for n in (1, 4)] == [0.2, None]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 31 Jan 2026 09:30:30 GMT", 30.0),
        ("-5", 0.0),
        ("soon", None),
        ("", None),
        ("99999", 3600.0),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """Both forms of RFC 9110; a date in the past is now, nonsense is nothing, and an hour is the most."""
    now = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert http.retry_after_seconds({"Retry-After": value}, now=now) == seconds


def test_a_batch_is_crlf_and_ascii() -> None:
    """No character of a text can end a line or a part of a batch."""
    text = "line\r\n--batch\r\n\u2028😀"
    parts = [ChangeSet((Operation("PATCH", "incidents(1)", {"title": text}, {"If-None-Match": "*"}),))]
    _, body = batch.encode(parts, root="/api/data/v9.2/")
    assert b"\n" not in body.replace(b"\r\n", b"")
    assert body.isascii()
    assert b"If-None-Match: *\r\n" in body
    assert json.dumps({"title": text}).encode() in body


ANSWER = (
    b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    b"--c\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\n"
    b"HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n\r\n"
    b"--c--\r\n"
    b'--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{"a": 1}\r\n'
    b"--b--\r\n"
)


def test_a_batch_answer_is_read_part_by_part() -> None:
    """A change set gives a list of replies, another operation one; the boundary may be quoted."""
    replies = batch.decode('multipart/mixed; boundary="b"', ANSWER)
    assert [[reply.status for reply in part] for part in replies] == [[204], [200]]
    assert replies[1][0].json() == {"a": 1}


@given(st.integers(min_value=0, max_value=len(ANSWER) - 5))
def test_a_cut_off_batch_answer_never_looks_whole(end: int) -> None:
    """Wherever the answer is cut: it is malformed, or incomplete by count."""
    parts: list[batch.Part] = [ChangeSet((Operation("PATCH", "x"),)), Operation("GET", "y")]
    try:
        replies = batch.decode("multipart/mixed; boundary=b", ANSWER[:end])
    except MalformedAnswer:
        return
    assert not batch.is_complete(parts, replies)


def reply(code: str, message: str, status: int = 400) -> Reply:
    """An error answer of Dataverse."""
    return Reply(status, {}, json.dumps({"error": {"code": code, "message": message}}).encode())


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            "0x80048d19",
            "Error identified in Payload provided by the user for Entity :'incidents', For more information on this "
            "error please follow this help link ----> InnerException : Microsoft.Crm.CrmException: Invalid property "
            "'bogus' was found in entity 'Microsoft.Dynamics.CRM.incident'.",
            ("incident", "bogus", None),
        ),
        (
            "0x80048d19",
            "Error identified in Payload provided by the user for Entity :'incidents', ----> InnerException : "
            "Microsoft.OData.ODataException: An undeclared property 'queueid' which only has property annotations",
            ("incidents", "queueid", None),
        ),
        (
            "0x80044331",
            "A validation error occurred.  The length of the 'title' attribute of the 'incident' entity exceeded the "
            "maximum allowed length of '200'.",
            ("incident", "title", 200),
        ),
        (
            "0x8004431a",
            "A validation error occurred. The value 4 of 'prioritycode' on record of type 'incident' is outside the "
            "valid range. Accepted Values: 1,2,3",
            ("incident", "prioritycode", None),
        ),
    ],
)
def test_a_refusal_names_the_part(code: str, message: str, expected: tuple[str, str, int | None]) -> None:
    """Dataverse's messages tell the table, the column and the length; we read them."""
    read = refusal.read(reply(code, message))
    assert (read.table, read.column, read.limit) == expected


@pytest.mark.parametrize(
    "form", ["Entity 'SystemUser' With Id = {id} Does Not Exist", "systemuser With Id = {id} Does Not Exist"]
)
def test_a_missing_row_is_known_by_its_id(form: str) -> None:
    """Both forms of the message give the id that was pointed at."""
    missing = "0a9b1c2d-0000-4000-8000-000000000099"
    assert refusal.read(reply("0x80040217", form.format(id=missing), 404)).missing_id == missing


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("Authentication failed: AADSTS7000215: Invalid client secret.", ConfigurationFault, "dynamics_secret_invalid"),
        ("Authentication failed: AADSTS7000222: expired", ConfigurationFault, "dynamics_secret_expired"),
        ("AADSTS700016", ConfigurationFault, "dynamics_client_unknown"),
        ("AADSTS500011", ConfigurationFault, "dynamics_url_unknown"),
        ("Unable to get authority configuration for https://x", ConfigurationFault, "dynamics_tenant_unknown"),
        ("AADSTS53003: blocked", ConfigurationFault, "dynamics_token_refused"),
        ("Authentication failed: HTTP Error: 503", TransientFailure, "entra_unavailable"),
        ("AADSTS90033: A transient error has occurred", TransientFailure, "entra_unavailable"),
    ],
)
def test_a_token_error_is_classed_by_its_number(text: str, kind: type[Exception], code: str) -> None:
    """A wrong secret waits for an administrator, an outage is retried; the text itself is not passed on."""
    found = classify(ValueError(text))
    assert isinstance(found, kind)
    assert found.code == code
    assert "blocked" not in found.message


def test_literals_and_addresses_are_quoted() -> None:
    """Nothing of a customer's e-mail becomes part of a filter."""
    (query,) = lookups(Contact(email="o'neil+x&y@example.com"), ("email",))
    assert "emailaddress1%20eq%20%27o%27%27neil%2Bx%26y%40example.com%27" in query.path


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Cher", None, "Cher"),
        ("Jo Doe", "Jo", "Doe"),
        ("Ana María de la Cruz", "Ana María de la", "Cruz"),
        ("  Jo \n Doe ", "Jo", "Doe"),
        ("x" * 80, None, "x" * 49 + "…"),
    ],
)
def test_names_are_split_at_the_last_word(name: str, first: str | None, last: str) -> None:
    """One word is a last name, for that is the column that Dynamics' lists show."""
    assert split_name(Contact(name=name)) == (first, last)


def test_a_new_contact_always_has_something_to_show() -> None:
    """Without a name the e-mail, the number or the session stands in a rep's list."""

    def last_name(contact: Contact) -> object:
        return new_row(Handoff("h", "sess-1", "phone", contact=contact), environment="e").columns["lastname"]

    assert last_name(Contact(email="jo@example.com")) == "jo@example.com"
    assert last_name(Contact(phone="+12025550100")) == "+12025550100"
    assert last_name(Contact()) == "Caller sess-1"


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://org.crm.dynamics.com", "https://org.crm.dynamics.com"),
        ("https://org.crm.dynamics.com/", "https://org.crm.dynamics.com"),
        ("org.crm.dynamics.com/api/data", "https://org.crm.dynamics.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://Contoso.CRM.dynamics.com", "https://contoso.crm.dynamics.com"),
        ("https://contoso.crm.dynamics.com:443/", "https://contoso.crm.dynamics.com"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("HTTPS://contoso.crm.dynamics.com.:8443", "https://contoso.crm.dynamics.com:8443"),
    ],
)
def test_an_environment_url_is_reduced_to_its_origin(value: str, origin: str) -> None:
    """One spelling, for ids derive from it; another is tolerated with a notice; plain http only on loopback."""
    made = Settings({"DYNAMICS_ENVIRONMENT_URL": value})
    assert made.origin("DYNAMICS_ENVIRONMENT_URL", system="dynamics365") == origin
    assert bool(made.notices) == (value != origin)


@pytest.mark.parametrize(
    "value",
    [
        "http://org.crm.dynamics.com",
        "ftp://x",
        "https://",
        "",
        "https://[org",
        "https://[org.crm.dynamics.com",
        "https://user:pw@org.crm.dynamics.com",
        "https://user@org.crm.dynamics.com",
        "https://org.crm.dynamics.com:port",
        "https://org.crm.dynamics.com:99999",
        "https://my org.crm.dynamics.com",
        "https://org..dynamics.com",
        "org",
    ],
)
def test_a_wrong_environment_url_names_the_setting(value: str) -> None:
    """The fault says which setting, and how it should look."""
    with pytest.raises(ConfigurationFault) as caught:
        Settings({"DYNAMICS_ENVIRONMENT_URL": value}).origin("DYNAMICS_ENVIRONMENT_URL", system="dynamics365")
    assert "DYNAMICS_ENVIRONMENT_URL" in caught.value.message
    assert "https://" in caught.value.fix
    assert caught.value.code == ("setting_malformed" if value else "setting_missing")


@pytest.mark.parametrize("tenant", ["my tenant!", "a/b", "contoso com"])
def test_a_tenant_that_can_be_none_names_the_setting(tenant: str) -> None:
    """A wrong tenant id is no outage: the fault names the setting, before Entra is asked."""
    environ = {
        "DYNAMICS_ENVIRONMENT_URL": "https://org.crm.dynamics.com",
        "DYNAMICS_TENANT_ID": tenant,
        "DYNAMICS_CLIENT_ID": "c",
    }
    with pytest.raises(ConfigurationFault, match="DYNAMICS_TENANT_ID") as caught:
        settings.access(Settings(environ))
    assert caught.value.code == "setting_malformed"
    domain = settings.access(Settings({**environ, "DYNAMICS_TENANT_ID": "contoso.onmicrosoft.com"}))
    assert domain.tenant_id == "contoso.onmicrosoft.com"


def test_a_setting_holds_no_infinite_number() -> None:
    """What JSON cannot hold would spoil every body that it is written into."""
    made = settings.defaults(Settings({"TICKET_PROPERTIES": '{"new_score": 1e999}'}))
    assert (made.properties, [notice.code for notice in made.notices]) == ({}, ["setting_malformed"])


def test_proxies_are_heeded_where_the_address_is_not_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without an origin looks the proxy up at each call, NO_PROXY included."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "near.example")
    seen: list[str | None] = []

    def send(_: HTTPAdapter, request: PreparedRequest, *, proxies: dict[str, str], **__: object) -> Response:
        seen.append(select_proxy(str(request.url), proxies))
        made = Response()
        made.status_code, made.url = 204, str(request.url)
        return made

    monkeypatch.setattr(HTTPAdapter, "send", send)
    urls = ("https://far.example/t", "https://near.example/t")
    for origin in ("", *urls):
        with http.session(origin) as made:
            for url in urls if not origin else (origin,):
                made.get(url)
    assert seen == ["http://proxy.example:3128", None] * 2


def test_malformed_defaults_cost_no_handoff() -> None:
    """A wrong optional setting is left out, and a notice names it."""
    made = settings.defaults(
        Settings(
            {
                "DEFAULT_QUEUE_ID": "not-a-guid",
                "DEFAULT_OWNER_ID": "Bob",
                "DEFAULT_PRIORITY": "high",
                "TICKET_PROPERTIES": '{"a": {}}',
                "CONTACT_MATCH": "name",
                "UNLINKED_INCIDENTS": "maybe",
                "FALLBACK_CUSTOMER": "x",
            }
        )
    )
    assert (made.queue_id, made.owner_id, made.priority, made.properties) == (None, None, 2, {})
    assert (made.contact_match, made.unlinked, made.fallback_customer) == (("email",), "caller_contact", None)
    named = " ".join(notice.message for notice in made.notices)
    for name in ("DEFAULT_QUEUE_ID", "DEFAULT_OWNER_ID", "TICKET_PROPERTIES", "CONTACT_MATCH", "UNLINKED_INCIDENTS"):
        assert name in named


def test_a_lone_queue_serves_chats_as_the_workstream() -> None:
    """OpenCX has one field for both; DEFAULT_WORKSTREAM_ID parts them."""
    queue, stream = "56ae8258-4878-e511-80d4-00155d2a68d1", "66ae8258-4878-e511-80d4-00155d2a68d1"
    assert settings.defaults(Settings({"DEFAULT_QUEUE_ID": queue})).workstream_id == queue
    both = settings.defaults(Settings({"DEFAULT_QUEUE_ID": queue, "DEFAULT_WORKSTREAM_ID": stream}))
    assert (both.queue_id, both.workstream_id) == (queue, stream)


def test_every_name_of_a_preset_can_be_set() -> None:
    """LIVE_WORK_ITEM_<NAME> changes one name; none leaves the column out; nonsense is a fault of chats alone."""
    table = settings.live_work_items(
        Settings(
            {
                "LIVE_WORK_ITEM_PRESET": "msdyn",
                "LIVE_WORK_ITEM_PHONE_FIELD": "new_phone",
                "LIVE_WORK_ITEM_CHANNEL_FIELD": "none",
            }
        )
    )
    assert (table.entity_set, table.phone_field, table.channel_field) == ("msdyn_ocliveworkitems", "new_phone", None)
    with pytest.raises(ConfigurationFault) as caught:
        settings.live_work_items(Settings({"LIVE_WORK_ITEM_ENTITY_SET": "a/b"}))
    assert caught.value.system == "dynamics365.live_work_item"
