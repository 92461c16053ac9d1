"""How one org behaves: what an administrator can set, and what no document settles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

_MAPPED = frozenset(
    {
        "OpencxSessionId",
        "Phone",
        "Channel",
        "Language",
        "Priority",
        "Chat_Consumer_Type",
        "_firstName",
        "_lastName",
        "_email",
        "_subject",
    }
)
_TYPES = frozenset({"bmp", "csv", "doc", "docx", "gif", "jpg", "pdf", "png", "tiff", "txt", "xls", "xml"})
_CHOICES: Mapping[str, frozenset[str]] = {
    "over_long_attributes": frozenset({"refuse", "truncate"}),
    "new_session_while_open": frozenset({"replace", "ignore"}),
    "duplicate_messages": frozenset({"accept", "refuse"}),
}
_MAYBE: Mapping[str, type] = {"identity_audience": str, "retry_after_seconds": int}


@dataclass(kw_only=True)
class Switches:
    """Set them on the stand-in while it runs, or by `POST /_sandbox/switches`; a reset brings the first ones back.

    Where the truth is not known the default is the stricter reading.

    Attributes:
        keyset: the name inside the subject of a verified user.
        identity_audience: what `aud` of an identity token must be; None ignores `aud` (sources contradict).
        guest_token_seconds: life of a guest's token, 3,600 to 259,200 in a real org.
        verified_token_seconds: life of a verified user's token, 3,600 to 14,400 in a real org.
        token_requests_per_minute: for the whole org; renewals are counted apart with the same limit.
        messages_per_minute: messages and files into one conversation (documented: 22).
        retry_after_seconds: for `Retry-After` of a 429; None leaves it out (nobody has seen one).
        mapped_attributes: routing attributes that the channel maps, letter by letter; others vanish silently.
        attribute_max_chars: the custom parameter's Max Length.
        over_long_attributes: what happens to longer ones; not documented.
        language_required: whether `language` must be in a create; sources contradict.
        one_open_conversation: whether a subject may hold only one open conversation; not documented.
        text_max_chars: longest text of a message, in UTF-16 units; not documented.
        prechat_every_session: pre-chat is "every session": a message without a session is a 417.
        new_session_while_open: what `isNewMessagingSession` does while a session is open: end it and start
            another, or nothing; not documented.
        duplicate_messages: a message id that the conversation has already: a second entry with the same
            identifier, or 400; not documented.
        attachments: whether customers may send files.
        file_max_bytes: largest file of a customer.
        file_types: file name extensions that a customer may send.
        files_need_token: whether a file's URL wants the access token; not documented.
        transcript_enabled: whether the administrator allows transcripts.
        duplicate_every: every n-th entry of a page comes twice; 0 means none.
        lists_session_status: whether `/entries` lists SessionStatusChanged; older orgs do not.
        automated_responses: whether the channel has automated responses for a rep who joins and ends.
        routing_fails: routing fails at once, as with a queue that has no routing configuration.
        inactive_removes_rep: whether a session that becomes inactive loses its rep; not documented.
        inactive_ends_seconds: when an inactive session ends by itself (documented: about 24 hours).
        guest_end_closes: whether a guest who ends the session closes the conversation too (documented for
            the web client).
    """

    keyset: str = "OpenCX_Keyset"
    identity_audience: str | None = None
    guest_token_seconds: float = 360 * 60
    verified_token_seconds: float = 60 * 60
    token_requests_per_minute: int = 200
    messages_per_minute: int = 22
    retry_after_seconds: int | None = None
    mapped_attributes: frozenset[str] = _MAPPED
    attribute_max_chars: int = 255
    over_long_attributes: Literal["refuse", "truncate"] = "refuse"
    language_required: bool = True
    one_open_conversation: bool = False
    text_max_chars: int = 4000
    prechat_every_session: bool = False
    new_session_while_open: Literal["replace", "ignore"] = "replace"
    duplicate_messages: Literal["accept", "refuse"] = "accept"
    attachments: bool = True
    file_max_bytes: int = 5 * 1024 * 1024
    file_types: frozenset[str] = _TYPES
    files_need_token: bool = False
    transcript_enabled: bool = False
    duplicate_every: int = 0
    lists_session_status: bool = True
    automated_responses: bool = False
    routing_fails: bool = False
    inactive_removes_rep: bool = True
    inactive_ends_seconds: float = 24 * 3600
    guest_end_closes: bool = True

    def change(self, given: Mapping[str, Any]) -> None:
        """Set the switches that are named, all or none. Raises ValueError for an unknown name or a wrong value."""
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"unknown switch {unknown[0]}; known: {', '.join(sorted(known))}")
        values = {name: self._value(name, value) for name, value in given.items()}
        for name, value in values.items():
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """All switches as plain values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name in _MAYBE and (value is None or isinstance(value, _MAYBE[name])):
            return value
        if name in _CHOICES and value in _CHOICES[name]:
            return value
        now = getattr(self, name)
        if isinstance(now, frozenset) and isinstance(value, list) and all(isinstance(one, str) for one in value):
            return frozenset(value)
        if name not in _CHOICES and name not in _MAYBE:
            wanted = (int, float) if isinstance(now, float) else type(now)
            if isinstance(value, wanted) and isinstance(value, bool) == isinstance(now, bool):
                return value
        raise ValueError(f"switch {name} cannot be {value!r}")
