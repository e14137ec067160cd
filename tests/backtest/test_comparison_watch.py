"""Customers counted by their states, however many axes and tiers there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.backtest.comparison.watch import GrowthTally, distinct_rows


@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(st.lists(st.integers(-2, 100), min_size=width, max_size=width), min_size=1, max_size=30)
    )
)
def test_distinct_states_are_each_found_once_and_every_customer_has_hers(states: list[list[int]]) -> None:
    found, places = distinct_rows(np.array(states, dtype=np.int8))

    assert sorted(found.tolist()) == sorted(map(list, {tuple(own) for own in states}))
    assert found[places].tolist() == states


def test_no_customer_has_no_state() -> None:
    found, places = distinct_rows(np.empty((0, 2), dtype=np.int8))

    assert (found.shape, places.shape) == ((0, 2), (0,))


def test_the_growth_lift_is_the_share_of_a_tier_by_that_of_all() -> None:
    tally = GrowthTally(np.array([60, 30, 10]), np.array([6, 9, 5]))

    assert tally.lifts == pytest.approx([0.1 / 0.2, 0.3 / 0.2, 0.5 / 0.2])


@pytest.mark.parametrize(("customers", "grown"), [([0, 0], [0, 0]), ([5, 5], [0, 0])])
def test_where_nobody_is_known_to_have_grown_there_is_no_lift(customers: list[int], grown: list[int]) -> None:
    assert GrowthTally(np.array(customers), np.array(grown)).lifts == [None, None]
