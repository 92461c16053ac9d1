"""A rep's Markdown as plain text: what the agent app writes, and no more, so that other text stays as it is.

Fact: Microsoft's page "Markdown formats for messages" (bold, italic, strike-through, lists, links, line breaks).
"""

import re

_LINK = re.compile(
    r"!?\[([^\[\]\n]{1,1000})\]\(<?((?:https?://|mailto:|tel:)[^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)>?\)"
)
_BOLD = re.compile(r"(?<!\*)\*\*(?=\S)([^*\n]*?\S)\*\*(?!\*)")
_ITALIC = re.compile(r"(?<![\w\\])_(?=\S)([^_\n]*?\S)_(?!\w)")
_STRUCK = re.compile(r"(?<![\w~\\])(~{1,2})(?=[^\s~])([^~\n]*?[^\s~])\1(?![\w~])")
_BULLET = re.compile(r"^(\s*)[*+](\s+)", re.MULTILINE)
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!~>|])")
_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:)\S+")


def flatten(text: str) -> str:
    """The words alone: emphasis goes, a list keeps its lines, a link becomes ``words (address)``.

    Addresses are left as they are: an underscore in one is no emphasis.
    """
    kept: list[str] = []

    def keep(part: str) -> str:
        kept.append(part)
        return f"\x00{len(kept) - 1}\x00"

    def link(found: re.Match[str]) -> str:
        words, address = found[1].strip(), found[2]
        bare = address.removeprefix("mailto:").removeprefix("tel:")
        return keep(bare) if words in (address, bare) else f"{words} ({keep(bare)})"

    text = text.replace("\x00", "")
    text = _LINK.sub(link, text)
    text = _ADDRESS.sub(lambda found: keep(found[0]), text)
    text = _ESCAPED.sub(lambda found: keep(found[1]), text)
    text = _BULLET.sub(r"\1-\2", text)
    for _ in range(3):  # bold around italic around struck
        text = _BOLD.sub(r"\1", text)
        text = _ITALIC.sub(r"\1", text)
        text = _STRUCK.sub(r"\2", text)
    return re.sub(r"\x00(\d+)\x00", lambda found: kept[int(found[1])], text)
