"""What talks to the outside: settings, secrets, the table, the queues, Dataverse, OpenCX. Importing it is cheap."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Self, overload

from shared import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.attachments import Attachments
    from shared.config.clock import Clock
    from shared.config.secrets import Secrets
    from shared.config.settings import Settings
    from shared.dataverse.client import DataverseClient
    from shared.handoff.gate import Gate
    from shared.ledger.conversations import TableConversations
    from shared.ledger.ledger import TableLedger
    from shared.ledger.table import Table
    from shared.opencx.client import OpenCXClient
    from shared.wake import QueueWake


class Part[T](functools.cached_property[T]):
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


class Neighbours:
    """The settings, and what talks to the outside: each part is made when it is first needed.

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

    @Part
    def max_body_bytes(self) -> int:
        """MAX_BODY_BYTES."""
        return int(self.settings.number("MAX_BODY_BYTES", 4 * 1024 * 1024, least=1024, most=64 * 1024 * 1024))

    @Part
    def retention_days(self) -> float:
        """RECORD_RETENTION_DAYS."""
        return self.settings.number("RECORD_RETENTION_DAYS", 90, least=1, most=3650)

    @Part
    def secrets(self) -> Secrets:
        """Secrets from Key Vault or the environment."""
        from shared.config.secrets import Secrets  # noqa: PLC0415

        return Secrets(self.settings, clock=self.clock)

    @Part
    def table(self) -> Table:
        """The table that holds all that outlives a worker."""
        from shared.ledger.table import Table, connect  # noqa: PLC0415

        return Table(lambda: connect(self.settings), monotonic=self.clock.monotonic)

    @Part
    def ledger(self) -> TableLedger:
        """The records."""
        from shared.ledger.ledger import TableLedger  # noqa: PLC0415

        return TableLedger(self.table)

    @Part
    def conversations(self) -> TableConversations:
        """The open conversations."""
        from shared.ledger.conversations import TableConversations  # noqa: PLC0415

        return TableConversations(self.table)

    @Part
    def wake(self) -> QueueWake:
        """The queues that wake."""
        from shared.wake import QueueWake, connect  # noqa: PLC0415

        return QueueWake(functools.partial(connect, self.settings))

    @Part
    def gate(self) -> Gate:
        """The gate before each system."""
        from shared.handoff.gate import Gate  # noqa: PLC0415

        return Gate(self.ledger, now=self.clock.now, monotonic=self.clock.monotonic)

    @Part
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

    @Part
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

    @Part
    def attachments(self) -> Attachments:
        """What fetches files that customers and reps have sent."""
        from shared.attachments import Attachments, hosts  # noqa: PLC0415

        return Attachments(hosts(self.settings), monotonic=self.clock.monotonic)

    def close(self) -> None:
        """Close every connection; for processes that make more than one application."""
        for name in ("table", "dataverse", "opencx", "secrets", "wake"):
            part = self.__dict__.get(name)
            if part is not None:
                part.close()
