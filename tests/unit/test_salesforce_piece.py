"""A customer's message in pieces: always the same ids, and no bare word that Salesforce may take for an order."""

import pytest

from shared.relay.model import Conversation, CustomerMessage, File
from shared.salesforce.piece import pieces
from shared.salesforce.settings import GUARDED_WORDS
from tests.clock import ManualClock

NOW = ManualClock().now()
CONVERSATION = Conversation("h1", "s1", "salesforce", "c1", "sms", NOW)


def texts(text: str, *files: File) -> list[str]:
    """What is sent."""
    message = CustomerMessage("m1", NOW, text=text, files=files)
    return [piece.text for piece in pieces(CONVERSATION, message, guarded=GUARDED_WORDS)]


@pytest.mark.parametrize("word", sorted(GUARDED_WORDS))
def test_a_guarded_word_by_itself_gets_words_around_it(word: str) -> None:
    """In any case, with blanks around it, and beside a file; within a sentence it is left alone."""
    assert texts(f" {word.upper()} ") == [f"Customer wrote: {word.upper()}"]
    assert texts(word, File("a.pdf", None)) == [f"Customer wrote: {word}", "[attachment: a.pdf ]"]
    assert texts(f"{word} it") == [f"{word} it"]


def test_the_last_piece_of_a_long_text_is_no_bare_word() -> None:
    """Each piece is a message of its own."""
    assert texts("x" * 3990 + " please stop")[-1] == "Customer wrote: stop"


def test_the_ids_do_not_depend_on_the_guard() -> None:
    """What was sent before the setting was changed is found."""
    message = CustomerMessage("m1", NOW, text="stop", files=(File("a.pdf", None),))
    guarded = [piece.id for piece in pieces(CONVERSATION, message, guarded=GUARDED_WORDS)]
    assert guarded == [piece.id for piece in pieces(CONVERSATION, message)]
    assert len(set(guarded)) == 2
