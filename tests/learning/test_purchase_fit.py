"""The streaming fit against batch maximum likelihood, on simulated customers and on the CDNOW cohort."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.purchase_model import (
    PRIOR_PARAMETERS,
    PurchaseParameters,
    alive_probability,
    buy_probability,
    expected_purchases,
)
from stream_app.learning.prequential import area_under_curve
from stream_app.learning.purchase_fit import (
    LOG_BOUNDS,
    PRIOR_LOG_MEANS,
    REMEMBERED_MAX,
    FloatArray,
    PurchaseFit,
    fitted,
    log_likelihood,
    log_likelihood_gradient,
    log_prior,
)

PUBLISHED = np.log([0.243, 4.414, 0.793, 2.426])


def simulated_states(
    parameters: PurchaseParameters, count: int, seed: int, *, age_weeks_max: float = 60.0
) -> FloatArray:
    random = np.random.default_rng(seed)
    rate = random.gamma(parameters.r, 1.0 / parameters.alpha_weeks, count)
    drop_out = random.beta(parameters.a, parameters.b, count)
    age = random.uniform(0.0, age_weeks_max, count)
    clock, last, x = np.zeros(count), np.zeros(count), np.zeros(count)
    is_alive = np.ones(count, dtype=np.bool_)
    while is_alive.any():
        clock = clock + random.exponential(1.0, count) / np.maximum(rate, 1e-12)
        is_alive &= clock < age
        x += is_alive
        last = np.where(is_alive, clock, last)
        is_alive &= random.random(count) >= drop_out
    return np.stack([x, last, age], axis=1)


def learned(states: FloatArray, days: int) -> PurchaseFit:
    fit = PurchaseFit()
    for day in range(days):
        rows = states[day % 28 :: 28]
        fit.remember(rows[:, 0], rows[:, 1], rows[:, 2])
        fit.learn_day()
    return fit


def log_vector(parameters: PurchaseParameters) -> FloatArray:
    return np.log([parameters.r, parameters.alpha_weeks, parameters.a, parameters.b])


def batch_fit(states: FloatArray) -> FloatArray:
    found = optimize.minimize(
        lambda values: -log_likelihood(values, states).mean(),
        np.array(PRIOR_LOG_MEANS),
        jac=lambda values: -log_likelihood_gradient(values, states).mean(axis=0),
        method="L-BFGS-B",
    )
    return np.asarray(found.x, dtype=np.float64)


def test_the_gradient_equals_differences_of_the_likelihood() -> None:
    states = simulated_states(PurchaseParameters(0.5, 5.0, 0.6, 2.0), 200, seed=1)
    states = np.concatenate([states, [[0.0, 0.0, 0.0], [3000.0, 500.0, 520.0], [1.0, 0.0, 500.0]]])
    values = np.array([-0.4, 1.3, -0.2, 0.9])
    gradient = log_likelihood_gradient(values, states)
    for index in range(4):
        step = np.zeros(4)
        step[index] = 1e-5
        difference = (log_likelihood(values + step, states) - log_likelihood(values - step, states)) / 2e-5
        np.testing.assert_allclose(gradient[:, index], difference, rtol=1e-4, atol=1e-4)


def test_the_fit_comes_near_batch_maximum_likelihood() -> None:
    states = simulated_states(PurchaseParameters(0.6, 6.0, 0.7, 2.5), 6000, seed=2)
    stream, batch = log_vector(learned(states, days=400).parameters), batch_fit(states)
    lost = log_likelihood(batch, states).mean() - log_likelihood(stream, states).mean()
    assert 0.0 <= lost < 2e-3
    assert np.abs(stream - batch).max() < 0.35


def test_the_prior_holds_the_fit_where_data_say_nothing() -> None:
    newcomers = np.zeros((50, 3))
    one_purchase_each = np.stack([np.zeros(300), np.zeros(300), np.linspace(0.0, 2.0, 300)], axis=1)
    for states in (newcomers, one_purchase_each):
        values = log_vector(learned(states, days=700).parameters)
        lowest, highest = np.array(LOG_BOUNDS).T
        assert np.all((values > lowest + 0.5) & (values < highest - 0.5))


@pytest.mark.parametrize("values", [[-0.4, 1.3, -0.2, 0.9], [0.0, 2.3, -0.7, 1.1], [2.9, -4.5, -6.8, 5.6]])
def test_the_gradient_of_the_prior_equals_differences_of_its_density(values: list[float]) -> None:
    at = np.array(values)
    density, gradient = log_prior(at)
    assert -1e3 < density <= 0.0
    differences = [(log_prior(at + step)[0] - log_prior(at - step)[0]) / 2e-5 for step in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


def test_the_prior_is_finite_and_proper_wherever_the_fit_may_go() -> None:
    density, gradient = log_prior(np.array(PRIOR_LOG_MEANS))
    assert density == 0.0
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
    for corner in itertools.product(*LOG_BOUNDS):
        density, gradient = log_prior(np.array(corner))
        assert -1e3 < density < -1.0
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("times_as_often", [1 / 16, 1 / 4, 4.0, 16.0])
def test_where_customers_buy_more_often_fewer_are_believed_to_leave_after_a_purchase_and_more_in_a_week(
    times_as_often: float,
) -> None:
    r, alpha, a, b = PRIOR_PARAMETERS.values
    leaving = a / (a + b) / times_as_often**0.5
    likeliest = np.log([r, alpha / times_as_often, a, a * (1.0 - leaving) / leaving])
    density, gradient = log_prior(likeliest)
    np.testing.assert_allclose(gradient[[0, 2, 3]] + [gradient[1], 0.0, 0.0], 0.0, atol=1e-12)
    assert density == pytest.approx(-((np.log(times_as_often) / 4.0) ** 2))


def test_when_all_times_are_stretched_only_the_time_scale_of_the_fit_changes() -> None:
    states = simulated_states(PurchaseParameters(0.8, 4.2, 0.9, 9.0), 4000, seed=7)
    days, weeks = (fitted(np.array(PRIOR_LOG_MEANS), states * [1.0, scale, scale]) for scale in (7.0, 1.0))
    np.testing.assert_allclose(days - weeks, [0.0, np.log(7.0), 0.0, 0.0], atol=0.15)


def test_in_a_young_shop_of_busy_customers_few_are_taken_for_lost() -> None:
    groceries = PurchaseParameters(1.5, 0.98, 1.0, 79.0)
    states = simulated_states(groceries, 400, seed=8, age_weeks_max=4.0)
    found = learned(states, days=28).parameters
    told, truth = (alive_probability(parameters, *states.T) for parameters in (found, groceries))
    assert np.abs(told - truth).mean() < 0.04


def test_the_prior_counts_as_so_many_customers_and_fades_in_a_large_shop() -> None:
    states = simulated_states(PurchaseParameters(1.5, 2.0, 0.4, 30.0), 1200, seed=6)
    best = batch_fit(states)
    near, far = (np.abs(fitted(best, np.tile(states, (copies, 1))) - best).max() for copies in (40, 10))
    assert 0.0 < near < 0.5 * far


def test_the_prior_has_a_share_of_a_small_shop() -> None:
    states = simulated_states(PurchaseParameters(1.5, 2.0, 0.4, 30.0), 200, seed=6)
    once, twice = (fitted(np.array(PRIOR_LOG_MEANS), np.tile(states, (copies, 1))) for copies in (1, 2))
    np.testing.assert_allclose(once, twice, atol=2e-3)


def test_identical_regular_customers_drive_the_fit_to_no_more_than_its_bounds() -> None:
    regular = np.tile([26.0, 52.0, 52.0], (300, 1))
    parameters = learned(regular, days=700).parameters
    assert log_vector(parameters)[0] <= LOG_BOUNDS[0][1] + 1e-9
    column = regular[0, :, None]
    assert expected_purchases(parameters, column[0], column[1], column[2], 12.0)[0] == pytest.approx(6.0, rel=0.1)


def test_without_states_the_parameters_are_the_prior_centre() -> None:
    fit = PurchaseFit()
    fit.learn_day()
    np.testing.assert_allclose(log_vector(fit.parameters), PRIOR_LOG_MEANS)


def test_a_restored_fit_goes_on_to_the_bit() -> None:
    states = simulated_states(PurchaseParameters(0.6, 6.0, 0.7, 2.5), 5000, seed=3)
    fit = learned(states, days=40)
    restored = PurchaseFit.from_state({name: array.copy() for name, array in fit.state().items()})
    for _ in range(30):
        for one in (fit, restored):
            one.remember(*states[:100].T)
            one.learn_day()
    assert restored.parameters == fit.parameters
    for name, array in fit.state().items():
        assert restored.state()[name].tobytes() == array.tobytes()


def test_a_small_shop_far_from_the_prior_is_known_after_three_months() -> None:
    busy = PurchaseParameters(1.5, 1.0, 0.5, 40.0)
    states = simulated_states(busy, 250, seed=4)
    found = learned(states, days=84).parameters
    truth, told = (
        expected_purchases(parameters, states[:, 0], states[:, 1], states[:, 2], 12.0) for parameters in (busy, found)
    )
    assert np.abs(told - truth).mean() < 0.05 * truth.mean()


def test_snapshots_of_before_the_last_cycle_are_forgotten() -> None:
    fit = PurchaseFit()
    for day in range(40):
        fit.remember(*np.ones((3, 10 if day < 30 else 1)))
        fit.learn_day()
    assert fit.remembered_count == 18 * 10 + 10


def test_memory_is_bounded_however_many_states_come() -> None:
    fit = PurchaseFit()
    for _ in range(5):
        fit.remember(*np.ones((3, 3 * REMEMBERED_MAX)))
    assert fit.remembered_count == REMEMBERED_MAX
    assert sum(array.nbytes for array in fit.state().values()) < 70_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_state_that_is_no_state_is_refused_and_changes_nothing(bad: float) -> None:
    fit = PurchaseFit()
    with pytest.raises(SettingsError, match="customer states"):
        fit.remember(np.array([1.0, bad]), np.zeros(2), np.ones(2))
    assert fit.remembered_count == 0


@pytest.mark.parametrize("damage", ["version", "vectors", "states"])
def test_a_foreign_or_damaged_state_is_refused(damage: str) -> None:
    state = learned(np.ones((100, 3)), 3).state()
    state[damage] = state[damage][:-1] if damage != "version" else np.array([99])
    with pytest.raises(IncompatibleStateError, match="learn afresh"):
        PurchaseFit.from_state(state)
    del state[damage]
    with pytest.raises(IncompatibleStateError, match="learn afresh"):
        PurchaseFit.from_state(state)


def cdnow_states(cutoff_day: int) -> tuple[FloatArray, FloatArray]:
    """States of the cohort at a day since 1997-01-01, and how many days each customer bought in the 181 days after."""
    path = os.environ.get("CDNOW_EVENTS")
    if path is None or not Path(path).exists():
        pytest.skip("SKIPPED FOR WANT OF DATA: set CDNOW_EVENTS to the CDNOW event log (.csv.gz)")
    days: dict[str, set[int]] = {}
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            days.setdefault(row["customer_id"], set()).add((date.fromisoformat(row["ts"]) - date(1997, 1, 1)).days)
    states, later = [], []
    for bought in days.values():
        before = [day for day in bought if day < cutoff_day]
        if before:
            first, last = min(before), max(before)
            states.append([len(before) - 1, (last - first) / 7.0, (cutoff_day - first) / 7.0])
            later.append(sum(cutoff_day <= day < cutoff_day + 181 for day in bought))
    return np.array(states, dtype=np.float64), np.array(later, dtype=np.float64)


def test_on_the_cdnow_cohort_the_fit_is_as_good_as_the_published_parameters() -> None:
    states, later = cdnow_states(365)
    fit = learned(states, days=300)
    lost = log_likelihood(PUBLISHED, states).mean() - log_likelihood(log_vector(fit.parameters), states).mean()
    assert lost < 5e-3
    scores = [
        buy_probability(parameters, states[:, 0], states[:, 1], states[:, 2], 181.0 / 7.0)
        for parameters in (fit.parameters, PurchaseParameters(*np.exp(PUBLISHED)))
    ]
    stream, published = (area_under_curve(score, later > 0.0) for score in scores)
    assert published == pytest.approx(0.781, abs=0.002)
    assert stream > published - 0.003
