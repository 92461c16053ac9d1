"""Texts on their way between a rep in Dynamics 365 and a customer: flattened, divided, known again."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dynamics_messaging.briefing import START_BYTES, TEXT_UNITS, briefing, is_ours
from shared.dynamics_messaging.markdown import flatten
from shared.dynamics_messaging.names import customer_id, reference
from shared.dynamics_messaging.pieces import pieces, same
from shared.handoff.document import Document
from shared.handoff.text import size
from shared.relay.model import CustomerMessage, File

NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
_TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("é€😀\n "), max_size=300)
_PLAIN = st.text(st.sampled_from("abc 123.,!?\n"), max_size=80)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("**bold** and _italic_ and ~struck~", "bold and italic and struck"),
        ("**_both_**", "both"),
        ("~~gone~~", "gone"),
        ("[our page](https://example.com/a_(b)?c=_d_)", "our page (https://example.com/a_(b)?c=_d_)"),
        ("[https://x.com](https://x.com)", "https://x.com"),
        ("[jo@x.com](mailto:jo@x.com)", "jo@x.com"),
        ("![chart](https://x.com/c.png)", "chart (https://x.com/c.png)"),
        ("* one\n* two\n1. three", "- one\n- two\n1. three"),
        (r"5 \* 3 \_ok\_", "5 * 3 _ok_"),
        ("snake_case_name and 2*3*4 and ~100~150", "snake_case_name and 2*3*4 and ~100~150"),
        ("https://example.com/_a_/b_c_", "https://example.com/_a_/b_c_"),
        ("** not bold **", "** not bold **"),
        ("[no](javascript:alert(1))", "[no](javascript:alert(1))"),
        ("a\x00b", "ab"),
    ],
)
def test_markdown_becomes_words(given_: str, expected: str) -> None:
    """What the agent app writes goes; what only looks like it stays."""
    assert flatten(given_) == expected


@given(_TEXTS)
def test_flattening_never_adds_words_and_never_fails(text: str) -> None:
    """Every letter and digit comes from the text, in its order."""
    letters = iter(character for character in text if character.isalnum())
    assert all(character in letters for character in flatten(text) if character.isalnum())


@given(_PLAIN)
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Nothing is markup that is not meant so."""
    assert flatten(text) == text


def words_of(texts: list[str]) -> str:
    """The texts without the lines by which we know them again, and without white space."""
    return "".join("".join(text.split("\n", 1)[1].split()) for text in texts)


@given(st.lists(_TEXTS.map(lambda text: f"T {text}"), max_size=40), _TEXTS, st.integers(1, 40))
def test_a_briefing_holds_every_word_within_the_limits(turns: list[str], header: str, times: int) -> None:
    """The parts, then the start's newest turns: all words in order; no text is larger than Dynamics takes."""
    document = Document("title", f"Channel: web\n{header * times}", tuple(turn * times for turn in turns))
    made = briefing(document, handoff_id="h")
    assert len(made.start.encode()) <= START_BYTES
    assert all(size(text) <= TEXT_UNITS for text in (*made.parts, *made.again))
    assert all(is_ours(text, "h") and not is_ours(text, "g") for text in (made.start, *made.parts, *made.again))
    told = words_of([*made.parts, made.start])
    for turn in document.turns:
        assert "".join(turn.split()).replace("\x1f", "") in told or _in_order(turn, told)
    assert made.missing([]) == [*made.again, *made.parts]
    assert made.missing([made.start, *made.parts]) == []
    assert made.missing([*made.again, *made.parts]) == []


def _in_order(turn: str, told: str) -> bool:
    """Whether a turn's letters are there in order: control characters are cleaned away."""
    letters = iter(told)
    return all(character in letters for character in turn if character.isalnum())


def test_a_repeat_sends_only_what_is_missing() -> None:
    """By the first lines, whatever Dynamics has done to the rest."""
    document = Document("t", "header", tuple(f"turn {n} {'x' * 900}" for n in range(80)))
    made = briefing(document, handoff_id="h")
    assert len(made.parts) > 3
    listed = [made.start[:150], made.parts[1].replace("x", "y")]
    assert made.missing(listed) == [made.parts[0], *made.parts[2:]]


def test_a_text_that_has_changed_is_told_anew() -> None:
    """The digits after the dash are of the text."""
    first = briefing(Document("t", "header", ("a",)), handoff_id="h")
    second = briefing(Document("t", "header", ("a", "b")), handoff_id="h")
    assert second.missing([first.start]) == list(second.again)


def test_a_customers_words_are_not_taken_for_ours() -> None:
    """Not even when they know how ours begin, for the digits are of their handoff; nor far down in a text."""
    text = f"OpenCX handoff {reference('other')}-0000"
    assert not is_ours(text, "h")
    assert not is_ours("x" * 300 + f" OpenCX handoff {reference('h')}-0000", "h")


@given(_TEXTS, st.integers(1, 60))
def test_the_pieces_of_a_message_are_the_message(text: str, times: int) -> None:
    """Divided at 6,000 units, nothing lost but what no rep could see."""
    made = pieces(CustomerMessage("m", NOW, text=text * times))
    assert all(size(piece.text) <= TEXT_UNITS for piece in made)
    assert len({piece.id for piece in made}) == len(made)
    given_ = re.sub(r"[\x00-\x1f\x7f-\x9f\s\ufffe\uffff]", "", text * times)
    assert re.sub(r"\s", "", "".join(piece.text for piece in made)) == given_


def test_a_file_without_an_address_is_named() -> None:
    """And one whose address is not https goes as text: Dynamics takes https only."""
    files = (File("a.pdf", None), File(None, "http://x/b.pdf?sig=1"), File("c.pdf", "https://x/c.pdf"))
    made = pieces(CustomerMessage("m", NOW, files=files))
    assert [(piece.text, piece.file is not None) for piece in made] == [
        ("[a.pdf]", False),
        ("b.pdf: http://x/b.pdf?sig=1", False),
        ("c.pdf: https://x/c.pdf", True),
    ]
    activity = made[2].activity(sender={})
    assert activity["attachments"][0]["contentType"] == "application/pdf"


@pytest.mark.parametrize(
    ("one", "other"), [("a  b", "a b "), ("<b>&", "&lt;b&gt;&amp;"), ("Straße", "STRASSE"), ("😀", " 😀")]
)
def test_spelling_that_dynamics_may_change_does_not_count(one: str, other: str) -> None:
    """Spaces, entities, case."""
    assert same(one) == same(other)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=128))
def test_a_customer_id_fits_and_is_its_own(handoff_id: str) -> None:
    """At most 100 units, so that no column can cut it."""
    assert size(customer_id(handoff_id)) <= 100
    assert customer_id(handoff_id) != customer_id(handoff_id + "x")
