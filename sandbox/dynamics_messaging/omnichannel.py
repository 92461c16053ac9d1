"""The organisation behind the APIs: channels, conversations, switches, and whatever follows from a change."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sandbox.dynamics_messaging import activities
from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.conversation import OVER, Conversation, Entry, Json, State, Variable
from sandbox.dynamics_messaging.files import Files
from sandbox.dynamics_messaging.records import Records
from sandbox.dynamics_messaging.switches import Switches
from sandbox.dynamics_messaging.webhook import Webhook

AUTOMATED = {"id": "00000000-0000-4000-8000-00000000b07a", "name": "Automated message"}


class Omnichannel:
    """What the endpoints, the representative and the control door work on.

    Attributes:
        lock: held while conversations change.
        creating: held by creates that must not overlap.
        switches: those in force.
        webhook: the way to us.
        records: the way to Dataverse.
        files: what representatives have sent.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        webhook: Callable[[Callable[[], Switches]], Webhook],
        records: Records,
        clock: Callable[[], float],
        switches: Switches,
    ) -> None:
        """`webhook` makes the sender from a way to the switches; `clock` returns seconds since the epoch."""
        self.lock = threading.RLock()
        self.creating = threading.Lock()
        self.now = clock
        self.switches = switches
        self.records = records
        self.files = Files(clock=clock)
        self.webhook = webhook(lambda: self.switches)
        self._stopping = threading.Event()
        self._seed_channel, self._seed_switches = channel, switches
        self._start()

    def reset(self) -> None:
        """Back to the one channel and the switches of the start; no conversations."""
        self.webhook.reset()
        self.records.reset()
        self.files.reset()
        with self.lock:
            self.switches = self._seed_switches
            self._start()

    def _start(self) -> None:
        self._channels = {self._seed_channel.id.lower(): self._seed_channel}
        self._conversations: dict[str, Conversation] = {}
        self._by_customer: dict[tuple[str, str], list[str]] = {}
        self.records.channel(self._seed_channel)

    def pause(self, seconds: float) -> None:
        """Waits as a busy service would."""
        self._stopping.wait(seconds)

    # -- channels -----------------------------------------------------------------------------------------------

    def channel(self, channel_id: str) -> Channel | None:
        """The channel of this id, whatever its case."""
        return self._channels.get(channel_id.lower())

    def channels(self) -> list[Channel]:
        """All channels."""
        with self.lock:
            return list(self._channels.values())

    def change_channel(self, wanted: Mapping[str, Any]) -> Channel:
        """Changes the channel of `id` (the first one without it), or makes one. Raises ValueError."""
        with self.lock:
            channel_id = str(wanted.get("id") or self._seed_channel.id).lower()
            held = self._channels.get(channel_id)
            changed = (held or replace(self._seed_channel, id=channel_id)).changed({**wanted, "id": channel_id})
            self._channels[channel_id] = changed
            self.records.channel(changed)
            return changed

    # -- conversations ------------------------------------------------------------------------------------------

    def conversations(self) -> list[Conversation]:
        """All conversations, in the order of creation."""
        with self.lock:
            return list(self._conversations.values())

    def conversation(self, conversation_id: str) -> Conversation:
        """The conversation of this id. Raises KeyError."""
        return self._conversations[conversation_id.lower()]

    @contextmanager
    def changing(self, conversation_id: str) -> Iterator[Conversation]:
        """The conversation, with the lock held. Raises KeyError."""
        with self.lock:
            yield self.conversation(conversation_id)

    def find(self, channel_id: str, customer_id: str) -> Conversation | None:
        """The newest conversation that a create with this `customerid` goes on with."""
        states = {State.OPEN, State.ACTIVE} | ({State.WAITING} if self.switches.waiting_finds_same else set())
        with self.lock:
            for found in reversed(self._by_customer.get((channel_id, customer_id), [])):
                if self._conversations[found].state in states:
                    return self._conversations[found]
        return None

    def add(self, conversation: Conversation, channel: Channel) -> None:
        """A new conversation, which Dataverse will show."""
        self._conversations[conversation.id] = conversation
        if conversation.customer_id:
            key = (conversation.channel_id, conversation.customer_id)
            self._by_customer.setdefault(key, []).append(conversation.id)
        self.records.opened(
            conversation,
            channel,
            delay_seconds=self.switches.row_delay_seconds,
            is_engaged=self.switches.engagement_rows,
        )

    def move(self, conversation: Conversation, state: State) -> None:
        """Changes the state; at the end, what the webhook has held back is let go."""
        if conversation.state is state:
            return
        was_over = conversation.state in OVER
        conversation.state = state
        self.records.moved(conversation, delay_seconds=self.switches.row_delay_seconds)
        if state in OVER and not was_over:
            self.automated(conversation, "The conversation has ended.")
            self.webhook.ended(conversation.id)

    def set_context(self, conversation: Conversation, variables: Mapping[str, tuple[Any, bool]]) -> None:
        """Adds context variables, or changes them; names are case-sensitive."""
        switches = self.switches
        visible_at = self.now() + switches.context_delay_seconds
        for name, (value, is_displayable) in variables.items():
            conversation.context[name] = Variable(value, is_displayable, visible_at)
            if switches.context_rows:
                self.records.variable(
                    conversation,
                    name,
                    value,
                    is_displayable=is_displayable,
                    delay_seconds=switches.row_delay_seconds,
                )

    # -- what is said -------------------------------------------------------------------------------------------

    def heard(self, conversation: Conversation, entry: Entry) -> None:
        """Keeps an activity."""
        conversation.entries.append(entry)

    def say(
        self,
        conversation: Conversation,
        sender: Json,
        *,
        text: str = "",
        attachments: Sequence[Json] = (),
        is_automated: bool = False,
    ) -> str:
        """A message to the customer: kept, listed, and sent to the webhook; its 13-digit id."""
        message_id = conversation.next_id(self.now())
        activity = activities.message(
            conversation.channel_id, conversation.id, sender, text=text, attachments=attachments
        )
        entry = Entry(
            at=self.now(),
            way="out",
            by="automated" if is_automated else "rep",
            kind="message",
            text=text,
            attachments=tuple(attachments),
            sender=sender,
            message_id=message_id,
            listed=True,
        )
        self._push(conversation, entry, activity)
        return message_id

    def automated(self, conversation: Conversation, text: str) -> None:
        """A message of the workstream's own, if there are any."""
        if self.switches.automated_messages:
            self.say(conversation, dict(AUTOMATED), text=text, is_automated=True)

    def typing(self, conversation: Conversation) -> None:
        """The representative types."""
        activity = activities.typing(conversation.id, conversation.customer_id or conversation.id)
        self._push(conversation, Entry(at=self.now(), way="out", by="rep", kind="typing"), activity)

    def events(self, conversation: Conversation, *names: str) -> None:
        """Events to the webhook, in this order."""
        for name in names:
            activity = activities.event(
                conversation.channel_id,
                conversation.id,
                name,
                rep=conversation.rep,
                kind=self.switches.events_as,
            )
            entry = Entry(at=self.now(), way="out", by="service", kind="event", name=name)
            self._push(conversation, entry, activity)

    def echo_start(self, conversation: Conversation, entry: Entry) -> None:
        """The start message, to the webhook: nobody knows whether Dynamics does that."""
        activity = activities.message(conversation.channel_id, conversation.id, entry.sender, text=entry.text)
        self._deliver(conversation, entry, activity)

    def _push(self, conversation: Conversation, entry: Entry, activity: Json) -> None:
        conversation.entries.append(entry)
        self._deliver(conversation, entry, activity)

    def _deliver(self, conversation: Conversation, entry: Entry, activity: Json) -> None:
        channel = self._channels.get(conversation.channel_id)
        if channel is None:
            return
        if self.switches.activity_ids:
            stamp = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
            activity = {**activity, "id": str(uuid.uuid4()), "timestamp": stamp}
        if self.switches.message_id_in_channel_data and entry.message_id:
            activity = {**activity, "channelData": {"messageId": entry.message_id}}
        self.webhook.send(channel, conversation.id, activity)
