"""What a rep reads: title, header and transcript, whole and in order, whatever the target can hold."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.handoff.document import Document, context, document, subject, title
from shared.handoff.model import Attachment, Contact, Handoff, Turn
from shared.handoff.text import clean, cut, size, split

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def handoff(*turns: str, channel: str = "phone", **more: object) -> Handoff:
    """A handoff with alternating speakers, a second apart."""
    roles = ("customer", "ai")
    transcript = tuple(
        Turn(role=roles[n % 2], text=text, at=START + timedelta(seconds=n)) for n, text in enumerate(turns)
    )
    return Handoff(handoff_id="h", session_id="s", channel=channel, transcript=transcript, **more)  # type: ignore[arg-type]


def test_the_title_is_opencx_s() -> None:
    """Classification and name or e-mail; a caller's number before the e-mail; Support - Anonymous for nobody."""
    jo = Contact(name="Jo Doe", email="jo@example.com", phone="+12025550100")
    nameless = Contact(email="jo@example.com", phone="+12025550100")
    assert title(handoff(classification="billing", contact=jo), channel="phone") == "billing - Jo Doe"
    assert title(handoff(classification="billing", contact=nameless), channel="phone") == "billing - +12025550100"
    assert title(handoff(classification="billing", contact=nameless), channel="email") == "billing - jo@example.com"
    assert title(handoff(), channel="phone") == "Support - Anonymous"


def test_a_title_is_one_line_of_two_hundred_characters() -> None:
    """Line breaks and control characters go; an over-long title is cut by UTF-16 units."""
    long = title(handoff(classification="a\r\nb\x00 " + "😀" * 300), channel="phone")
    assert long.startswith("a b 😀")
    assert size(long) <= 200
    assert long.endswith("…")


def test_the_header_has_the_lines_that_reps_search_for() -> None:
    """Channel:, Summary:, Classification:, Sentiment: and the customer's details, as OpenCX writes them."""
    text = document(
        handoff(
            "Hello",
            summary="Wants a refund",
            classification="billing",
            sentiment="angry",
            contact=Contact(name="Jo", email="jo@example.com", phone="+12025550100"),
            session_url="https://platform.open.cx/s",
        ),
        channel="phone",
    ).whole
    for line in (
        "Channel: phone",
        "Summary: Wants a refund",
        "Classification: billing",
        "Sentiment: angry",
        "Name: Jo",
        "Email: jo@example.com",
        "Phone: +12025550100",
        "Session: s",
        "Link: https://platform.open.cx/s",
        "[2026-01-31 09:30:00] Customer: Hello",
    ):
        assert line in text.split("\n")


def test_nobody_can_forge_a_turn() -> None:
    """Further lines of a message are indented: no text can look like another speaker's line."""
    text = document(handoff("Hi\n[2026-01-31 09:30:09] Agent: refund approved"), channel="web").whole
    assert "\n[2026-01-31 09:30:09]" not in text
    assert "\n    [2026-01-31 09:30:09] Agent: refund approved" in text
    assert "\nChannel: x" not in document(handoff(summary="a\nChannel: x"), channel="web").whole


def test_attachments_are_named_in_their_turn() -> None:
    """A rep sees that a file was sent, and where it is."""
    turn = Turn(role="customer", text="", at=START, attachments=(Attachment("a.png", "https://x.example/a.png"),))
    text = document(Handoff("h", "s", "web", transcript=(turn,)), channel="web").whole
    assert "Customer: [attachment: a.png https://x.example/a.png]" in text


def test_what_fits_stays_in_the_description() -> None:
    """The whole text, or nothing of the transcript but a sentence that says where it is."""
    text = document(handoff("Hello", "Hi"), channel="web")
    assert text.description(2000) == text.whole
    assert text.description(20) is None
    opening = document(handoff("x" * 3000, summary="y" * 3000), channel="web").opening(2000, where="See the notes.")
    assert size(opening) <= 2000
    assert opening.endswith("The transcript (1 message) is too long for this field. See the notes.")


def test_without_notes_the_newest_messages_are_kept() -> None:
    """A target that takes no notes gets the end of the conversation, and is told what is missing."""
    text = document(handoff(*[f"message {n} {'x' * 50}" for n in range(100)]), channel="web").newest(2000)
    assert size(text) <= 2000
    assert "message 99" in text
    assert "message 0 " not in text
    assert "of 100 messages" in text


@given(st.lists(st.text(min_size=1, max_size=80), max_size=30), st.integers(min_value=60, max_value=400))
def test_notes_lose_nothing(texts: list[str], limit: int) -> None:
    """Whatever is said, in whatever script: the notes together hold every turn, in order, within the limit."""
    made = Document(title="t", header="Header", turns=tuple(texts))
    notes = made.notes(limit)
    assert all(size(note) <= limit for note in notes)
    together = "".join("".join(notes).split("\n"))
    position = 0
    for text in texts:
        wanted = "".join(clean(text).split("\n"))
        position = together.index(wanted, position) + len(wanted)


@given(st.text(), st.integers(min_value=2, max_value=50))
def test_splitting_is_exact(text: str, limit: int) -> None:
    """Pieces fit by UTF-16 units, no character is cut in half, and joined they are the text."""
    text = clean(text)
    pieces = split(text, limit)
    assert "".join(pieces) == text
    assert all(size(piece) <= limit for piece in pieces)
    assert size(cut(text, limit)) <= limit


def test_a_chat_has_its_summary_as_subject_and_its_facts_as_context() -> None:
    """OpenCX: the subject is the AI's summary; sessionId and channel are context variables."""
    made = handoff(channel="sms", summary="Wants\na refund", language="en", classification="billing")
    assert subject(made, channel="sms", limit=200) == "Wants a refund"
    assert subject(handoff(channel="sms"), channel="sms", limit=200) == "Support - Anonymous"
    assert context(made, channel="sms") == {
        "sessionId": "s",
        "channel": "sms",
        "handoffId": "h",
        "language": "en",
        "classification": "billing",
    }
