"""Dynamics 365 with conversations: chats ring at a rep's desk, everything else becomes an incident."""

from collections.abc import Callable
from dataclasses import replace

from shared.dataverse.destination import DynamicsDestination
from shared.dynamics_messaging.availability import OutOfHours
from shared.dynamics_messaging.destination import MessagingDestination
from shared.handoff import channel as channels
from shared.handoff.model import Handoff, Outcome


class Either:
    """Chooses by channel; a chat that comes when nobody works may become an incident, by DYNAMICS_AVAILABILITY.

    Implements `shared.handoff.attempt.Destination`.

    Args:
        records: writes incidents.
        conversations: makes conversations; raises ConfigurationFault while a setting is wrong.
        may_be_incident: whether DYNAMICS_AVAILABILITY may have made an incident of a chat.
    """

    def __init__(
        self,
        *,
        records: DynamicsDestination,
        conversations: Callable[[], MessagingDestination],
        may_be_incident: bool,
    ) -> None:
        self._records = records
        self._conversations = conversations
        self._may_be_incident = may_be_incident

    def deliver(self, handoff: Handoff, *, deadline: float) -> Outcome:
        """Write it where it belongs. Safe to repeat: an incident that was written stays one."""
        if not channels.is_chat(handoff.channel or ""):
            return self._records.deliver(handoff, deadline=deadline)
        if self._may_be_incident and self._records.has_incident(handoff, deadline=deadline):
            # An earlier try found nobody at work, and its answer was lost.
            return self._records.deliver(handoff, deadline=deadline, as_incident=True)
        try:
            return self._conversations().deliver(handoff, deadline=deadline)
        except OutOfHours as closed:
            outcome = self._records.deliver(handoff, deadline=deadline, as_incident=True)
            return replace(outcome, warnings=(*outcome.warnings, closed.notice))
