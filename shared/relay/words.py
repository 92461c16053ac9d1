"""What two messages are compared by."""

from shared.relay.model import File, RepEntry


def entry_text(entry: RepEntry) -> str:
    """A rep's message: its text, but for white space, and the names of its files."""
    return "\n".join([" ".join(entry.text.split()), *(named(file) for file in entry.files)])


def named(file: File) -> str:
    """A file's name, else its address."""
    return file.name or file.url or ""
