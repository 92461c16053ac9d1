"""Storage queue triggers (reference: Microsoft.Azure.WebJobs.Extensions.Storage.Queues and its settings)."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import random
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient
from azure.storage.queue import QueueMessage as StoredMessage

from sandbox.host.protos import TypedData
from sandbox.host.settings import resolve, time_span
from sandbox.host.worker import AppLoadError, Function

logger = logging.getLogger(__name__)

_LEASE = timedelta(minutes=10)
_FIRST_WAIT_SECONDS = 0.1


class Invoke(Protocol):
    """How a function is called: `Worker.invoke`."""

    def __call__(
        self, function: Function, data: TypedData, *, reason: str, trigger_metadata: Mapping[str, TypedData]
    ) -> Future[Any]:
        """The future of one call."""
        ...


@dataclass(frozen=True)
class QueueOptions:
    """host.json `extensions.queues`, with the extension's own defaults."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_polling_interval: timedelta = timedelta(minutes=1)
    visibility_timeout: timedelta = timedelta(0)
    max_dequeue_count: int = 5
    base64_encoded: bool = True

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Self:
        """Raises AppLoadError for a value that Azure would refuse."""
        known = {
            "batchSize",
            "newBatchThreshold",
            "maxPollingInterval",
            "visibilityTimeout",
            "maxDequeueCount",
            "messageEncoding",
        }
        if unknown := sorted(set(section) - known):
            raise AppLoadError(
                f"host.json: extensions.queues.{unknown[0]} is not known; known: {', '.join(sorted(known))}"
            )
        batch_size = int(section.get("batchSize", cls.batch_size))
        if not 1 <= batch_size <= 32:
            raise AppLoadError(f"host.json: extensions.queues.batchSize is {batch_size}; use 1 to 32")
        encoding = str(section.get("messageEncoding", "base64")).lower()
        if encoding not in {"base64", "none"}:
            raise AppLoadError(f"host.json: extensions.queues.messageEncoding is {encoding!r}; use base64 or none")
        return cls(
            batch_size=batch_size,
            new_batch_threshold=int(section.get("newBatchThreshold", batch_size // 2)),
            max_polling_interval=time_span(str(section.get("maxPollingInterval", "00:01:00"))),
            visibility_timeout=time_span(str(section.get("visibilityTimeout", "00:00:00"))),
            max_dequeue_count=int(section.get("maxDequeueCount", cls.max_dequeue_count)),
            base64_encoded=encoding == "base64",
        )


def message_input(text: str, stored: StoredMessage | None = None) -> tuple[TypedData, dict[str, TypedData]]:
    """What a queue function gets: the body, and the trigger metadata of a stored message."""
    if stored is None:
        return TypedData(string=text), {"Id": TypedData(string=""), "DequeueCount": TypedData(string="1")}
    values = {
        "Id": stored.id,
        "DequeueCount": stored.dequeue_count,
        "InsertionTime": _text(stored.inserted_on),
        "ExpirationTime": _text(stored.expires_on),
        "NextVisibleTime": _text(stored.next_visible_on),
        "PopReceipt": stored.pop_receipt,
    }
    return TypedData(string=text), {name: TypedData(string=str(value)) for name, value in values.items()}


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _client(connection: str, queue: str) -> QueueClient:
    """A client that gives up soon: the poller itself tries again, and a stop must not wait for minutes."""
    return QueueClient.from_connection_string(connection, queue, retry_total=0, connection_timeout=2, read_timeout=10)


class QueueTrigger:
    """Polls one queue and calls its function for each message.

    A message being worked on is hidden for the lease, which is renewed half-way. A message whose function
    returns is deleted; one whose function raises is visible again after `visibilityTimeout`, and after
    `maxDequeueCount` tries it goes to `<queue>-poison`.
    """

    def __init__(
        self,
        function: Function,
        queues: tuple[QueueClient, QueueClient],
        options: QueueOptions,
        invoke: Invoke,
        *,
        lease: timedelta = _LEASE,
    ) -> None:
        self._function = function
        self._queue, self._poison = queues
        self._options = options
        self._invoke = invoke
        self._lease = lease
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._working = 0
        self._threads: list[threading.Thread] = []

    @classmethod
    def of(cls, function: Function, options: QueueOptions, invoke: Invoke, *, lease: timedelta | None) -> Self:
        """From the metadata and the app settings. Raises AppLoadError without a connection setting."""
        setting = str(function.trigger.get("connection") or "AzureWebJobsStorage")
        connection = os.environ.get(setting) or os.environ.get(f"AzureWebJobs{setting}")
        if not connection:
            raise AppLoadError(
                f"{function.name}: set {setting} to a storage connection string (identities are not there)"
            )
        name = resolve(str(function.trigger["queueName"]))
        clients = [_client(connection, one) for one in (name, f"{name}-poison")]
        return cls(function, (clients[0], clients[1]), options, invoke, lease=lease or _LEASE)

    def start(self) -> None:
        """Begin to poll."""
        thread = threading.Thread(target=self._poll, name=f"queue-{self._function.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Take nothing more, and wait for the messages that are being worked on."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()  # a poll that is under way may still bring messages
        with self._changed:
            self._changed.wait_for(lambda: self._working == 0)
        self._queue.close()
        self._poison.close()

    def _poll(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        longest = self._options.max_polling_interval.total_seconds()
        while not self._stopping.is_set():
            try:
                found = self._take()
            except AzureError as error:
                logger.warning("queue %s cannot be read: %s", self._queue.queue_name, error)
                found = 0
            if found:
                wait = _FIRST_WAIT_SECONDS
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._working <= self._options.new_batch_threshold or self._stopping.is_set()
                    )
                continue
            self._stopping.wait(min(wait, longest))
            wait = min(wait * random.uniform(1.6, 2.4), longest)

    def _take(self) -> int:
        """Take one batch and start its calls; the number of messages."""
        try:
            batch = list(
                self._queue.receive_messages(
                    messages_per_page=self._options.batch_size,
                    max_messages=self._options.batch_size,
                    visibility_timeout=int(self._lease.total_seconds()),
                )
            )
        except ResourceNotFoundError:  # nobody has made the queue yet: it is empty
            return 0
        for message in batch:
            with self._changed:
                self._working += 1
            work = threading.Thread(target=self._work, args=(message,), name=f"message-{message.id}", daemon=True)
            work.start()
        return len(batch)

    def _work(self, message: StoredMessage) -> None:
        try:
            self._call(message)
        except AzureError as error:
            logger.warning("message %s of %s comes again: %s", message.id, self._queue.queue_name, error)
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _call(self, message: StoredMessage) -> None:
        try:
            text = self._decode(message.content)
        except (binascii.Error, UnicodeDecodeError):
            logger.warning("message %s of %s is not base64 of UTF-8", message.id, self._queue.queue_name)
            self._give_back(message)
            return
        data, metadata = message_input(text, message)
        future = self._invoke(
            self._function,
            data,
            reason=f"New queue message detected on '{self._queue.queue_name}'.",
            trigger_metadata=metadata,
        )
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        while not ended.wait(self._lease.total_seconds() / 2):
            message = self._queue.update_message(message, visibility_timeout=int(self._lease.total_seconds()))
        if future.exception() is None:
            self._queue.delete_message(message)
        else:
            self._give_back(message)

    def _decode(self, content: str) -> str:
        return base64.b64decode(content, validate=True).decode() if self._options.base64_encoded else content

    def _give_back(self, message: StoredMessage) -> None:
        """Let a message come again, or put it into the poison queue after its last try."""
        if (message.dequeue_count or 0) < self._options.max_dequeue_count:
            self._queue.update_message(
                message, visibility_timeout=int(self._options.visibility_timeout.total_seconds())
            )
            return
        try:
            self._poison.create_queue()
        except ResourceExistsError:
            logger.debug("queue %s is there", self._poison.queue_name)
        self._poison.send_message(message.content, time_to_live=-1)
        self._queue.delete_message(message)
        logger.error(
            "message %s failed %s times and is in %s",
            message.id,
            message.dequeue_count,
            self._poison.queue_name,
        )
