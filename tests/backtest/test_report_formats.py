"""Scales and markup of the report."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.backtest.report.formats import (
    compact,
    marks_between,
    money,
    nice_marks,
    parse_time_ms,
    time_marks,
    whole,
)
from stream_app.backtest.report.markup import json_script, tag, text
from stream_app.backtest.report.population_chart import thinned
from stream_app.domain.events import MS_PER_DAY, TIME_MAX_MS


@given(st.floats(1e-9, 1e15))
def test_marks_begin_at_zero_and_end_beyond_the_largest_value(largest: float) -> None:
    marks = nice_marks(largest)
    assert marks[0] == 0
    assert marks[-1] >= largest * (1 - 1e-9)
    assert 2 <= len(marks) <= 7


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_marks_between_two_values_enclose_both(low: float, span: float) -> None:
    marks = marks_between(low, low + span)
    tolerance = 1e-6 * max(abs(low), span, 1.0)
    assert marks[0] <= low + tolerance
    assert marks[-1] >= low + span - tolerance
    assert 2 <= len(marks) <= 9


@given(st.integers(0, TIME_MAX_MS), st.integers(0, TIME_MAX_MS))
def test_marks_of_time_are_few_in_order_and_inside_whatever_the_span(one: int, other: int) -> None:
    start_ms, end_ms = sorted((one, other))
    marks = time_marks(start_ms, end_ms)
    assert len(marks) <= 9
    assert all(0 <= fraction <= 1 for fraction, _ in marks)
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(marks))
    if end_ms - start_ms >= 70 * MS_PER_DAY:
        assert len(marks) >= 2


@given(st.integers(1, 5000), st.integers(2, 300))
def test_thinning_keeps_the_first_and_the_last(count: int, points_max: int) -> None:
    places = thinned(count, points_max)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert len(places) == min(count, points_max) == len(set(places))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1k"),
        (12_345, "12.3k"),
        (-12_345, "\u221212.3k"),
        (2.5e9, "2.5B"),
        (0.04, "0.04"),
    ],
)
def test_compact_numbers_have_three_digits(value: float, told: str) -> None:
    assert compact(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "EUR\u00a00"), (12.5, "EUR\u00a012.50"), (1234.5, "EUR\u00a01,234"), (2.5e9, "EUR\u00a02.5B")],
)
def test_money_names_its_currency(value: float, told: str) -> None:
    assert money(value, "EUR") == told


def test_counts_separate_thousands() -> None:
    assert whole(1_234_567) == "1,234,567"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-02T00:00:00.000Z", MS_PER_DAY),
        ("1970-01-02", MS_PER_DAY),
        (5, 5),
        ("soon", None),
        (None, None),
    ],
)
def test_times_of_records_are_read_or_given_up(value: object, expected: int | None) -> None:
    assert parse_time_ms(value) == expected


@given(st.text())
def test_no_text_can_open_an_element(content: str) -> None:
    assert not set("<>\"'") & set(text(content))


@given(st.recursive(st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3)))
def test_no_json_can_close_its_script(value: object) -> None:
    content = json_script("data", value)
    assert content.count("<") == 2


def test_attributes_are_escaped_and_missing_ones_left_out() -> None:
    assert tag("a", None, class_='x"y', data_x=None, hidden=False) == '<a class="x&quot;y"></a>'
