"""The OpenCX stand-in: what the documentation says of the API, and the stricter reading elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.opencx import OpenCX
from sandbox.server import Server

KEY = "ocx_live_test"
REQUIRED = {
    "id",
    "status",
    "ai_closure_type",
    "sentiment",
    "channel",
    "ticket_number",
    "assist_mode",
    "created_at",
    "updated_at",
}


class Api:
    """The API with its key."""

    def __init__(self, server: Server) -> None:
        self.url = server.url

    def __call__(self, method: str, path: str, key: str = KEY, **options: Any) -> requests.Response:
        """One request."""
        headers = {"Authorization": f"Bearer {key}"}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=5, **options)

    def make(self, **session: Any) -> str:
        """A session; its id."""
        answer = requests.post(f"{self.url}/_sandbox/sessions", json=session, timeout=5)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.fixture
def standin(clock: Any) -> OpenCX:
    """The stand-in, with small pages."""
    return OpenCX(api_key=KEY, page_size=3, requests_per_minute=20, clock=clock)


@pytest.fixture
def api(standin: OpenCX) -> Iterator[Api]:
    """The stand-in on its port."""
    with Server(standin, tls=None) as server:
        yield Api(server)


def message(number: int) -> dict[str, Any]:
    """A history item."""
    event = {"type": "message", "sender": {"type": "ai"}, "content": {"type": "text", "text": f"m{number}"}}
    return {"created_at": f"2026-01-01T00:00:{number:02}Z", "event": event}


def test_a_session_has_every_required_field(api: Api) -> None:
    """GET gives all required fields, and the optional ones that the session was made with."""
    made = api.make(id="s1", channel="sms", contact={"phone_number": "+15550100"}, handoff={"summary": "x"})
    session = api("GET", f"/chat/sessions/{made}").json()
    assert session.keys() >= REQUIRED
    assert (session["id"], session["channel"], session["status"]) == ("s1", {"type": "sms"}, "open")
    assert session["contact"] == {"phone_number": "+15550100"}


def test_a_wrong_key_and_an_unknown_session_are_refused(api: Api) -> None:
    """401 without the key, 404 for a session that is not there, both as ErrorDto."""
    for answer, status in (
        (api("GET", "/chat/sessions/x", key="no"), 401),
        (api("GET", "/chat/sessions/x"), 404),
    ):
        assert answer.status_code == status
        assert answer.json()["statusCode"] == status


def test_history_comes_in_pages_newest_first(api: Api, standin: OpenCX) -> None:
    """Following `next` gives every item once, newest first; the order can be turned."""
    made = api.make(channel="web", history=[message(number) for number in range(7)])

    def texts() -> list[str]:
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = api("GET", f"/chat/sessions/{made}/history", params={"cursor": cursor} if cursor else {}).json()
            assert len(page["items"]) <= 3
            found += [item["event"]["content"]["text"] for item in page["items"]]
            cursor = page["next"]
        return found

    assert texts() == [f"m{number}" for number in reversed(range(7))]
    standin.newest_first = False
    assert texts() == [f"m{number}" for number in range(7)]
    assert api("GET", f"/chat/sessions/{made}/history?cursor=zzz").status_code == 400


def test_a_reps_message_lands_in_the_history(api: Api, standin: OpenCX) -> None:
    """Send adds an agent message, takes the session over, and merges flat custom data."""
    made = api.make(channel="web", custom_data={"kept": 1})
    body = {
        "sender": "agent",
        "message": {"type": "text", "text": "Hello, Riley here."},
        "agent": {"id": 7, "name": "Riley"},
        "custom_data": {"dynamics365_chat_id": "abc"},
        "should_take_over_session_from_ai": True,
    }
    answer = api("POST", f"/chat/sessions/{made}/send", json=body)
    item = standin.history(made)[-1]
    assert answer.json() == {"success": True, "data": {"message": {"id": item["id"]}}}
    assert item["event"]["sender"] == {"type": "human_agent", "name": "Riley"}
    session = api("GET", f"/chat/sessions/{made}").json()
    assert session["custom_data"] == {"kept": 1, "dynamics365_chat_id": "abc"}
    assert session["assignee_id"] == "7"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"idempotency_key": "x"}, "idempotency_key should not exist"),
        ({"custom_data": {"a": {"b": 1}}}, "custom_data.a"),
        ({"contact": {"custom_data": {"a": 1}}}, "contact.custom_data.a"),
        ({"sender": "bot"}, "sender"),
        ({"message": {"type": "text"}}, "message"),
        ({"message": {"type": "text", "text": "x", "markdown": True}}, "markdown should not exist"),
    ],
)
def test_send_refuses_what_is_not_documented(api: Api, change: dict[str, Any], says: str) -> None:
    """Unknown fields, nested custom data and empty messages are 400, and the text names the field."""
    made = api.make(channel="web")
    body = {"sender": "contact", "message": {"type": "text", "text": "hi"}}
    answer = api("POST", f"/chat/sessions/{made}/send", json={**body, **change})
    assert answer.status_code == 400
    assert says in answer.json()["message"]


def test_a_session_can_be_closed(api: Api) -> None:
    """PATCH sets the status and answers without a body; an unknown status or field is 400."""
    made = api.make(channel="web")
    path = f"/chat/sessions/{made}"
    closed = api("PATCH", path, json={"status": "closed_resolved", "reflect_status_change_for_integration": False})
    assert (closed.status_code, closed.content) == (200, b"")
    assert api("GET", path).json()["status"] == "closed_resolved"
    assert api("PATCH", path, json={"status": "closed"}).status_code == 400
    assert api("PATCH", path, json={"tags": []}).status_code == 400


def test_over_the_limit_it_is_429_until_the_minute_is_over(api: Api, clock: Any) -> None:
    """The 21st request within a minute is refused, and the limit frees itself."""
    made = api.make(channel="web")
    statuses = [api("GET", f"/chat/sessions/{made}").status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    clock.now += 60
    assert api("GET", f"/chat/sessions/{made}").status_code == 200


def test_a_contact_can_speak(api: Api) -> None:
    """The control door adds a contact's message to the history."""
    made = api.make(channel="whatsapp")
    url = f"{api.url}/_sandbox/sessions/{made}/contact-says"
    assert requests.post(url, json={"text": "Still there?"}, timeout=5).status_code == 201
    items = api("GET", f"/chat/sessions/{made}/history").json()["items"]
    assert items[0]["event"]["content"]["text"] == "Still there?"
    assert items[0]["event"]["sender"] == {"type": "contact"}


def test_an_unknown_channel_cannot_be_made(api: Api) -> None:
    """A session is made with a documented channel only."""
    answer = requests.post(f"{api.url}/_sandbox/sessions", json={"channel": "fax"}, timeout=5)
    assert answer.status_code == 400
