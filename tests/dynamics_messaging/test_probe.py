"""The probe of the Messaging APIs: what it says must change with what the stand-in does."""

import functools
import io
import json
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import requests

from sandbox.dynamics_messaging import CHANNEL_ID, DynamicsMessaging
from sandbox.dynamics_messaging.webhook_faults import WebhookFault
from sandbox.dynamics_messaging.webhook_token import STRANGER
from sandbox.faults import Fault
from sandbox.standins import WEBHOOK_LOCK
from shared.config.secrets import Secrets
from shared.config.settings import Settings
from shared.dataverse.client import DataverseClient
from shared.dataverse.settings import Access
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import settings as settings_of
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.organization import Organization
from shared.errors import ConfigurationFault
from tests.conftest import World
from tests.dynamics_messaging.organisation import CLIENT, ENVIRONMENT, LOCK, TENANT, Credential, Organisation
from tools.probe_messaging import webhook_rows
from tools.probe_messaging.__main__ import main
from tools.probe_messaging.budget import Budget
from tools.probe_messaging.desk import Ask, Desk, Play, Skipped, Stopped
from tools.probe_messaging.desk_steps import REP_WORDS
from tools.probe_messaging.judge import Judge, Verdict, read
from tools.probe_messaging.listener import Listener, Received
from tools.probe_messaging.outline import outline
from tools.probe_messaging.probe import Outcome, Parts, probe
from tools.probe_messaging.row import Row, table
from tools.probe_messaging.script import SPARE
from tools.probe_messaging.seen import Seen
from tools.probe_messaging.stage import Pace

QUICK = Pace(arrive=0.5, quiet=0.05, look=4.0, poll=1.0, again=0.3)
ALL = frozenset(SPARE)


class Rep(Play):
    """A rep whose clicks return when the webhook has been sent everything: little has to be waited for then."""

    def __init__(self, org: Organisation) -> None:
        super().__init__(org.server.url)
        self.org = org

    def _act(self, conversation_id: str, action: str, **given: str) -> None:
        super()._act(conversation_id, action, **given)
        self.org.settle()


class Bench:
    """An organisation, and the probe on it."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self.said: list[str] = []
        org.standin._desk.webhook.post = None  # by HTTP, to the probe's own listener
        org.standin.set_channel(attachments_from_reps=True)

    def environ(self, **more: str) -> dict[str, str]:
        """The settings of a service that works here."""
        return {
            "AZURE_AUTHORITY_HOST": self.org.entra.url,
            "DYNAMICS_TENANT_ID": TENANT,
            "DYNAMICS_CLIENT_ID": CLIENT,
            "DYNAMICS_CLIENT_SECRET": "s",
            "DYNAMICS_MESSAGING_URL": self.org.server.url,
            "DYNAMICS_MESSAGING_CHANNEL_ID": CHANNEL_ID,
            "DYNAMICS_WEBHOOK_LOCK": LOCK,
            **more,
        }

    def parts(self, **more: str) -> Parts:
        """What the probe works with."""
        clock = self.org.clock
        environ = self.environ(**more)
        given = Settings(environ)
        secrets = Secrets(given, clock=clock)

        def tokens(resource: str) -> TokenSource:
            access = Access(origin=resource, uses_managed_identity=False, tenant_id=TENANT, client_id=CLIENT)
            return TokenSource(
                lambda: access,
                secrets=secrets,
                clock=clock,
                wall_seconds=lambda: clock.now().timestamp(),
                credential=lambda *_: Credential(self.org.tokens),
            )

        dataverse = DataverseClient(
            self.org.organisation.url, tokens=tokens(ENVIRONMENT), monotonic=clock.monotonic, now=clock.now
        )
        organization = Organization(None, dataverse=lambda: dataverse)
        organization_id = organization.id(deadline=clock.monotonic() + 5)
        resource = settings_of.derived_resource(organization_id=organization_id, environment=ENVIRONMENT)
        keys = SigningKeys(authority=self.org.entra.url, tenant=TENANT, monotonic=clock.monotonic)
        return Parts(
            environ=environ,
            dataverse=dataverse,
            organization=organization,
            tokens=tokens(resource),
            lock=functools.partial(settings_of.lock, secrets),
            keys=lambda _: keys,
            clock=clock,
        )

    def run(
        self,
        *without: str,
        listen: bool = True,
        desk: Desk | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Outcome:
        """One run with the rep played."""
        return probe(
            self.parts(**settings),
            desk or Rep(self.org),
            say=self.said.append,
            listen_port=0 if listen else None,
            without=frozenset(without),
            pace=QUICK,
        )


@pytest.fixture
def bench(org: Organisation) -> Bench:
    """An organisation whose rep may send files."""
    return Bench(org)


def row(outcome: Outcome, name: str) -> Row:
    """The row of that name."""
    return next(each for each in outcome.rows if each.name == name)


AUTOMATED = "00000000-0000-4000-8000-00000000b07a"
ELSEWHERE = "https://elsewhere.example"
FILES_OFF = "allow no files from representatives, in the workstream's channel"
NOTHING = "nothing"
REPORT = "nothing: send this row to the developers"

# Switches, and what rows must then hold: mark, a part of what was seen, what is to be set.
READINGS: dict[str, tuple[dict[str, Any], dict[str, tuple[str, str, str]]]] = {
    "as it is at first": (
        {"create_seconds": 0.2},
        {
            "webhook's token": ("ok", f"aud={CLIENT}, azp={CLIENT}", NOTHING),
            "ids of activities": ("ok", "neither id nor timestamp; 13 digits: nowhere", NOTHING),
            "form of events": ("ok", "type message", NOTHING),
            "event on accept": ("ok", "AgentAccepted", NOTHING),
            "event on transfer": ("ok", "TransferToAgentInitiated, TransferAgentAcceptSession", NOTHING),
            "event on X on the tab": (
                "ok",
                "AgentClosed; then Waiting; after a message of the customer: Open",
                NOTHING,
            ),
            "event on End": ("ok", "AgentClosed, ConversationClosed; then Wrap-up", NOTHING),
            "echo of our own": ("ok", "none", NOTHING),
            "automated messages": ("ok", "none", NOTHING),
            "rep's file": ("ok", "HTTP 200 without a token", NOTHING),
            "attempts of webhook": ("ok", "3 in all", NOTHING),
            "outside the hours": ("ok", "OutOfOperatingHoursDueToNonWorkingHours; then Open", NOTHING),
            "place of the error code": ("ok", "HTTP 404, 30013 in detail", NOTHING),
            "customerid, Open": ("ok", "the same conversation", NOTHING),
            "customerid, Active": ("ok", "the same conversation", NOTHING),
            "customerid, Waiting": ("ok", "the same conversation", NOTHING),
            "customerid, Wrap-up": ("ok", "a new conversation", NOTHING),
            "two creates at once": ("ok", "0 of 3 pairs met", NOTHING),
            "conversationrequestid": ("ok", "made two conversations", NOTHING),
            "customer leaves": ("ok", "CustomerDisconnected, Wrap-up", NOTHING),
            "start message": ("ok", "taken with a messageId, listed", NOTHING),
            "GET messages: from": ("ok", "from:{}", NOTHING),
            "found again": ("ok", "by msdyn_ocliveworkitemcontextitems", NOTHING),
            "after the end": ("ok", "GET messages: HTTP 404, 30013; a message: HTTP 404, 30013", NOTHING),
        },
    ),
    "the other way": (
        {
            "webhook_token": "v1",
            "activity_ids": True,
            "events_as": "event",
            "events_on_end": ["AgentEndSession"],
            "start_message_echoed": True,
            "automated_messages": True,
            "file_token": True,
            "webhook_attempts": 4,
            "out_of_hours_closes": True,
            "error_code_place": "extensions",
            "waiting_finds_same": False,
            "simultaneous_creates_double": False,
            "messages_from": "full",
            "start_message_listed": False,
            "context_rows": False,
            "customer_end_state": "Closed",
        },
        {
            "webhook's token": ("ok", f"aud=api://{CLIENT}, appid={CLIENT}", NOTHING),
            "ids of activities": ("ok", "id and timestamp; 13 digits: nowhere", NOTHING),
            "form of events": ("ok", "type event", NOTHING),
            "event on End": ("ok", "AgentEndSession; then Wrap-up", NOTHING),
            "echo of our own": ("ok", "1 of our own messages came back", NOTHING),
            "automated messages": ("set", AUTOMATED, f"DYNAMICS_AUTOMATED_SENDERS={AUTOMATED}"),
            "rep's file": ("set", "HTTP 401 without a token, 200 with ours", FILES_OFF),
            "attempts of webhook": ("ok", "4 in all", NOTHING),
            "outside the hours": ("set", "then Closed; availability API: HTTP 200", "DYNAMICS_AVAILABILITY=incident"),
            "place of the error code": ("ok", "HTTP 404, 30013 in extensions.code", NOTHING),
            "customerid, Waiting": ("ok", "a new conversation", NOTHING),
            "two creates at once": ("ok", "3 of 3 pairs met", NOTHING),
            "customer leaves": ("ok", "CustomerDisconnected, Closed", NOTHING),
            "start message": ("ok", "not listed by GET messages", NOTHING),
            "GET messages: from": ("ok", "from.name:str(12)", NOTHING),
            "found again": ("ok", "by neither table", NOTHING),
        },
    ),
    "against the service": (
        {
            "webhook_audience": ELSEWHERE,
            "message_id_in_channel_data": True,
            "events_on_accept": [],
            "events_on_end": ["ChatOver"],
            "events_on_close_tab": ["ConversationClosed"],
            "file_lifetime_seconds": 1.0,
            "webhook_attempts": 1,
            "start_message_taken": False,
            "engagement_rows": True,
            "context_delay_seconds": 1000.0,
        },
        {
            "webhook's token": ("set", f"aud={ELSEWHERE}", f"DYNAMICS_WEBHOOK_AUDIENCE={ELSEWHERE}"),
            "ids of activities": ("ok", "neither id nor timestamp; 13 digits: channelData.messageId", NOTHING),
            "event on accept": ("ok", "none", NOTHING),
            "event on End": ("!!", "ChatOver; then Wrap-up", REPORT),
            "event on X on the tab": ("!!", "ConversationClosed; then Waiting", REPORT),
            "rep's file": ("set", "HTTP 403 after", FILES_OFF),
            "attempts of webhook": ("ok", "1 in all", NOTHING),
            "start message": ("ok", "without a messageId, not listed", NOTHING),
            "found again": ("ok", "and msdyn_customengagementctxes", NOTHING),
            "GET context": ("set", "channel, handoffId, sessionId never came", "define these variables"),
        },
    ),
    "without a token": (
        {"webhook_token": "none", "events_on_end": [], "webhook_attempts": 2},
        {
            "webhook's token": ("set", "no token", "DYNAMICS_WEBHOOK_AUTH=lock"),
            "event on End": ("ok", "none; then Wrap-up", NOTHING),
            "attempts of webhook": ("ok", "2 in all", NOTHING),
        },
    ),
}


@pytest.mark.parametrize("reading", READINGS)
def test_the_verdict_follows_the_switches(bench: Bench, reading: str) -> None:
    """What the stand-in does where the truth is unknown is what the rows say, with what to set."""
    switches, wanted = READINGS[reading]
    bench.org.standin.switch(**switches)
    outcome = bench.run()
    for name, (mark, seen, setting) in wanted.items():
        found = row(outcome, name)
        assert (found.mark, seen in found.seen, found.setting[: len(setting)]) == (mark, True, setting), found
    assert outcome.is_settled == all(mark in ("ok", "set") for mark, _, _ in wanted.values())
    assert {each["state"] for each in bench.org.standin.conversations()} <= {"Wrap-up", "Closed"}
    assert outcome.calls < 250


def test_what_was_set_is_not_asked_for_again(bench: Bench) -> None:
    """With the settings that a run has named, the next one finds nothing to set."""
    bench.org.standin.switch(
        webhook_audience=ELSEWHERE, automated_messages=True, out_of_hours_closes=True, events_as="event"
    )
    steps = ("customer", "requests", "pairs", "file", "attempts", "transfer", "tab")
    first = bench.run(*steps)
    named = {
        each.setting.partition("=")[0]: each.setting.partition("=")[2] for each in first.rows if each.mark == "set"
    }
    assert set(named) == {"DYNAMICS_WEBHOOK_AUDIENCE", "DYNAMICS_AUTOMATED_SENDERS", "DYNAMICS_AVAILABILITY"}
    second = bench.run(*steps, settings=named)
    assert [each for each in second.rows if each.mark == "set"] == []


def test_a_token_is_not_needed_where_the_lock_alone_opens(bench: Bench) -> None:
    """DYNAMICS_WEBHOOK_AUTH=lock settles the row of the token that does not come."""
    bench.org.standin.switch(webhook_token="none")
    found = row(bench.run(*SPARE, settings={"DYNAMICS_WEBHOOK_AUTH": "lock"}), "webhook's token")
    assert (found.mark, found.seen, found.setting) == ("ok", "no token", NOTHING)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("other_app", "another app than the channel row names"),
        ("other_tenant", "token_of_another_tenant"),
        ("other_issuer", "token_of_another_tenant"),
        ("bad_signature", "token_signature"),
        ("unknown_key", "token_key_unknown"),
        ("unsigned", "token_algorithm"),
    ],
)
def test_no_setting_is_named_for_a_strangers_token(bench: Bench, fault: str, reason: str) -> None:
    """A token that is not Dynamics' opens nothing, and the probe names no setting that would let it."""
    bench.org.standin.webhook_faults.add(WebhookFault(fault=fault, times=0))
    found = row(bench.run(*SPARE), "webhook's token")
    assert (found.mark, "=" in found.setting) == ("!!", False), found
    assert reason in found.means


class OtherApp(Rep):
    """A channel row that names another app than DYNAMICS_CLIENT_ID, as the webhook's tokens do."""

    def point(self, url: str, lock: str) -> None:
        """Point it, and name the app in the row that the probe reads."""
        super().point(url, lock)
        store = self.org.dataverse.store
        known = store.get("msdyn_occustommessagingchannel", CHANNEL_ID) or {}
        store.put("msdyn_occustommessagingchannel", CHANNEL_ID, {**known, "msdyn_appid": STRANGER})


def test_the_app_of_the_channel_row_is_named(bench: Bench) -> None:
    """A token of another app than DYNAMICS_CLIENT_ID passes with a setting, if it is the channel row's app."""
    bench.org.standin.webhook_faults.add(WebhookFault(fault="other_app", times=0))
    bench.org.standin.switch(webhook_token="v1")
    found = row(bench.run(*SPARE, desk=OtherApp(bench.org)), "webhook's token")
    named = f"DYNAMICS_WEBHOOK_APP={STRANGER} DYNAMICS_WEBHOOK_AUDIENCE=api://{CLIENT}"
    assert (found.mark, found.setting) == ("set", named), found


class WrongLock(Rep):
    """An administrator who has put another lock into the address."""

    def point(self, url: str, lock: str) -> None:
        """Point it, wrongly."""
        super().point(url, f"{lock}-not")


def test_a_wrong_lock_is_named_and_not_told(bench: Bench) -> None:
    """The row says that the address holds another lock; neither of the two is printed."""
    found = row(bench.run(*SPARE, desk=WrongLock(bench.org)), "webhook's token")
    assert (found.mark, found.setting.partition("=")[0]) == ("set", "DYNAMICS_WEBHOOK_LOCK")
    assert LOCK not in "\n".join([*bench.said, found.seen, found.means, found.setting])


def test_a_weak_lock_is_named(bench: Bench) -> None:
    """What the service would refuse for its length is named, too."""
    found = row(bench.run(*SPARE, settings={"DYNAMICS_WEBHOOK_LOCK": "short"}), "webhook's token")
    assert (found.mark, found.setting[:35]) == ("set", "DYNAMICS_WEBHOOK_LOCK=<16 or more l"), found


def test_a_token_that_cannot_be_checked_is_not_judged(bench: Bench) -> None:
    """While Entra gives no keys nothing is known of a token: the row stays open, and nothing is to be set."""
    bench.org.entra.faults.add(Fault(path="discovery/v2.0/keys", status=503, times=0))
    found = row(bench.run(*SPARE), "webhook's token")
    assert (found.mark, found.means) == ("??", "it could not be checked: entra_unavailable")


def test_an_id_that_changes_with_each_delivery_is_no_id() -> None:
    """Where a repeated delivery brings another id, the service would take it for another message."""

    def delivery(number: int) -> dict[str, Any]:
        return {"type": "message", "id": f"{number}", "text": REP_WORDS, "conversation": {"id": "c"}}

    seen = Seen(conversation_id="c", has_listener=True)
    seen.activities = [Received(0, "say", "c", (), delivery(0), Verdict(passes=True))]
    seen.attempt_bodies = [delivery(1), delivery(2)]
    found = next(
        webhook_rows.rows(seen, handoff_id="h", automated_senders=frozenset(), availability="off", without=ALL)
    )
    assert (found.name, found.mark) == ("ids of activities", "!!")
    seen.attempt_bodies = [delivery(1), delivery(1)]
    found = next(
        webhook_rows.rows(seen, handoff_id="h", automated_senders=frozenset(), availability="off", without=ALL)
    )
    assert found.mark == "ok"


def test_without_a_webhook_its_rows_stay_open(bench: Bench) -> None:
    """What only the webhook shows is not settled without --listen; what the APIs show is."""
    outcome = bench.run(listen=False)
    unsettled = {each.name: each for each in outcome.rows if not each.is_settled}
    assert set(unsettled) == {
        "webhook's token",
        "ids of activities",
        "form of events",
        "event on accept",
        "event on transfer",
        "event on X on the tab",
        "event on End",
        "echo of our own",
        "automated messages",
        "rep's file",
        "attempts of webhook",
    } | ({"outside the hours"} if "outside the hours" in unsettled else set())
    assert {each.mark for each in unsettled.values()} == {"??"}
    assert all("--listen" in each.means for each in unsettled.values())
    assert not outcome.is_settled


def test_what_the_rep_cannot_do_stays_open_and_the_rest_goes_on(bench: Bench) -> None:
    """A step that the desk refuses has a row with the reason; steps that are left out have none."""
    bench.org.standin.set_channel(attachments_from_reps=False)
    outcome = bench.run("hours", "pairs")
    assert [each.name for each in outcome.rows if not each.is_settled] == ["rep's file"]
    assert "not enabled for this channel" in row(outcome, "rep's file").means
    assert {"outside the hours", "two creates at once"} & {each.name for each in outcome.rows} == set()


def test_nobodys_words_and_no_secret_are_printed(bench: Bench) -> None:
    """Headers by name, claims without the signature, keys without their contents; no lock, no token."""
    authorizations: list[str] = []
    judge = Judge.judge

    def heard(self: Judge, *, lock: str, authorization: str | None) -> Verdict:
        authorizations.append(str(authorization))
        return judge(self, lock=lock, authorization=authorization)

    bench.org.standin.switch(automated_messages=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "judge", heard)
        outcome = bench.run(*SPARE)
    told = "\n".join([*bench.said, table(outcome.rows, width=140)])
    assert "authorization" in told
    assert f'"azp": "{CLIENT}"' in told
    assert "text:str(" in told
    assert authorizations
    secrets = {part for each in authorizations for part in each.removeprefix("Bearer ").split(".")}
    for secret in [LOCK, "in a moment", "has joined", *secrets]:
        assert secret not in told


def test_calls_are_bounded_and_what_was_made_is_ended(bench: Bench) -> None:
    """When the calls are used up the run stops; it still ends its conversations, and says what it has not seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.probe_messaging.probe.Budget", functools.partial(Budget, calls=14))
        outcome = bench.run()
    assert outcome.calls <= 14 + 60
    assert "14 calls were made" in row(outcome, "event on End").means
    assert {each["state"] for each in bench.org.standin.conversations()} == {"Wrap-up"}


def test_an_api_that_throttles_is_asked_three_times(bench: Bench) -> None:
    """429 is waited for twice, then taken as the answer; the run goes on, and counts it."""
    bench.org.server.faults.add(Fault(path="conversation/create", status=429, times=0, headers={"Retry-After": "1"}))
    outcome = bench.run(listen=False)
    creates = [each for each in bench.org.server.journal.as_json() if "create" in each["path"]]
    assert 3 <= len(creates) <= 3 * 12
    assert outcome.throttled > 0
    assert {row(outcome, name).mark for name in ("customerid, Open", "outside the hours", "two creates at once")} == {
        "??"
    }
    assert "set" not in {each.mark for each in outcome.rows}


def test_a_missing_lock_is_said_before_anything_is_made(bench: Bench) -> None:
    """A webhook needs DYNAMICS_WEBHOOK_LOCK: the run does not begin without it."""
    with pytest.raises(ConfigurationFault) as raised:
        bench.run(settings={"DYNAMICS_WEBHOOK_LOCK": ""})
    assert "DYNAMICS_WEBHOOK_LOCK" in raised.value.fix
    assert bench.org.standin.conversations() == []


def test_a_missing_setting_ends_it_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which setting is missing, and what to do, in place of a traceback."""
    assert main([], environ={}, answers=io.StringIO()) == 2
    assert "DYNAMICS_MESSAGING_URL" in capsys.readouterr().out


def test_a_person_who_skips_everything_leaves_the_rest_settled(bench: Bench) -> None:
    """Without anybody at the desk the rows of the desk are open, each with the reason; those of the APIs are not."""
    desk = Ask(say=bench.said.append, answers=io.StringIO("\n" + "s\n" * 30), seconds=5)
    outcome = bench.run(desk=desk)
    assert "skipped by s" in row(outcome, "event on End").means
    assert "skipped by s" in row(outcome, "outside the hours").means
    for name in ("place of the error code", "customerid, Open", "two creates at once", "found again"):
        assert row(outcome, name).is_settled
    assert not outcome.is_settled
    assert {each["state"] for each in bench.org.standin.conversations()} == {"Wrap-up"}


def test_q_stops_and_ends_what_was_made(bench: Bench) -> None:
    """Whoever stops the run gets the rows of what was seen, and leaves no conversation behind."""
    desk = Ask(say=bench.said.append, answers=io.StringIO("\nq\n"), seconds=5)
    outcome = bench.run(desk=desk)
    assert "stopped by q" in row(outcome, "event on accept").means
    assert row(outcome, "customerid, Open").is_settled
    assert {each["state"] for each in bench.org.standin.conversations()} == {"Wrap-up"}


def test_the_command_works_on_a_services_settings(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With the app settings alone, over TLS and with the vault: 0 when nothing stays open, 1 when something does."""
    server = world.standins.dynamics_messaging
    messaging = server.standin
    assert isinstance(messaging, DynamicsMessaging)
    messaging.switch(webhook_token="v1", automated_messages=True)
    command = [*(word for step in SPARE for word in ("--without", step)), "--play-rep", server.url]
    assert main([*command, "--listen", "0"], environ=world.environ, answers=io.StringIO()) == 0
    told = capsys.readouterr().out
    assert f"Set:\n  DYNAMICS_AUTOMATED_SENDERS={AUTOMATED}\nOpen: nothing" in told
    assert world.environ["KEY_VAULT_URL"]
    assert WEBHOOK_LOCK not in told
    assert main(command, environ=world.environ, answers=io.StringIO()) == 1
    assert "Open: webhook's token" in capsys.readouterr().out


def test_a_person_is_asked_and_may_skip_or_stop() -> None:
    """Enter goes on, s skips, q and the end of the input stop; each question says what to do."""
    asked: list[str] = []
    desk = Ask(say=asked.append, answers=io.StringIO("\ns\nq\n"), seconds=5)
    desk.accept("c-1")
    assert "c-1" in asked[0]
    with pytest.raises(Skipped):
        desk.say("c-1", REP_WORDS)
    assert f"'{REP_WORDS}'" in asked[1]
    for _ in range(2):
        with pytest.raises(Stopped):
            desk.end("c-1")


def test_a_person_who_does_not_answer_is_not_waited_for_for_ever() -> None:
    """Nobody at the desk counts as a step that was skipped."""
    leaving = threading.Event()

    class Silent(io.TextIOWrapper):
        def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # as TextIO has it
            leaving.wait(10)
            return ""

    desk = Ask(say=lambda _: None, answers=Silent(io.BytesIO()), seconds=0.01)
    with pytest.raises(Skipped):
        desk.transfer("c-1")
    leaving.set()


def test_the_listener_takes_chunks_and_turns_strangers_away(bench: Bench) -> None:
    """A body may come in chunks; what is no webhook's, or too large, is refused unread."""
    parts = bench.parts()
    judge = Judge(parts.environ, lock=parts.lock, keys=parts.keys, now=parts.clock.now)
    body = {"type": "message", "text": "hi", "conversation": {"id": "c-1"}}
    with Listener(0, judge=judge, clock=parts.clock, say=bench.said.append) as listener:
        url = f"{listener.url}/api/{LOCK}/v3/conversations/C-1/activities"
        sent = [json.dumps(body).encode()[:9], json.dumps(body).encode()[9:]]
        assert requests.post(url, data=iter(sent), timeout=5).status_code == 200
        assert listener.wait(lambda: bool(listener.requests(["c-1"])), seconds=5)
        assert listener.requests(["c-1"])[0].data == body
        assert requests.get(url, timeout=5).status_code == 404
        assert requests.post(f"{listener.url}/api/health", timeout=5).status_code == 404
        assert requests.post(url, headers={"Content-Length": "1000000000"}, timeout=5).status_code == 413
        assert len(listener.requests(["c-1"])) == 1


def test_an_outline_holds_no_contents() -> None:
    """Keys and kinds; of words only Microsoft's own: type, and an event's name."""
    data = {
        "type": "message",
        "name": "AgentAccepted",
        "text": "my card is 4111",
        "from": {"id": STRANGER, "name": "Jo"},
        "n": 1800000000123,
        "a\x1b[31m": [{"name": "secret.txt"}],
        "at": "2027-01-15T08:00:00Z",
        "no": None,
    }
    assert outline(data) == (
        "type=message, name=AgentAccepted, text:str(15), from.id:guid, from.name:str(2), n:13 digits, "
        "a??31m[].name:str(10), at:time, no:null"
    )
    assert outline({"name": "Jo Doe"}) == "name:str(6)"


def test_the_claims_of_what_is_no_token_are_none() -> None:
    """Whatever stands in the header, reading it raises nothing."""
    for given in (None, "", "Bearer", "Bearer a.b", "Bearer a.b.c", "Bearer W10.W10.x", "Basic eA=="):
        assert read(given) == {}
