"""The judge of conversations. It believes the stand-ins' own rows, and the rows of the ledger."""

from collections import Counter
from collections.abc import Sequence

from shared.relay.model import digest, lane_of
from tests.faults.oracle import DUPLICATE, LOST, STUCK, WRONG, Finding
from tests.faults.talks import REP, Said, Talk


def judge(talk: Talk, *, may_end_early: bool = False, may_lose: int = 0) -> list[Finding]:
    """Everything that is wrong with a conversation and with the world.

    Args:
        talk: when all of it is over.
        may_end_early: the rep's system has said that the conversation is over: then it is, and what was written
            afterwards is nobody's.
        may_lose: how many messages were refused for good; the ledger must count them.
    """
    ends_early = may_end_early and talk.over_early
    found = [
        *_compare(talk, "to the customer", talk.said, talk.told(), ends_early=ends_early, may_lose=may_lose),
        *_compare(
            talk,
            "to the rep",
            [(text, ()) for text in talk.asked],
            [(text, ()) for text in talk.rep.heard()],
            ends_early=ends_early,
            may_lose=may_lose,
        ),
    ]
    if talk.over_early and not may_end_early:
        found.append(Finding(WRONG, talk.session_id, "taken for ended while people were writing"))
    found += _judge_ledger(talk, ends_early=ends_early, may_lose=may_lose)
    if not may_end_early:
        found += [Finding(WRONG, talk.session_id, what) for what in talk.rep.wrong()]
    status = talk.world.opencx.session(talk.session_id)["status"]
    if not status.startswith("closed"):
        found.append(Finding(STUCK, talk.session_id, f"the session is {status}"))
    closed = [one for one in talk.world.opencx.webhooks.deliveries() if one["event"] == "conversation.closed"]
    if len([one for one in closed if one["session_id"] == talk.session_id]) > 1:
        found.append(Finding(DUPLICATE, talk.session_id, "closed more than once"))
    return found


def judge_world(talk: Talk) -> list[Finding]:
    """What is wrong with the world as a whole: crashes, what was put aside, lanes that do not rest."""
    world = talk.world
    found = [Finding(WRONG, "-", f"the service crashed: {crash}") for crash in world.crashes]
    found += [
        Finding(WRONG, "-", f"put aside: {one.body.decode()}") for one in world.queues.aside if b"{" not in one.body
    ]
    if world.queues.next_at() is not None:
        found.append(Finding(STUCK, "-", f"{len(world.queues.messages)} messages are still in the queue"))
    return found


def _compare(
    talk: Talk, way: str, written: Sequence[Said], stands: Sequence[Said], *, ends_early: bool, may_lose: int
) -> list[Finding]:
    """Each once, and in order."""
    if list(written) == list(stands):
        return []
    wanted, there = Counter(written), Counter(stands)
    found = []
    doubled = sum((there - wanted).values())
    if doubled:
        found.append(Finding(DUPLICATE, talk.session_id, f"{doubled} too many {way}: {_first(there - wanted)}"))
    missing = sum((wanted - there).values())
    if missing > may_lose and not ends_early:
        found.append(Finding(LOST, talk.session_id, f"{missing} missing {way}: {_first(wanted - there)}"))
    if not found and not _is_subsequence(stands, written):
        found.append(Finding(WRONG, talk.session_id, f"out of order {way}"))
    return found


def _judge_ledger(talk: Talk, *, ends_early: bool, may_lose: int) -> list[Finding]:
    found = []
    row_of = digest(talk.session_id)[:24]
    rows = [
        row
        for row in talk.world.rows()
        if row["PartitionKey"] == f"r{lane_of(talk.session_id)}" and row_of in row["RowKey"]
    ]
    kinds = Counter(row["RowKey"].partition(":")[0] for row in rows)
    if kinds["o"]:
        row = next(row for row in rows if row["RowKey"].startswith("o:"))
        found.append(Finding(STUCK, talk.session_id, f"still open: {row['failures']} failures, {row['error_code']}"))
        return found
    if kinds["i"]:
        found.append(Finding(STUCK, talk.session_id, f"{kinds['i']} entries in the inbox of an ended conversation"))
    if kinds["t"] != 1:
        return [*found, Finding(LOST, talk.session_id, f"{kinds['t']} traces")]
    trace = next(row for row in rows if row["RowKey"].startswith("t:"))
    if trace["undelivered"] > may_lose + ends_early:
        found.append(Finding(LOST, talk.session_id, f"{trace['undelivered']} undelivered ({trace['error_code']})"))
    ending = REP if ends_early else talk.ending
    if trace["state"] != "ended" or trace["ending"] != ending:
        found.append(Finding(WRONG, talk.session_id, f"{trace['state']} by {trace['ending']}, not by {ending}"))
    return found


def _is_subsequence(part: Sequence[Said], whole: Sequence[Said]) -> bool:
    rest = iter(whole)
    return all(any(one == other for other in rest) for one in part)


def _first(counted: Counter[Said]) -> str:
    return repr(next(iter(counted))[0][:40])
