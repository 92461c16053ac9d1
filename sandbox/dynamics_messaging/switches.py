"""What Microsoft does not say, one switch each. The defaults are the stricter readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True)
class Switches:
    """How the stand-in behaves where the truth is unknown, or differs from one organisation to the next.

    Attributes:
        error_code_place: where the 3000x code stands in an error's body; `text` means in `detail` only.
        requests_per_minute: of one channel; over it the answer is 429. 0 means no limit (none is published).
        waiting_finds_same: create with the `customerid` of a Waiting conversation finds it.
        simultaneous_creates_double: two creates at once with one `customerid` make two conversations.
        create_seconds: how long a create takes, between looking for the customer and making the conversation.
        start_message_taken: false as if the service stopped between making the conversation and taking its
            start message.
        start_message_listed: GET messages lists the start message.
        start_message_echoed: the webhook is sent the start message, too.
        context_delay_seconds: how long until GET context shows a new variable.
        row_delay_seconds: how long until Dataverse shows a new or changed conversation.
        context_rows: context variables are written to Dataverse.
        engagement_rows: Dataverse is told the `customerid` (msdyn_customengagementctx).
        messages_from: what `from` holds in GET messages; Microsoft's sample has an empty object.
        continuation_until_empty: a page that holds anything comes with a continuation token.
        customer_end_state: where the customer's endOfConversation leads to.
        out_of_hours_closes: a conversation outside operating hours is closed at once.
        events_as: the `type` of event activities.
        events_on_accept: the events when a representative accepts.
        events_on_end: the events of the End button.
        events_on_close_tab: the events when a representative closes the tab of an Active conversation.
        events_on_close: the events when a representative closes what is in wrap-up.
        events_on_customer_end: the events after the customer's endOfConversation.
        activity_ids: webhook activities have `id` and `timestamp`.
        message_id_in_channel_data: webhook messages carry the 13-digit id as `channelData.messageId`.
        automated_messages: the webhook is sent greetings and the like as plain messages.
        webhook_token: shape of the webhook's token; `none` when no federated credential is set up.
        webhook_audience: `aud` of that token; empty for `api://{app}` (v1) or the app's id (v2).
        webhook_timeout_seconds: of one attempt.
        webhook_attempts: in all.
        webhook_retry_delay_seconds: between two attempts.
        file_token: a representative's file can be fetched with a token of the Messaging APIs only.
        file_lifetime_seconds: how long its address works; 0 means for ever.
        attachment_max_bytes: of one file (an organisation's setting; 5 MB at first).
    """

    error_code_place: Literal["text", "code", "errorCode", "error.code", "extensions"] = "text"
    requests_per_minute: int = 0
    waiting_finds_same: bool = True
    simultaneous_creates_double: bool = True
    create_seconds: float = 0.02
    start_message_taken: bool = True
    start_message_listed: bool = True
    start_message_echoed: bool = False
    context_delay_seconds: float = 0.5
    row_delay_seconds: float = 0.1
    context_rows: bool = True
    engagement_rows: bool = False
    messages_from: Literal["empty", "id", "full"] = "empty"
    continuation_until_empty: bool = True
    customer_end_state: Literal["Wrap-up", "Closed"] = "Wrap-up"
    out_of_hours_closes: bool = False
    events_as: Literal["message", "event"] = "message"
    events_on_accept: tuple[str, ...] = ("AgentAccepted",)
    events_on_end: tuple[str, ...] = ("AgentClosed", "ConversationClosed")
    events_on_close_tab: tuple[str, ...] = ("AgentClosed",)
    events_on_close: tuple[str, ...] = ()
    events_on_customer_end: tuple[str, ...] = ("CustomerDisconnected",)
    activity_ids: bool = False
    message_id_in_channel_data: bool = False
    automated_messages: bool = False
    webhook_token: Literal["v2", "v1", "none"] = "v2"
    webhook_audience: str = ""
    webhook_timeout_seconds: float = 10.0
    webhook_attempts: int = 3
    webhook_retry_delay_seconds: float = 1.0
    file_token: bool = False
    file_lifetime_seconds: float = 300.0
    attachment_max_bytes: int = 5 * 1024 * 1024

    def changed(self, wanted: Mapping[str, Any]) -> Switches:
        """A copy with other values. Raises ValueError naming a switch that is unknown or has a wrong value."""
        hints = get_type_hints(Switches)
        values: dict[str, Any] = {}
        for name, value in wanted.items():
            if name not in hints:
                known = ", ".join(sorted(one.name for one in fields(self)))
                raise ValueError(f"unknown switch {name!r}; known: {known}")
            values[name] = _checked(name, value, hints[name])
        return replace(self, **values)


def _checked(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{name} is {value!r}; use one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{name} must be a list of texts")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{name} must be of type {hint.__name__}")
    return value
