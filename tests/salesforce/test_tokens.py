"""Tokens: verified or refused loudly, one a customer, renewed in time; a guest's outlives the worker, or is the end."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.server import Fault
from shared.config.settings import Settings
from shared.errors import ConfigurationFault, ConversationEnded, HandoffError, LedgerUnavailable, TransientFailure
from shared.handoff.model import Contact
from shared.salesforce.checks import SalesforceChecks
from shared.salesforce.token import Identity
from tests.salesforce.org import START, Org, handoff, opened, pem

JANE = Identity("session:jane")
LIFE_SECONDS = 3600


def asked(org: Org) -> int:
    """How many tokens were asked for."""
    return sum(call.endswith("access-token") for call in org.calls())


def stranger() -> str:
    """A key that the org does not know."""
    made = generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def test_one_token_serves_a_customer(org: Org) -> None:
    """However often it is wanted, and by however many threads at once, it is asked for once."""
    worker = org.worker()
    start = threading.Barrier(8)

    def get(_: int) -> str:
        start.wait()
        return worker.tokens.get(JANE, deadline=org.deadline()).value

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(get, range(8)))) == 1
    assert asked(org) == 1
    worker.tokens.get(Identity("session:other"), deadline=org.deadline())
    assert asked(org) == 2


def test_it_is_renewed_after_four_fifths_of_its_life(org: Org) -> None:
    """Before that it is used on; after that a failure to renew does no harm while it works."""
    worker = org.worker()
    first = worker.tokens.get(JANE, deadline=org.deadline())
    org.clock.advance(LIFE_SECONDS * 0.8 - 1)
    assert worker.tokens.get(JANE, deadline=org.deadline()) == first
    org.clock.advance(2)
    org.server.faults.add(Fault(path="access-token", status=503))
    assert worker.tokens.get(JANE, deadline=org.deadline()) == first
    org.clock.advance(31)
    assert worker.tokens.get(JANE, deadline=org.deadline()) != first
    assert asked(org) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"SALESFORCE_JWT_ISSUER": "OpenCX"},
        {"SALESFORCE_AUTH_KEY_ID": "key-2"},
        {"SALESFORCE_PRIVATE_KEY": "another"},
    ],
    ids=str,
)
def test_a_guest_instead_of_a_customer_is_refused_loudly(org: Org, changes: dict[str, str]) -> None:
    """Salesforce says 200 to a wrong issuer, key id or key; nothing is handed off as a guest in secret."""
    if "SALESFORCE_PRIVATE_KEY" in changes:
        changes = {"SALESFORCE_PRIVATE_KEY": stranger()}
    with pytest.raises(ConfigurationFault) as caught:
        org.worker(**changes).destination.deliver(handoff(), deadline=org.deadline())
    fault = caught.value
    assert (fault.code, fault.system) == ("salesforce_guest_instead", "salesforce")
    assert all(name in fault.fix for name in ("SALESFORCE_JWT_ISSUER", "SALESFORCE_AUTH_KEY_ID", "private key"))
    assert org.standin.conversations() == []


@pytest.mark.parametrize(
    "spelled",
    [
        lambda key: key.replace("\n", "\\n"),
        lambda key: key.replace("\n", " "),
        lambda key: key.replace("\n", "\r\n"),
        lambda key: f'"{key}"',
    ],
    ids=["escaped", "blanks", "crlf", "quoted"],
)
def test_a_key_is_read_however_its_line_breaks_came_through(org: Org, spelled: Callable[[str], str]) -> None:
    """Portals and shells mangle them in these ways."""
    worker = org.worker(SALESFORCE_PRIVATE_KEY=spelled(pem()))
    assert worker.tokens.get(JANE, deadline=org.deadline()).value


@pytest.mark.parametrize("key", ["x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_key_that_cannot_be_read_is_named(org: Org, key: str) -> None:
    """The fault names the secret, and holds nothing of it."""
    with pytest.raises(ConfigurationFault) as caught:
        org.worker(SALESFORCE_PRIVATE_KEY=key).tokens.get(JANE, deadline=org.deadline())
    assert caught.value.code == "salesforce_key_unreadable"
    assert "AAAA" not in str(caught.value)
    assert asked(org) == 0


@pytest.mark.parametrize("name", ["SALESFORCE_JWT_ISSUER", "SALESFORCE_AUTH_KEY_ID"])
def test_a_key_without_its_issuer_or_id_is_a_missing_setting(org: Org, name: str) -> None:
    """The setting is named."""
    with pytest.raises(ConfigurationFault) as caught:
        org.worker(**{name: ""}).tokens.get(JANE, deadline=org.deadline())
    assert caught.value.code == "setting_missing"
    assert name in caught.value.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SALESFORCE_ES_DEVELOPER_NAME": "Other"}, "salesforce_deployment_wrong"),
        ({"SALESFORCE_ORG_ID": "00Dxx0000000002"}, "salesforce_org_mismatch"),
    ],
)
def test_a_wrong_deployment_or_org_is_told_apart(org: Org, changes: dict[str, str], code: str) -> None:
    """Each has its own fix."""
    with pytest.raises(ConfigurationFault) as caught:
        org.worker(**changes).tokens.get(JANE, deadline=org.deadline())
    assert (caught.value.code, caught.value.system) == (code, "salesforce")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 404}, "salesforce_url_wrong"),
        ({"status": 302, "headers": {"Location": "https://login.example.com"}}, "salesforce_url_wrong"),
        ({"status": 400, "body": "no"}, "salesforce_token_refused"),
        ({"status": 403}, "salesforce_token_refused"),
        ({"status": 429}, "salesforce_throttled"),
        ({"status": 500}, "salesforce_server_error"),
        ({"status": 200, "body": "<html>"}, "salesforce_bad_answer"),
        ({"drop": "after"}, "salesforce_unreachable"),
    ],
    ids=str,
)
def test_a_failure_to_get_a_token_is_sorted(org: Org, fault: dict[str, object], code: str) -> None:
    """What an administrator must mend, and what passes by itself."""
    org.server.faults.add(Fault(path="access-token", **fault))  # type: ignore[arg-type]
    with pytest.raises(HandoffError) as caught:
        org.worker().tokens.get(JANE, deadline=org.deadline())
    assert caught.value.code == code
    assert getattr(caught.value, "system", None) == "salesforce"


def test_a_token_that_is_refused_is_replaced_once(org: Org) -> None:
    """401 twice in a row is no matter of a stale token."""
    worker = org.worker()
    worker.tokens.get(JANE, deadline=org.deadline())
    org.server.faults.add(Fault(path="/conversation$", status=401))
    outcome = worker.destination.deliver(handoff(), deadline=org.deadline())
    assert outcome.warnings == ()
    org.server.faults.add(Fault(path="/conversation$", status=401, times=2))
    with pytest.raises(ConfigurationFault) as caught:
        org.worker().destination.deliver(handoff(handoff_id="h-2"), deadline=org.deadline())
    assert caught.value.code == "salesforce_unauthorized"


def test_without_a_private_key_customers_are_guests(org: Org) -> None:
    """The conversation is a guest's, and no warning says that it should be otherwise."""
    contact = Contact(email="jane@example.com", verified=True)
    outcome = org.guest_worker().destination.deliver(handoff(contact=contact), deadline=org.deadline())
    found = org.whole(outcome.record_id)
    assert "/UNAUTH/" in found["subject"]
    assert found["routingAttributes"]["Chat_Consumer_Type"] == "Unauthenticated"
    assert outcome.warnings == ()


def test_a_key_that_was_forgotten_is_warned_of(org: Org) -> None:
    """Issuer and key id are set: somebody meant customers to be verified."""
    outcome = org.worker(SALESFORCE_PRIVATE_KEY="").destination.deliver(handoff(), deadline=org.deadline())
    assert [notice.code for notice in outcome.warnings] == ["salesforce_unverified"]


def test_a_guests_conversation_outlives_the_worker(org: Org) -> None:
    """The token is kept where the next worker finds it, and a repeat is the same conversation."""
    first = org.land(handoff(120), org.guest_worker)
    second = org.land(handoff(120), org.guest_worker)
    assert second == first
    conversation = opened(first)
    org.standin.rep_accepts(conversation.conversation_id)
    org.standin.rep_says(conversation.conversation_id, "Hello")
    heard = org.guest_worker().side.entries(conversation, since=START, deadline=org.deadline())
    assert heard[-1].text == "Hello"
    assert org.whole(first.record_id)["duplicates"] == {}


@pytest.mark.parametrize("how", ["time", "revoked", "lost"])
def test_a_guest_whose_token_is_gone_cannot_go_on(org: Org, how: str) -> None:
    """A new guest would be somebody else: a running conversation is over."""
    conversation = opened(org.land(handoff(), org.guest_worker))
    if how == "time":
        org.clock.advance(361 * 60)
    elif how == "revoked":
        org.standin.tokens.expire_all()
    else:
        org.guests.kept.clear()
    for _ in range(2):
        with pytest.raises(ConversationEnded) as caught:
            org.guest_worker().side.entries(conversation, since=START, deadline=org.deadline())
        assert caught.value.code == "salesforce_guest_expired"


@pytest.mark.parametrize("body", [None, "<html>Please sign in</html>"])
def test_a_gateways_401_costs_no_guest_the_token(org: Org, body: str | None) -> None:
    """It is the only way into the conversation: once or for long, what is not Salesforce's word deletes nothing."""
    conversation = opened(org.land(handoff(), org.guest_worker))
    worker = org.guest_worker()
    org.server.faults.add(Fault(path="/entries", status=401, body=body))
    worker.side.entries(conversation, since=START, deadline=org.deadline())
    org.server.faults.add(Fault(path="/entries", status=401, body=body, times=4))
    for _ in range(2):
        with pytest.raises(TransientFailure) as caught:
            worker.side.entries(conversation, since=START, deadline=org.deadline())
        assert (caught.value.code, caught.value.is_unclear) == ("salesforce_unavailable", False)
    assert len(org.guests.kept) == 1
    worker.side.entries(conversation, since=START, deadline=org.deadline())


@pytest.mark.parametrize("body", ["Jwt is expired", {"errorCode": "UNAUTHORIZED", "message": "Unauthorized"}])
def test_salesforces_own_401_is_believed_the_second_time(org: Org, body: object) -> None:
    """One is asked again with the same token; two of them shut the guest out, whatever the token's own time is."""
    conversation = opened(org.land(handoff(), org.guest_worker))
    worker = org.guest_worker()
    org.server.faults.add(Fault(path="/entries", status=401, body=body))
    worker.side.entries(conversation, since=START, deadline=org.deadline())
    assert len(org.guests.kept) == 1
    org.server.faults.add(Fault(path="/entries", status=401, body=body, times=2))
    with pytest.raises(ConversationEnded) as caught:
        worker.side.entries(conversation, since=START, deadline=org.deadline())
    assert (caught.value.code, caught.value.is_shut_out) == ("salesforce_guest_expired", True)
    assert org.guests.kept == {}


def test_a_guests_token_that_expires_during_a_call_is_gone(org: Org) -> None:
    """Its own time is over: whoever answers 401 is right, and it is forgotten."""
    guest = Identity("g", is_guest=True)
    worker = org.guest_worker()
    token = worker.tokens.get(guest, deadline=org.deadline(), begins=True)
    org.clock.advance(token.expires_at - org.clock.monotonic() - 1)
    worker.tokens.refuse(guest, token, is_certain=False)
    assert list(org.guests.kept) == ["g"]
    org.clock.advance(1)
    with pytest.raises(ConversationEnded):
        worker.tokens.refuse(guest, token, is_certain=False)
    assert org.guests.kept == {}


def test_a_guests_handoff_that_is_not_whole_begins_anew(org: Org) -> None:
    """The token expired between two tries: the rep gets the whole transcript in a conversation that goes on."""
    org.server.faults.add(Fault(path="/message", status=503, skip=1))
    with pytest.raises(TransientFailure):
        org.guest_worker().destination.deliver(handoff(120), deadline=org.deadline())
    org.standin.tokens.expire_all()
    outcome = org.land(handoff(120), org.guest_worker)
    assert len(org.standin.conversations()) == 2
    assert len(org.texts(outcome.record_id)) >= 5


def test_a_guests_token_is_kept_before_it_is_used(org: Org) -> None:
    """With nowhere to keep it no conversation begins: a second try could not go on with it."""

    class Down:
        def put(self, key: str, token: str) -> str:
            raise LedgerUnavailable("down")

    org.guests.put = Down().put  # type: ignore[method-assign]
    with pytest.raises(TransientFailure) as caught:
        org.guest_worker().destination.deliver(handoff(), deadline=org.deadline())
    assert (caught.value.code, caught.value.system) == ("ledger_unavailable", "ledger")
    assert org.standin.conversations() == []


def test_a_set_up_org_passes_every_check(org: Org) -> None:
    """Settings, key, and a token that is a customer's."""
    rows = checks(org, {})
    assert {name: status for name, (status, _) in rows.items()} == {
        "salesforce.settings": "ok",
        "salesforce.key": "ok",
        "salesforce.token": "ok",
    }
    assert org.standin.conversations() == []


@pytest.mark.parametrize(
    ("changes", "name", "status", "word"),
    [
        ({"SALESFORCE_SCRT_URL": ""}, "salesforce.settings", "skipped", ""),
        ({"SALESFORCE_ORG_ID": "0"}, "salesforce.settings", "failed", "Organization ID"),
        ({"SALESFORCE_LANGUAGE": "?"}, "salesforce.settings", "warning", "Correct"),
        ({"SALESFORCE_PRIVATE_KEY": "x"}, "salesforce.key", "failed", "PEM"),
        ({"SALESFORCE_PRIVATE_KEY": ""}, "salesforce.key", "warning", "salesforce-private-key"),
        ({"SALESFORCE_JWT_ISSUER": "y"}, "salesforce.token", "failed", "SALESFORCE_JWT_ISSUER"),
    ],
    ids=str,
)
def test_a_check_names_what_is_wrong_and_the_fix(
    org: Org, changes: dict[str, str], name: str, status: str, word: str
) -> None:
    """One row, and the rest only where it makes sense."""
    found, fix = checks(org, changes)[name]
    assert found == status
    assert word in (fix or "")
    assert org.guests.kept == {}


def checks(org: Org, changes: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    """The rows by name."""
    settings = Settings(org.environ(**changes))
    run = SalesforceChecks(settings, tokens=lambda _: org.worker(**changes).tokens, deadline=org.deadline()).run()
    return {check.name: (check.status, check.fix) for check in run}
