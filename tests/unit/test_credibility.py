"""Credibility spend: variance components against simulation, degenerate populations, exact addition."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.credibility import (
    CREDIBILITY_CONSTANT_MAX,
    CREDIBILITY_CONSTANT_MIN,
    PRIOR_VARIANCE,
    AmountMoments,
    CustomerAmounts,
    FloatArray,
    SpendPopulation,
    amount_moments,
    estimate_spend_population,
    expected_amount,
)


def customers_of(baskets: list[list[float]]) -> CustomerAmounts:
    logs = [[math.log(amount) for amount in amounts if amount > 0.0] for amounts in baskets]
    return CustomerAmounts(
        gross_spend=np.array([sum(amounts) for amounts in baskets], dtype=np.float64),
        basket_count=np.array([len(amounts) for amounts in baskets], dtype=np.float64),
        log_count=np.array([len(values) for values in logs], dtype=np.float64),
        log_sum=np.array([sum(values) for values in logs], dtype=np.float64),
        log_square_sum=np.array([sum(value * value for value in values) for values in logs], dtype=np.float64),
    )


def simulated_customers(within: float, between: float, seed: int, count: int = 5000) -> CustomerAmounts:
    random = np.random.default_rng(seed)
    counts = 1 + random.geometric(0.3, count)
    owners = np.repeat(np.arange(count), counts)
    levels = random.normal(3.0, math.sqrt(between), count)
    logs = levels[owners] + random.normal(0.0, math.sqrt(within), len(owners))

    def total(values: FloatArray) -> FloatArray:
        return np.bincount(owners, weights=values, minlength=count).astype(np.float64)

    return CustomerAmounts(total(np.exp(logs)), counts.astype(float), counts.astype(float), total(logs), total(logs**2))


def block(customers: CustomerAmounts, rows: slice) -> CustomerAmounts:
    return CustomerAmounts(*(getattr(customers, name)[rows] for name in CustomerAmounts.__slots__))


@pytest.mark.parametrize(("within", "between"), [(0.3, 0.8), (0.8, 0.3), (0.5, 0.05)])
def test_variance_components_are_found_again(within: float, between: float) -> None:
    population = estimate_spend_population(amount_moments(simulated_customers(within, between, seed=1)))
    assert population.within_variance == pytest.approx(within, rel=0.05)
    assert population.between_variance == pytest.approx(between, rel=0.1, abs=0.01)
    assert population.credibility_constant == pytest.approx(within / between, rel=0.15)


def test_the_estimates_equal_the_textbook_analysis_of_variance() -> None:
    baskets = [[10.0, 12.0, 30.0], [5.0, 4.0], [80.0], [20.0, 25.0, 22.0, 60.0]] * 60
    groups = [np.log(amounts) for amounts in baskets]
    sizes = np.array([len(group) for group in groups])
    everyone = np.concatenate(groups)
    within_square_sum = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    between_square_sum = sum(len(group) * float((group.mean() - everyone.mean()) ** 2) for group in groups)
    within = (within_square_sum + 5.0) / (sizes.sum() - len(groups) + 10.0)
    unit = sizes.sum() - (sizes**2).sum() / sizes.sum()
    freedom = len(groups) - 1
    between = ((between_square_sum - freedom * within) / unit * freedom + 5.0) / (freedom + 10.0)
    population = estimate_spend_population(amount_moments(customers_of(baskets)))
    assert population.within_variance == pytest.approx(within, rel=1e-5)
    assert population.between_variance == pytest.approx(between, rel=1e-5)
    assert population.mean_amount == pytest.approx(np.mean([np.mean(amounts) for amounts in baskets]), rel=1e-8)


@pytest.mark.parametrize(
    "baskets",
    [
        [],
        [[]],
        [[0.0]],
        [[0.0, 0.0], [0.0]],
        [[25.0]],
        [[25.0, 25.0, 25.0]],
        [[25.0]] * 300,
        [[25.0, 25.0]] * 300,
        [[1.0, 100.0]] * 300,
        [[1e-9, 1e-9], [1e12, 1e12]] * 50,
        [[0.01], [0.02, 0.03]],
        [[10.0]] * 200 + [[1e9]],
    ],
)
@pytest.mark.filterwarnings("error")
def test_every_degenerate_population_gives_finite_figures(baskets: list[list[float]]) -> None:
    customers = customers_of(baskets)
    population = estimate_spend_population(amount_moments(customers))
    assert population.within_variance > 0.0
    assert population.between_variance > 0.0
    assert CREDIBILITY_CONSTANT_MIN <= population.credibility_constant <= CREDIBILITY_CONSTANT_MAX
    amounts = expected_amount(population, customers.gross_spend, customers.basket_count)
    assert np.all(np.isfinite(amounts) & (amounts >= 0.0))
    highest = max((amount for basket in baskets for amount in basket), default=0.0)
    assert np.all(amounts <= highest * (1.0 + 1e-6))


def test_one_basket_each_leaves_the_variance_within_as_believed_before() -> None:
    population = estimate_spend_population(amount_moments(customers_of([[10.0], [20.0], [40.0]] * 200)))
    assert population.within_variance == PRIOR_VARIANCE


@given(cuts=st.lists(st.integers(0, 500), max_size=6))
def test_moments_of_shards_add_up_to_the_bit(cuts: list[int]) -> None:
    customers = simulated_customers(0.4, 0.6, seed=2, count=500)
    edges = [0, *sorted(cuts), 500]
    shards = [amount_moments(block(customers, slice(low, high))) for low, high in pairwise(edges)]
    assert sum(reversed(shards), AmountMoments()) == amount_moments(customers)


def test_more_baskets_are_believed_more() -> None:
    population = SpendPopulation(mean_amount=50.0, within_variance=0.6, between_variance=0.3)
    counts = np.array([0.0, 1.0, 2.0, 8.0, 1000.0])
    amounts = expected_amount(population, counts * 10.0, counts)
    assert amounts[0] == 50.0
    assert np.all(np.diff(amounts) < 0.0)
    assert amounts[-1] == pytest.approx(10.0, rel=0.01)
