"""OpenCX as the relay sees it: what is sent, what is left out, what an unclear answer means, what is read."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.faults import Fault
from sandbox.opencx import OpenCX
from sandbox.server import Server
from shared.config.clock import SystemClock
from shared.config.settings import Settings
from shared.errors import ConfigurationFault, PermanentFailure, TransientFailure
from shared.handoff.model import Outcome
from shared.handoff.record import COMPLETED, RETRYING, Record
from shared.opencx.client import OpenCXClient
from shared.opencx.side import OpenCXSide, side
from shared.opencx.write_back import WriteBack
from shared.relay.model import Conversation, File, RepEntry

KEY = "ocx_test"
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PHOTO = File("photo one.png", "https://files.example.com/a/photo%20one.png", "image/png")
SESSION = "s-1"


class World:
    """The stand-in on a port, and our side of it."""

    def __init__(self, server: Server, standin: OpenCX) -> None:
        self.server = server
        self.standin = standin
        self.clock = SystemClock()
        self.client = OpenCXClient(server.url, api_key=self._key, monotonic=self.clock.monotonic, now=self.clock.now)
        self.side = OpenCXSide(self.client)
        self.keys = [KEY]

    def _key(self, *, deadline: float, is_refused: bool) -> str:
        return self.keys[-1] if is_refused else self.keys[0]

    @property
    def deadline(self) -> float:
        """Five seconds from now."""
        return self.clock.monotonic() + 5

    def say(self, entry: RepEntry, *, to_customer: int = 0, system: str = "salesforce") -> None:
        """A rep has written."""
        self.side.say(conversation(to_customer=to_customer, system=system), entry, deadline=self.deadline)

    def count(self, entry: RepEntry, *, seconds_ago: float = 3600) -> int:
        """How often that is in the history since then."""
        since = self.clock.now() - timedelta(seconds=seconds_ago)
        return self.side.count_said(conversation(), entry, since=since, deadline=self.deadline)

    def history(self) -> list[dict[str, Any]]:
        """The events of the session's history."""
        return [item["event"] for item in self.standin.history(SESSION)]

    def calls(self) -> list[str]:
        """Methods and statuses."""
        return [f"{entry.method} {entry.status}" for entry in self.server.journal.entries()]


@pytest.fixture
def world() -> Iterator[World]:
    """A session that was handed off."""
    standin = OpenCX(api_key=KEY, page_size=3)
    standin.add_session({"id": SESSION, "channel": "web", "custom_data": {"plan": "gold"}})
    with Server(standin, tls=None) as server:
        made = World(server, standin)
        yield made
        made.client.close()


def conversation(**more: Any) -> Conversation:
    """An open conversation in Salesforce."""
    known = {"handoff_id": "h", "session_id": SESSION, "system": "salesforce", "conversation_id": "c-1"}
    return Conversation(**{**known, "channel": "web", "opened_at": NOW, **more})


def entry(text: str = "Hello, Riley here.", *files: File, author: str | None = "Riley") -> RepEntry:
    """What a rep wrote."""
    return RepEntry(id="e-1", at=NOW, text=text, author=author, files=files)


def refuse(world: World, needle: str, status: int = 400) -> None:
    """OpenCX refuses every message that holds this."""
    world.server.faults.add(Fault(method="POST", body_contains=needle, status=status, body={"message": "no"}, times=0))


def test_a_reps_message_arrives_with_name_and_file(world: World) -> None:
    """As an agent's, with the attachment by its address."""
    world.say(entry("Look:", PHOTO))
    (event,) = world.history()
    assert event["sender"] == {"type": "human_agent", "name": "Riley"}
    assert event["content"] == {"type": "text", "text": "Look:"}
    (file,) = event["attachments"]
    assert (file["name"], file["url"], file["type"]) == (PHOTO.name, PHOTO.url, PHOTO.content_type)


@pytest.mark.parametrize(
    ("system", "name"), [("salesforce", "salesforce_conversation_id"), ("dynamics365", "dynamics365_chat_id")]
)
def test_the_first_message_takes_over_and_brings_the_id(world: World, system: str, name: str) -> None:
    """Once: later ones neither take over nor write ids again; the session's own data stays."""
    world.say(entry(), system=system)
    session = world.standin.session(SESSION)
    assert session["custom_data"] == {"plan": "gold", name: "c-1"}
    assert session["assignee_id"] == "api"
    world.standin.reset()
    world.standin.add_session({"id": SESSION, "channel": "web"})
    world.say(entry(), system=system, to_customer=1)
    later = world.standin.session(SESSION)
    assert (later["custom_data"], "assignee_id" in later) == ({}, False)


def test_ids_are_not_written_when_that_is_off(world: World) -> None:
    """OPENCX_WRITE_BACK=off; OPENCX_AGENT_SENDER names the sender."""
    made = side(Settings({"OPENCX_WRITE_BACK": "off", "OPENCX_AGENT_SENDER": "contact"}), world.client)
    made.say(conversation(), entry(), deadline=world.deadline)
    session = world.standin.session(SESSION)
    assert session["custom_data"] == {"plan": "gold"}
    assert session["history"][0]["event"]["sender"]["type"] == "contact"


def test_a_file_that_is_refused_goes_as_a_link(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A part that OpenCX does not take costs no message; the log says what was left out, and not the text."""
    caplog.set_level(logging.INFO, "opencx_handoff")
    refuse(world, '"attachments"')
    said = entry("Look:", PHOTO)
    world.say(said)
    (event,) = world.history()
    assert event["content"]["text"] == f"Look:\n{PHOTO.name}: {PHOTO.url}"
    assert "message.attachments" in caplog.text
    assert "Look:" not in caplog.text
    assert world.count(said) == 1


def test_ids_and_names_that_are_refused_cost_no_message(world: World) -> None:
    """The bare words go last."""
    refuse(world, "custom_data")
    world.say(entry("Words"))
    assert [event["content"]["text"] for event in world.history()] == ["Words"]
    assert world.calls() == ["POST 400", "POST 201"]


def test_what_is_refused_bare_is_refused_for_good(world: World) -> None:
    """Then the relay goes on without it; nothing was said."""
    refuse(world, "Words")
    with pytest.raises(PermanentFailure) as refused:
        world.say(entry("Words", PHOTO))
    assert (refused.value.code, world.history()) == ("opencx_message_refused", [])


def test_a_file_without_an_address_is_named(world: World) -> None:
    """The customer hears that there was one."""
    world.say(entry("Look:", File("plan.pdf", None)))
    assert world.history()[0]["content"]["text"] == "Look:\n[plan.pdf]"


@pytest.mark.parametrize(
    ("fault", "kind", "is_unclear", "after"),
    [
        (Fault(status=429, headers={"Retry-After": "7"}), "throttled", False, 7.0),
        (Fault(status=409), "server_error", False, None),
        (Fault(status=500), "server_error", True, None),
        (Fault(status=503, after_work=True), "server_error", True, None),
        (Fault(drop="before"), "unreachable", True, None),
        (Fault(drop="after"), "unreachable", True, None),
        (Fault(truncate=3), "unreachable", True, None),
        (Fault(status=200, body="<html>A gateway's page</html>"), "server_error", True, None),
    ],
)
def test_an_answer_says_whether_the_message_may_have_arrived(
    world: World, fault: Fault, kind: str, is_unclear: bool, after: float | None
) -> None:
    """A 5xx, a cut-off answer, another's page and none leave it open; then the history tells."""
    world.server.faults.add(fault)
    with pytest.raises(TransientFailure) as failed:
        world.say(entry())
    failure = failed.value
    assert (failure.kind, failure.is_unclear, failure.retry_after_seconds) == (kind, is_unclear, after)
    arrived = fault.drop == "after" or fault.after_work or fault.truncate is not None
    assert world.count(entry()) == int(arrived)


def test_a_refused_connection_is_clear(world: World) -> None:
    """Nothing can have arrived where nobody listens; nor when there was no time to ask."""
    world.server.stop()
    with pytest.raises(TransientFailure) as failed:
        world.say(entry())
    assert (failed.value.code, failed.value.is_unclear) == ("opencx_unreachable", False)
    with pytest.raises(TransientFailure) as failed:
        world.side.say(conversation(), entry(), deadline=world.clock.monotonic() + 0.5)
    assert (failed.value.code, failed.value.is_unclear) == ("budget_used_up", False)


def test_a_time_out_is_unclear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side may still be at it."""
    monkeypatch.setattr("shared.http.timeouts", lambda seconds: (seconds, 0.05))
    world.server.faults.add(Fault(delay_seconds=0.3))
    with pytest.raises(TransientFailure) as failed:
        world.say(entry())
    assert (failed.value.kind, failed.value.is_unclear) == ("unreachable", True)


def test_a_rotated_key_is_used_within_the_same_send(world: World) -> None:
    """401 says that nothing was done: the new key sends it, once."""
    world.keys = ["stale", KEY]
    world.say(entry())
    assert (world.calls(), len(world.history())) == (["POST 401", "POST 201"], 1)
    world.keys = ["stale"]
    with pytest.raises(ConfigurationFault) as fault:
        world.say(entry())
    assert fault.value.code == "opencx_key_refused"


def test_a_session_that_is_gone_is_refused_for_good(world: World) -> None:
    """404; a redirect is an administrator's matter, for messages must not be lost for it."""
    with pytest.raises(PermanentFailure) as refused:
        world.side.say(conversation(session_id="nobody"), entry(), deadline=world.deadline)
    assert refused.value.code == "opencx_session_missing"
    world.server.faults.add(Fault(status=302, headers={"Location": "https://elsewhere.example.com"}))
    with pytest.raises(ConfigurationFault) as fault:
        world.say(entry())
    assert fault.value.code == "opencx_url_wrong"


def test_only_an_agents_very_message_is_counted(world: World) -> None:
    """Text and files count, white space does not; what others wrote is not ours; all pages are read."""
    for _ in range(5):
        world.standin.says(SESSION, "noise", sender="ai")
    world.standin.says(SESSION, "Hello  there\n", sender="human_agent")
    world.standin.says(SESSION, "Hello there", sender="contact")
    world.standin.says(SESSION, "Hello there", sender="ai")
    world.say(entry("Hello there", PHOTO))
    assert world.count(entry("Hello there")) == 1
    assert world.count(entry(" Hello there", PHOTO)) == 1
    assert world.count(entry("Hello there", File("other.png", PHOTO.url))) == 0
    world.say(entry("Hello there"))
    assert world.count(entry("Hello there")) == 2


def test_a_file_without_a_name_is_found_again(world: World) -> None:
    """It gets a name from its address, for OpenCX may keep a copy at another one."""
    said = entry("", File(None, "https://files.example.com/x/report.pdf?sig=1"))
    world.say(said)
    world.standin._history[SESSION][0]["event"]["attachments"][0]["url"] = "https://cdn.example.com/1"
    assert world.count(said) == 1


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_customers_messages_come_oldest_first(world: World, newest_first: bool) -> None:
    """From all pages, in the order in which they were written, whatever OpenCX's order is; equal times too."""
    world.standin.newest_first = newest_first
    at = (NOW + timedelta(seconds=1)).isoformat()
    same = [at, at, at, (NOW + timedelta(seconds=2)).isoformat()]
    world.standin.add_session(
        {
            "id": "s-2",
            "channel": "web",
            "history": [
                {
                    "id": f"m{number}",
                    "created_at": when,
                    "event": {
                        "type": "message",
                        "sender": {"type": "contact", "name": "Jo"},
                        "content": {"type": "text", "text": f"t{number}"},
                        "attachments": [
                            {
                                "id": "a",
                                "name": "x.png",
                                "size": 3,
                                "type": "image/png",
                                "url": "https://f.example.com/x",
                            }
                        ],
                    },
                }
                for number, when in enumerate([(NOW - timedelta(seconds=9)).isoformat(), *same])
            ]
            + [
                {"created_at": at, "event": {"type": "message", "sender": {"type": "ai"}, "content": {"text": "no"}}},
                {"created_at": at, "event": {"type": "csat_requested"}},
            ],
        }
    )
    found = world.side.messages(conversation(session_id="s-2"), since=NOW, deadline=world.deadline)
    assert [message.id for message in found] == ["m1", "m2", "m3", "m4"]
    first = found[0]
    assert (first.text, first.name, first.at) == ("t1", "Jo", NOW + timedelta(seconds=1))
    assert first.files == (File("x.png", "https://f.example.com/x", "image/png"),)


def test_items_without_an_id_get_one_that_stays(world: World) -> None:
    """Older answers have none: the same item is the same message at every look, and equal ones are two."""
    for _ in range(2):
        world.standin.says(SESSION, "ok")
    for item in world.standin._history[SESSION]:
        item["created_at"] = NOW.isoformat()
        del item["id"]
    world.standin.page_size = 50
    looks = [
        [message.id for message in world.side.messages(conversation(), since=NOW, deadline=world.deadline)]
        for _ in range(2)
    ]
    assert looks[0] == looks[1]
    assert len(set(looks[0])) == 2


def test_closing_resolves_quietly_and_can_be_repeated(world: World) -> None:
    """Resolved, not mirrored to a native integration; a closed session that refuses is closed."""
    for _ in range(2):
        world.side.close(conversation(), deadline=world.deadline)
    assert world.standin.session(SESSION)["status"] == "closed_resolved"
    world.server.faults.add(Fault(method="PATCH", status=400))
    world.side.close(conversation(), deadline=world.deadline)


def test_closing_goes_on_without_what_is_refused(world: World) -> None:
    """The status is what matters."""
    refuse_patch = Fault(method="PATCH", body_contains="reflect_status", status=400, times=0)
    world.server.faults.add(refuse_patch)
    world.side.close(conversation(), deadline=world.deadline)
    assert world.standin.session(SESSION)["status"] == "closed_resolved"


def record(state: str = COMPLETED, kind: str = "incident") -> Record:
    """A handoff that landed after 202."""
    outcome = Outcome("dynamics365", kind, "phone", "11111111-0000-4000-8000-000000000000", ticket_number="CAS-1")
    landed = outcome if state == COMPLETED else None
    return Record("h", SESSION, state, "dynamics365", "phone", 2, NOW, NOW, outcome=landed)


def write_back(world: World, how: str, **more: Any) -> bool:
    """Write it back as the setting says."""
    made = WriteBack(lambda: world.client, Settings({"OPENCX_WRITE_BACK": how}))
    return made.write_back(record(**more), "A colleague has it.", deadline=world.deadline)


IDS = {"dynamics365_incident_id": "11111111-0000-4000-8000-000000000000", "dynamics365_ticket_number": "CAS-1"}


def test_a_late_landing_is_told_once(world: World) -> None:
    """The sentence and the ids; a session that holds them is left alone."""
    assert [write_back(world, "message") for _ in range(3)] == [True, True, True]
    session = world.standin.session(SESSION)
    assert session["custom_data"] == {"plan": "gold", **IDS}
    assert [event["content"]["text"] for event in world.history()] == ["A colleague has it."]
    assert "assignee_id" not in session


def test_a_lost_answer_does_not_double_the_sentence(world: World) -> None:
    """It is reported as not written; the next call finds it."""
    world.server.faults.add(Fault(method="POST", drop="after"))
    assert write_back(world, "message") is False
    assert write_back(world, "message") is True
    assert len(world.history()) == 1


def test_silent_sends_no_message(world: World) -> None:
    """OpenCX does not say that a message may be left out, and the stand-in refuses it: logged, nothing more."""
    assert write_back(world, "silent") is False
    assert (world.history(), world.calls()) == ([], ["GET 200", "POST 400"])


@pytest.mark.parametrize("how", ["off", "replies", "no such word"])
def test_nothing_is_written_unless_it_is_asked_for(world: World, how: str) -> None:
    """Off, with replies only, or by a setting that nobody can read: no call, and no failure."""
    assert write_back(world, how) is False
    assert world.calls() == []


def test_what_has_not_landed_is_not_told(world: World) -> None:
    """There is nothing to tell."""
    assert write_back(world, "message", state=RETRYING) is False
    assert world.calls() == []


def test_a_failure_is_never_the_handoffs(world: World) -> None:
    """OpenCX is down, or there is no key: False, and the log says so."""
    world.server.stop()
    assert write_back(world, "message") is False
    keyless = WriteBack(lambda: None, Settings({"OPENCX_WRITE_BACK": "message"}))
    assert keyless.write_back(record(), "x", deadline=world.deadline) is False
