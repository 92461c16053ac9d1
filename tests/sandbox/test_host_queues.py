"""Queue triggers of the local host, on Azurite."""

from __future__ import annotations

import base64
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from sandbox.azurite import Azurite
from sandbox.host.queues import QueueOptions, QueueTrigger
from sandbox.host.worker import AppLoadError, Function
from tests.sandbox.hello import Hello, queue_name

Start = Callable[..., Hello]


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[QueueClient]:
    """A queue of the test's own."""
    with QueueClient.from_connection_string(azurite.connection_string, queue_name()) as client:
        client.create_queue()
        yield client


@pytest.fixture
def start(azurite: Azurite, queue: QueueClient, tmp_path: Path) -> Iterator[Start]:
    """Starts a host on that queue."""
    hosts: list[Hello] = []

    def begin(lease_seconds: int = 600) -> Hello:
        host = Hello(
            tmp_path,
            AzureWebJobsStorage=azurite.connection_string,
            HELLO_QUEUE=queue.queue_name,
            SANDBOX_MESSAGE_LEASE_SECONDS=str(lease_seconds),
        )
        hosts.append(host.start())
        return host

    yield begin
    for host in hosts:
        if host.child.poll() is None:
            host.stop()


def send(queue: QueueClient, text: str) -> None:
    """A message as the extension expects it: base64."""
    queue.send_message(base64.b64encode(text.encode()).decode())


def wait_until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Look until it is so."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to pass")


def length(queue: QueueClient) -> int:
    """How many messages are there, hidden ones included."""
    return queue.get_queue_properties().approximate_message_count or 0


def test_a_message_calls_the_function_once_and_is_gone(queue: QueueClient, start: Start) -> None:
    """Each message is decoded, given to the function once, and deleted when it returns."""
    host = start()
    for number in range(10):
        send(queue, f"grüße {number}")
    wait_until(lambda: length(queue) == 0)
    assert sorted(host.notes) == [f"heard grüße {number} 1" for number in range(10)]


def test_a_message_that_fails_ends_in_the_poison_queue(azurite: Azurite, queue: QueueClient, start: Start) -> None:
    """A function that raises gets its message again, up to maxDequeueCount, then it is set aside unchanged."""
    host = start()
    send(queue, "bad one")
    poison = QueueClient.from_connection_string(azurite.connection_string, f"{queue.queue_name}-poison")
    wait_until(lambda: "is in" in host.log)
    assert host.notes == [f"heard bad one {count}" for count in (1, 2, 3)]
    assert length(queue) == 0
    with poison:
        assert [base64.b64decode(one.content) for one in poison.peek_messages()] == [b"bad one"]


def test_a_message_that_is_not_base64_ends_there_too(queue: QueueClient, start: Start) -> None:
    """What cannot be decoded never reaches the function, and does not stay for ever."""
    host = start()
    queue.send_message("not base64 at all!")
    wait_until(lambda: "is in" in host.log)
    assert host.notes == []
    assert length(queue) == 0


def test_a_long_run_keeps_its_message(queue: QueueClient, start: Start) -> None:
    """A message that is worked on for longer than the lease stays hidden, and is heard once."""
    host = start(lease_seconds=2)
    send(queue, "slow 5")
    host.wait_for_note("done slow 5")
    wait_until(lambda: length(queue) == 0)
    assert host.notes == ["heard slow 5 1", "done slow 5"]


def test_a_killed_host_gives_the_message_back(queue: QueueClient, start: Start) -> None:
    """After kill -9 the message comes again when the lease is over, with a higher dequeue count."""
    host = start(lease_seconds=2)
    send(queue, "slow 4")
    host.wait_for_note("heard slow 4 1")
    host.stop(signal.SIGKILL)
    again = start(lease_seconds=2)
    again.wait_for_note("heard slow 4 2")
    assert "done slow 4" not in host.notes  # the killed one did not get to the end


def test_a_stop_waits_for_the_message_in_hand(queue: QueueClient, start: Start) -> None:
    """SIGTERM lets the function end, and its message is deleted."""
    host = start()
    send(queue, "slow 1")
    host.wait_for_note("heard slow 1 1")
    assert host.stop() == 0
    assert host.notes[-1] == "done slow 1"
    assert length(queue) == 0


def test_a_stop_waits_for_what_a_poll_under_way_brings(queue: QueueClient, azurite: Azurite) -> None:
    """A message that arrives while the host stops is worked on and deleted before the queue's client is closed."""
    send(queue, "late")
    mine = QueueClient.from_connection_string(azurite.connection_string, queue.queue_name)
    poison = QueueClient.from_connection_string(azurite.connection_string, f"{queue.queue_name}-poison")
    received, is_stopping = threading.Event(), threading.Event()
    receive = mine.receive_messages

    def slowly(**options: Any) -> list[Any]:
        batch = list(receive(**options))
        received.set()
        assert is_stopping.wait(10)
        return batch

    def invoke(*_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        threading.Timer(0.3, future.set_result, [None]).start()  # the time that the function takes
        return future

    mine.receive_messages = slowly  # type: ignore[method-assign, assignment]

    def join() -> None:
        is_stopping.set()
        threading.Thread.join(poll)

    function = Function("late", "1", [{"type": "queueTrigger", "queueName": queue.queue_name}])
    trigger = QueueTrigger(function, (mine, poison), QueueOptions(), invoke)
    trigger.start()
    (poll,) = (thread for thread in threading.enumerate() if thread.name == "queue-late")
    poll.join = join  # type: ignore[method-assign, assignment]
    assert received.wait(10)
    trigger.stop()
    assert length(queue) == 0


def test_options_have_the_extensions_defaults_and_limits() -> None:
    """host.json's section is read with Azure's defaults; what Azure refuses is refused."""
    options = QueueOptions.of({"batchSize": 32, "maxPollingInterval": "00:00:02"})
    assert (options.batch_size, options.new_batch_threshold, options.max_dequeue_count) == (32, 16, 5)
    assert options.max_polling_interval.total_seconds() == 2
    for wrong in ({"batchSize": 33}, {"messageEncoding": "hex"}, {"visibilityTimeout": "2 s"}):
        with pytest.raises(AppLoadError):
            QueueOptions.of(wrong)
