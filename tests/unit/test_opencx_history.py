"""OpenCX's history as the relay reads it: in how many requests, whatever its order, and what an odd item costs."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import BaseAdapter

from shared.errors import PermanentFailure, TransientFailure
from shared.handoff.message import turns_of
from shared.handoff.model import Handoff
from shared.handoff.request import parse
from shared.opencx import client as opencx
from shared.opencx.client import OpenCXClient
from shared.opencx.side import OpenCXSide
from shared.relay.model import Conversation, File, RepEntry

START = datetime(2026, 3, 1, tzinfo=UTC)
SESSION = "s-1"
MINUTE = timedelta(minutes=1)
ITEM, LAST, OFFSET = "item", "last", "offset"
"""What a cursor may be: the id of the page's first item, of the last item before it, or a number."""


class History(BaseAdapter):
    """OpenCX's history of any session, without a network; `status` is what the next answers are instead."""

    def __init__(self, *, newest_first: bool, size: int = 50, cursors: str = ITEM) -> None:
        super().__init__()
        self.newest_first, self.size, self.cursors = newest_first, size, cursors
        self.items: list[dict[str, Any]] = []
        self.ids = (f"i{number}" for number in itertools.count())
        self.gets: list[str | None] = []
        self.statuses: dict[int, int] = {}
        self.between: Callable[[], None] = lambda: None

    def add(self, at: datetime | None, text: str = "x", sender: str = "ai", **more: Any) -> str:
        """One more item at the end; its id."""
        event = {"type": "message", "sender": {"type": sender}, "content": {"type": "text", "text": text}}
        name = next(self.ids)
        self.items.append({"id": name, "created_at": at.isoformat() if at else None, "event": event, **more})
        return name

    def fill(self, count: int, *, step: timedelta = MINUTE) -> datetime:
        """Many items of the AI's; the last one's time."""
        for number in range(count):
            self.add(START + number * step)
        return START + (count - 1) * step

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Answer one request."""
        parts = urlsplit(str(request.url))
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        if parts.path.endswith("/history"):
            cursor = parse_qs(parts.query).get("cursor", [None])[0]
            self.gets.append(cursor)
            status, body = self._page(cursor)
            self.between()
        else:
            status, body = 200, {"id": SESSION, "channel": {"type": "web"}}
        response.status_code = self.statuses.pop(len(self.gets), status)
        response._content = json.dumps(body).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""

    def _page(self, cursor: str | None) -> tuple[int, dict[str, Any]]:
        items = list(reversed(self.items)) if self.newest_first else list(self.items)
        ids = [item["id"] for item in items]
        start = 0
        if cursor is not None and self.cursors == OFFSET:
            start = int(cursor)
        elif cursor is not None:
            if cursor not in ids:
                return 400, {"message": "cursor is not valid"}
            start = ids.index(cursor) + (self.cursors == LAST)
        end = start + self.size
        following = None
        if end < len(ids):
            following = str(end) if self.cursors == OFFSET else ids[end - (self.cursors == LAST)]
        return 200, {"items": items[start:end], "next": following}


class Look:
    """Our side of it."""

    def __init__(self, history: History) -> None:
        session = requests.Session()
        session.mount("https://", history)
        self.history = history
        self.client = OpenCXClient(
            "https://opencx.example.com",
            api_key=lambda *, deadline, is_refused: "key",
            monotonic=lambda: 0.0,
            now=lambda: START,
            session=session,
        )
        self.side = OpenCXSide(self.client)

    def at(self, since: datetime, session_id: str = SESSION) -> tuple[list[str], int]:
        """What the customer wrote since then, and how many requests it took to see that."""
        before = len(self.history.gets)
        found = self.side.messages(conversation(session_id), since=since, deadline=10)
        return [message.text for message in found], len(self.history.gets) - before

    def count(self, text: str, since: datetime) -> int:
        """How often a rep has said that since then."""
        entry = RepEntry(id="e", at=since, text=text)
        return self.side.count_said(conversation(), entry, since=since, deadline=10)


def conversation(session_id: str = SESSION) -> Conversation:
    """An open conversation."""
    return Conversation("h", session_id, "salesforce", "c-1", "web", opened_at=START)


@pytest.mark.parametrize("cursors", [ITEM, LAST, OFFSET])
def test_a_long_history_that_comes_newest_first_costs_two_requests(cursors: str) -> None:
    """Of 5,100 items: reading stops at the first page that is older, at every look."""
    history = History(newest_first=True, cursors=cursors)
    end, look = history.fill(5_100), Look(history)
    assert look.at(end - MINUTE) == ([], 2)
    history.add(end + MINUTE, "Are you there?", "contact")
    assert look.at(end) == (["Are you there?"], 2)
    for number in range(120):
        history.add(end + 2 * MINUTE, f"m{number}", "contact")
    assert look.at(end + 2 * MINUTE) == ([f"m{number}" for number in range(120)], 4)


@pytest.mark.parametrize("cursors", [ITEM, LAST, OFFSET])
def test_a_long_history_that_comes_oldest_first_is_read_once(cursors: str) -> None:
    """Of 5,100 items: the first look reads 102 pages, later ones the last page, and what has come since."""
    history = History(newest_first=False, cursors=cursors)
    end, look = history.fill(5_100), Look(history)
    assert look.at(end - MINUTE) == ([], 102)
    assert look.at(end - MINUTE) == ([], 1)
    history.add(end + MINUTE, "Are you there?", "contact")
    assert look.at(end) == (["Are you there?"], 2)
    assert look.at(end) == (["Are you there?"], 2)
    for number in range(120):
        history.add(end + 2 * MINUTE, f"m{number}", "contact")
    assert look.at(end + 2 * MINUTE) == ([f"m{number}" for number in range(120)], 3)
    assert look.at(end - timedelta(hours=5))[1] == 10


def test_a_look_from_long_ago_reads_from_the_start() -> None:
    """The last 16 pages are remembered; what lies before them is read as a whole."""
    history = History(newest_first=False, size=2)
    history.fill(9)
    history.add(START + 9 * MINUTE, "early", "contact")
    for number in range(90):
        history.add(START + (10 + number) * MINUTE)
    look = Look(history)
    assert look.at(START + 9 * MINUTE) == (["early"], 50)
    assert look.at(START + 9 * MINUTE) == (["early"], 50)


def test_what_the_handoff_has_read_need_not_be_read_again() -> None:
    """The transcript is read as a whole, in either order; where it comes oldest first, its end is known then."""
    for newest_first, later in ((True, 2), (False, 1)):
        history = History(newest_first=newest_first)
        end, look = history.fill(5_100), Look(history)
        handoff = look.client.complete(Handoff(handoff_id="h", session_id=SESSION, channel="web"), deadline=10)
        assert handoff.transcript is not None
        assert (len(handoff.transcript), len(history.gets)) == (5_100, 102)
        assert look.at(end - MINUTE) == ([], later)


def test_what_was_read_before_a_failure_is_not_read_again() -> None:
    """100 requests a minute are fewer than the pages of a long history: it is read on where it was cut short."""
    history = History(newest_first=False)
    end, look = history.fill(5_100), Look(history)
    history.statuses = {61: 429}
    with pytest.raises(TransientFailure):
        look.at(end - MINUTE)
    assert look.at(end - MINUTE) == ([], 43)


@pytest.mark.parametrize("newest_first", [True, False])
def test_equal_times_hide_nothing(newest_first: bool) -> None:
    """Where times do not tell the order all is read; those of the very time that is asked for are never left out."""
    history = History(newest_first=newest_first, size=5)
    history.fill(40, step=timedelta(0))
    look = Look(history)
    assert look.at(START + MINUTE) == ([], 8)
    assert look.at(START + MINUTE) == ([], 8)
    for number in range(12):
        history.add(START + MINUTE, f"m{number}", "contact")
    for _ in range(2):
        assert look.at(START + MINUTE)[0] == [f"m{number}" for number in range(12)]


def test_one_wrong_time_does_not_turn_the_order_round() -> None:
    """An item of the far future on the first page: what follows is older than it, and not past."""
    history = History(newest_first=False, size=5)
    history.add(START + timedelta(days=9000))
    end = history.fill(40)
    history.add(end + MINUTE, "new", "contact")
    look = Look(history)
    assert [look.at(end)[0] for _ in range(2)] == [["new"], ["new"]]


def test_the_first_page_alone_does_not_end_a_look() -> None:
    """Two items that stand the wrong way round are no order."""
    history = History(newest_first=False, size=2)
    for at in (START + MINUTE, START, START + 2 * MINUTE):
        history.add(at)
    history.add(START + 9 * MINUTE, "new", "contact")
    assert Look(history).at(START + 5 * MINUTE) == (["new"], 2)


def test_a_page_that_begins_out_of_order_is_none_to_begin_at() -> None:
    """What stands before it may be later than its first item, and later than what is asked for."""
    history = History(newest_first=False, size=3)
    end = history.fill(5)
    history.add(end + 3 * MINUTE, "early", "contact")
    history.add(end + MINUTE, "late", "contact")
    look = Look(history)
    assert [look.at(end + 2 * MINUTE)[0] for _ in range(2)] == [["early"], ["early"]]


@pytest.mark.parametrize("cursors", [ITEM, OFFSET])
def test_pages_that_have_changed_are_read_from_the_start(cursors: str) -> None:
    """The cursor is not known any more, or its page begins with another item."""
    history = History(newest_first=False, cursors=cursors, size=5)
    end, look = history.fill(50), Look(history)
    look.at(end - MINUTE)
    del history.items[45 if cursors == ITEM else 3]
    history.add(end + MINUTE, "new", "contact")
    assert look.at(end - MINUTE) == (["new"], 11)
    assert look.at(end - MINUTE) == (["new"], 1)
    assert look.at(START + timedelta(minutes=45, seconds=30)) == (["new"], 2)


@pytest.mark.parametrize("cursors", [ITEM, OFFSET])
def test_an_order_that_is_turned_round_is_noticed(cursors: str) -> None:
    """OpenCX promises none: from the known page on time goes back, and what is new stands elsewhere."""
    history = History(newest_first=False, cursors=cursors, size=5)
    end, look = history.fill(50), Look(history)
    look.at(end - MINUTE)
    history.newest_first = True
    history.add(end + MINUTE, "new", "contact")
    assert look.at(end - MINUTE)[0] == ["new"]
    assert look.at(end - MINUTE) == (["new"], 2)


def test_a_page_that_always_fails_is_not_asked_for_for_ever() -> None:
    """A bad answer may be the old cursor's doing: the next look begins a page earlier. A busy OpenCX is no such."""
    history = History(newest_first=False)
    end, look = history.fill(5_100), Look(history)
    look.at(end - MINUTE)
    for status in (429, 500):
        history.statuses = {len(history.gets) + 1: status}
        with pytest.raises(TransientFailure):
            look.at(end - MINUTE)
        assert look.at(end - MINUTE) == ([], 1 if status == 429 else 2)
    assert look.at(end - MINUTE) == ([], 1)


def test_a_session_that_is_gone_is_told() -> None:
    """Also where its pages were known."""
    history = History(newest_first=False, size=5)
    end, look = history.fill(50), Look(history)
    look.at(end - MINUTE)
    history.statuses = {len(history.gets) + 1: 404, len(history.gets) + 2: 404}
    with pytest.raises(PermanentFailure) as failure:
        look.at(end - MINUTE)
    assert failure.value.code == "opencx_session_missing"


def test_pages_of_few_sessions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: the session that was not looked at for longest is read from the start again."""
    monkeypatch.setattr(opencx, "MOST_SESSIONS", 2)
    history = History(newest_first=False, size=10)
    end, look = history.fill(91), Look(history)
    asked = [look.at(end + MINUTE, session_id)[1] for session_id in ("a", "b", "a", "c", "a", "b")]
    assert asked == [10, 10, 1, 10, 1, 10]


def test_an_item_that_two_pages_show_is_one() -> None:
    """Where cursors are numbers, whatever comes while pages are read moves them."""
    history = History(newest_first=True, size=2, cursors=OFFSET)
    history.add(START)
    for number in range(3):
        history.add(START + MINUTE, f"m{number}", "contact")

    def write() -> None:
        history.between = lambda: None
        history.add(START + 2 * MINUTE, "new", "contact")

    history.between = write
    assert Look(history).at(START + MINUTE)[0] == ["m0", "m1", "m2"]


@given(
    newest_first=st.booleans(),
    cursors=st.sampled_from([ITEM, LAST, OFFSET]),
    size=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=40),
)
def test_no_message_is_missed_in_either_order(
    newest_first: bool, cursors: str, size: int, steps: list[tuple[int, int, bool]]
) -> None:
    """Whatever comes between the looks, and whatever times are equal: each look finds all that the whole has."""
    history = History(newest_first=newest_first, size=size, cursors=cursors)
    look, now = Look(history), START
    for count, pause, has_time in steps:
        for _ in range(count):
            now += pause * MINUTE
            history.add(now if has_time or not history.items else None, f"m{len(history.items)}", "contact")
        found, _ = look.at(now)
        written = [
            item["event"]["content"]["text"]
            for item in history.items
            if item["created_at"] and item["created_at"] >= now.isoformat()
        ]
        assert sorted(text for text in found if text in written) == sorted(written)


def item(*, at: object = START.isoformat(), **event: Any) -> dict[str, Any]:
    """A customer's message."""
    known = {"type": "message", "sender": {"type": "contact", "name": "Jo"}, "content": {"text": "My card was stolen"}}
    return {"id": "i1", "created_at": at, "event": {**known, **event}}


FLAT = {"role": "user", "text": "My card was stolen", "name": "Jo", "attachments": [None]}
URL = "https://files.example.com/x.png"
ODD: dict[str, tuple[dict[str, Any], str | None, list[File]]] = {
    "no attachment": (item(attachments=[None, {"name": "x", "url": URL}]), "Jo", [File("x", URL)]),
    "attachments that are no list": (item(attachments={"name": "x"}), "Jo", []),
    "an attachment that is a number": (item(attachments=[5, "x"]), "Jo", []),
    "a file's name that is a number": (item(attachments=[{"name": 7, "url": URL}]), "Jo", [File(None, URL)]),
    "an address that is none": (item(attachments=[{"name": "x", "url": [URL]}]), "Jo", [File("x", None)]),
    "a type that is none": (
        item(attachments=[{"url": URL, "type": 5, "mime_type": "a/b"}]),
        "Jo",
        [File(None, URL, "a/b")],
    ),
    "a person's name that is a number": (item(sender={"type": "contact", "name": 15551234567}), None, []),
    "a broken character in the name": (item(sender={"type": "contact", "name": "Jo\ud83d"}), "Jo\ufffd", []),
    "an older shape": ({"id": "i1", "created_at": START.isoformat(), **FLAT}, "Jo", []),
    "seconds": (item(at=START.timestamp()), "Jo", []),
    "milliseconds": (item(at=int(START.timestamp() * 1000)), "Jo", []),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_part_costs_that_part(odd: str) -> None:
    """And not what the customer has to say."""
    raw, name, files = ODD[odd]
    history = History(newest_first=True)
    history.items = [raw]
    (found,) = Look(history).side.messages(conversation(), since=START, deadline=10)
    assert (found.id, found.at, found.text, found.name) == ("i1", START, "My card was stolen", name)
    assert list(found.files) == files
    (turn,) = turns_of([raw])
    assert (turn.text, turn.name, len(turn.attachments)) == (found.text, name, len(files))


def test_an_odd_text_costs_that_text() -> None:
    """A file is carried without it; broken characters are marked; with neither text nor file there is no message."""
    history = History(newest_first=False)
    history.items = [
        {**item(content={"text": 5}, attachments=[{"name": "x", "url": URL}]), "id": "a"},
        {**item(content={"text": "Hi \ud83d"}), "id": "b"},
        {**item(content={"text": 5}, attachments=[None]), "id": "c"},
    ]
    assert Look(history).at(START)[0] == ["", "Hi \ufffd"]


NO_TIMES = [None, "", "soon", True, 0, 17, -1, 10**30, 5_000_000_000, "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("at", [*NO_TIMES, "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59Z", [], {}])
def test_a_message_without_a_time_has_its_neighbours(at: object, newest_first: bool) -> None:
    """That of the item before it, which stays so whatever comes later; of the first ones, that of the item after."""
    history = History(newest_first=newest_first)
    history.items = [
        {**item(at=at), "id": "a"},
        {**item(type="csat_requested", at=START.isoformat()), "id": "b"},
        {**item(at=at), "id": "c"},
        {**item(type="csat_requested", at=(START + MINUTE).isoformat()), "id": "d"},
    ]
    looks = []
    for _ in range(2):
        found = Look(history).side.messages(conversation(), since=START, deadline=10)
        looks.append([(message.id, message.at) for message in found])
        history.add(START + 2 * MINUTE, "later", "contact")
    assert looks[0] == [("a", START), ("c", START)]
    assert looks[1] == [*looks[0], ("i0", START + 2 * MINUTE)]


def test_messages_without_times_and_ids_stay_the_same() -> None:
    """Equal words are two messages, and the same two at every look."""
    history = History(newest_first=True)
    history.add(START)
    for _ in range(2):
        history.add(None, "ok", "contact", id=None)
    looks = []
    for _ in range(2):
        found = Look(history).side.messages(conversation(), since=START, deadline=10)
        looks.append({message.id for message in found})
        history.add(START + MINUTE, "later")
    assert looks[0] == looks[1]
    assert len(looks[0]) == 2


def test_equal_words_without_times_and_ids_at_two_times_are_two() -> None:
    """Also where the earlier ones are not read any more."""
    history = History(newest_first=True, size=3)
    ids = []
    for minutes in (0, 9):
        for number in range(6):
            history.add(START + minutes * MINUTE + number * timedelta(seconds=1))
        history.add(None, "ok", "contact", id=None)
        since = START + minutes * MINUTE + timedelta(seconds=4)
        (found,) = Look(history).side.messages(conversation(), since=since, deadline=10)
        ids.append(found.id)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("newest_first", [True, False])
def test_what_a_rep_said_counts_without_a_time_where_it_may_be_meant(newest_first: bool) -> None:
    """It was written before the item that follows it: where that is old, so is it."""
    history = History(newest_first=newest_first)
    history.add(START)
    history.add(None, "Hello", "human_agent")
    look = Look(history)
    assert look.count("Hello", START + MINUTE) == 1
    history.add(START + timedelta(seconds=1))
    assert look.count("Hello", START + MINUTE) == 0


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "0001-01-01", "1970-01-01T00:00:00Z"]
)
@pytest.mark.parametrize("shape", ["flat", "history"])
def test_a_time_that_was_not_set_is_none(at: str, shape: str) -> None:
    """0001-01-01 is what .NET and Go write for that, 1970 what C does."""
    given_item = {"role": "user", "text": "Hi", "at": at} if shape == "flat" else item(at=at)
    handoff = parse({"session_id": "s", "channel": "web", "transcript": [given_item]})
    assert [turn.at for turn in handoff.transcript or ()] == [None]
