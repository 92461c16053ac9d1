"""The steps at the rep's desk."""

import functools
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import requests

from shared import http
from shared.dataverse.batch import Operation
from shared.dynamics_messaging.activity import Activity
from shared.dynamics_messaging.availability import ACTION
from shared.dynamics_messaging.pieces import same
from shared.errors import HandoffError
from tools.probe_messaging.api_steps import again
from tools.probe_messaging.desk import Skipped
from tools.probe_messaging.listener import Listener, Received
from tools.probe_messaging.seen import File
from tools.probe_messaging.stage import DATAVERSE_SECONDS, Stage

REP_WORDS, AGAIN_WORDS = "probe 1", "probe 2"
MOST_ATTEMPTS = 10


def accept(stage: Stage) -> None:
    """The rep accepts."""
    conversation_id = stage.need(stage.seen.conversation_id)
    stage.at_desk("accept", conversation_id, stage.desk.accept)
    stage.phase("between")
    again(stage, "Active")


def say(stage: Stage) -> None:
    """The rep writes, and everything is listed once."""
    conversation_id = stage.need(stage.seen.conversation_id)
    stage.at_desk(
        "say", conversation_id, lambda it: stage.desk.say(it, REP_WORDS), until=_has(lambda it: _is(it, REP_WORDS))
    )
    stage.seen.listing = stage.api.messages(conversation_id).rows("messages")


def file(stage: Stage) -> None:
    """The rep sends a file, and it is fetched."""
    conversation_id = stage.need(stage.seen.conversation_id)
    if stage.listener is None:
        message = "without --listen there is nothing that brings its address"
        raise Skipped(message)
    stage.at_desk("file", conversation_id, stage.desk.file, until=_has(lambda it: bool(it.files)))
    arrived = stage.listener.requests([conversation_id], phase="file")
    url = next((each.activity.files[0].url for each in arrived if each.activity.files), None)
    if not url:
        message = "the webhook brought no file with an address"
        raise Skipped(message)
    parts = urlsplit(url)
    is_theirs = f"{parts.scheme}://{parts.netloc}" == stage.api.origin  # no other host is shown our token
    stage.seen.rep_file = File(
        host=parts.netloc,
        url=url,
        expires=" ".join(parse_qs(parts.query).get("se", []))[:40],
        plain=_fetch(url),
        with_token=_fetch(url, stage.api.bearer()) if is_theirs else None,
        fetched_at=stage.clock.monotonic(),
    )


def attempts(stage: Stage) -> None:
    """The rep writes, and each delivery is refused, until none comes any more."""
    listener = stage.listener
    conversation_id = stage.need(stage.seen.conversation_id)
    if listener is None:
        message = "without --listen there is nothing that could refuse"
        raise Skipped(message)
    listener.refusing = AGAIN_WORDS
    try:
        stage.at_desk("attempts", conversation_id, lambda it: stage.desk.say(it, AGAIN_WORDS), until=_has(_refused))
        count, found = -1, _refusals(listener, conversation_id)
        while count < len(found) < MOST_ATTEMPTS:
            count = len(found)
            listener.wait(
                functools.partial(_more, listener, conversation_id, count),
                seconds=min(stage.pace.again, stage.budget.seconds_left()),
            )
            found = _refusals(listener, conversation_id)
    finally:
        listener.refusing = ""
    stage.seen.attempts = [each.at for each in found]
    stage.seen.attempt_bodies = [each.data for each in found]


def transfer(stage: Stage) -> None:
    """The rep transfers."""
    conversation_id = stage.need(stage.seen.conversation_id)
    stage.at_desk("transfer", conversation_id, stage.desk.transfer)


def tab(stage: Stage) -> None:
    """The rep closes the tab."""
    conversation_id = stage.need(stage.seen.conversation_id)
    stage.at_desk("tab", conversation_id, stage.desk.close_tab)
    stage.seen.states["tab"] = stage.state(conversation_id, "Waiting")
    again(stage, "Waiting")
    stage.phase("between")
    wake = {"type": "message", "from": stage.customer("a"), "text": "probe that wakes"}
    stage.seen.own_words.append("probe that wakes")
    stage.api.send(conversation_id, wake)
    stage.seen.states["wake"] = stage.state(conversation_id, "Open", "Active")
    stage.desk.accept(conversation_id)
    stage.arrive("between", conversation_id)


def end(stage: Stage) -> None:
    """The rep ends, and what is asked afterwards is refused."""
    conversation_id = stage.need(stage.seen.conversation_id)
    stage.at_desk("end", conversation_id, stage.desk.end)
    stage.seen.states["end"] = stage.state(conversation_id, "Wrap-up", "Closed")
    stage.over.add(conversation_id)
    stage.phase("between")
    again(stage, "Wrap-up")
    stage.seen.after_end["GET messages"] = stage.api.messages(conversation_id)
    late = {"type": "message", "from": stage.customer("a"), "text": "probe after the end"}
    stage.seen.own_words.append("probe after the end")
    stage.seen.after_end["a message"] = stage.api.send(conversation_id, late)


def hours(stage: Stage) -> None:
    """A create when nobody works."""
    stage.desk.leave()
    try:
        _availability(stage)
        _closed(stage)
    finally:
        stage.desk.come_back()


def _availability(stage: Stage) -> None:
    """Whether the service may ask who is there."""
    workstream = stage.seen.row.get("_msdyn_liveworkstreamid_value")
    if not workstream:
        return
    stage.budget.spend()
    body = {"ApiVersion": "1.0", "LiveWorkStreamId": workstream, "CustomContextItems": "{}"}
    deadline = stage.clock.monotonic() + DATAVERSE_SECONDS
    try:
        reply = stage.dataverse.call(Operation("POST", ACTION, body), deadline=deadline)
        stage.seen.availability = f"HTTP {reply.status}"
    except HandoffError as error:
        stage.seen.availability = error.code


def _closed(stage: Stage) -> None:
    seen = stage.seen
    stage.phase("hours")
    seen.own_words.append(stage.start("h"))
    seen.hours, conversation_id = stage.create(stage.body("h"))
    if not conversation_id:
        return
    stage.desk.left(conversation_id)
    seen.phases["hours"] = conversation_id
    stage.arrive("hours", conversation_id)
    seen.states["hours"] = stage.state(conversation_id, "Closed", "Wrap-up")
    stage.phase("between")
    if seen.states["hours"] not in ("Closed", "Wrap-up"):
        stage.finish(conversation_id)
    stage.over.add(conversation_id)


def later(stage: Stage) -> None:
    """The rep's file, at the end."""
    known = stage.seen.rep_file
    if known is not None:
        seconds = stage.clock.monotonic() - known.fetched_at
        stage.seen.rep_file = replace(known, later=_fetch(known.url), later_seconds=seconds)


def _fetch(url: str, token: str = "") -> int:
    """The status of a GET; 0 without an answer. Nothing of the file is read."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http"):
        return 0
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with (
            http.session(f"{parts.scheme}://{parts.netloc}") as session,
            session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=(5, 20)) as answered,
        ):
            return answered.status_code
    except requests.RequestException:
        return 0


def _has(holds: Callable[[Activity], bool]) -> Callable[[list[Received]], bool]:
    return lambda arrived: any(holds(each.activity) for each in arrived)


def _is(activity: Activity, words: str) -> bool:
    return activity.kind == "message" and same(activity.text) == same(words)


def _refused(activity: Activity) -> bool:
    return _is(activity, AGAIN_WORDS)


def _refusals(listener: Listener, conversation_id: str) -> list[Received]:
    return [each for each in listener.requests([conversation_id]) if _refused(each.activity)]


def _more(listener: Listener, conversation_id: str, count: int) -> bool:
    return len(_refusals(listener, conversation_id)) > count
