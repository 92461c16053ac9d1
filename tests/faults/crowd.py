"""Several instances at work at the same time: what is due at a moment is done by threads, side by side."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.app import Application
from tests.faults.engine import QUEUE, Engine
from tests.faults.queues import Message
from tests.faults.world import World

INSTANCES = 2
MOST = 8
"""Messages that are being worked on at a time."""


class Crowd(Engine):
    """As `Engine`, with two instances for the queues, and threads.

    Args:
        doubled: whether each message is given to both instances at once, as a queue may do.
    """

    def __init__(self, world: World, *, doubled: bool = False, **settings: str) -> None:
        self._making = threading.RLock()
        self._doubled = doubled
        super().__init__(world, names_work=True, **settings)  # type: ignore[arg-type] # no setting has such a name

    def app(self, role: str) -> Application:
        """The instance that does such work now."""
        with self._making:
            return super().app(role)

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so much time pass, or less if ``until`` holds before; whether it holds."""
        with ThreadPoolExecutor(MOST * INSTANCES) as pool:
            self._pool = pool
            return super().run(seconds, until=until)

    def _work(self) -> None:
        """All messages that are visible now, side by side."""
        queues = self.world.queues
        taken: list[Message] = []
        while len(taken) < MOST and (at := queues.next_at()) is not None and at <= self.world.clock.time():
            taken.append(queues.take())
        roles = [f"{QUEUE} {copy}" for copy in range(INSTANCES)]
        self.world.clock.together(len(taken) * (INSTANCES if self._doubled else 1))
        jobs = []
        for message in taken:
            chosen = roles if self._doubled else [roles[self._next_number() % INSTANCES]]
            jobs.append([self._pool.submit(self._one, message, role) for role in chosen])
        ends = [[job.result() for job in each] for each in jobs]
        for message, went in zip(taken, ends, strict=True):
            queues.settle(message, went_well=None if None in went else all(went))

    def _one(self, message: Message, role: str) -> bool | None:
        scope = f"{message.body.decode()} {message.times} {role}"
        with self.world.clock.taking_part(), self._scope(scope):
            return self._wake(message, role)
