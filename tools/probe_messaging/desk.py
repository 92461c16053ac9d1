"""The rep's desk: a person who is asked to act, or the stand-in's rep door."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TextIO

import requests

from shared import http

DOOR_SECONDS = 30.0


class Skipped(Exception):
    """The rep did not, or could not; the text says why."""


class Stopped(Exception):
    """Whoever runs this wants no more."""


class Desk(Protocol):
    """What is done at the rep's desk. Each method returns when it is done, and raises Skipped or Stopped."""

    def point(self, url: str, lock: str) -> None:
        """See to it that the channel row's webhook leads to the listener at this address."""

    def accept(self, conversation_id: str) -> None:
        """Accept it."""

    def say(self, conversation_id: str, text: str) -> None:
        """Write exactly this."""

    def file(self, conversation_id: str) -> None:
        """Send a file."""

    def transfer(self, conversation_id: str) -> None:
        """Transfer it, and have it accepted."""

    def close_tab(self, conversation_id: str) -> None:
        """Close the tab with X, without ending it."""

    def end(self, conversation_id: str) -> None:
        """End it with the End button."""

    def leave(self) -> None:
        """Set the hours so that nobody works now."""

    def left(self, conversation_id: str) -> None:
        """The conversation of nobody's hours was made."""

    def come_back(self) -> None:
        """Set the hours back."""


class Ask:
    """Asks a person, who types s to skip a step and q to stop.

    Args:
        say: shows a line.
        answers: where the person's lines come from.
        seconds: how long a person is waited for.
    """

    def __init__(self, *, say: Callable[[str], None], answers: TextIO, seconds: float) -> None:
        self._say = say
        self._seconds = seconds
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        # A read of a terminal cannot be given up, so it waits in a thread of its own.
        self._reader = threading.Thread(target=self._read, args=(answers,), daemon=True)
        self._reader.start()

    def point(self, url: str, lock: str) -> None:
        """Ask for the tunnel."""
        del lock  # it is no secret of the screen's
        self._ask(
            f"The channel row's msdyn_webhookurl must be https://<your tunnel>/<DYNAMICS_WEBHOOK_LOCK>, and the tunnel "
            f"must lead to {url}."
        )

    def accept(self, conversation_id: str) -> None:
        """Ask for it."""
        self._ask(f"Accept the conversation of OpenCX probe ({conversation_id}) in the agent app.")

    def say(self, conversation_id: str, text: str) -> None:
        """Ask for it."""
        del conversation_id
        self._ask(f"Write exactly this to the customer, without the quotes: '{text}'.")

    def file(self, conversation_id: str) -> None:
        """Ask for it."""
        del conversation_id
        self._ask("Send a small file without words, such as a text file. If the desk offers no files, type s.")

    def transfer(self, conversation_id: str) -> None:
        """Ask for it."""
        del conversation_id
        self._ask("Transfer the conversation to a colleague or a queue, and have it accepted there. That rep goes on.")

    def close_tab(self, conversation_id: str) -> None:
        """Ask for it."""
        del conversation_id
        self._ask("Close the conversation's tab with the X. Do not press End.")

    def end(self, conversation_id: str) -> None:
        """Ask for it."""
        del conversation_id
        self._ask("Press End in the conversation, and leave the tab open: it must stay in Wrap-up.")

    def leave(self) -> None:
        """Ask for it."""
        self._ask("Set the operating hours of the queue or workstream so that it is closed now. (s: leave this out.)")

    def left(self, conversation_id: str) -> None:
        """Nothing to do."""

    def come_back(self) -> None:
        """Ask for it."""
        self._ask("Set the operating hours back to what they were.")

    def _ask(self, what: str) -> None:
        self._say(f"\n>> {what}\n   Then press Enter (s: skip, q: stop).")
        try:
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            message = "nobody has answered"
            raise Skipped(message) from None
        answer = line.strip().lower()
        if not line or answer == "q":
            message = "stopped by q"
            raise Stopped(message)
        if answer == "s":
            message = "skipped by s"
            raise Skipped(message)

    def _read(self, answers: TextIO) -> None:
        while True:
            line = answers.readline()
            self._lines.put(line)
            if not line:
                return


class Play:
    """Drives the stand-in's rep door.

    Args:
        url: the stand-in's address, up to its port.
    """

    def __init__(self, url: str) -> None:
        self._door = f"{url.rstrip('/')}/_sandbox"
        self._session = http.session(url)

    def point(self, url: str, lock: str) -> None:
        """Give the stand-in's channel row this webhook."""
        self._post("channel", {"webhook_url": f"{url}/{lock}"})

    def accept(self, conversation_id: str) -> None:
        """Accept it."""
        self._act(conversation_id, "accept")

    def say(self, conversation_id: str, text: str) -> None:
        """Write it."""
        self._act(conversation_id, "say", text=text)

    def file(self, conversation_id: str) -> None:
        """Send one."""
        self._act(conversation_id, "file", name="probe.txt", text="probe")

    def transfer(self, conversation_id: str) -> None:
        """Transfer it to another rep, who accepts it."""
        self._act(conversation_id, "transfer")

    def close_tab(self, conversation_id: str) -> None:
        """Close the tab."""
        self._act(conversation_id, "close-tab")

    def end(self, conversation_id: str) -> None:
        """End it."""
        self._act(conversation_id, "end")

    def leave(self) -> None:
        """Nothing: the door does it to a conversation, as it would happen to it at its creation."""

    def left(self, conversation_id: str) -> None:
        """Nobody works."""
        self._act(conversation_id, "out-of-hours")

    def come_back(self) -> None:
        """Nothing to do."""

    def _act(self, conversation_id: str, action: str, **given: str) -> None:
        self._post(f"rep/{conversation_id}/{action}", given)

    def _post(self, route: str, body: dict[str, Any]) -> None:
        try:
            answered = self._session.post(f"{self._door}/{route}", json=body, timeout=DOOR_SECONDS)
        except requests.RequestException as error:
            message = f"the rep door does not answer ({type(error).__name__})"
            raise Skipped(message) from None
        if not answered.ok:
            message = f"the rep door answers HTTP {answered.status_code}: {answered.text[:200]}"
            raise Skipped(message)
