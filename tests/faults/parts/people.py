"""Reps and other workers act in between: what people did stays, and a late worker changes nothing."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import requests

from sandbox.dataverse.rows import Ref
from sandbox.dataverse.seed import SECOND_QUEUE_ID
from tests.faults import case, faults, oracle
from tests.faults.case import HANDOFF, AtOne
from tests.faults.oracle import WRONG, Expected, Finding
from tests.faults.parts import matrix
from tests.faults.report import Result
from tests.faults.stories import Story, story
from tests.faults.wire import Call, Fault
from tests.faults.world import World, post

EDITED = "Edited by a rep"
COPIES = 6


def edits_stay(world: World, *, told: Sequence[str] = ("phone new", "email known", "web new")) -> Result:
    """A rep renames a case and moves it to another queue while its answer is lost: the retry leaves that alone."""
    result = Result("a rep was quicker")
    for told_ in map(story, told):
        write = _write_of(world, told_)
        for kind in sorted(faults.WORK_IS_DONE):
            world.reset()
            told_.prepare(world, HANDOFF)
            plan = AtOne(write, _then(faults.KINDS[kind], lambda: _edit(world)))
            posted = case.post_under(world, told_.body(HANDOFF), plan)
            if posted.answer is None:
                case.post_under(world, told_.body(HANDOFF), None)
            case.settle(world)
            found = oracle.judge(world, [Expected(HANDOFF, told_)]) + _check_edit(world)
            result.add(f"{told_.name}: {kind}", found)
    return result.done()


def late_workers(world: World, *, told: Sequence[str] = ("phone new", "web known")) -> Result:
    """A worker stalls past its lease; another one lands the handoff; the first one's write or failure comes late."""
    result = Result("a worker comes late")
    endings: dict[str, Fault] = {
        "its write arrives": lambda call: call.work(),
        "its write arrives, the answer does not": faults.lost,
        "503": faults.KINDS["503"],
        "409": faults.KINDS["409"],
        "403": faults.KINDS["403"],
    }
    for told_ in map(story, told):
        for ordinal in range(_write_of(world, told_) - 1, _write_of(world, told_) + 2):
            for name, ending in endings.items():
                world.reset()
                told_.prepare(world, HANDOFF)
                posted = case.post_under(world, told_.body(HANDOFF), AtOne(ordinal, _after(ending, world)))
                found = case.check_answer(world, HANDOFF, case.Posted(posted.answer, died=posted.died, seconds=0))
                case.settle(world)
                found += oracle.judge(world, [Expected(HANDOFF, told_)]) + _check_edit(world)
                result.add(f"{told_.name}: stalled at {ordinal}, then {name}", found)
    return result.done()


def at_once(world: World, *, times: int = 6) -> Result:
    """The same handoff posted several times at once costs Dataverse one write; new sessions share one contact."""
    result = Result("posted at once")
    for told in (story("phone new"), story("web new")):
        for number in range(times):
            world.reset()
            apps = [world.application(), world.application()]
            gate = Barrier(COPIES)

            def call(copy: int, told: Story = told, gate: Barrier = gate, apps: list = apps) -> str | None:  # type: ignore[type-arg]
                gate.wait()
                outcome = post(apps[copy % 2], told.body(HANDOFF)).record.outcome
                return outcome.record_id if outcome else None

            with ThreadPoolExecutor(COPIES) as pool:
                ids = Counter(pool.map(call, range(COPIES)))
            found = oracle.judge(world, [Expected(HANDOFF, told, most_attempts=1)])
            writes = sum("PATCH" in entry.note for entry in world.dataverse_server.journal.entries())
            if writes != 1:
                found.append(Finding(WRONG, HANDOFF, f"written {writes} times"))
            if len(ids.keys() - {None}) != 1:  # None: a 202, for time is shared and the others' looks use it up
                found.append(Finding(WRONG, HANDOFF, f"the callers were told different things: {dict(ids)}"))
            result.add(f"{told.name} {number}: {COPIES} times at once", found)
            result.add(f"{told.name} {number}: sessions of one customer", _one_customer(world, told))
    return result.done()


def _one_customer(world: World, told: Story) -> list[Finding]:
    world.reset()
    apps = [world.application(), world.application()]
    gate = Barrier(COPIES)

    def call(copy: int) -> None:
        gate.wait()
        post(apps[copy % 2], told.body(f"session-{copy}"))

    with ThreadPoolExecutor(COPIES) as pool:
        list(pool.map(call, range(COPIES)))
    case.settle(world)
    return oracle.judge(world, [Expected(f"session-{copy}", told) for copy in range(COPIES)])


def _write_of(world: World, told: Story) -> int:
    """The number of the call that writes to Dataverse."""
    return matrix.boundaries(world, told).index("dataverse POST write")


def _then(fault: Fault, act: Callable[[], None]) -> Fault:
    def both(call: Call) -> requests.Response:
        try:
            return fault(call)
        finally:
            act()

    return both


def _after(fault: Fault, world: World) -> Fault:
    """The fault, after another worker has landed the handoff and a rep has worked on it."""

    def late(call: Call) -> requests.Response:
        world.wire.clear()
        world.clock.sleep(120)
        world.application().reconciler.run()
        _edit(world)
        return fault(call)

    return late


def _edit(world: World) -> None:
    """What a rep does with a new case: another title, another queue."""
    store = world.dataverse.store
    for table, column in (("incident", "title"), ("oc_liveworkitem", "oc_subject")):
        for row_id, row in store.all(table):
            store.put(table, row_id, {**row, column: EDITED})
    for row_id, row in store.all("queueitem"):
        store.put("queueitem", row_id, {**row, "queueid": Ref("queue", SECOND_QUEUE_ID)})


def _check_edit(world: World) -> list[Finding]:
    titles = [row["title"] for row in world.dataverse.rows("incidents")]
    titles += [row["oc_subject"] for row in world.dataverse.rows("oc_liveworkitems")]
    queues = [row["_queueid_value"] for row in world.dataverse.rows("queueitems")]
    found = [Finding(WRONG, HANDOFF, f"a rep's edit was undone: {title}") for title in titles if title != EDITED]
    return found + [Finding(WRONG, HANDOFF, "moved back") for queue in queues if queue != SECOND_QUEUE_ID]
