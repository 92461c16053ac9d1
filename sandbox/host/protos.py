"""The messages between host and worker library, without protobuf.

The library never imports protobuf: it is handed an object that has the message types, and only sets and
reads their attributes. Microsoft's next worker hands over a pure-Python stand-in in the same way. (reference:
azure-functions-python-worker, `workers/r2p2/bridge/protos_adapter.py`)
"""

from __future__ import annotations

import types
from typing import Any


class Message(types.SimpleNamespace):
    """Any message: it keeps what it is given."""


class TypedData:
    """One value of one kind, for instance `string`, `bytes`, `json` or `http`."""

    def __init__(self, **one: Any) -> None:
        self.kind: str | None
        self.value: Any
        self.kind, self.value = next(iter(one.items()), (None, None))

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's own name
        """The kind that is set."""
        return self.kind

    def __getattr__(self, name: str) -> Any:
        if name == self.kind:
            return self.value
        raise AttributeError(name)


class ParameterBinding(Message):
    """A named value; its value is always in `data`."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - protobuf's own name
        """The field that holds the value."""
        return "data"


class BindingInfo(Message):
    """How a parameter is bound."""

    undefined = 0
    out = 1
    inout = 2


class StatusResult(Message):
    """Whether the worker did what it was asked."""

    Failure = 0
    Success = 1


class RpcHttpCookie(Message):
    """A cookie of an answer."""

    SameSite = types.SimpleNamespace(**{"None": 0}, Lax=1, Strict=2, ExplicitNone=3)


class Protos:
    """What stands in for the generated module: the types with a meaning, and `Message` for all others."""

    TypedData = TypedData
    ParameterBinding = ParameterBinding
    BindingInfo = BindingInfo
    StatusResult = StatusResult
    RpcHttpCookie = RpcHttpCookie

    def __getattr__(self, _name: str) -> type[Message]:
        return Message


def envelope(verb: str, *, properties: dict[str, Any] | None = None, **content: Any) -> Message:
    """A request as the library reads it: `request.request.<verb>.<field>`."""
    return Message(request=Message(**{verb: Message(**content)}), properties=properties or {})
