"""One run: the parts put together, the steps played, and the rows that come of it."""

import functools
import statistics
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from shared.app import Application
from shared.config.clock import Clock
from shared.config.settings import Settings
from shared.dataverse import settings as dataverse_settings
from shared.dataverse.client import DataverseClient
from shared.dataverse.settings import Access
from shared.dataverse.token import TokenSource
from shared.dynamics_messaging import MESSAGING, settings
from shared.dynamics_messaging.keys import SigningKeys
from shared.dynamics_messaging.organization import Organization
from shared.errors import ConfigurationFault
from tools.probe_messaging import api_rows, token_row, webhook_rows
from tools.probe_messaging.api import CALL_SECONDS, Api
from tools.probe_messaging.budget import MINUTES, Budget
from tools.probe_messaging.desk import Desk
from tools.probe_messaging.judge import Judge
from tools.probe_messaging.listener import Listener
from tools.probe_messaging.row import Row
from tools.probe_messaging.script import play
from tools.probe_messaging.seen import Seen
from tools.probe_messaging.stage import Pace, Stage


@dataclass(frozen=True)
class Parts:
    """What a run works with.

    Attributes:
        environ: the settings.
        dataverse: the environment's Web API.
        organization: gives the organization's id.
        tokens: for the Messaging APIs.
        lock: gives the webhook's lock; raises ConfigurationFault while there is none.
        keys: Entra's keys.
        clock: time.
    """

    environ: Mapping[str, str]
    dataverse: DataverseClient
    organization: Organization
    tokens: TokenSource
    lock: Callable[[], str]
    keys: Callable[[settings.Webhook], SigningKeys]
    clock: Clock

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """As the service would have them with these settings. Raises ConfigurationFault."""
        app = Application(environ)
        messaging = settings.messaging(app.settings)
        access = dataverse_settings.access(app.settings)
        organization = Organization(messaging.organization_id, dataverse=lambda: app.dataverse)

        def resource() -> Access:
            found = messaging.resource
            if found is None:
                organization_id = organization.id(deadline=app.clock.monotonic() + CALL_SECONDS)
                found = settings.derived_resource(organization_id=organization_id, environment=access.origin)
            return replace(access, origin=found)

        return cls(
            environ=environ,
            dataverse=app.dataverse,
            organization=organization,
            tokens=TokenSource(
                resource, secrets=app.secrets, clock=app.clock, wall_seconds=lambda: app.clock.now().timestamp()
            ),
            lock=functools.partial(settings.lock, app.secrets),
            keys=lambda webhook: app.key_ring(_plain(webhook)),
            clock=app.clock,
        )


@dataclass(frozen=True)
class Outcome:
    """What a run has found.

    Attributes:
        rows: one an unknown.
        calls: how many were made.
        throttled: how many of them were answered 429.
        median_seconds: of a call of the Messaging APIs.
    """

    rows: tuple[Row, ...]
    calls: int
    throttled: int
    median_seconds: float

    @property
    def is_settled(self) -> bool:
        """Whether nothing stays open."""
        return all(row.is_settled for row in self.rows)


def probe(
    parts: Parts,
    desk: Desk,
    *,
    say: Callable[[str], None],
    listen_port: int | None = None,
    channel_id: str | None = None,
    without: frozenset[str] = frozenset(),
    pace: Pace | None = None,
    minutes: float = MINUTES,
) -> Outcome:
    """One run.

    Args:
        parts: what it works with.
        desk: where the rep acts.
        say: tells a line to whoever runs this.
        listen_port: of the webhook on loopback, 0 for a free one; None: there is none.
        channel_id: the channel row; None: the one that the settings name.
        without: steps to leave out: `tools.probe_messaging.script.SPARE`.
        pace: how long to wait for what may never come.
        minutes: after which no call is made any more.

    Raises:
        ConfigurationFault: a setting is wrong.
        TransientFailure: Entra or Dynamics did not answer at the start.
    """
    given = Settings(parts.environ)
    messaging = settings.messaging(given)
    settings.webhook(given)
    settings.availability(given)  # what is wrong is said now, not after an hour
    budget = Budget(parts.clock, minutes=minutes)
    api = Api(
        messaging.origin,
        channel_id=channel_id or _channel_id(messaging),
        organization=parts.organization,
        tokens=parts.tokens,
        clock=parts.clock,
        budget=budget,
    )
    with ExitStack() as open_:
        open_.callback(api.close)
        say(f"Organization {api.sign_in()} at {api.origin}, channel row {api.channel_id}.")
        listener = None
        if listen_port is not None:
            lock = parts.lock()
            judge = Judge(parts.environ, lock=parts.lock, keys=parts.keys, now=parts.clock.now)
            listener = open_.enter_context(Listener(listen_port, judge=judge, clock=parts.clock, say=say))
            desk.point(listener.url, lock)
        stage = Stage(
            api=api,
            dataverse=parts.dataverse,
            desk=desk,
            clock=parts.clock,
            budget=budget,
            say=say,
            listener=listener,
            pace=pace or Pace(),
        )
        seen = play(stage, without=without)
    return Outcome(
        tuple(_rows(seen, given, handoff_id=stage.handoff_id("a"), without=without)),
        calls=budget.calls,
        throttled=api.throttled,
        median_seconds=statistics.median(api.seconds) if api.seconds else 0.0,
    )


def _rows(seen: Seen, given: Settings, *, handoff_id: str, without: frozenset[str]) -> Iterator[Row]:
    yield token_row.token(seen, needs_token=settings.webhook(given).needs_token)
    yield from webhook_rows.rows(
        seen,
        handoff_id=handoff_id,
        automated_senders=settings.messaging(given).automated_senders,
        availability=settings.availability(given),
        without=without,
    )
    yield from api_rows.rows(seen, handoff_id=handoff_id, without=without)


def _channel_id(messaging: settings.Messaging) -> str:
    """The one channel row of the settings. Raises ConfigurationFault when there are several and none is the default."""
    known = set(messaging.channels.values())
    found = messaging.channels.get(settings.DEFAULT) or (known.pop() if len(known) == 1 else None)
    if found is None:
        fix = "Say which with --channel-id."
        message = "DYNAMICS_MESSAGING_CHANNEL_ID names several channel rows, and no default."
        raise ConfigurationFault(message, code="setting_malformed", system=MESSAGING, fix=fix)
    return str(uuid.UUID(found))


def _plain(webhook: settings.Webhook) -> settings.Webhook:
    """The same tenant, whatever the app: the keys are fetched once, not for each setting that is tried."""
    return replace(webhook, app_id="", audiences=frozenset(), needs_token=True, automated_senders=frozenset())
