"""The Dataverse organization's id: a setting, or what WhoAmI says, asked once."""

import threading
import uuid
from collections.abc import Callable

from shared.dataverse.client import DataverseClient
from shared.dynamics_messaging import MESSAGING
from shared.errors import TransientFailure


class Organization:
    """Gives the id. ``known`` is the setting's; without it Dataverse is asked, and the answer kept."""

    def __init__(self, known: str | None, *, dataverse: Callable[[], DataverseClient]) -> None:
        self._known = known
        self._dataverse = dataverse
        self._lock = threading.Lock()

    def id(self, *, deadline: float) -> str:
        """The GUID in lower case, with dashes.

        Args:
            deadline: the monotonic time, in seconds, by which it must be over.

        Raises:
            TransientFailure, ConfigurationFault, PermanentFailure: Dataverse does not say it.
        """
        known = self._known
        if known is None:
            with self._lock:
                known = self._known = self._known or self._ask(deadline)
        return known

    def _ask(self, deadline: float) -> str:
        reply = self._dataverse().get("WhoAmI", deadline=deadline)
        try:
            return str(uuid.UUID(str(reply.json().get("OrganizationId"))))
        except ValueError:
            message = f"Dataverse does not say which organization it is (HTTP {reply.status})."
            raise TransientFailure(message, code="dynamics_bad_answer", system=MESSAGING) from None
