"""The calls of the customer's side that change something: create, and send an activity."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sandbox.dataverse.address import GUID
from sandbox.dynamics_messaging import creation, sending
from sandbox.dynamics_messaging.channel import Channel
from sandbox.dynamics_messaging.conversation import OVER, Conversation, Entry, Json, State
from sandbox.dynamics_messaging.creation import MAX_VARIABLES, Creation
from sandbox.dynamics_messaging.omnichannel import Omnichannel
from sandbox.dynamics_messaging.refusals import (
    INVALID_CONVERSATION,
    INVALID_OPERATION,
    TOO_MUCH_CONTEXT,
    RefusalError,
    ended,
)
from sandbox.dynamics_messaging.rep import out_of_hours
from sandbox.wire import Request, Response


class Consumer:
    """Answers create and send. Raises RefusalError."""

    def __init__(self, desk: Omnichannel) -> None:
        self._desk = desk

    def create(self, request: Request, channel: Channel) -> Response:
        """Starts a conversation, or finds the active one of this `customerid`.

        What is found is left alone: no start message, no context, no message id.
        """
        wanted = creation.check(creation.decode(request.body, request.headers.get("content-type", "")))
        customer_id = wanted.customer.get("customerid", "")
        desk = self._desk
        overlap = desk.switches.simultaneous_creates_double or not customer_id
        with nullcontext() if overlap else desk.creating:
            found = desk.find(channel.id, customer_id) if customer_id else None
            if found is not None:
                return Response.json({"conversationId": found.id, "isNew": False})
            desk.pause(desk.switches.create_seconds)
            made, message_id = self._start(wanted, channel)
        answer: Json = {"conversationId": made.id, "isNew": True}
        if message_id:
            answer["messageId"] = message_id
        return Response.json(answer)

    def _start(self, wanted: Creation, channel: Channel) -> tuple[Conversation, str]:
        desk = self._desk
        contact = desk.records.identify(wanted.customer.get("email", ""), wanted.customer.get("phonenumber", ""))
        made = Conversation(
            str(uuid.uuid4()),
            channel.id.lower(),
            desk.now(),
            wanted.customer,
            request_id=wanted.request_id,
            is_bot_skipped=wanted.is_bot_skipped,
            contact=contact,
            contact_name=desk.records.name_of(contact),
        )
        with desk.lock:
            desk.add(made, channel)
            desk.set_context(made, wanted.context)
            message_id = self._take_start(made, wanted.start_message)
            desk.automated(made, "An agent will be with you in a moment.")
            if not desk.records.is_open_for_business():
                out_of_hours(desk, made)
        return made, message_id

    def _take_start(self, made: Conversation, start: Json | None) -> str:
        desk = self._desk
        if start is None or not desk.switches.start_message_taken:
            return ""
        made.start_message = start
        entry = Entry(
            at=desk.now(),
            way="in",
            by="start",
            kind="message",
            text=str(start["message"]),
            sender={"id": made.customer_id, "name": str(start.get("displayname", ""))},
            message_id=made.next_id(desk.now()),
            listed=desk.switches.start_message_listed,
        )
        desk.heard(made, entry)
        if desk.switches.start_message_echoed:
            desk.echo_start(made, entry)
        return entry.message_id

    def send(self, request: Request, channel: Channel, conversation_id: str) -> Response:
        """Takes one activity. An `id` of the caller's means nothing: a repeat is a second message."""
        with self.active(conversation_id, channel) as conversation:
            activity = creation.decode(request.body, request.headers.get("content-type", ""))
            kind = sending.check(activity, conversation.id, channel, self._desk.switches.attachment_max_bytes)
            match kind:
                case "message":
                    return Response.json({"messageId": self._message(conversation, activity)})
                case "typing":
                    self._desk.heard(conversation, self._entry(activity))
                    return Response.json({"messageId": ""})
                case "endOfConversation":
                    self._end(conversation, activity)
                    return Response.json({"messageId": ""})
            if activity.get("name") == sending.READ:
                self._read(conversation, activity)
                return Response.json({"messageId": "", "message": None})
            return Response.json({"messageId": self._custom_event(conversation, activity)})

    @contextmanager
    def active(self, conversation_id: str, channel: Channel) -> Iterator[Conversation]:
        """A conversation of this channel that is not over, with the lock held. Raises RefusalError 400, 404."""
        if not GUID.fullmatch(conversation_id):
            raise RefusalError(400, INVALID_CONVERSATION, "The conversation id is not valid.")
        with self._desk.lock:
            try:
                conversation = self._desk.conversation(conversation_id)
            except KeyError as error:
                raise ended(conversation_id) from error
            if conversation.state in OVER or conversation.channel_id != channel.id.lower():
                raise ended(conversation_id)
            yield conversation

    def _message(self, conversation: Conversation, activity: Json) -> str:
        message_id = conversation.next_id(self._desk.now())
        self._desk.heard(conversation, self._entry(activity, message_id=message_id, listed=True))
        if conversation.state is State.WAITING:
            self._desk.move(conversation, State.OPEN)
        return message_id

    def _end(self, conversation: Conversation, activity: Json) -> None:
        desk = self._desk
        desk.heard(conversation, self._entry(activity))
        desk.events(conversation, *desk.switches.events_on_customer_end)
        to_closed = desk.switches.customer_end_state == State.CLOSED.label
        desk.move(conversation, State.CLOSED if to_closed else State.WRAP_UP)

    def _read(self, conversation: Conversation, activity: Json) -> None:
        value = activity.get("value")
        message_id = value.get("messageId") if isinstance(value, dict) else None
        of_rep = {entry.message_id for entry in conversation.entries if entry.by == "rep" and entry.message_id}
        if message_id not in of_rep:
            raise RefusalError(400, INVALID_OPERATION, "value.messageId is no message of a representative.")
        conversation.read_up_to = max(conversation.read_up_to, str(message_id))
        self._desk.heard(conversation, self._entry(activity))

    def _custom_event(self, conversation: Conversation, activity: Json) -> str:
        variables = sending.event_variables(activity)
        if len(conversation.context.keys() | variables.keys()) > MAX_VARIABLES:
            raise RefusalError(400, TOO_MUCH_CONTEXT, f"The context would have more than {MAX_VARIABLES} entries.")
        message_id = conversation.next_id(self._desk.now())
        self._desk.heard(conversation, self._entry(activity, message_id=message_id))
        self._desk.set_context(conversation, variables)
        return message_id

    def _entry(self, activity: Json, *, message_id: str = "", listed: bool = False) -> Entry:
        given: dict[str, Any] = activity
        return Entry(
            at=self._desk.now(),
            way="in",
            by="automated" if sending.is_automated(activity) else "customer",
            kind=str(given["type"]),
            name=str(given.get("name", "")),
            text=str(given.get("text") or ""),
            attachments=tuple(given.get("attachments") or ()),
            sender=dict(given.get("from") or {}),
            channel_data=dict(given.get("channelData") or {}),
            message_id=message_id,
            listed=listed,
        )
