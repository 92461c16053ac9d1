"""What the webhook's requests mean."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from shared.dynamics_messaging import inbox, webhook
from shared.dynamics_messaging.activity import KINDS, QUIET, Activity, read
from shared.dynamics_messaging.pieces import same
from shared.relay.model import JOINED, LEFT, OVER, UNANSWERED, Conversation
from tools.probe_messaging.desk_steps import AGAIN_WORDS, REP_WORDS
from tools.probe_messaging.listener import Received
from tools.probe_messaging.outline import digits
from tools.probe_messaging.row import Row, against, to_set, unseen
from tools.probe_messaging.seen import Seen

NO_LISTENER = "there was no webhook: run it with --listen"
SENDERS, AVAILABILITY = "DYNAMICS_AUTOMATED_SENDERS", "DYNAMICS_AVAILABILITY"
_WORDS = {
    JOINED: "a rep is there",
    LEFT: "perhaps over: the work item is asked",
    OVER: "over",
    UNANSWERED: "nobody works",
}


def rows(
    seen: Seen, *, handoff_id: str, automated_senders: frozenset[str], availability: str, without: frozenset[str]
) -> Iterator[Row]:
    """The rows of the webhook.

    Args:
        seen: by the run.
        handoff_id: of the conversation in which most happened.
        automated_senders: DYNAMICS_AUTOMATED_SENDERS, in lower case.
        availability: DYNAMICS_AVAILABILITY.
        without: the steps that were left out; they have no rows.
    """
    yield _ids(seen)
    yield _form(seen)
    for phase, name in (("accept", "accept"), ("transfer", "transfer"), ("tab", "X on the tab"), ("end", "End")):
        if phase not in without:
            yield _events(seen, phase, f"event on {name}")
    yield _echoes(seen, handoff_id)
    yield _automated(seen, automated_senders)
    if "file" not in without:
        yield _file(seen)
    if "attempts" not in without:
        yield _attempts(seen)
    if "hours" not in without:
        yield _hours(seen, availability)


def why_unseen(seen: Seen, *steps: str) -> str:
    """Why nothing of these steps was seen."""
    if not seen.has_listener:
        return NO_LISTENER
    return next((seen.skipped[step] for step in steps if step in seen.skipped), "the webhook brought nothing of it")


def _names(seen: Seen, phase: str) -> list[str]:
    """The events of a phase, each once."""
    return list(dict.fromkeys(each.activity.name for each in seen.of_phase(phase) if each.activity.name))


def _is(activity: Activity, words: Sequence[str]) -> bool:
    return any(same(activity.text) == same(each) for each in words)


def _of_rep(seen: Seen) -> Received | None:
    """The rep's own message."""
    return next((each for each in seen.activities if _is(each.activity, [REP_WORDS])), None)


def _ids(seen: Seen) -> Row:
    name, found = "ids of activities", _of_rep(seen)
    if found is None:
        return unseen(name, why_unseen(seen, "say"))
    keys = {key.lower() for key in found.data}
    own = [each for each in ("id", "timestamp") if each in keys]
    places = [place for place, _ in digits(found.data)]
    told = f"{' and '.join(own) or 'neither id nor timestamp'}; 13 digits: {', '.join(places) or 'nowhere'}"
    key = found.activity.key[:2]
    bodies = [read(each).key for each in seen.attempt_bodies]
    if key == "a:" and len(set(bodies)) > 1:
        return against(name, f"{told}; another id at each delivery", "a repeated delivery is taken for a new message")
    if key == "m:":
        return Row(name, told, "a repeated delivery is known by the number of its message")
    if key == "a:":
        return Row(name, told, "a repeated delivery is known by its id")
    if places:
        return against(name, told, "the service does not look there: it compares words with GET messages instead")
    return Row(name, told, "a repeated delivery is known by its words, and by how often GET messages lists them")


def _form(seen: Seen) -> Row:
    name = "form of events"
    named = [each for each in seen.activities if each.activity.name]
    leaked = [each for each in seen.activities if "EventName" in each.activity.text and each.activity.kind == "message"]
    if leaked:
        return against(
            name, f"{len(leaked)} as a message that is not known as an event", "its text reaches the customer"
        )
    if not named:
        return unseen(name, why_unseen(seen, "accept", "end"))
    types = sorted({str(each.data.get("type")) for each in named})
    return Row(name, f"type {' and '.join(types)}, with a name", "the service knows both; no event's text is passed on")


def _events(seen: Seen, phase: str, name: str) -> Row:
    if not seen.has_listener or phase not in seen.phases:
        return unseen(name, why_unseen(seen, phase))
    found = _names(seen, phase)
    kinds = [KINDS[each] for each in found if each in KINDS]
    strange = [each for each in found if each not in KINDS and each not in QUIET]
    told = f"{', '.join(found) or 'none'}"
    state = seen.states.get(phase, "")
    if state:
        told += f"; then {state}"
    meaning = "; ".join(f"{each}: {_WORDS.get(KINDS.get(each, ''), 'nothing')}" for each in found) or "no event"
    woken = seen.states.get("wake", "") if phase == "tab" else ""
    if woken:
        told += f"; after a message of the customer: {woken}"
    if strange:
        meaning += f". Unknown to the service: {', '.join(strange)}"
    if phase in ("tab", "transfer") and OVER in kinds:
        return against(name, told, f"{meaning}. The service closes the session, though it goes on")
    if woken and woken not in ("Open", "Active"):
        return against(name, told, f"{meaning}. What the customer writes then reaches nobody")
    if phase == "end" and not {OVER, LEFT} & set(kinds):
        meaning += ". The end is noticed by the work item alone, within minutes"
        return against(name, told, meaning) if strange else Row(name, told, meaning)
    if phase == "accept" and JOINED not in kinds:
        meaning += ". Whether a rep is there is not known; the work item is asked more often"
    return Row(name, told, meaning)


def _echoes(seen: Seen, handoff_id: str) -> Row:
    name = "echo of our own"
    if not seen.has_listener or not seen.activities:
        return unseen(name, why_unseen(seen, "create"))
    ids = {each.conversation_id for each in seen.activities}
    known = Conversation(handoff_id, handoff_id, "dynamics365", seen.conversation_id, "web", datetime.now(UTC))
    own = [
        each
        for each in seen.activities
        if each.conversation_id == seen.conversation_id
        and each.activity.kind == "message"
        and _is(each.activity, seen.own_words)
    ]
    if not own:
        return Row(name, f"none, in {len(ids)} conversations", "the customer cannot hear their own words")
    passed = [each for each in own if not webhook.is_ours(each.activity, known) and not each.activity.is_marked]
    told = f"{len(own)} of our own messages came back"
    if passed:
        return against(name, f"{told}, {len(passed)} without our id or mark", "the customer hears their own words")
    return Row(name, told, "each is known by our id or mark, and left out")


def _automated(seen: Seen, senders: frozenset[str]) -> Row:
    name, rep = "automated messages", _of_rep(seen)
    if rep is None:
        return unseen(name, why_unseen(seen, "say"))
    words = [*seen.own_words, REP_WORDS, AGAIN_WORDS]
    found = [
        each.activity
        for each in seen.activities
        if each.activity.kind == "message" and each.activity.text.strip() and not _is(each.activity, words)
    ]
    if not found:
        return Row(name, "none came by the webhook", "nothing that would have to be told apart")
    who = sorted({(each.sender_id, each.sender_name) for each in found})
    told = f"{len(found)}, from {', '.join(f'{name or "no name"} ({sender or "no id"})' for sender, name in who)}"
    left = [each for each in found if not each.is_automated(senders)]
    if not left:
        return Row(name, told, "they are known as such; RELAY_AUTOMATED_MESSAGES says whether the customer gets them")
    alike = [each for each in left if not each.sender_id or each.sender_id == rep.activity.sender_id]
    if alike:
        means = "they look like the rep's words, and reach the customer"
        return to_set(name, told, means, "switch them off, in the workstream's channel, page Behaviors")
    wanted = sorted(senders | {each.sender_id.lower() for each in left})
    means = "they reach the customer as if the rep had written them"
    if not any(read(each).sender_id for each in seen.listing):
        means += (
            "; once that is set, only the webhook brings the rep's words, for GET messages does not say whose they are"
        )
    return to_set(name, told, means, f"{SENDERS}={','.join(wanted)}")


def _file(seen: Seen) -> Row:
    name, file = "rep's file", seen.rep_file
    if file is None:
        return unseen(name, why_unseen(seen, "file"))
    told = f"at {file.host}: HTTP {file.plain} without a token"
    if file.with_token is not None:
        told += f", {file.with_token} with ours"
    if file.expires:
        told += f"; its address ends {file.expires}"
    if file.later is not None:
        told += f"; HTTP {file.later} after {file.later_seconds:.0f} s"
    off = "allow no files from representatives, in the workstream's channel"
    if file.plain // 100 != 2:
        return to_set(name, told, "OpenCX gets an address that opens for nobody", off)
    if file.later is not None and file.later // 100 != 2:
        return to_set(name, told, "the address that OpenCX gets soon opens for nobody", off)
    return Row(name, told, "OpenCX and the customer can open it, as long as the address lives")


def _attempts(seen: Seen) -> Row:
    name, times = "attempts of webhook", seen.attempts
    if not times:
        return unseen(name, why_unseen(seen, "attempts"))
    gaps = ", ".join(f"{later - sooner:.1f}" for sooner, later in itertools.pairwise(times))
    told = f"{len(times)} in all" + (f", {gaps} s apart" if gaps else "")
    if len(times) == 1:
        return Row(name, told, "what is refused once is lost for the webhook; GET messages brings it at the next sweep")
    if times[-1] - times[0] > inbox.WINDOW.total_seconds():
        means = f"longer than the {inbox.WINDOW.total_seconds():.0f} s in which equal words are looked at as one"
        return against(name, told, means)
    return Row(name, told, "all within the minute in which equal words are looked at as one")


def _hours(seen: Seen, setting: str) -> Row:
    name, made = "outside the hours", seen.hours
    if made is None:
        return unseen(name, why_unseen(seen, "hours"))
    state = seen.states.get("hours", "")
    names = _names(seen, "hours")
    told = f"{', '.join(names) or 'no event'}; then {state or 'no work item to read'}"
    if not made.is_success:
        told = f"the create is refused: HTTP {made.status}"
    if seen.availability:
        told += f"; availability API: {seen.availability}"
    if (made.is_success and not state) or not made.tells:
        return unseen(name, told)
    if not made.is_success:
        means, wanted = "a chat outside the hours fails", "incident"
    elif state in ("Closed", "Wrap-up"):
        means, wanted = "a chat outside the hours is closed at once", "incident"
    elif any(KINDS.get(each) == UNANSWERED for each in names):
        return Row(name, told, "it waits in the queue, and the service is told that nobody works")
    else:
        means, wanted = "it waits in the queue, and nobody says so", "say"
    if setting in (wanted, "incident"):
        return Row(name, told, f"{means}; {AVAILABILITY}={setting} takes care of it")
    first = "" if seen.availability == "HTTP 200" else " (give the Application User the role Omnichannel administrator)"
    return to_set(name, told, means, f"{AVAILABILITY}={wanted}{first}")
