"""The price of hysteresis against counting by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.backtest.comparison.hysteresis import NO_TIER, AxisMark, HysteresisTally, exact_sum, top_spend

Customer = tuple[int, float, float]
CUSTOMERS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([0.0, 5.0, 7.0, 40.0])),
    min_size=1,
    max_size=5,
)


def mark(held: list[int], ranks: list[int], scores: list[float] | None = None) -> AxisMark:
    given_scores = np.zeros(len(held)) if scores is None else np.array(scores)
    return AxisMark(np.array(held, dtype=np.int8), np.array(ranks, dtype=np.int8), given_scores)


@settings(max_examples=60, deadline=None)
@given(customers=CUSTOMERS, data=st.data())
def test_the_top_customers_spend_what_drawing_lots_among_equals_gives_on_average(
    customers: list[Customer], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(customers)))
    orders = [sorted(order, key=lambda each: each[:2], reverse=True) for order in permutations(customers)]
    mean = sum(sum(spend for _, _, spend in order[:count]) for order in orders) / len(orders)

    held, scores, spend = (np.array(column) for column in zip(*customers, strict=True))
    assert top_spend(held.astype(np.int8), scores, spend, count) == pytest.approx(mean)


@given(values=st.lists(st.floats(-1e9, 1e9), max_size=30), data=st.data())
def test_a_sum_is_the_same_in_any_order(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))

    assert exact_sum(np.array(values)) == exact_sum(np.array(shuffled))


def test_without_hysteresis_the_price_is_nothing_and_nobody_is_off() -> None:
    tally = HysteresisTally(3)
    ranks = [0, 0, 1, 2, NO_TIER]
    before = mark(ranks, ranks, [0.1, 0.2, 1.5, 2.5, 0.0])
    tally.add(before, before, np.array([1.0, 2.0, 30.0, 60.0, 999.0]))

    assert tally.revenue == 93.0
    assert tally.held_revenue.tolist() == tally.rank_revenue.tolist() == [90.0, 60.0]
    assert (tally.rated_count, tally.off_count, tally.held_moved_count) == (4, 0, 0)


def test_a_customer_whom_hysteresis_holds_back_costs_what_she_spends_more_than_the_one_who_stays() -> None:
    tally = HysteresisTally(2)
    # The second customer's score has passed the first's, but not the line; one place is above the edge.
    before = mark([1, 0, 0], [0, 1, 0], [1.0, 1.1, 0.1])
    tally.add(before, before, np.array([20.0, 50.0, 30.0]))

    assert tally.rank_shares is not None
    assert tally.held_shares is not None
    assert tally.rank_shares.tolist() == [0.5]
    assert tally.held_shares.tolist() == [0.2]
    assert tally.off_share == pytest.approx(2 / 3)


def test_who_is_something_else_at_the_next_mark_is_counted_with_and_without_hysteresis() -> None:
    tally = HysteresisTally(2)
    before, now = mark([0, 0, 1, 1], [0, 0, 1, 1]), mark([0, 1, 1, NO_TIER, 0], [1, 1, 0, NO_TIER, 0])
    tally.add(before, now, np.zeros(4))

    assert (tally.paired_count, tally.held_moved_count, tally.rank_moved_count) == (3, 1, 3)
    assert tally.held_moved_share == pytest.approx(1 / 3)
    assert tally.held_shares is None


def test_without_a_mark_every_share_is_unknown() -> None:
    tally = HysteresisTally(3)

    assert tally.held_shares is None
    assert tally.rank_shares is None
    assert (tally.off_share, tally.held_moved_share, tally.rank_moved_share) == (None, None, None)
