"""Cut points from histograms, against exact quantiles and the rule written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.policy import CutRule
from stream_app.domain.population import BUCKET_COUNT, AxisSketch, bucket_of, cut_at, draw_lines, merge_axis, move
from stream_app.domain.rows import NOT_HELD
from tests.factories import make_axis

WIDTH = 0.005


def histogram_of(scores: np.ndarray) -> np.ndarray:
    return np.bincount(bucket_of(scores, WIDTH), minlength=BUCKET_COUNT)


@given(
    buckets=st.lists(st.integers(0, 60), min_size=1, max_size=50),
    quantile=st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]),
)
def test_the_cut_is_the_lowest_edge_with_at_most_its_share_above(buckets: list[int], quantile: float) -> None:
    histogram = np.bincount(buckets, minlength=BUCKET_COUNT)

    edge = round(cut_at(histogram, np.array([quantile]), 1.0)[0])

    def share_above(index: int) -> float:
        return sum(bucket >= index for bucket in buckets) / len(buckets)

    assert share_above(edge) <= 1 - quantile + 1e-9
    assert edge == 0 or share_above(edge - 1) > 1 - quantile


def test_twenty_of_a_hundred_are_the_top_twenty_percent() -> None:
    histogram = histogram_of(np.arange(100) / 10)

    assert cut_at(histogram, np.array([0.8]), WIDTH)[0] <= 8.0
    assert cut_at(histogram, np.array([0.8]), WIDTH)[0] > 7.9


def test_cut_points_are_a_bucket_away_from_exact_quantiles() -> None:
    scores = np.random.default_rng(1).gamma(3.0, 1.0, 50_000)

    cuts = cut_at(histogram_of(scores), np.array([0.8, 0.95]), WIDTH)

    assert np.abs(cuts - np.quantile(scores, [0.8, 0.95])).max() <= 2 * WIDTH


def test_identical_customers_all_stay_in_the_lowest_tier() -> None:
    lines = draw_lines(
        make_axis(),
        AxisSketch(histogram_of(np.full(500, 3.3)), np.zeros(2, dtype=np.int64), 0),
        WIDTH,
        100,
        np.zeros(2),
    )

    assert lines is not None
    assert (lines.cut_points > 3.3).all()


@pytest.mark.parametrize(("rated_count", "has_lines"), [(0, False), (99, False), (100, True)])
def test_quantile_cut_points_need_enough_rated_customers(rated_count: int, *, has_lines: bool) -> None:
    sketch = AxisSketch(histogram_of(np.linspace(1, 9, rated_count)), np.zeros(2, dtype=np.int64), 0)

    assert (draw_lines(make_axis(), sketch, WIDTH, 100, np.zeros(2)) is not None) == has_lines


def test_absolute_cut_points_need_nobody_and_have_their_margin_in_units_of_the_score() -> None:
    axis = make_axis(cut_rule=CutRule.ABSOLUTE, cuts=(2.0, 5.0), margin=(0.5, 0.25))

    lines = draw_lines(axis, AxisSketch.empty(2), WIDTH, 100, np.zeros(2))

    assert lines is not None
    assert lines.cut_points.tolist() == [2.0, 5.0]
    assert lines.promote_lines.tolist() == [2.5, 5.5]
    assert lines.demote_lines.tolist() == [1.75, 4.75]
    assert np.isnan(lines.percentiles(np.array([3.0]))).all()


def test_hysteresis_lines_lie_around_the_cut_by_a_share_of_the_smaller_tail() -> None:
    scores = np.arange(100_000) / 10_000

    lines = draw_lines(
        make_axis(), AxisSketch(histogram_of(scores), np.zeros(2, dtype=np.int64), 0), WIDTH, 100, np.zeros(2)
    )

    assert lines is not None
    assert lines.promote_lines == pytest.approx([8.5, 9.625], abs=2 * WIDTH)
    assert lines.demote_lines == pytest.approx([7.5, 9.375], abs=2 * WIDTH)


def test_percentiles_say_how_many_are_below() -> None:
    scores = np.arange(100_000) / 10_000
    lines = draw_lines(
        make_axis(), AxisSketch(histogram_of(scores), np.zeros(2, dtype=np.int64), 0), WIDTH, 100, np.zeros(2)
    )

    assert lines is not None
    assert lines.percentiles(np.array([0.0, 5.0, 9.9, 50.0])) == pytest.approx([0.0, 50.0, 99.0, 100.0], abs=0.2)


def test_moving_customers_takes_them_out_of_their_old_bucket() -> None:
    histogram = np.zeros(BUCKET_COUNT, dtype=np.int64)
    nobody, three, seven = (np.array([[bucket, 9]], dtype=np.int32) for bucket in (NOT_HELD, 3, 7))
    move(histogram, np.repeat(nobody, 2, axis=0), np.repeat(three, 2, axis=0), 0)
    move(histogram, three, seven, 0)
    move(histogram, three, three, 0)

    assert (histogram[3], histogram[7], histogram.sum()) == (1, 1, 2)


def test_scores_beyond_the_histogram_count_in_its_last_bucket() -> None:
    assert bucket_of(np.array([-1.0, 1e12]), WIDTH).tolist() == [0, BUCKET_COUNT - 1]


def test_sketches_of_shards_add_up_to_that_of_all() -> None:
    scores = np.random.default_rng(2).gamma(3.0, 1.0, 1000)
    whole = AxisSketch(histogram_of(scores), np.array([7, 9]), 1000)
    parts = [
        AxisSketch(histogram_of(scores[:300]), np.array([3, 4]), 300),
        AxisSketch(histogram_of(scores[300:]), np.array([4, 5]), 700),
    ]

    merged = merge_axis(parts)

    assert np.array_equal(merged.histogram, whole.histogram)
    assert merged.term_sums.tolist() == whole.term_sums.tolist()
    assert merged.term_count == 1000
