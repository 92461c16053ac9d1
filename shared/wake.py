"""The queues that wake: opencx-handoffs and opencx-relay, in the host's own storage account. A message holds ids only.

Facts: Storage Queues' visibility time-out is in whole seconds; the Functions host reads bodies as base64 of UTF-8
(Microsoft's page on the queue trigger, messageEncoding).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared import http
from shared.errors import TransientFailure

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

    from shared.config.settings import Settings

HANDOFFS, RELAY = "opencx-handoffs", "opencx-relay"
SYSTEM = "queue"
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 5.0


class QueueWake:
    """Puts wake-ups into the queues. Implements `shared.relay.store.Wake`.

    Args:
        connect: makes the client of one queue; called on first use.
    """

    def __init__(self, connect: Callable[[str], QueueClient]) -> None:
        self._connect = connect
        self._clients: dict[str, QueueClient] = {}

    def handoff(self, key: str) -> None:
        """Go on with a handoff now."""
        self._send(HANDOFFS, {"handoff": key}, 0)

    def conversation(self, key: str) -> None:
        """Look at a conversation now."""
        self._send(RELAY, {"conversation": key}, 0)

    def lane(self, name: str, sequence: int, *, delay_seconds: float) -> Any:
        """Look at a lane after a while."""
        return self._send(RELAY, {"lane": name, "sequence": sequence}, delay_seconds)

    def sooner(self, handle: Any, *, delay_seconds: float) -> None:
        """Change the while of a lane's message; nothing happens when it is gone, or the queue does not answer."""
        from azure.core.exceptions import AzureError  # noqa: PLC0415 - Azure's SDKs are loaded when they are needed

        with contextlib.suppress(AzureError):  # it comes at the time that it was put in with
            self._client(RELAY).update_message(handle, visibility_timeout=math.ceil(delay_seconds))

    def ping(self) -> None:
        """Look whether both queues can be reached; one that is missing is made. Raises TransientFailure."""
        from azure.core.exceptions import AzureError, ResourceExistsError  # noqa: PLC0415

        for queue in (HANDOFFS, RELAY):
            try:
                with contextlib.suppress(ResourceExistsError):
                    self._client(queue).create_queue()
            except (AzureError, ValueError) as error:
                raise _unavailable(queue, error) from None

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, queue: str) -> QueueClient:
        client = self._clients.get(queue)
        if client is None:
            client = self._clients.setdefault(queue, self._connect(queue))
        return client

    def _send(self, queue: str, message: dict[str, Any], delay_seconds: float) -> Any:
        from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError  # noqa: PLC0415

        text = json.dumps(message, separators=(",", ":"))
        visible = math.ceil(delay_seconds)

        def put() -> Any:
            return self._client(queue).send_message(text, visibility_timeout=visible, time_to_live=-1)

        try:
            try:
                return put()
            except ResourceNotFoundError:
                with contextlib.suppress(ResourceExistsError):  # another instance was quicker
                    self._client(queue).create_queue()
                return put()
        except (AzureError, ValueError) as error:
            raise _unavailable(queue, error) from None


def connect(settings: Settings, queue: str) -> QueueClient:
    """The client of one queue, in the storage that the host's own settings name.

    Raises:
        TransientFailure: no setting says where.
    """
    from azure.storage.queue import QueueClient, TextBase64EncodePolicy  # noqa: PLC0415

    from shared.config.identity import default_credential  # noqa: PLC0415
    from shared.config.transport import Transport  # noqa: PLC0415

    endpoint = settings.text("AzureWebJobsStorage__queueServiceUri")
    text = settings.text("AzureWebJobsStorage")
    options: dict[str, Any] = {
        "retry_total": 1,
        "message_encode_policy": TextBase64EncodePolicy(),
        "transport": Transport(
            longest_sleep_seconds=1.0,
            session=http.session(endpoint or ""),
            session_owner=True,
            connection_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
        ),
    }
    if text:
        return QueueClient.from_connection_string(text, queue, **options)
    if endpoint:
        return QueueClient(endpoint, queue, credential=default_credential(), **options)
    message = "No queue storage: set AzureWebJobsStorage, or AzureWebJobsStorage__queueServiceUri."
    raise TransientFailure(message, code="queue_unavailable", system=SYSTEM)


def _unavailable(queue: str, error: Exception) -> TransientFailure:
    message = f"Queue {queue} cannot be used ({type(error).__name__})."
    return TransientFailure(message, code="queue_unavailable", system=SYSTEM)
