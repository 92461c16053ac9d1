"""The platform on simulated time: queue functions, the timer and the webhook doors, each on an instance of its own."""

import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from typing import Self

from sandbox import standins
from shared import turnout
from shared.app import Application
from shared.errors import HandoffError
from shared.wake import HANDOFFS
from tests.faults.queues import Message
from tests.faults.wire import Killed
from tests.faults.world import World

TIMER_SECONDS = 60.0
FIRST_TICK_SECONDS = 8.0
"""Soon: the timer's calls are among those of a conversation that is under way."""
HTTP, QUEUE, TIMER = "http", "queue", "timer"


class Inline(Executor):
    """Does work at once, in the caller's thread: a worker that dies in it takes the caller along."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it now."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future holds it, as any executor's does
            done.set_exception(error)
        return done

    def __enter__(self) -> Self:
        """There is nothing to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to stop."""


class Engine:
    """Drives a world. An instance whose work dies is followed by a new one.

    Args:
        world: whose queues and doors are served.
        loses_wakes: whether messages of the queue opencx-handoffs get lost.
        names_work: whether calls are numbered for each piece of work by itself, not all together.
        settings: app settings beside the world's.

    Attributes:
        deaths: how many instances have died.
    """

    def __init__(self, world: World, *, loses_wakes: bool = False, names_work: bool = False, **settings: str) -> None:
        self.world = world
        self.deaths = 0
        self._number = 0
        self._settings = settings
        self._loses_wakes = loses_wakes
        self._names_work = names_work
        self._apps: dict[str, Application] = {}
        self._dead: list[Application] = []
        self._tick_at = world.clock.time() + FIRST_TICK_SECONDS
        world.doors.take = self._take

    def app(self, role: str) -> Application:
        """The instance that does such work now."""
        app = self._apps.get(role)
        if app is None:
            app = self._apps[role] = self.world.application(**self._settings)
            inline = Inline()
            app.lanes._executor = lambda: inline
            app.reconciler._executor = lambda: inline  # type: ignore[assignment, return-value]
        return app

    def renew(self) -> None:
        """All instances are new."""
        for app in (*self._apps.values(), *self._dead):
            app.close()
        self._apps.clear()
        self._dead.clear()

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Let so much time pass, or less if ``until`` holds before; whether it holds."""
        end = self.world.clock.time() + seconds
        while not until():
            at, act = self._next()
            if at > end:
                self.world.clock.advance_to(end)
                return until()
            self.world.clock.advance_to(at)
            act()
        return True

    def _next(self) -> tuple[float, Callable[[], None]]:
        choices: list[tuple[float | None, Callable[[], None]]] = [
            (self.world.doors.next_at(), self._deliver),
            (self.world.queues.next_at(), self._work),
            (self._tick_at, self._tick),
        ]
        return min(((at, act) for at, act in choices if at is not None), key=lambda choice: choice[0])

    def _deliver(self) -> None:
        with self._scope(f"door {self._next_number()}"):
            self.world.doors.deliver()

    def _work(self) -> None:
        message = self.world.queues.take()
        with self._scope(f"{message.body.decode()} {message.times}"):
            self.world.queues.settle(message, went_well=self._wake(message, QUEUE))

    def _scope(self, name: str) -> AbstractContextManager[None]:
        """What the calls of one piece of work belong to, where plans go by that."""
        return self.world.wire.scope(name if self._names_work else "")

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _wake(self, message: Message, role: str) -> bool | None:
        if message.queue == HANDOFFS:
            return self._loses_wakes or self._do(role, lambda app: turnout.start_handoff(app, message.body))
        return self._do(role, lambda app: turnout.relay_messages(app, message.body))

    def _tick(self) -> None:
        self._tick_at = self.world.clock.time() + TIMER_SECONDS
        self._do(TIMER, lambda app: app.reconciler.run())

    def _do(self, role: str, work: Callable[[Application], object]) -> bool | None:
        """Whether it went well; None: the instance has died."""
        try:
            work(self.app(role))
        except Killed:
            self._died(role)
            return None
        except HandoffError:
            return False
        except Exception as error:  # noqa: BLE001 - what a function lets out is a finding
            self._crashed(error)
            return False
        return True

    def _take(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """A request at one of the webhook doors."""
        try:
            app = self.app(HTTP)
            if url.endswith("/activities"):
                parts = url.split("/")
                app.dynamics_events.receive(
                    lock=standins.WEBHOOK_LOCK,
                    authorization=dict(headers).get("Authorization"),
                    conversation_id=parts[-2],
                    body=lambda: body,
                )
                return 200
            app.opencx_events.receive(headers, body)
        except Killed:
            self._died(HTTP)
            raise ConnectionResetError from None
        except HandoffError as error:
            return int(error.http_status)
        except Exception as error:  # noqa: BLE001 - what the door would answer with 500 is a finding
            self._crashed(error)
            return 500
        return 204

    def _died(self, role: str) -> None:
        self.deaths += 1
        app = self._apps.pop(role, None)
        if app is not None:
            self._dead.append(app)  # its other threads may be at work still

    def _crashed(self, error: Exception) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "shared" in frame.filename]
        where = f"{frames[-1].filename.rpartition('shared/')[2]}:{frames[-1].lineno}" if frames else "?"
        self.world.crashes.append(f"{type(error).__name__} at {where}")
