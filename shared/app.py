"""Puts the parts together, once a process, on first use. Importing this module is cheap: the doors do it at start."""

from __future__ import annotations

import functools
import os
import random
import threading
from typing import TYPE_CHECKING, Any, Self, overload

from shared import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.config.clock import Clock
    from shared.config.secrets import Secrets
    from shared.config.settings import Settings
    from shared.dataverse.client import DataverseClient
    from shared.dataverse.destination import DynamicsDestination
    from shared.handoff.desk import Destination, HandoffDesk
    from shared.handoff.gate import Gate
    from shared.handoff.reconciler import Reconciler
    from shared.ledger.ledger import TableLedger
    from shared.opencx.client import OpenCXClient

VERSION = "0.1.0"


class _Part[T](functools.cached_property[T]):
    """A part that is made once, also when many threads ask at once: functools has no lock since Python 3.12."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        with instance.making:
            made: T = super().__get__(instance, owner)
            return made


class Application:
    """The service: its settings, and its parts, each made when it is first needed.

    Args:
        environ: the app settings.
        clock: time; the machine's by default.
    """

    def __init__(self, environ: Mapping[str, str], *, clock: Clock | None = None) -> None:
        from shared.config.clock import SystemClock  # noqa: PLC0415 - see the module's docstring
        from shared.config.settings import Settings  # noqa: PLC0415

        events.quiet_libraries()
        self.settings: Settings = Settings(environ)
        self.clock: Clock = clock or SystemClock()
        self.making = threading.RLock()

    @_Part
    def max_body_bytes(self) -> int:
        """MAX_BODY_BYTES."""
        return int(self.settings.number("MAX_BODY_BYTES", 4 * 1024 * 1024, least=1024, most=64 * 1024 * 1024))

    @_Part
    def retention_days(self) -> float:
        """RECORD_RETENTION_DAYS."""
        return self.settings.number("RECORD_RETENTION_DAYS", 90, least=1, most=3650)

    @_Part
    def secrets(self) -> Secrets:
        """Secrets from Key Vault or the environment."""
        from shared.config.secrets import Secrets  # noqa: PLC0415

        return Secrets(self.settings, clock=self.clock)

    @_Part
    def ledger(self) -> TableLedger:
        """The records."""
        from shared.ledger.ledger import TableLedger  # noqa: PLC0415
        from shared.ledger.table import Table, connect  # noqa: PLC0415

        return TableLedger(Table(lambda: connect(self.settings), monotonic=self.clock.monotonic))

    @_Part
    def gate(self) -> Gate:
        """The gate before each system."""
        from shared.handoff.gate import Gate  # noqa: PLC0415

        return Gate(self.ledger, now=self.clock.now, monotonic=self.clock.monotonic)

    @_Part
    def dataverse(self) -> DataverseClient:
        """The Dataverse client. Raises ConfigurationFault while a setting is wrong."""
        from shared.dataverse import settings  # noqa: PLC0415
        from shared.dataverse.client import DataverseClient  # noqa: PLC0415
        from shared.dataverse.token import TokenSource  # noqa: PLC0415

        access = settings.access(self.settings)
        tokens = TokenSource(
            lambda: access,
            secrets=self.secrets,
            clock=self.clock,
            wall_seconds=lambda: self.clock.now().timestamp(),
        )
        return DataverseClient(access.origin, tokens=tokens, monotonic=self.clock.monotonic, now=self.clock.now)

    @_Part
    def dynamics(self) -> DynamicsDestination:
        """Dynamics 365. Raises ConfigurationFault while a setting is wrong."""
        from shared.dataverse import settings  # noqa: PLC0415
        from shared.dataverse.destination import DynamicsDestination  # noqa: PLC0415
        from shared.dataverse.metadata import Metadata  # noqa: PLC0415

        return DynamicsDestination(
            self.dataverse,
            metadata=Metadata(self.clock.monotonic),
            defaults=settings.defaults(self.settings),
            live_work_items=lambda: settings.live_work_items(self.settings),
        )

    @_Part
    def opencx(self) -> OpenCXClient | None:
        """OpenCX's API; None when there can be no key: it is not set, and there is no vault."""
        from shared.opencx.client import OpenCXClient  # noqa: PLC0415

        if not self.secrets.is_set("OPENCX_API_KEY"):
            return None
        return OpenCXClient(
            self.settings.origin("OPENCX_API_URL", system="opencx", default="https://api.open.cx"),
            api_key=functools.partial(self.secrets.get, "OPENCX_API_KEY", system="opencx"),
            monotonic=self.clock.monotonic,
            now=self.clock.now,
        )

    @property
    def reads_opencx(self) -> bool:
        """Whether what a request leaves out may be read from OpenCX, as far as it is known without a call."""
        return self.secrets.has("OPENCX_API_KEY") is not False

    def may_read_opencx(self) -> bool:
        """The same; the vault is asked when it is not known, for two seconds at most."""
        return self.secrets.may_have("OPENCX_API_KEY", system="opencx")

    @_Part
    def routes(self) -> dict[str, str]:
        """HANDOFF_ROUTES: channel to target. A malformed one counts as empty; ``/api/connections`` says so."""
        from shared.errors import ConfigurationFault  # noqa: PLC0415
        from shared.handoff import channel  # noqa: PLC0415

        try:
            routes = self.settings.json_object("HANDOFF_ROUTES", system="handoff")
        except ConfigurationFault:
            return {}
        return {channel.normalise(str(name)): str(target) for name, target in routes.items()}

    @_Part
    def desk(self) -> HandoffDesk:
        """The use case."""
        from shared.handoff.desk import HandoffDesk  # noqa: PLC0415

        return HandoffDesk(
            ledger=self.ledger,
            gate=self.gate,
            destination=self.destination,
            source=lambda: self.opencx if self.reads_opencx else None,
            routes=self.routes,
            clock=self.clock,
            random=random.random,
            budget_seconds=self.settings.number("HANDOFF_BUDGET_SECONDS", 25, least=2, most=55),
        )

    @_Part
    def reconciler(self) -> Reconciler:
        """The timer's work."""
        from datetime import timedelta  # noqa: PLC0415

        from shared.handoff.reconciler import Reconciler  # noqa: PLC0415

        return Reconciler(
            self.desk,
            gate=self.gate,
            ledger=self.ledger,
            clock=self.clock,
            rate_per_second=self.settings.number("RECONCILE_HANDOFFS_PER_SECOND", 7, least=0.1, most=1000),
            retention=timedelta(days=self.retention_days),
        )

    def close(self) -> None:
        """Close every connection; for processes that make more than one application."""
        for name in ("ledger", "dataverse", "opencx", "secrets"):
            part = self.__dict__.get(name)
            if part is not None:
                part.close()

    def destination(self, target: str) -> Destination:
        """The system of that name. Raises ConfigurationFault when it is not set up."""
        from shared.errors import ConfigurationFault  # noqa: PLC0415

        if target == "dynamics365":
            return self.dynamics
        raise ConfigurationFault(
            f"Target {target} is not available in this version.",
            code="target_not_available",
            system=target,
            fix="Use target dynamics365, in HANDOFF_ROUTES and in the request.",
        )


class _Once:
    """Makes the application on the first call, also when the first calls come at once: functools.cache has no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Application | None = None

    def __call__(self) -> Application:
        """The application."""
        made = self._made
        if made is None:
            with self._lock:
                made = self._made = self._made or Application(os.environ)
        return made

    def cache_clear(self) -> None:
        """Forget it: the next call makes another, as in a new process."""
        with self._lock:
            self._made = None


application = _Once()
"""The one application of this process, on the process's environment."""
