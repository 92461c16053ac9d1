"""The benchmarks run: every part measures something. What it measures is for `python -m tests.bench` to judge."""

from __future__ import annotations

from tests.bench.__main__ import Sizes, rows
from tests.bench.measure import HEADINGS, Row, ratios, table

TINY = Sizes(
    pairs_without_delay=2,
    pairs_with_delay=2,
    pairs_against_sdk=2,
    pairs_of_imports=1,
    handoffs_counted=1,
    handoffs_for_tokens=16,
    handoffs_early=8,
    handoffs_late=16,
)
COUNTS = {"P4", "P5", "P6"}


def test_every_benchmark_measures_and_every_count_is_what_it_must_be() -> None:
    """One run gives a row for each benchmark; times are anything above nothing, counts do not depend on the machine."""
    found = list(rows(TINY))
    assert {row.name.split()[0] for row in found} == {"P1", "P3", "P4", "P5", "P6", "P7", "P10"}
    assert all(value > 0 for row in found for value in row.values)
    counts = [row for row in found if row.is_count]
    assert {row.name.split()[0] for row in counts} == COUNTS
    assert [row.name for row in counts if not row.is_passed] == []
    assert len(table(found).splitlines()) == len(found) + 2


def test_a_pair_is_measured_in_turn() -> None:
    """Who is first changes with every pair, so that neither always meets the warmer machine."""
    order: list[str] = []
    values = ratios(lambda _: order.append("ours"), lambda _: order.append("theirs"), pairs=2)
    assert order == ["ours", "theirs", "theirs", "ours"]
    assert len(values) == 2


def test_a_row_passes_by_its_median_and_a_count_by_every_handoff() -> None:
    """One slow pair fails no ratio; one call too many fails a count."""
    assert Row("ratio", 1.5, [1.0, 1.0, 9.0]).is_passed
    assert not Row("ratio", 1.5, [1.0, 2.0, 2.0]).is_passed
    assert Row("count", 2, [2.0, 2.0], is_count=True).is_passed
    assert not Row("count", 2, [2.0, 2.0, 3.0], is_count=True).is_passed
    assert not Row("count", 2, [1.0, 2.0], is_count=True).is_passed


def test_the_table_has_a_line_a_row() -> None:
    """Name, goal, median, spread and verdict stand in columns."""
    lines = table([Row("ratio", 1.5, [1.0, 1.2, 1.4])]).splitlines()
    assert lines[0].split() == list(HEADINGS)
    assert lines[2].split() == ["ratio", "<=", "1.5", "1.20", "1.00-1.40", "yes"]
