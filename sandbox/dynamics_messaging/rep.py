"""The representative: what is done in the agent's app, and the events that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.dynamics_messaging.activities import person
from sandbox.dynamics_messaging.conversation import Conversation, State
from sandbox.dynamics_messaging.omnichannel import Omnichannel

NAME = "Riley Rep"


class RepError(ValueError):
    """The representative cannot do that now; the text says why."""


class Rep:
    """Acts on conversations by id. Every method raises KeyError for an unknown one, and RepError."""

    def __init__(self, omnichannel: Omnichannel) -> None:
        self._desk = omnichannel

    def accept(self, conversation_id: str, *, rep: str = NAME) -> None:
        """Takes an Open conversation, or revives a Waiting one."""
        with self._in(conversation_id, State.OPEN, State.WAITING) as conversation:
            conversation.rep = rep
            self._desk.move(conversation, State.ACTIVE)
            self._desk.events(conversation, *self._desk.switches.events_on_accept)
            self._desk.automated(conversation, f"{rep} has joined the conversation.")

    def say(self, conversation_id: str, text: str) -> str:
        """Writes to the customer, in Markdown; the id of the message."""
        if not text:
            raise RepError("a message needs a text")
        with self._in(conversation_id, State.ACTIVE) as conversation:
            return self._desk.say(conversation, person(conversation.rep), text=text)

    def file(
        self, conversation_id: str, name: str, content: bytes, *, media_type: str = "application/octet-stream"
    ) -> str:
        """Sends a file, without text; the id of the message."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            channel = self._desk.channel(conversation.channel_id)
            if channel is None or not channel.attachments_from_reps:
                raise RepError("file attachments from representatives are not enabled for this channel")
            attachment = {
                "contentType": media_type,
                "contentUrl": self._desk.files.keep(name, content, media_type),
                "content": None,
                "name": name,
                "thumbnailUrl": None,
            }
            return self._desk.say(conversation, person(conversation.rep), attachments=[attachment])

    def typing(self, conversation_id: str) -> None:
        """Types."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            self._desk.typing(conversation)

    def transfer(self, conversation_id: str, *, rep: str = "Sam Second", is_refused: bool = False) -> None:
        """Hands over to another representative, who takes it unless `is_refused`."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            self._desk.events(conversation, "TransferToAgentInitiated")
            if is_refused:
                self._desk.events(conversation, "TransferAgentRejectSession", "TransferToAgentFailed")
                return
            conversation.rep = rep
            self._desk.events(conversation, "TransferAgentAcceptSession", *self._desk.switches.events_on_accept)

    def queue(self, conversation_id: str, *, queue_id: str = "") -> None:
        """Hands over to a queue: Open again."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            self._desk.events(conversation, "TransferToQueueInitiated")
            conversation.rep, conversation.queue_id = "", queue_id
            self._desk.move(conversation, State.OPEN)

    def end(self, conversation_id: str, *, is_closed: bool = False) -> None:
        """The End button: Wrap-up, and Closed at once with `is_closed`."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            self._desk.events(conversation, *self._desk.switches.events_on_end)
            self._desk.move(conversation, State.WRAP_UP)
            if is_closed:
                self._close(conversation)

    def close_tab(self, conversation_id: str) -> None:
        """The X on the tab: from Active to Waiting, from Wrap-up to Closed."""
        with self._in(conversation_id, State.ACTIVE, State.WRAP_UP) as conversation:
            if conversation.state is State.WRAP_UP:
                self._close(conversation)
                return
            self._desk.events(conversation, *self._desk.switches.events_on_close_tab)
            conversation.rep = ""
            self._desk.move(conversation, State.WAITING)

    def disconnect(self, conversation_id: str) -> None:
        """Is offline for too long: Open again."""
        with self._in(conversation_id, State.ACTIVE) as conversation:
            self._desk.events(conversation, "AgentDisconnected")
            conversation.rep = ""
            self._desk.move(conversation, State.OPEN)

    def force_close(self, conversation_id: str) -> None:
        """A supervisor closes it, whatever its state."""
        with self._in(conversation_id, State.OPEN, State.ACTIVE, State.WAITING) as conversation:
            self._desk.events(conversation, "SupervisorForceClosedConversation")
            self._desk.move(conversation, State.CLOSED)

    def out_of_hours(self, conversation_id: str, *, is_holiday: bool = False) -> None:
        """Nobody works now."""
        with self._in(conversation_id, State.OPEN, State.WAITING) as conversation:
            out_of_hours(self._desk, conversation, is_holiday=is_holiday)

    @contextmanager
    def _in(self, conversation_id: str, *states: State) -> Iterator[Conversation]:
        with self._desk.changing(conversation_id) as conversation:
            if conversation.state not in states:
                wanted = " or ".join(state.label for state in states)
                raise RepError(f"the conversation is {conversation.state.label}; this needs {wanted}")
            yield conversation

    def _close(self, conversation: Conversation) -> None:
        self._desk.events(conversation, *self._desk.switches.events_on_close)
        self._desk.move(conversation, State.CLOSED)


def out_of_hours(desk: Omnichannel, conversation: Conversation, *, is_holiday: bool = False) -> None:
    """The event for a conversation outside operating hours, and perhaps its end."""
    reason = "Holiday" if is_holiday else "NonWorkingHours"
    desk.events(conversation, f"OutOfOperatingHoursDueTo{reason}")
    if desk.switches.out_of_hours_closes:
        desk.move(conversation, State.CLOSED)
