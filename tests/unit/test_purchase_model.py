"""The purchase model against the paper, an arbitrary-precision calculator, integration and simulation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from stream_app.domain.errors import SettingsError
from stream_app.domain.purchase_model import (
    FloatArray,
    PurchaseForecast,
    PurchaseParameters,
    alive_probability,
    buy_probability,
    expected_purchases,
    growth_probability,
    purchase_forecast,
)

CDNOW = PurchaseParameters(r=0.243, alpha_weeks=4.414, a=0.793, b=2.426)

# (r, alpha, a, b, x, t_x, T, H, P(alive), P(buy), E[purchases]), computed with mpmath 1.4 at 50 digits from eq. 10 as
# printed; Euler's form and direct integration over the drop-out probability agreed with it.
REFERENCE = (
    (0.243, 4.414, 0.793, 2.426, 0, 0, 0, 12, 1.0, 0.273229736147311, 0.501372018216352),
    (0.243, 4.414, 0.793, 2.426, 0, 0, 39, 39, 1.0, 0.14423247735881, 0.194530721703265),
    (0.243, 4.414, 0.793, 2.426, 0, 0, 520, 12, 1.0, 0.00548274156206811, 0.00554115143377669),
    (0.243, 4.414, 0.793, 2.426, 2, 30.43, 38.86, 39, 0.726578570080673, 0.554627137917004, 1.22602817476714),
    (0.243, 4.414, 0.793, 2.426, 1, 0, 0, 12, 0.753650201926064, 0.606356265368624, 1.76520104521154),
    (0.243, 4.414, 0.793, 2.426, 7, 35, 38.86, 12, 0.843767821928012, 0.700437994350354, 1.56210023158196),
    (0.243, 4.414, 0.793, 2.426, 26, 30.86, 31, 12, 0.968915649717525, 0.968458068419437, 7.70442748479924),
    (0.243, 4.414, 0.793, 2.426, 300, 100, 101, 12, 0.95600275778629, 0.956002757786282, 31.3015730376795),
    (0.243, 4.414, 0.793, 2.426, 3000, 520, 520.5, 12, 0.995411351128059, 0.995411351128059, 67.6633559112041),
    (0.243, 4.414, 0.793, 2.426, 3000, 10, 520, 12, 0.0, 0.0, 0.0),
    (0.243, 4.414, 0.793, 2.426, 1, 0.1428, 520, 12, 0.00832047592678597, 0.000230734029025491, 0.000235528809399411),
    (0.243, 4.414, 0.793, 2.426, 5, 30, 60, 52, 0.23247609784681, 0.222033789062801, 0.807781231978723),
    (0.5, 10, 1.0, 2, 3, 20, 30, 12, 0.593730096526647, 0.35670882094056, 0.562621360944045),
    (0.5, 10, 0.999999, 2, 3, 20, 30, 12, 0.593730337741414, 0.356708965860677, 0.562621637157801),
    (0.5, 10, 1.000001, 2, 0, 0, 30, 12, 1.0, 0.122941980692971, 0.139968139420494),
    (0.5, 10, 0.3, 0.7, 0, 0, 5, 12, 1.0, 0.25464400750007, 0.348595954100228),
    (0.5, 10, 0.2, 0.3, 0, 0, 5, 12, 1.0, 0.25464400750007, 0.336045900757035),
    (0.05, 2, 0.1, 0.1, 4, 3, 5, 26, 0.888079716478753, 0.886415853508323, 11.9948418779051),
    (0.5, 0.5, 0.5, 2, 0, 0, 0, 12, 1.0, 0.8, 5.20191098257768),
    (2, 0.5, 0.5, 2, 0, 0, 0, 12, 1.0, 0.9984, 14.554565563022),
    (1, 0.6, 0.9, 8, 1, 0.14, 0.14, 12, 0.898876404494382, 0.895843738623522, 12.3564728497192),
    (3, 1, 4.5, 9, 0, 0, 2, 12, 1.0, 0.992, 3.05701093563326),
    (0.3, 2, 6, 12, 1, 3, 8, 12, 0.448200481339891, 0.287386859380823, 0.489479755419214),
    (12, 20, 0.5, 4, 6, 10, 12, 12, 0.849243292163149, 0.84649170320347, 4.98920541716416),
    (0.243, 0.2, 0.793, 2.426, 0, 0, 0, 12, 1.0, 0.631731264935309, 3.62278177469597),
)


def column(value: float) -> FloatArray:
    return np.array([value], dtype=np.float64)


def columns(first: float, second: float, third: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    return column(first), column(second), column(third)


def simulated_histories(count: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    random = np.random.default_rng(seed)
    age = random.choice([0.0, 0.1, 3.0, 50.0, 520.0], count) * random.uniform(0.5, 1.5, count)
    x = random.choice([0.0, 1.0, 2.0, 7.0, 60.0, 3000.0], count)
    last = np.where(x > 0.0, age * random.choice([0.0, 0.3, 1.0], count), 0.0)
    return x, last, age


def random_parameters(seed: int) -> PurchaseParameters:
    r, alpha, a, b = np.exp(np.random.default_rng(seed).normal(np.log([0.5, 10.0, 0.5, 2.0]), 1.5))
    return PurchaseParameters(r=float(r), alpha_weeks=float(alpha), a=float(a), b=float(b))


@pytest.mark.parametrize("row", REFERENCE)
def test_forecasts_equal_those_of_an_arbitrary_precision_calculator(row: tuple[float, ...]) -> None:
    r, alpha, a, b, x, last, age, horizon, alive, buy, mean = row
    forecast = purchase_forecast(PurchaseParameters(r, alpha, a, b), *columns(x, last, age), horizon)
    z = horizon / (alpha + age + horizon)
    tolerance = 1e-9 if z <= 0.8 else 2e-4
    assert forecast.alive_probability[0] == pytest.approx(alive, rel=1e-10, abs=1e-300)
    assert forecast.buy_probability[0] == pytest.approx(buy, rel=1e-10, abs=1e-300)
    assert forecast.expected_purchases[0] == pytest.approx(mean, rel=tolerance, abs=1e-300)


def test_the_published_cdnow_customer_has_the_published_forecast() -> None:
    history = columns(2.0, 30.43, 38.86)
    assert expected_purchases(CDNOW, *history, 39.0)[0] == pytest.approx(1.226, abs=5e-4)
    assert alive_probability(CDNOW, *history)[0] == pytest.approx(0.7266, abs=5e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_equals_direct_integration_over_the_drop_out_probability(seed: int) -> None:
    parameters = random_parameters(seed)
    for x, age in ((0.0, 2.0), (1.0, 6.0), (9.0, 30.0), (400.0, 200.0)):
        shape, start = parameters.r + x, parameters.alpha_weeks + age
        drop_out = stats.beta(parameters.a, parameters.b + x)

        def mean_at(quantile: float, shape: float = shape, start: float = start, drop_out: Any = drop_out) -> float:
            p = max(float(drop_out.ppf(quantile)), 1e-200)
            return float(-np.expm1(-shape * np.log1p(p * 12.0 / start)) / p)

        exact = integrate.quad(mean_at, 0.0, 1.0, epsabs=0.0, epsrel=1e-7, limit=400)[0]
        # Never silent (t_x = T): P(alive) is divided out again.
        history = columns(x, age, age)
        found = expected_purchases(parameters, *history, 12.0)[0] / alive_probability(parameters, *history)[0]
        assert found == pytest.approx(exact, rel=1e-4)


def test_forecasts_equal_a_simulation_of_the_story() -> None:
    random = np.random.default_rng(3)
    count, horizon = 200_000, 26.0
    parameters = PurchaseParameters(r=0.8, alpha_weeks=6.0, a=0.7, b=2.0)
    rate = random.gamma(parameters.r, 1.0 / parameters.alpha_weeks, count)
    drop_out = random.beta(parameters.a, parameters.b, count)
    purchases = np.zeros(count)
    clock = np.zeros(count)
    is_alive = np.ones(count, dtype=np.bool_)
    for _ in range(400):
        clock = clock + random.exponential(1.0, count) / rate
        is_alive &= clock < horizon
        if not is_alive.any():
            break
        purchases += is_alive
        is_alive &= random.random(count) >= drop_out
    forecast = purchase_forecast(parameters, *columns(0.0, 0.0, 0.0), horizon)
    assert forecast.expected_purchases[0] == pytest.approx(purchases.mean(), rel=0.02)
    assert forecast.buy_probability[0] == pytest.approx((purchases > 0).mean(), rel=0.02)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(40))
def test_forecasts_are_finite_and_in_range_at_every_extreme(seed: int) -> None:
    x, last, age = simulated_histories(200, seed)
    x[:10] = 1e6
    for parameters in (random_parameters(seed), PurchaseParameters(30.0, 0.01, 30.0, 0.02)):
        for horizon in (0.01, 12.0, 520.0):
            forecast = purchase_forecast(parameters, x, last, age, horizon)
            for values in (forecast.alive_probability, forecast.buy_probability):
                assert np.all((values >= 0.0) & (values <= 1.0))
            assert np.all(np.isfinite(forecast.expected_purchases))
            assert np.all(forecast.expected_purchases >= forecast.buy_probability)
            amounts, previous = np.geomspace(1e-3, 1e7, 200), np.geomspace(1e-2, 1e9, 200)
            growth = growth_probability(forecast, amounts, previous, 0.6)
            assert np.all((growth >= 0.0) & (growth <= forecast.buy_probability))


@pytest.mark.parametrize("around", ["a", "c"])
def test_nothing_jumps_where_the_printed_formula_divides_by_zero(around: str) -> None:
    offsets = np.array([-1e-5, -1e-9, -1e-15, 0.0, 1e-15, 1e-9, 1e-5])
    history = columns(0.0, 0.0, 5.0)
    means = []
    for offset in offsets:
        parameters = (
            PurchaseParameters(0.5, 10.0, 1.0 + offset, 2.0)
            if around == "a"
            else PurchaseParameters(0.5, 10.0, 0.4, 0.6 + offset)
        )
        means.append(expected_purchases(parameters, *history, 12.0)[0])
    assert np.ptp(means) < 1e-5
    assert np.ptp(means[1:-1]) < 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 299), max_size=12), stride=st.integers(1, 3))
def test_a_customer_has_the_same_numbers_to_the_bit_in_any_block(seed: int, cuts: list[int], stride: int) -> None:
    x, last, age = simulated_histories(300, seed)
    parameters = random_parameters(seed)
    amounts = np.linspace(1.0, 90.0, 300)
    previous = np.where(x > 1.0, amounts * 1.7, 0.0)

    def forecasts(rows: slice) -> FloatArray:
        forecast = purchase_forecast(parameters, x[rows], last[rows], age[rows], 12.0)
        growth = growth_probability(forecast, amounts[rows], previous[rows], 0.7)
        return np.stack([forecast.alive_probability, forecast.buy_probability, forecast.expected_purchases, growth])

    whole = forecasts(slice(None))
    edges = [0, *sorted(set(cuts)), 300]
    parts = [forecasts(slice(low, high)) for low, high in pairwise(edges)]
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()
    assert forecasts(slice(None, None, stride)).tobytes() == np.ascontiguousarray(whole[:, ::stride]).tobytes()


def test_silence_lowers_every_forecast_and_a_longer_horizon_raises_it() -> None:
    ages = np.linspace(30.0, 200.0, 50)
    fixed = (np.full(50, 4.0), np.full(50, 30.0))
    near, far = (purchase_forecast(CDNOW, *fixed, ages, horizon) for horizon in (12.0, 13.0))
    for name in PurchaseForecast.__slots__:
        assert np.all(np.diff(getattr(near, name)) < 0.0)
    assert np.all(far.expected_purchases > near.expected_purchases)
    assert np.all(far.buy_probability > near.buy_probability)


def test_growth_equals_a_simulation_for_rare_and_for_busy_customers() -> None:
    random = np.random.default_rng(5)
    draws, variance, amount = 100_000, 0.5, 20.0
    for further in (0.0, 0.4, 3.0, 25.0, 300.0):
        counts = 1 + random.poisson(further, draws)
        owners = np.repeat(np.arange(draws), counts)
        amounts = random.lognormal(np.log(amount) - variance / 2, np.sqrt(variance), len(owners))
        spends = np.bincount(owners, weights=amounts, minlength=draws)
        for previous in (0.5 * amount * (1 + further), amount * (1 + further), 1.5 * amount * (1 + further)):
            forecast = PurchaseForecast(*columns(1.0, 0.4, 0.4 * (1.0 + further)))
            found = growth_probability(forecast, column(amount), column(previous), variance)[0]
            assert found == pytest.approx(0.4 * (spends > previous).mean(), abs=0.02)


def test_growth_of_who_spent_nothing_is_the_probability_of_buying() -> None:
    forecast = purchase_forecast(CDNOW, *columns(3.0, 20.0, 40.0), 12.0)
    assert growth_probability(forecast, column(30.0), column(0.0), 0.6)[0] == forecast.buy_probability[0]


@pytest.mark.parametrize("values", [(0.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0, 1.0), (1.0, 1.0, np.nan, 1.0)])
def test_parameters_that_are_no_parameters_are_refused(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(SettingsError, match="must be positive and finite"):
        PurchaseParameters(*values)


@pytest.mark.parametrize("horizon", [0.0, -3.0, np.nan, np.inf])
def test_a_horizon_that_is_no_time_is_refused(horizon: float) -> None:
    with pytest.raises(SettingsError, match="horizon_weeks"):
        buy_probability(CDNOW, *columns(0.0, 0.0, 1.0), horizon)
