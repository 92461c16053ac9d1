"""Puts the parts together, once a process, on first use. Importing this module is cheap: the doors do it at start."""

from __future__ import annotations

import functools
import os
import random
import threading
from typing import TYPE_CHECKING

from shared.neighbours import Neighbours, Part

if TYPE_CHECKING:
    from datetime import datetime

    from shared.dataverse.destination import DynamicsDestination
    from shared.dynamics_messaging.assembly import KeyRing, MessagingParts
    from shared.dynamics_messaging.events import DynamicsEvents
    from shared.handoff.attempt import Destination
    from shared.handoff.desk import HandoffDesk
    from shared.handoff.reconciler import Reconciler
    from shared.handoff.record import Record
    from shared.opencx.events import OpenCXEvents
    from shared.opencx.write_back import WriteBack
    from shared.relay.lanes import Lanes
    from shared.relay.model import CustomerSide, RepSide
    from shared.relay.relay import Relay
    from shared.salesforce.assembly import Salesforce

VERSION = "0.2.0"
MESSAGING_PRESET = "messaging"
WRITE_BACK_SECONDS = 10.0


class Application(Neighbours):
    """The service: its rules, put on top of its neighbours.

    Args: as for `Neighbours`.
    """

    @Part
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

    @Part
    def routes(self) -> dict[str, str]:
        """HANDOFF_ROUTES: channel to target. A malformed one counts as empty; ``/api/connections`` says so."""
        from shared.errors import ConfigurationFault  # noqa: PLC0415
        from shared.handoff import channel  # noqa: PLC0415

        try:
            routes = self.settings.json_object("HANDOFF_ROUTES", system="handoff")
        except ConfigurationFault:
            return {}
        return {channel.normalise(str(name)): str(target) for name, target in routes.items()}

    @Part
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
            opener=lambda: self.relay,
            landed=self._write_back,
        )

    @Part
    def lanes(self) -> Lanes:
        """What keeps open conversations going."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        from shared.relay.carrier import Carrier  # noqa: PLC0415
        from shared.relay.lanes import WORKERS, Lanes  # noqa: PLC0415
        from shared.relay.settings import options  # noqa: PLC0415

        carrier = Carrier(
            conversations=self.conversations,
            sides=self.side,
            customer=lambda: self.customer_side,
            options=options(self.settings),
            clock=self.clock,
        )
        pool = functools.cache(lambda: ThreadPoolExecutor(WORKERS, "relay"))
        return Lanes(conversations=self.conversations, carrier=carrier, wake=self.wake, clock=self.clock, executor=pool)

    @Part
    def relay(self) -> Relay:
        """What opens and wakes conversations."""
        from shared.ledger.closings import TableClosings  # noqa: PLC0415
        from shared.relay.relay import Relay  # noqa: PLC0415

        return Relay(
            conversations=self.conversations,
            closings=TableClosings(self.table),
            lanes=self.lanes,
            wake=self.wake,
            clock=self.clock,
        )

    @Part
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
            watch=self.lanes.watch,
            purges=[self._purge],
        )

    @Part
    def salesforce(self) -> Salesforce:
        """Salesforce. Raises ConfigurationFault while a setting is wrong."""
        from shared.ledger.guests import GuestTokens  # noqa: PLC0415
        from shared.salesforce.assembly import assemble  # noqa: PLC0415

        return assemble(
            self.settings,
            self.secrets,
            guests=GuestTokens(self.table, now=self.clock.now),
            fetch=self.attachments.fetch,
            clock=self.clock,
        )

    @Part
    def messaging(self) -> MessagingParts:
        """Dynamics 365's Messaging APIs. Raises ConfigurationFault while a setting is wrong."""
        from shared.dynamics_messaging.assembly import assemble  # noqa: PLC0415

        return assemble(
            self.settings, self.secrets, dataverse=self.dataverse, customer=lambda: self.customer_side, clock=self.clock
        )

    @Part
    def customer_side(self) -> CustomerSide:
        """OpenCX, as the relay sees it. Raises ConfigurationFault when there is no key."""
        from shared.errors import ConfigurationFault  # noqa: PLC0415
        from shared.opencx.side import side  # noqa: PLC0415

        client = self.opencx
        if client is None:
            fix = "Make a key with scope chat-sessions:read and write, and put it into Key Vault as opencx-api-key."
            message = "Messages cannot be carried without a key for OpenCX's API."
            raise ConfigurationFault(message, code="setting_missing", system="opencx", fix=fix)
        return side(self.settings, client)

    def side(self, system: str) -> RepSide:
        """The system in which a rep works, as the relay sees it. Raises ConfigurationFault while a setting is wrong."""
        return self.salesforce.side if system == "salesforce" else self.messaging.side

    @Part
    def opencx_events(self) -> OpenCXEvents:
        """What takes OpenCX's webhooks."""
        from shared.ledger.replays import TableReplays  # noqa: PLC0415
        from shared.opencx.events import OpenCXEvents  # noqa: PLC0415
        from shared.opencx.webhook import webhook  # noqa: PLC0415

        return OpenCXEvents(
            webhook=webhook(self.settings, self.secrets, now=self.clock.now),
            replays=TableReplays(self.table),
            desk=self.desk,
            wake=self.wake,
            relay=lambda: self.relay,
            clock=self.clock,
        )

    @Part
    def dynamics_events(self) -> DynamicsEvents:
        """What takes Dynamics' webhooks."""
        from shared.dynamics_messaging.assembly import events  # noqa: PLC0415

        return events(self.settings, self.secrets, relay=lambda: self.relay, keys=self.key_ring, clock=self.clock)

    @Part
    def key_ring(self) -> KeyRing:
        """Entra's keys, for Dynamics' webhooks."""
        from shared.dynamics_messaging.assembly import KeyRing  # noqa: PLC0415

        return KeyRing(self.clock)

    @Part
    def write_back(self) -> WriteBack:
        """What tells OpenCX of a handoff that landed when nobody waited for it."""
        from shared.opencx.write_back import WriteBack  # noqa: PLC0415

        return WriteBack(lambda: self.opencx, self.settings)

    def _write_back(self, record: Record) -> None:
        from shared.handoff.answer import sentence  # noqa: PLC0415

        deadline = self.clock.monotonic() + WRITE_BACK_SECONDS
        self.write_back.write_back(record, sentence(record), deadline=deadline)

    def _purge(self, before: datetime) -> int:
        """What is older than the retention, and what had to be remembered until now only."""
        from shared.ledger.closings import TableClosings  # noqa: PLC0415
        from shared.ledger.guests import GuestTokens  # noqa: PLC0415
        from shared.ledger.replays import TableReplays  # noqa: PLC0415

        now = self.clock.now()
        ended = self.conversations.purge(before=before, limit=1000)
        return (
            ended
            + TableReplays(self.table).purge(now)
            + GuestTokens(self.table).purge(now)
            + TableClosings(self.table).purge(now)
        )

    def close(self) -> None:
        """Close every connection; for processes that make more than one application."""
        super().close()
        for name in ("salesforce", "messaging", "key_ring"):
            part = self.__dict__.get(name)
            if part is not None:
                part.close()

    def destination(self, target: str) -> Destination:
        """The system of that name. Raises ConfigurationFault when it is not set up."""
        from shared.errors import ConfigurationFault  # noqa: PLC0415

        if target == "dynamics365":
            return self.dynamics_or_messaging
        if target == "salesforce":
            return self.salesforce.destination
        raise ConfigurationFault(
            f"There is no target {target}.",
            code="target_unknown",
            system=target,
            fix="Use dynamics365 or salesforce in HANDOFF_ROUTES.",
        )

    @property
    def makes_conversations(self) -> bool:
        """Whether chats to Dynamics 365 become conversations."""
        return (self.settings.text("LIVE_WORK_ITEM_PRESET") or "").lower() == MESSAGING_PRESET

    @property
    def dynamics_or_messaging(self) -> Destination:
        """Dynamics 365: records alone, or records and conversations, as LIVE_WORK_ITEM_PRESET says."""
        if not self.makes_conversations:
            return self.dynamics
        from shared.dynamics_messaging.either import Either  # noqa: PLC0415
        from shared.dynamics_messaging.settings import INCIDENT, availability  # noqa: PLC0415

        return Either(
            records=self.dynamics,
            conversations=lambda: self.messaging.destination,
            may_be_incident=availability(self.settings) == INCIDENT,
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
