"""The service as its callers see it: through the Functions host, over HTTP, on Azurite and the stand-ins."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from openapi_spec_validator import validate

from sandbox.faults import Fault
from sandbox.host.app import Host
from sandbox.host.http import serve
from sandbox.host.keys import Keys
from shared import app
from shared.app import Application, application
from shared.config.identity import default_credential
from shared.handoff import request
from tests.conftest import ROOT, World

pytestmark = pytest.mark.integration

KEY = "test-function-key"
SECRET_TEXT = "my card is 4111 1111 1111 1111"


class Service:
    """A client of the running host."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def call(self, method: str, path: str, *, key: str | None = KEY, **options: Any) -> requests.Response:
        """One request with the function key."""
        headers = {**options.pop("headers", {}), **({"x-functions-key": key} if key else {})}
        return self.session.request(method, f"{self.url}/api/{path}", headers=headers, timeout=60, **options)

    def post(self, body: dict[str, Any], **options: Any) -> requests.Response:
        """One handoff."""
        return self.call("POST", "handoff", json=body, **options)


@pytest.fixture(scope="module")
def host(settled: dict[str, str]) -> Iterator[Host]:
    """The app, indexed and run by Microsoft's own worker library."""
    del settled
    with Host(ROOT, keys=Keys(function=KEY, master="test-master-key")) as running:
        yield running


@pytest.fixture
def service(host: Host, world: World) -> Iterator[Service]:
    """The host on a port, with a fresh application behind it."""
    del world
    application.cache_clear()
    with serve(host) as server:
        made = Service(server.url)
        yield made
        made.session.close()
    application().close()
    application.cache_clear()


def handoff(session: str, **more: Any) -> dict[str, Any]:
    """A small handoff."""
    return {
        "session_id": session,
        "channel": "phone",
        "summary": "Wants help",
        "contact": {"name": "Jo Doe", "email": "jo@example.com"},
        "transcript": [{"role": "user", "text": SECRET_TEXT, "at": "2026-01-01T10:00:00Z"}],
    } | more


def test_the_app_has_the_contracts_routes(host: Host) -> None:
    """Routes, methods, auth levels and the schedule are those of the contract, as the platform indexes them."""
    http = {
        (binding["route"], tuple(binding["methods"]), binding["authLevel"].lower())
        for function in host.functions
        for binding in function.bindings
        if binding["type"] == "httpTrigger"
    }
    assert {(route, tuple(str(method).upper() for method in methods), level) for route, methods, level in http} == {
        ("handoff", ("POST",), "function"),
        ("handoff/{handoff_id}", ("GET",), "function"),
        ("handoff/{handoff_id}/replay", ("POST",), "function"),
        ("handoffs", ("GET",), "function"),
        ("connections", ("GET",), "function"),
        ("health", ("GET",), "anonymous"),
        ("openapi.json", ("GET",), "anonymous"),
        ("opencx/events", ("POST",), "anonymous"),
        ("dynamics/{lock}/v3/conversations/{conversation_id}/activities", ("POST",), "anonymous"),
    }
    queues = {
        (binding["queueName"], binding["connection"])
        for function in host.functions
        for binding in function.bindings
        if binding["type"] == "queueTrigger"
    }
    assert queues == {("opencx-handoffs", "AzureWebJobsStorage"), ("opencx-relay", "AzureWebJobsStorage")}
    timers = [
        binding for function in host.functions for binding in function.bindings if binding["type"] == "timerTrigger"
    ]
    assert [(timer["schedule"], timer["runOnStartup"]) for timer in timers] == [("%RECONCILE_SCHEDULE%", False)]


TIMERS = """
import json, pathlib
from sandbox.host.app import Host
with Host(pathlib.Path.cwd()) as host:
    print(json.dumps([one.trigger["schedule"] for one in host.functions if one.kind == "timerTrigger"]))
"""


@pytest.mark.parametrize(
    ("setting", "schedule"),
    [("*/5 * * * * *", "%RECONCILE_SCHEDULE%"), ("", "0 * * * * *"), (None, "0 * * * * *")],
)
def test_the_timer_runs_every_minute_unless_a_setting_says_otherwise(setting: str | None, schedule: str) -> None:
    """The platform would not start the function if the setting that a schedule names were missing."""
    environ = {name: value for name, value in os.environ.items() if name != "RECONCILE_SCHEDULE"}
    if setting is not None:
        environ["RECONCILE_SCHEDULE"] = setting
    run = subprocess.run(
        [sys.executable, "-c", TIMERS], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == [schedule]


def test_a_handoff_lands(service: Service, world: World, new_id: Callable[[], str]) -> None:
    """201 with the ids that Dataverse really holds; its record says the same; again is 200 with the same ids."""
    session = new_id()
    got = service.post(handoff(session))
    body = got.json()
    assert got.status_code == 201
    assert (body["status"], body["replayed"], body["kind"], body["channel"]) == (
        "completed",
        False,
        "incident",
        "phone",
    )
    assert [row["incidentid"] for row in world.rows("incidents")] == [body["dynamics365_incident_id"]]
    assert body["dynamics365_ticket_number"] in body["message"]
    again = service.post(handoff(session))
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    record = service.call("GET", f"handoff/{session}").json()
    for answer in (again.json(), record):
        assert answer["dynamics365_incident_id"] == body["dynamics365_incident_id"]
    assert (record["state"], record["attempts"], record["next_attempt_at"]) == ("completed", 1, None)
    replayed = service.call("POST", f"handoff/{session}/replay")
    assert (replayed.status_code, replayed.json()["replayed"]) == (200, True)


def test_the_same_handoff_at_the_same_moment(service: Service, world: World, new_id: Callable[[], str]) -> None:
    """Eight callers at once: one record, one contact, one incident, the same ids for all."""
    session = new_id()
    start = threading.Barrier(8)

    def call(_: int) -> requests.Response:
        start.wait()
        return requests.post(
            f"{service.url}/api/handoff", json=handoff(session), headers={"x-functions-key": KEY}, timeout=60
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["dynamics365_incident_id"] for answer in answers}) == 1
    assert (len(world.rows("incidents")), len(world.rows("contacts"))) == (1, 1)


def test_many_sessions_of_one_new_customer_meet_at_one_contact(
    service: Service, world: World, new_id: Callable[[], str]
) -> None:
    """Parallel handoffs of one unknown e-mail address make one contact."""

    def call(n: int) -> int:
        body = handoff(new_id(), channel=("phone", "web")[n % 2], contact={"name": "New", "email": "new@example.com"})
        return requests.post(
            f"{service.url}/api/handoff", json=body, headers={"x-functions-key": KEY}, timeout=60
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(16))) == [201] * 16
    assert len(world.rows("contacts")) == 1
    assert len(world.rows("incidents")) + len(world.rows("oc_liveworkitems")) == 16


def test_one_token_serves_every_thread(service: Service, world: World, new_id: Callable[[], str]) -> None:
    """Forty handoffs on eight threads, from cold: one token call."""
    default_credential.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(
                lambda _: (
                    requests.post(
                        f"{service.url}/api/handoff",
                        json=handoff(new_id()),
                        headers={"x-functions-key": KEY},
                        timeout=60,
                    ).status_code
                ),
                range(40),
            )
        )
    assert statuses == [201] * 40
    tokens = [entry for entry in world.standins.entra.journal.entries() if entry.method == "POST"]
    scopes = [entry for entry in tokens if "oauth2/v2.0/token" in entry.path]
    assert len(scopes) == 2  # one for the vault, one for Dataverse


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b"{}", {}, 400, "invalid_request"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, {}, 400, "invalid_json"),
        (b'{"session_id":"s","channel":"web","custom_data":{"x":1e999}}', {}, 400, "invalid_json"),
        (b"x" * (4 * 1024 * 1024 + 1), {}, 413, "body_too_large"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
    ids=["cut", "array", "empty", "deep", "infinite", "4 MiB + 1", "text"],
)
def test_bad_input_is_one_clear_answer(
    service: Service, world: World, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """The contract's error shape, with our code; nothing is called outside."""
    got = service.call("POST", "handoff", data=body, headers={"content-type": "application/json"} | headers)
    assert (got.status_code, got.json()["code"], got.json()["statusCode"]) == (status, code, status)
    assert set(got.json()) == {"statusCode", "error", "message", "code", "retryable", "details", "handoff_id"}
    assert world.calls() == []


def test_a_body_of_just_under_four_mebibytes_lands(service: Service, world: World, new_id: Callable[[], str]) -> None:
    """Ten thousand turns: stored, delivered, and every turn is in the notes."""
    turns = [{"role": "user", "text": f"turn-{n:05d}- {'lorem ipsum ' * 25}"} for n in range(10_000)]
    body = json.dumps(handoff(new_id(), transcript=turns)).encode()
    assert 3_000_000 < len(body) < 4 * 1024 * 1024
    got = service.call("POST", "handoff", data=body, headers={"content-type": "application/json"})
    assert got.status_code == 201
    notes = sorted(world.rows("annotations"), key=lambda row: int(row["subject"].split()[1]))
    text = "\n".join(row["notetext"] for row in notes)
    assert all(f"turn-{n:05d}-" in text for n in range(10_000))


def test_keys_are_asked_for(service: Service) -> None:
    """Every route but health and the OpenAPI document wants the function key."""
    for method, path in (
        ("POST", "handoff"),
        ("GET", "handoff/x"),
        ("POST", "handoff/x/replay"),
        ("GET", "handoffs"),
        ("GET", "connections"),
    ):
        assert service.call(method, path, key=None).status_code == 401
        assert service.call(method, path, key="wrong").status_code == 401
    for path in ("health", "openapi.json"):
        assert service.call("GET", path, key=None).status_code == 200


def test_health_touches_nothing(service: Service, world: World) -> None:
    """Up and version, and no call to anything."""
    assert set(service.call("GET", "health", key=None).json()) == {"status", "version"}
    assert (world.calls(), len(world.standins.entra.journal), len(world.standins.key_vault.journal)) == ([], 0, 0)


def test_an_unknown_handoff_is_a_404(service: Service) -> None:
    """Look and replay say that there is none, in the contract's error shape."""
    for method, path in (("GET", "handoff/none"), ("POST", "handoff/none/replay")):
        got = service.call(method, path)
        assert (got.status_code, got.json()["code"]) == (404, "handoff_not_found")


def test_ids_with_odd_characters_have_an_address(service: Service, new_id: Callable[[], str]) -> None:
    """Slashes, question marks and other scripts in an id: the record is found under its quoted name."""
    from urllib.parse import quote

    for suffix in ("a/b", "a?b#c", "ä 😀", "50%"):
        session = f"{new_id()}-{suffix}"
        assert service.post(handoff(session)).status_code == 201
        got = service.call("GET", f"handoff/{quote(session, safe='')}")
        assert (got.status_code, got.json()["session_id"]) == (200, session)


def test_an_outage_answers_202_with_the_way_to_the_record(
    service: Service, world: World, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored, not done: Location names the record, Retry-After the next look; a replay after the fix lands it."""
    monkeypatch.setenv("HANDOFF_BUDGET_SECONDS", "2")
    world.standins.dataverse.faults.add(Fault(status=503, times=0))
    got = service.post(handoff(new_id()))
    assert (got.status_code, got.json()["status"]) == (202, "accepted")
    assert int(got.headers["Retry-After"]) >= 1
    record = requests.get(got.headers["Location"], headers={"x-functions-key": KEY}, timeout=30).json()
    assert (record["state"], record["last_error"]["code"]) == ("retrying", "dynamics_server_error")
    world.standins.dataverse.faults.clear()
    again = requests.post(f"{got.headers['Location']}/replay", headers={"x-functions-key": KEY}, timeout=30)
    assert (again.status_code, again.json()["status"]) == (201, "completed")


def test_lists_are_paged_newest_first(service: Service, new_id: Callable[[], str]) -> None:
    """Every completed handoff once, newest first, over as many pages as it takes."""
    sessions = [new_id() for _ in range(7)]
    for session in sessions:
        service.post(handoff(session))
    seen: list[str] = []
    cursor = ""
    while not set(sessions) <= set(seen):
        page = service.call("GET", f"handoffs?state=completed&limit=3{cursor}").json()
        seen += [item["handoff_id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}"
    # The table also holds what other tests have left there, some of it with a clock that is ahead.
    assert [each for each in seen if each in sessions] == sessions[::-1]
    wrong = service.call("GET", "handoffs?state=lost&limit=0&cursor=x").json()
    assert {detail["field"] for detail in wrong["details"]} == {"state", "limit", "cursor"}


def test_connections_are_all_green(service: Service) -> None:
    """The Active card: every check of a sound set-up passes."""
    got = service.call("GET", "connections").json()
    assert [row for row in got["checks"] if row["status"] in ("failed", "warning")] == []
    assert got["status"] == "active"


@pytest.mark.parametrize(
    ("routes", "status"), [('{"*": "salesforce"}', "active"), ('{"sms": "salesforce"}', "attention")]
)
def test_salesforce_alone_is_active(
    service: Service, monkeypatch: pytest.MonkeyPatch, routes: str, status: str
) -> None:
    """Without Dynamics 365, and with every channel sent to Salesforce, nothing is missing."""
    monkeypatch.delenv("DYNAMICS_ENVIRONMENT_URL")
    monkeypatch.delenv("DYNAMICS_MESSAGING_URL")
    monkeypatch.setenv("HANDOFF_ROUTES", routes)
    assert service.call("GET", "connections").json()["status"] == status


@pytest.mark.parametrize(
    ("preset", "status"),
    [("opencx", "warning"), ("msdyn", "warning"), ("messaging", "skipped")],
)
def test_a_lone_queue_that_is_no_workstream_fails_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, preset: str, status: str
) -> None:
    """Incidents need no workstream, and conversations have their channel's; rows without one are worth a warning."""
    monkeypatch.delenv("DEFAULT_WORKSTREAM_ID")
    monkeypatch.setenv("LIVE_WORK_ITEM_PRESET", preset)
    rows = {row["name"]: row for row in service.call("GET", "connections").json()["checks"]}
    assert rows["dynamics365.workstream"]["status"] == status
    assert rows["dynamics365.queue"]["status"] == "ok"


@pytest.mark.parametrize(
    ("settings", "row", "hint"),
    [
        ({"DYNAMICS_ENVIRONMENT_URL": "nonsense://x"}, "dynamics365.settings", "DYNAMICS_ENVIRONMENT_URL"),
        ({"DYNAMICS_ENVIRONMENT_URL": "https://[org"}, "dynamics365.settings", "DYNAMICS_ENVIRONMENT_URL"),
        ({"DYNAMICS_TENANT_ID": ""}, "dynamics365.settings", "tenant"),
        ({"DYNAMICS_TENANT_ID": "my tenant!"}, "dynamics365.settings", "DYNAMICS_TENANT_ID"),
        ({"KEY_VAULT_URL": "myvault"}, "dynamics365.token", "KEY_VAULT_URL"),
        ({"DYNAMICS_CLIENT_ID": "5a4db0c5-0000-4000-8000-0000000000ff"}, "dynamics365.token", "DYNAMICS_CLIENT_ID"),
        ({"DEFAULT_QUEUE_ID": "0a9b1c2d-0000-4000-8000-0000000000ff"}, "dynamics365.queue", "DEFAULT_QUEUE_ID"),
        ({"DEFAULT_PRIORITY": "4"}, "dynamics365.priority", "1, 2, 3"),
        ({"TICKET_PROPERTIES": '{"bogus": 1}'}, "dynamics365.ticket_properties", "TICKET_PROPERTIES"),
        ({"LIVE_WORK_ITEM_PHONE_FIELD": "bogus"}, "dynamics365.live_work_item", "LIVE_WORK_ITEM_"),
        ({"LIVE_WORK_ITEM_LOGICAL_NAME": "bogus"}, "dynamics365.live_work_item", "LIVE_WORK_ITEM_PRESET"),
        ({"HANDOFF_ROUTES": "[]"}, "settings.routes", "HANDOFF_ROUTES"),
        ({"HANDOFF_ROUTES": '{"sms": "nowhere"}'}, "settings.routes", "dynamics365"),
        ({"HANDOFF_ROUTES": '{"sms": "salesforce"}', "SALESFORCE_ORG_ID": "x"}, "settings.routes", "SALESFORCE_ORG_ID"),
        ({"SALESFORCE_JWT_ISSUER": "bogus"}, "salesforce.token", "SALESFORCE_JWT_ISSUER"),
        ({"DYNAMICS_MESSAGING_CHANNEL_ID": "x"}, "dynamics365.messaging.settings", "DYNAMICS_MESSAGING_CHANNEL_ID"),
        ({"OPENCX_WEBHOOK_ALGORITHM": "md5"}, "opencx.webhook", "OPENCX_WEBHOOK_ALGORITHM"),
        ({"OPENCX_API_URL": "http://example.com"}, "opencx", "OPENCX_API_URL"),
    ],
)
def test_each_mistake_has_its_row_and_its_fix(
    service: Service, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], row: str, hint: str
) -> None:
    """A wrong setting turns its own row red, and the fix names what to change."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    got = service.call("GET", "connections").json()
    bad = {each["name"]: each for each in got["checks"] if each["status"] in ("failed", "warning")}
    assert hint in f"{bad[row]['message']} {bad[row]['fix']}"


@pytest.mark.parametrize("system", ["entra", "key_vault"])
def test_the_budget_holds_while_a_sign_in_hangs(
    world: World, new_id: Callable[[], str], monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    """Entra or the vault does not answer: every caller has its 202 within the budget, however many there are."""
    default_credential.cache_clear()
    application = world.application(HANDOFF_BUDGET_SECONDS="3")
    assert application.ledger.get("none") is None  # the table is at hand; what hangs is the sign-in alone
    getattr(world.standins, system).faults.add(Fault(delay_seconds=6, status=503, times=0))
    start = threading.Barrier(4)

    def call(_: int) -> tuple[float, str, str | None]:
        raw = json.dumps(handoff(new_id())).encode()
        parsed = request.parse(request.parse_body(raw))
        start.wait()
        began = time.monotonic()
        record = application.desk.accept(parsed, raw).record
        return time.monotonic() - began, record.state, record.last_error.code if record.last_error else None

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(4)))
    codes = {"entra_unavailable", "vault_unavailable", "vault_unreachable", "budget_used_up"}
    assert [state for _, state, _ in answers] == ["retrying"] * 4
    assert {code for _, _, code in answers} <= codes
    assert max(seconds for seconds, _, _ in answers) < 4


def test_wrong_settings_wait_for_an_administrator(world: World, new_id: Callable[[], str]) -> None:
    """A setting that cannot be used is no outage: the record names it with its fix, and no attempt is used up."""
    for name, value in (
        ("DYNAMICS_TENANT_ID", "my tenant!"),
        ("KEY_VAULT_URL", "myvault"),
        ("DYNAMICS_ENVIRONMENT_URL", "https://[org"),
    ):
        application = world.application(**{name: value})
        raw = json.dumps(handoff(new_id())).encode()
        record = application.desk.accept(request.parse(request.parse_body(raw)), raw).record
        error = record.last_error
        assert error is not None
        assert (record.state, record.attempts, error.code) == ("retrying", 0, "setting_malformed")
        assert name in error.message
        application.ledger.forget_system("dynamics365")


def test_threads_that_start_together_share_one_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first calls of a process come at once: one application is made, and only one."""
    made: list[object] = []
    start = threading.Barrier(8)

    class Slow(Application):
        def __init__(self, environ: Mapping[str, str]) -> None:
            made.append(self)
            time.sleep(0.05)  # longer than the others need to come
            super().__init__(environ)

    def call(_: int) -> Application:
        start.wait()
        return application()

    monkeypatch.setattr(app, "Application", Slow)
    application.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(call, range(8)))
    application.cache_clear()
    assert (len(made), len(found)) == (1, 1)
    assert application() not in found
    application.cache_clear()


def test_a_missing_privilege_is_named(service: Service, world: World) -> None:
    """The check lists exactly the privileges that the role lacks."""
    world.dataverse.access.missing = frozenset({"prvCreateNote", "prvAppendToContact"})
    rows = service.call("GET", "connections").json()["checks"]
    (row,) = [each for each in rows if each["name"] == "dynamics365.privileges"]
    assert row["status"] == "failed"
    assert "prvCreateNote" in row["fix"]
    assert "prvAppendToContact" in row["fix"]


def test_the_openapi_document_is_valid_and_flat(service: Service) -> None:
    """OpenAPI 3.1, valid; no oneOf and no circular reference, which OpenCX's import refuses; the server is itself."""
    document = service.call("GET", "openapi.json", key=None).json()
    validate(document)
    text = json.dumps(document)
    assert "oneOf" not in text
    assert document["servers"] == [{"url": f"{service.url}/api"}]
    for name, schema in document["components"]["schemas"].items():
        assert f"#/components/schemas/{name}" not in json.dumps(schema)


def test_nothing_of_the_customers_reaches_log_or_error(
    service: Service, new_id: Callable[[], str], caplog: pytest.LogCaptureFixture, world: World
) -> None:
    """Neither text, address, number nor secret in any log line or error, whatever happens."""
    caplog.set_level("DEBUG")
    session = new_id()
    contact = {"name": "Zaphod Private", "email": "zaphod@private.example", "phone_number": "+12025550142"}
    world.standins.dataverse.faults.add(
        Fault(status=400, times=0, body={"error": {"code": "0x1", "message": f"{SECRET_TEXT} zaphod@private.example"}})
    )
    answers = [
        service.post(handoff(session, contact=contact, summary=SECRET_TEXT)).text,
        service.call("GET", f"handoff/{session}").text,
        service.post(handoff(session, contact=contact, priority=SECRET_TEXT)).text,
    ]
    everything = "\n".join([*answers, caplog.text])
    for secret in (
        SECRET_TEXT,
        "4111",
        "Zaphod",
        "zaphod@private",
        "2025550142",
        "sandbox-dynamics-client-secret",
        KEY,
    ):
        assert secret not in everything
