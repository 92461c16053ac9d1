"""One operation inside a Dataverse batch fails, the others do not."""

from sandbox.faults import Fault as Rule
from tests.faults import case, oracle
from tests.faults.case import HANDOFF
from tests.faults.oracle import Expected
from tests.faults.report import Result
from tests.faults.stories import INCIDENTS, story
from tests.faults.world import World

_ERRORS = {
    400: ("0x80040203", "The queue says no."),
    403: ("0x80040220", "Principal user is missing prvAppendToQueue privilege"),
    429: ("0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds."),
    500: ("0x80040216", "An unexpected error occurred."),
    503: ("0x80040216", "The service is busy."),
}
_OPERATIONS = {"AddToQueue": "AddToQueue", "record": r"(incidents|oc_liveworkitems)\(", "contact": r"contacts\("}
REFUSED = (400, 403)


def run(world: World) -> Result:
    """Each operation by each status, once and twice, for an incident and a chat."""
    result = Result("inside a batch")
    for told in (story("phone new"), story("web new")):
        for name, path in _OPERATIONS.items():
            for status, (code, message) in _ERRORS.items():
                if status == 400 and name != "AddToQueue":
                    continue  # a refused part of the request itself: see the tests of the writer
                for times in (1, 2):
                    world.reset()
                    told.prepare(world, HANDOFF)
                    body = {"error": {"code": code, "message": message}}
                    rule = Rule(path=path, inner=True, status=status, body=body, times=times)
                    world.dataverse_server.faults.add(rule)
                    posted = case.post_under(world, told.body(HANDOFF), None)
                    found = case.check_answer(world, HANDOFF, posted)
                    case.settle(world)
                    lacks = name == "AddToQueue" and status in REFUSED
                    queued = Expected(HANDOFF, told, may_lack_queue=lacks and told.entity_set == INCIDENTS)
                    found += oracle.judge(world, [queued])
                    result.add(f"{told.name}: {times} times {status} at {name}", found)
    return result.done()
