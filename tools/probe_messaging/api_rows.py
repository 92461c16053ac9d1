"""What the answers of the APIs and of Dataverse mean."""

from collections.abc import Iterator, Mapping

from shared.dynamics_messaging import names, refusal
from shared.dynamics_messaging.activity import read
from shared.dynamics_messaging.pieces import same
from shared.errors import ConversationEnded, HandoffError
from tools.probe_messaging.api import Answer
from tools.probe_messaging.api_steps import CUSTOMER_WORDS
from tools.probe_messaging.desk_steps import REP_WORDS
from tools.probe_messaging.outline import outline
from tools.probe_messaging.row import Row, against, to_set, unseen
from tools.probe_messaging.seen import LOOKED_FOR, Again, Seen

NO_STEP = "an earlier step did not get there"
STEP_OF = {"Open": "create", "Active": "accept", "Waiting": "tab", "Wrap-up": "end"}


def rows(seen: Seen, *, handoff_id: str, without: frozenset[str]) -> Iterator[Row]:
    """The rows that need no webhook.

    Args:
        seen: by the run.
        handoff_id: of the conversation in which most happened.
        without: the steps that were left out; they have no rows.
    """
    yield _error_code(seen)
    for state in LOOKED_FOR:
        if STEP_OF[state] not in without:
            yield _again(state, seen)
    if "pairs" not in without:
        yield _pairs(seen)
    if "requests" not in without:
        yield _requests(seen)
        yield _left(seen)
    yield _start(seen)
    if "customer" not in without:
        yield _listing(seen, names.customer_id(handoff_id))
    yield _context(seen)
    yield _state(seen)
    yield _found_by(seen)
    if "customer" not in without:
        yield _forms(seen)
    yield _after_end(seen)


def _why(seen: Seen, *steps: str) -> str:
    return next((seen.skipped[step] for step in steps if step in seen.skipped), NO_STEP)


def _taken_for(answer: Answer) -> HandoffError:
    """What the service takes a refusal for."""
    return refusal.failure(answer.status, answer.body, retry_after_seconds=None, is_about_conversation=True)


def _error_code(seen: Seen) -> Row:
    name, answer = "place of the error code", seen.unknown
    if answer is None:
        return unseen(name, _why(seen, "refusals"))
    if not answer.tells:
        return unseen(name, f"HTTP {answer.status}")
    number = refusal.number_of(answer.body)
    where = next((path for path, value in _leaves(answer.json) if number and str(number) in value), "nowhere")
    told = f"HTTP {answer.status}, {number or 'no number'} in {where}; {outline(answer.json)}"
    error = _taken_for(answer)
    if isinstance(error, ConversationEnded):
        return Row(name, told, "the service reads it: a conversation that is over is known as such")
    return against(
        name, told, f"the service takes it for {error.code}: it would not notice that a conversation is over"
    )


def _again(state: str, seen: Seen) -> Row:
    name, found = f"customerid, {state}", seen.again.get(state)
    if found is None:
        return unseen(name, _why(seen, STEP_OF[state]))
    if not found.answer.tells:
        return unseen(name, f"HTTP {found.answer.status}")
    if found.is_same is None:
        return against(
            name, f"HTTP {found.answer.status}", "a repeat of a handoff is refused while the conversation is so"
        )
    told = f"{'the same' if found.is_same else 'a new'} conversation"
    if found.state and found.state != state:
        return unseen(name, f"{told}, but Dataverse says that it was {found.state}")
    return _judged(name, told if found.state else f"{told} (Dataverse did not show the state)", state, found)


def _judged(name: str, told: str, state: str, found: Again) -> Row:
    if state in ("Open", "Active"):
        if found.is_same:
            return Row(name, told, "a repeated handoff rings once")
        return against(name, told, "a handoff that is repeated after a lost answer rings twice")
    if state == "Waiting":
        means = (
            "a repeat brings the conversation back"
            if found.is_same
            else "a repeat after X begins another one; that needs an answer that was lost before"
        )
        return Row(name, told, means)
    if found.is_same:
        return against(name, told, "a handoff could land in a conversation that the rep has ended")
    return Row(name, told, "what the rep has ended stays ended; the row 'found again' says whether a repeat notices")


def _pairs(seen: Seen) -> Row:
    name = "two creates at once"
    if not seen.pairs:
        return unseen(name, _why(seen, "pairs"))
    met, count = sum(seen.pairs), len(seen.pairs)
    told = f"{met} of {count} pairs met in one conversation"
    if met == count:
        return Row(name, told, "no sign of doubles; the service does not rely on it, its record has a lease")
    return Row(name, told, "creates at once double; the service never sends two at once, its record has a lease")


def _requests(seen: Seen) -> Row:
    name = "conversationrequestid"
    if seen.requests_met is None:
        return unseen(name, _why(seen, "requests"))
    if seen.requests_met:
        return Row(name, "two creates with one id met", "a second guard, beside customerid")
    return Row(name, "two creates with one id made two conversations", "a label only; customerid alone guards")


def _left(seen: Seen) -> Row:
    name = "customer leaves"
    if "left" not in seen.phases:
        return unseen(name, _why(seen, "requests"))
    names = [each.activity.name for each in seen.of_phase("left") if each.activity.name]
    told = f"after endOfConversation: {', '.join([*names, seen.left_at or 'no work item to read'])}"
    if seen.left_at in ("Wrap-up", "Closed"):
        return Row(name, told, "a session that OpenCX closes ends at the rep's desk, too")
    return against(name, told, "the rep's conversation stays open when OpenCX closes the session")


def _start(seen: Seen) -> Row:
    name, created = "start message", seen.created
    if created is None or not created.is_success or seen.start_listed is None:
        return unseen(name, _why(seen, "create", "reads"))
    number = "with" if created.get("messageId") else "without"
    told = f"taken {number} a messageId, {'listed' if seen.start_listed else 'not listed'} by GET messages"
    if seen.start_listed:
        return Row(name, told, "a repeat sees that the rep has it")
    return Row(name, told, "a repeat tells the rep the summary once more; only after an answer that was lost")


def _listing(seen: Seen, our_id: str) -> Row:
    name, found = "GET messages: from", {}
    for message in seen.listing:
        for who, words in (("customer", CUSTOMER_WORDS), ("rep", REP_WORDS)):
            if same(read(message).text) == same(words):
                found[who] = message
    if "customer" not in found or "rep" not in found:
        return unseen(name, "the customer's and the rep's message must be listed: " + _why(seen, "customer", "say"))
    told = "; ".join(f"{who}: {outline(_parts(message)) or 'nothing'}" for who, message in found.items())
    customer, rep = read(found["customer"]), read(found["rep"])
    if customer.sender_id == our_id and rep.sender_id and rep.sender_id != our_id:
        return Row(name, told, "it says whose a message is: what the webhook lost is found for certain")
    if rep.sender_id and rep.sender_id == customer.sender_id:
        return against(name, told, "rep and customer look the same: what the webhook lost is not told apart")
    return Row(name, told, "it does not say whose a message is: the service tells by the words what the webhook lost")


def _parts(message: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in message.items() if key.lower() in ("from", "channeldata", "messageid")}


def _context(seen: Seen) -> Row:
    name = "GET context"
    if seen.context_seconds is not None:
        told = f"all variables after {seen.context_seconds:.0f} s"
        return Row(name, told, "routing rules can use sessionId and channel; the service itself does not read them")
    if not seen.context_missing:
        return unseen(name, _why(seen, "reads"))
    told = f"{', '.join(seen.context_missing)} never came"
    return to_set(name, told, "routing rules may lack them", "define these variables in the workstream (Text)")


def _state(seen: Seen) -> Row:
    name = "work item's state"
    if seen.state_seconds is not None:
        told = f"Dataverse shows it after {seen.state_seconds:.0f} s, under the conversation's id"
        return Row(name, told, "after an ambiguous event, and now and then, the service sees whether it is over")
    if seen.state_code:
        means = "the service cannot see whether a conversation is over"
        return to_set(name, seen.state_code, means, "give the Application User the right Read on Activity")
    if seen.conversation_id and "reads" not in seen.skipped:
        return against(name, "no work item of that id", "the service cannot see whether a conversation is over")
    return unseen(name, _why(seen, "create", "reads"))


def _found_by(seen: Seen) -> Row:
    name = "found again"
    if seen.found_code:
        means = "the service cannot see that a handoff had a conversation that is over"
        return to_set(name, seen.found_code, means, "give the Application User the role Omnichannel agent")
    if not seen.is_found_known:
        return unseen(name, _why(seen, "create", "reads"))
    if seen.found_by:
        told = f"by {' and '.join(seen.found_by)}"
        return Row(name, told, "a handoff whose conversation the rep has ended is not started again")
    means = "a handoff whose answer was lost, and whose conversation the rep has ended, is started again by a repeat"
    return Row(name, "by neither table", means)


def _forms(seen: Seen) -> Row:
    name = "customer's file"
    if not seen.forms:
        return unseen(name, _why(seen, "customer"))
    told = "; ".join(
        f"{form}: HTTP {status}{f', {number}' if number else ''}" for form, (status, number) in seen.forms.items()
    )
    if seen.forms.get("https", (0, None))[0] // 100 == 2:
        return Row(name, told, "files of customers are attached by their address")
    if seen.row.get("msdyn_enablefileattachmentsforcustomers") is False:
        means = "the channel row allows no files from customers: they come as links in the text"
        return Row(name, told, means, "nothing (or allow files from customers in the workstream)")
    return Row(name, told, "files of customers come as links in the text")


def _after_end(seen: Seen) -> Row:
    name = "after the end"
    if not seen.after_end:
        return unseen(name, _why(seen, "end"))
    told = "; ".join(
        f"{what}: HTTP {answer.status}{f', {number}' if (number := refusal.number_of(answer.body)) else ''}"
        for what, answer in seen.after_end.items()
    )
    if not all(answer.tells for answer in seen.after_end.values()):
        return unseen(name, told)
    wrong = [answer for answer in seen.after_end.values() if not answer.is_success]
    if any(not isinstance(_taken_for(answer), ConversationEnded) for answer in wrong):
        codes = ", ".join(_taken_for(answer).code for answer in wrong)
        return against(name, told, f"the service takes it for {codes}, and tries again")
    if wrong:
        return Row(name, told, "the service notices the end even when no event came")
    return Row(name, told, "an ended conversation takes messages: events and the work item alone tell the end")


def _leaves(data: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, str | int):
        yield path, str(data)
