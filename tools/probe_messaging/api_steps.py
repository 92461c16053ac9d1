"""The steps that need nobody at the desk."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from shared.dataverse.rows import literal
from shared.dynamics_messaging import names, refusal
from shared.dynamics_messaging.activity import AUTOMATED, OURS
from shared.dynamics_messaging.people import HANDOFF_VARIABLE
from shared.errors import HandoffError
from tools.probe_messaging.api import Json
from tools.probe_messaging.desk import Skipped
from tools.probe_messaging.seen import Again
from tools.probe_messaging.stage import Stage

PAIRS = 3
CUSTOMER_WORDS, SERVICE_WORDS = "probe of the customer", "probe of the service"
VARIABLES = frozenset({"sessionId", "channel", "handoffId"})
DATA_URI = "data:text/plain;base64,cHJvYmU="
HTTPS = "https://www.microsoft.com/robots.txt"
"""A text file that stands where Dynamics can surely fetch it, if it fetches."""

_FINDERS = ("msdyn_ocliveworkitemcontextitems", "msdyn_customengagementctxes")


def row(stage: Stage) -> None:
    """The channel row, as far as the service may read it."""
    wanted = "msdyn_appid,msdyn_tenantid,msdyn_webhookurl,_msdyn_liveworkstreamid_value"
    files = "msdyn_enablefileattachmentsforcustomers,msdyn_enablefileattachmentsforagents"
    for columns in (f"{wanted},{files}", wanted):  # the two of files are newer than the others
        reply = stage.rows(f"msdyn_occustommessagingchannels({stage.api.channel_id})?$select={columns}")
        if reply.is_success:
            stage.seen.row = reply.json()
            return
    message = f"Dataverse answers HTTP {reply.status} for the channel row"
    raise Skipped(message)


def refusals(stage: Stage) -> None:
    """What "there is no such conversation" looks like."""
    stage.seen.unknown = stage.api.messages(str(uuid.uuid4()))


def create(stage: Stage) -> None:
    """The conversation in which most happens."""
    seen = stage.seen
    seen.own_words.append(stage.start("a"))
    seen.created, seen.conversation_id = stage.create(stage.body("a"))
    if not seen.conversation_id:
        error = refusal.failure(
            seen.created.status, seen.created.body, retry_after_seconds=None, is_about_conversation=False
        )
        raise error
    again(stage, "Open")


def again(stage: Stage, wanted: str) -> None:
    """A second create, when Dataverse shows that state."""
    conversation_id = stage.need(stage.seen.conversation_id)
    state = stage.state(conversation_id, wanted)
    answer, found = stage.create(stage.body("a"))
    is_same = found == conversation_id if found else None
    stage.seen.again[wanted] = Again(state, is_same, answer)
    if found and not is_same:  # else the next create would find this one
        stage.finish(found)


def reads(stage: Stage) -> None:
    """GET messages, GET context, the work item, and what finds it again."""
    seen = stage.seen
    conversation_id = stage.need(seen.conversation_id)
    listed = stage.api.messages(conversation_id)
    if listed.is_success:
        start = stage.start("a").partition("\n")[0]
        seen.start_listed = any(start in str(each.get("text")) for each in listed.rows("messages"))

    def shows_context() -> bool:
        shown = stage.api.context(conversation_id).rows("context")
        there = {str(value) for each in shown for key, value in each.items() if key.lower() == "name"}
        seen.context_missing = tuple(sorted(VARIABLES - there))
        return not seen.context_missing

    seen.context_seconds = stage.until(shows_context)
    try:
        seen.state_seconds = stage.until(lambda: bool(_statuscode(stage, conversation_id)))
    except HandoffError as error:
        seen.state_code = error.code
    try:
        stage.until(lambda: bool(_found_by(stage)))
        seen.found_by, seen.is_found_known = _found_by(stage), True
    except HandoffError as error:
        seen.found_code = error.code


def customer(stage: Stage) -> None:
    """A message, one marked as automated, and two files."""
    seen = stage.seen
    conversation_id = stage.need(seen.conversation_id)
    sender = stage.customer("a")
    mark = f"{stage.start('a').partition('\n')[0]}, part 1 of 1\n"
    own = {"channelData": {OURS: {"type": AUTOMATED}}, "text": mark + SERVICE_WORDS}
    seen.own_words += [CUSTOMER_WORDS, mark + SERVICE_WORDS]
    texts: list[Json] = [{"id": "probe-1", "text": CUSTOMER_WORDS}, own]
    for text in texts:
        answer = stage.api.send(conversation_id, {"type": "message", "from": sender, **text})
        if not answer.is_success:
            raise refusal.failure(answer.status, answer.body, retry_after_seconds=None, is_about_conversation=True)
    for form, address in (("data URI", DATA_URI), ("https", HTTPS)):
        attached = {"contentType": "text/plain", "contentUrl": address, "name": "probe.txt"}
        answer = stage.api.send(conversation_id, {"type": "message", "from": sender, "attachments": [attached]})
        seen.forms[form] = (answer.status, None if answer.is_success else refusal.number_of(answer.body))


def requests(stage: Stage) -> None:
    """Twice one ``conversationrequestid``, and no ``customerid``; then the customer leaves."""
    request = str(uuid.uuid4())
    found = [stage.create(stage.body("b", is_named=False, request=request))[1] for _ in range(2)]
    if not all(found):
        message = "a create without customerid was refused"
        raise Skipped(message)
    stage.seen.requests_met = found[0] == found[1]
    stage.seen.own_words.append(stage.start("b"))
    stage.phase("left")
    stage.seen.phases["left"] = found[0]
    stage.seen.left_at = stage.finish(found[0])
    stage.arrive("left", found[0])
    stage.phase("between")
    if found[1] != found[0]:
        stage.finish(found[1])


def pairs(stage: Stage) -> None:
    """Two creates at once, some times."""
    known = stage.need(stage.seen.conversation_id)
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(stage.api.messages, known) for _ in range(2)]:
            each.result()  # two connections stand now: else the second create of a pair would come late
        for place in range(PAIRS):
            letter = f"p{place}"
            stage.seen.own_words.append(stage.start(letter))
            body = stage.body(letter)
            both = threading.Barrier(2, timeout=10)

            def one(body: Json = body, both: threading.Barrier = both) -> str:
                both.wait()
                return stage.create(body)[1]

            found = {each.result() for each in [pool.submit(one) for _ in range(2)]}
            if "" in found:
                message = "one of two creates at once was refused"
                raise Skipped(message)
            stage.seen.pairs.append(len(found) == 1)
            for conversation_id in found:
                stage.api.send(conversation_id, {"type": "endOfConversation"})
                stage.over.add(conversation_id)


def _statuscode(stage: Stage, conversation_id: str) -> int | None:
    reply = stage.rows(f"msdyn_ocliveworkitems({conversation_id})?$select=statuscode")
    code = reply.json().get("statuscode")
    return code if isinstance(code, int) else None


def _found_by(stage: Stage) -> tuple[str, ...]:
    """The tables by which the service would find the conversation of an earlier try."""
    handoff_id = stage.handoff_id("a")
    named = f"msdyn_name eq {literal(HANDOFF_VARIABLE)} and msdyn_value eq {literal(handoff_id)}"
    sender = f"msdyn_customsenderid eq {literal(names.customer_id(handoff_id))}"
    lookups = ("_msdyn_ocliveworkitemid_value", "_msdyn_liveworkitemid_value")
    found = []
    for table, lookup, condition in zip(_FINDERS, lookups, (named, sender), strict=True):
        reply = stage.rows(f"{table}?$select={lookup}&$filter={quote(condition, safe='()')}&$top=1")
        rows = reply.json().get("value") if reply.is_success else None
        if isinstance(rows, list) and any(each.get(lookup) for each in rows if isinstance(each, dict)):
            found.append(table)
    return tuple(found)
