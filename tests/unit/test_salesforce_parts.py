"""A handoff as messages: none too long, none lost, no message of the conversation cut that fits."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.handoff.document import Document
from shared.handoff.model import Contact, Handoff
from shared.salesforce import parts

LABEL = "AI conversation (OpenCX session s)"
HEADER = "Channel: web\nSummary: x"
_LABELLED = re.compile(r"--- .*? ---\n", re.DOTALL)
_TRAILER = re.compile(r"\n\(end(?: of part \d+)?\)\Z")


def document(*turns: str, header: str = HEADER) -> Document:
    """A handoff as text."""
    return Document(title="t", header=header, turns=turns)


def bodies(found: list[parts.Part] | None) -> list[str]:
    """What the messages say without their labels."""
    assert found is not None
    return [_TRAILER.sub("", _LABELLED.sub("", part.text, count=1)) for part in found]


def fits(part: parts.Part) -> bool:
    """Whether Salesforce takes it: 4,000 UTF-16 units, and a body of 8 KB with room for attributes."""
    units = len(part.text.encode("utf-16-le")) // 2
    return units <= 4000 and len(json.dumps(part.text, ensure_ascii=False).encode()) <= 6400


def test_what_fits_is_one_message() -> None:
    """Header and transcript together, without a part number."""
    (part,) = parts.whole(document("A: hi", "B: ho"), LABEL) or []
    assert part.text == f"--- {LABEL} ---\n{HEADER}\n\nTranscript (2 messages, times in UTC)\nA: hi\nB: ho"


@pytest.mark.parametrize("letter", ["x", "é", "न", "😀", '"', "\n"])
def test_no_message_is_too_long_in_any_script(letter: str) -> None:
    """Characters of two units, of four bytes, and such as JSON escapes are all counted."""
    turns = [f"[09:00] Customer: {number} {letter * 700}!" for number in range(12)]
    found = parts.whole(document(*turns), LABEL)
    assert found is not None
    assert len(found) > 2
    assert all(fits(part) for part in found)
    assert bodies(found)[0] == HEADER
    joined = "\n".join(bodies(found)[1:])
    assert joined == "\n".join([parts.HEADING, *turns])
    for turn in turns:
        assert sum(turn in part.text for part in found) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9000), max_size=6)
)
def test_nothing_is_lost_whatever_is_said(turns: list[str]) -> None:
    """Also a turn that is longer than a message: its pieces follow each other."""
    found = parts.whole(document(*turns), LABEL)
    if found is None:
        return
    assert all(fits(part) for part in found)
    whole = "".join("".join(bodies(found)).split("\n"))
    assert "".join(turns) in whole
    assert len({part.name for part in found}) == len(found)


def test_a_long_text_is_cut_between_words() -> None:
    """Where there is white space near the end."""
    text = "word " * 2000
    pieces = parts.split(text)
    assert "".join(pieces) == text
    assert all(piece.endswith("word ") for piece in pieces)


def test_an_endless_text_is_cut_quickly() -> None:
    """4 MB in one message: the work grows with the length, not with its square."""
    pieces = parts.split("ñ" * 4_000_000)
    assert sum(map(len, pieces)) == 4_000_000


def test_too_much_for_the_chat_is_said_to_be_too_much() -> None:
    """More than 18 messages: somebody else must decide."""
    assert parts.whole(document(*["x" * 3000] * 30), LABEL) is None
    assert len(parts.whole(document(*["x" * 3000] * 17), LABEL) or []) == 18


def test_the_newest_part_is_the_last_turns() -> None:
    """Header, a sentence that says where the rest is, and the end of the transcript."""
    turns = [f"{number:03} {'x' * 3000}" for number in range(40)]
    found = parts.newest(document(*turns, header="h" * 9000), LABEL, most=4, where="The rest is elsewhere.")
    assert len(found) == 4
    assert all(fits(part) for part in found)
    assert found[0].text.endswith("…\n\nThe rest is elsewhere.")
    assert bodies(found)[1:] == turns[-3:]


def test_a_message_keeps_its_name_when_others_come_behind_it() -> None:
    """What was there before a transcript grew is not sent again."""
    turns = [f"{number:03} {'x' * 3000}" for number in range(9)]
    before = {part.name for part in parts.whole(document(*turns[:8]), LABEL) or []}
    after = {part.name for part in parts.whole(document(*turns), LABEL) or []}
    assert len(after - before) == 1
    assert before < after


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/x", True),
        ("see www.example.com", True),
        ("see example.com/a?b=c", True),
        ("[attachment: a.pdf https://a.example/x]", True),
        ("https://a.example/x is it", False),
        ("That is all.", False),
        ("", False),
    ],
)
def test_an_address_at_the_end_is_seen(text: str, expected: bool) -> None:
    """Salesforce would make an entry of its own of it."""
    assert parts.ends_with_address(text) is expected


def test_files_are_cut_at_line_ends_and_between_characters() -> None:
    """Nothing is lost, and every file is text."""
    text = document(*[f"{number} {'न' * 50}" for number in range(50)], "न" * 400)
    files = parts.text_files(text, limit_bytes=1000)
    assert [name for name, _ in files][:2] == ["transcript-1.txt", "transcript-2.txt"]
    assert all(len(content) <= 1000 for _, content in files)
    assert "".join(content.decode() for _, content in files) == text.whole
    ((name, content),) = parts.text_files(text, limit_bytes=100_000)
    assert (name, content.decode()) == ("transcript.txt", text.whole)


def test_the_label_names_session_and_phone() -> None:
    """It is short and on one line, whatever the ids are."""
    handoff = Handoff("h", "s\u2028" + "1" * 300, "sms", contact=Contact(phone="+15551234567"))
    label = parts.label(handoff)
    assert "phone +15551234567" in label
    assert "\u2028" not in label
    assert len(label) < 220
