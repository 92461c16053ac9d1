"""A customer's message as what Salesforce takes: texts that are short enough, then files."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.handoff.text import clean, one_line
from shared.relay.model import Conversation, CustomerMessage, File
from shared.salesforce import parts
from shared.salesforce.ids import derived

GUARD = "Customer wrote: "


@dataclass(frozen=True)
class Piece:
    """One message of ours: a text, or a file that becomes a text where it cannot be one."""

    id: str
    text: str
    file: File | None = None


def pieces(conversation: Conversation, message: CustomerMessage, *, guarded: Collection[str] = ()) -> list[Piece]:
    """The pieces of a message; the same message always has the same ids.

    Args:
        conversation: where.
        message: what the customer wrote.
        guarded: words in lower case that Salesforce may take for an order, such as ``stop`` for an opt-out: a text of
            nothing else gets words around it.
    """

    def name(kind: str, number: int) -> str:
        return derived(conversation.conversation_id, kind, message.id, str(number))

    text = clean(message.text).strip()
    texts = parts.split(text) if text else []
    found = [Piece(name("text", number), _guarded(each, guarded)) for number, each in enumerate(texts)]
    for number, file in enumerate(message.files):
        shown = one_line(" ".join(filter(None, (file.name, file.url))))
        if shown:
            found.append(Piece(name("file", number), f"[attachment: {shown} ]", file))
    return found


def _guarded(text: str, guarded: Collection[str]) -> str:
    return GUARD + text if text.strip().casefold() in guarded else text
