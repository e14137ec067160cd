"""The scalar reference against numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from stream_app.domain.policy import CutRule
from tests.factories import make_axis
from tests.outcomes import run_reference
from tests.reference import has_turn_between
from tests.reference_lines import candidate_of, lines_of, position, quantile_edge
from tests.worked_examples import EXAMPLES, Example, assert_as_worked_out


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_the_reference_gives_what_was_worked_out_by_hand(example: Example) -> None:
    assert_as_worked_out(example, run_reference(example.stream))


TEN_BUYERS = dict.fromkeys(range(10, 20), 1)


@pytest.mark.parametrize(
    ("quantile", "edge"),
    [
        # Of ten buyers in the buckets 10 to 19, two are at or above the lower edge of bucket 18.
        ("0.8", 9.0),
        # One and a half may be above: one is.
        ("0.85", 9.5),
        ("0.75", 9.0),
        # Nobody may be above: the upper edge of the highest bucket.
        ("0.95", 10.0),
        ("0.01", 5.5),
    ],
)
def test_a_cut_is_the_lowest_edge_with_no_more_than_its_share_above(quantile: str, edge: float) -> None:
    assert quantile_edge(TEN_BUYERS, 0.5, Fraction(quantile)) == edge


def test_all_buyers_in_one_bucket_lie_below_the_cut() -> None:
    assert quantile_edge({3: 100}, 0.5, Fraction("0.2")) == 2.0


def test_the_band_is_a_share_of_the_smaller_side() -> None:
    axis = make_axis(tiers=("low", "middle", "high"), cuts=(0.2, 0.8), margin=0.5)
    lines = lines_of(axis, 1, TEN_BUYERS, 1.0)
    assert lines is not None
    # q = .2, .3 and .1: eight, seven and nine may be above. q = .8, .9 and .7: two, one and three.
    assert (lines.cut_points, lines.promote, lines.demote) == ((12.0, 18.0), (13.0, 19.0), (11.0, 17.0))


def test_the_bands_of_rising_and_of_falling_have_a_margin_each() -> None:
    axis = make_axis(tiers=("low", "middle", "high"), cuts=(0.2, 0.8), margin=(0.5, 0.25))
    lines = lines_of(axis, 1, TEN_BUYERS, 1.0)
    assert lines is not None
    # q = .3 and .9: seven and one may be above. q = .15 and .75: eight and two.
    assert (lines.promote, lines.demote) == ((13.0, 19.0), (12.0, 18.0))


def test_too_few_rated_customers_draw_no_lines_but_absolute_ones() -> None:
    assert lines_of(make_axis(), 11, TEN_BUYERS, 1.0) is None
    absolute = make_axis(tiers=("low", "high"), cut_rule=CutRule.ABSOLUTE, cuts=(3.0,), margin=0.5)
    lines = lines_of(absolute, 11, {}, 1.0)
    assert lines is not None
    assert (lines.cut_points, lines.promote, lines.demote) == ((3.0,), (3.5,), (2.5,))


@pytest.mark.parametrize(
    ("held", "score", "candidate"),
    [(0, 2.4, 0), (0, 2.5, 1), (1, 1.5, 1), (1, 1.4, 0), (0, 4.5, 2), (2, 1.4, 0), (2, 2.4, 1), (1, 4.4, 1)],
)
def test_a_held_tier_is_left_only_beyond_the_band(held: int, score: float, candidate: int) -> None:
    axis = make_axis(cut_rule=CutRule.ABSOLUTE, cuts=(2.0, 4.0), margin=0.5)
    lines = lines_of(axis, 1, {}, 1.0)
    assert lines is not None
    assert candidate_of(held, lines, score) == candidate
    assert position((1.0, 2.0), 2.0) == 2


@pytest.mark.parametrize(
    ("turn", "period", "after", "up_to", "is_due"),
    [(5, 10, 14, 15, True), (5, 10, 15, 24, False), (5, 10, 15, 25, True), (25, 10, 4, 5, True), (5, 10, 5, 5, False)],
)
def test_a_turn_is_due_when_its_minute_lies_in_the_span(
    turn: int, period: int, after: int, up_to: int, *, is_due: bool
) -> None:
    assert has_turn_between(turn, period, after, up_to) is is_due
