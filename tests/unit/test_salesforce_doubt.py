"""A conversation's end is believed when it has been said for a minute, without a good answer in between."""

import pytest

from shared.errors import ConversationEnded, TransientFailure
from shared.salesforce import doubt
from shared.salesforce.doubt import Doubts
from shared.salesforce.remembered import Remembered
from tests.clock import ManualClock

CODES = frozenset({"closed", "unknown"})


def says(doubts: Doubts, code: str = "closed", *, of: str = "c1") -> type[Exception]:
    """What becomes of an end that is said now."""
    with pytest.raises((ConversationEnded, TransientFailure)) as caught, doubts.about(of, codes=CODES):
        raise ConversationEnded("Over.", code=code)
    return caught.type


@pytest.fixture
def clock() -> ManualClock:
    """The clock that the doubts count in."""
    return ManualClock()


@pytest.fixture
def doubts(clock: ManualClock) -> Doubts:
    """None yet."""
    return Doubts(monotonic=clock.monotonic)


def test_an_end_is_certain_after_a_minute(clock: ManualClock, doubts: Doubts) -> None:
    """Each conversation for itself; an end of another kind is let out at once."""
    assert says(doubts) is TransientFailure
    clock.advance(59)
    assert says(doubts) is TransientFailure
    assert says(doubts, of="c2") is TransientFailure
    clock.advance(1)
    assert says(doubts) is ConversationEnded
    assert says(doubts, of="c2") is TransientFailure
    assert says(doubts, "expired", of="c3") is ConversationEnded


@pytest.mark.parametrize("what", ["good answer", "another end", "silence", "forgotten"])
def test_the_minute_begins_anew(clock: ManualClock, doubts: Doubts, what: str) -> None:
    """After a good answer, with another end than before, after ten minutes of nothing, and where it is told so."""
    says(doubts)
    clock.advance(61)
    if what == "good answer":
        with doubts.about("c1", codes=CODES):
            pass
    elif what == "another end":
        assert says(doubts, "unknown") is TransientFailure
    elif what == "silence":
        clock.advance(600)
    else:
        doubts.forget("c1")
    assert says(doubts) is TransientFailure


def test_another_failure_is_no_good_answer(clock: ManualClock, doubts: Doubts) -> None:
    """A server that fails in between says nothing about the end."""
    says(doubts)
    clock.advance(60)
    with pytest.raises(TransientFailure, match="HTTP 500"), doubts.about("c1", codes=CODES):
        raise TransientFailure("HTTP 500.", code="x", system="salesforce")
    assert says(doubts) is ConversationEnded


def test_so_many_are_kept_and_no_more(clock: ManualClock, doubts: Doubts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversation that was heard of the longest ago is forgotten: its minute begins anew."""
    monkeypatch.setattr(doubt, "MOST_CONVERSATIONS", 2)
    for name in ("c1", "c2", "c1", "c3"):
        says(doubts, of=name)
    clock.advance(60)
    assert [says(doubts, of=name) for name in ("c3", "c1", "c2")] == [
        ConversationEnded,
        ConversationEnded,
        TransientFailure,
    ]


def test_ids_are_remembered_until_there_are_too_many() -> None:
    """The oldest one goes first; one that is added again is as good as new."""
    ids = Remembered(2)
    for each in ("a", "b", "a", "c"):
        ids.add(each)
    assert [each in ids for each in "abc"] == [True, False, True]
