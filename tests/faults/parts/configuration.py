"""What an administrator must mend: handoffs wait, none fails, none loses attempts, and one probe a step is made."""

from collections.abc import Callable, Sequence

from sandbox.standins import DYNAMICS_CLIENT_SECRET
from shared.app import Application
from tests.faults import case, oracle
from tests.faults.oracle import WRONG, Expected, Finding
from tests.faults.report import Result
from tests.faults.stories import BOTH, PHONE, Story
from tests.faults.wire import DATAVERSE, ENTRA, Call
from tests.faults.world import World, post

HANDOFFS = 40
LASTS_SECONDS = 1800.0
TICK_SECONDS = 60.0
MOST_CALLS_A_PROBE = 4
"""A token refused, the secret looked at again, a token refused again; or a call, a new token, the call again."""
TOLD = (Story("phone", "phone", PHONE), Story("whatsapp", "whatsapp", BOTH))


NAMES = ("secret rotated", "role removed", "address wrong")


def run(world: World, *, names: Sequence[str] = NAMES) -> Result:
    """A rotated secret, a role that is taken away, a wrong address: each mended after half an hour."""
    result = Result("configuration")
    wrong_url = {"DYNAMICS_ENVIRONMENT_URL": "https://localhost:9"}
    new_secret = "a-new-secret"

    def rotate() -> None:
        world.register(new_secret)
        world.clock.sleep(7200)  # the token at hand runs out

    def put() -> None:
        world.vault.put("dynamics-client-secret", new_secret)

    def roles(*, given: bool) -> Callable[[], None]:
        def change() -> None:
            world.dataverse.access.roles = given

        return change

    cases: dict[str, tuple[Callable[[], None], Callable[[], None], dict[str, str]]] = {
        "secret rotated": (rotate, put, {}),
        "role removed": (roles(given=False), roles(given=True), {}),
        "address wrong": (_nothing, _nothing, wrong_url),
    }
    try:
        for name in names:
            spoil, mend, settings = cases[name]
            result.add(name, _one(world, result, spoil, mend, **settings))
            world.register(DYNAMICS_CLIENT_SECRET)
    finally:
        world.register(DYNAMICS_CLIENT_SECRET)
    return result.done(result.note)


def _nothing() -> None:
    """The settings alone are wrong."""


def _one(
    world: World, result: Result, spoil: Callable[[], None], mend: Callable[[], None], **settings: str
) -> list[Finding]:
    world.reset()
    apps = [world.application(**settings), world.application(**settings)]
    if not settings:
        for app in apps:
            post(app, TOLD[0].body("warm-up", 999))
    spoil()
    told: dict[str, Story] = {}
    calls = []

    def count(call: Call) -> None:
        if call.system in (DATAVERSE, ENTRA) and not call.name.endswith("vault"):
            calls.append(call.name)

    world.wire.begin(count)
    found = _wait(world, apps, told)
    world.wire.clear()
    probes = 5 + LASTS_SECONDS / TICK_SECONDS
    result.note += f"{len(calls)} calls for {HANDOFFS} handoffs in {LASTS_SECONDS / 60:.0f} min; "
    if len(calls) > MOST_CALLS_A_PROBE * probes:
        found.append(Finding(WRONG, "-", f"{len(calls)} calls to a system that an administrator must mend"))
    mend()
    if settings:
        case.settle(world)
    else:
        world.clock.sleep(61)
        for _ in range(3):
            apps[1].reconciler.run()
            world.clock.sleep(TICK_SECONDS)
    expected = [Expected(handoff_id, story, most_attempts=1) for handoff_id, story in told.items()]
    if not settings:
        expected.append(Expected("warm-up", TOLD[0]))
    return found + oracle.judge(world, expected)


def _wait(world: World, apps: list[Application], told: dict[str, Story]) -> list[Finding]:
    """Handoffs come while it is wrong; each must be accepted."""
    found = []
    for number in range(HANDOFFS):
        story = TOLD[number % len(TOLD)]
        told[f"waits-{number}"] = story
        answer = post(apps[0], story.body(f"waits-{number}", number))
        if answer.record.state != "retrying":
            found.append(Finding(WRONG, f"waits-{number}", f"it was {answer.record.state}"))
        elif answer.record.last_error is None or not answer.record.last_error.fix:
            found.append(Finding(WRONG, f"waits-{number}", "nobody is told how to mend it"))
        world.clock.sleep(LASTS_SECONDS / HANDOFFS)
        if number % 2:
            apps[1].reconciler.run()
    return found
