"""The purchase model's formulas for one customer, and compiled loops over many; see `purchase_model` for symbols."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled

FloatArray = NDArray[np.float64]
Parameters = tuple[float, float, float, float]
"""r, alpha, a and b; alpha and all times in weeks."""

SERIES_TERMS = 64
"""Most terms of a Gauss series; what is left out is estimated."""
SERIES_PRECISION = 1e-17
"""A series ends where the next term is less than this share of the sum."""
REMAINDER_LEVELS = 8
"""Levels of the continued fraction in the estimate of what the series leaves out."""
EXPONENT_MAX = 700.0
"""exp of more does not fit in a float64."""
PURCHASES_SPELLED_OUT = 8
"""Numbers of purchases whose spend is told apart in `growth_each`; higher ones are taken together."""
AMOUNT_MIN = 1e-12
"""Smallest amount whose logarithm is taken."""
_SQRT_HALF = math.sqrt(0.5)


@compiled
def alive_of(r: float, alpha: float, a: float, b: float, x: float, last: float, age: float) -> float:
    """P(alive): 1 / (1 + [x > 0] a / (b + x - 1) ((alpha + T) / (alpha + t_x))^(r + x))."""
    if not x > 0.0:
        return 1.0
    silence = max(age - last, 0.0)
    log_odds = math.log(a / ((b - 1.0) + max(x, 1.0))) + (r + x) * math.log1p(silence / (alpha + last))
    return 1.0 / (1.0 + math.exp(min(log_odds, EXPONENT_MAX)))


@compiled
def mean_if_alive(r: float, a: float, b: float, x: float, z: float, log_ratio: float) -> float:
    """E[purchases in (T, T + H)] of who is alive at T: eq. 10 without its denominator, in a form that computes.

    With c = a + b + x - 1 and e = a + b - 1 - r, Euler's transformation (15.3.3) turns eq. 10's numerator into
    c / (a - 1) (1 - (1 - z)^(a - 1) F(e, a - 1; c; z)). Taking out the first term of F and one factor (a - 1) of
    the others leaves
    -c ((1 - z)^(a - 1) - 1) / (a - 1) - (1 - z)^(a - 1) e z sum over n >= 0 of (e + 1)_n (a)_n / ((c + 1)_n (2)_n) z^n,
    which is smooth at a = 1 and at a + b + x = 1, and nothing overflows for thousands of purchases.
    """
    c = (a + b - 1.0) + x
    if a > 1.0 + r and x + 1.0 + r < a:
        # Large a makes that series slow for few purchases; there the form of the paper converges faster.
        shape = r + x
        return c * (1.0 - math.exp(shape * log_ratio) * _gauss_series(shape, b + x, c, 1.0, z)) / (a - 1.0)
    e = a + b - 1.0 - r
    power = (a - 1.0) * log_ratio
    lost = log_ratio if a == 1.0 else math.expm1(power) / (a - 1.0)
    return -c * lost - math.exp(power) * ((e * z) * _gauss_series(e + 1.0, a, c + 1.0, 2.0, z))


@compiled
def _gauss_series(p: float, q: float, c: float, d: float, z: float) -> float:
    """Sum (p)_n (q)_n / ((c)_n (d)_n) z^n over n >= 0 (15.1.1 for d = 1); needs p + q < c + d and 0 < z < 1."""
    term, total = 1.0, 1.0
    for index in range(SERIES_TERMS):
        if index:
            total += term
        term *= (p + index) * (q + index) * z / ((d + index) * (c + index))
        if abs(term) < SERIES_PRECISION * abs(total):
            return total
    decay = max((c + d) - (p + q), 1.0)
    shift = ((c * c + d * d) - (p * p + q * q)) / (2.0 * decay) - 0.5
    return total + term * _series_remainder(decay, max(SERIES_TERMS + shift, SERIES_TERMS / 2), z)


@compiled
def _series_remainder(decay: float, index: float, z: float) -> float:
    """Sum (1 + k / index)^(-decay) z^k over k >= 0, by Euler and Maclaurin up to the first derivative.

    So the series' terms fall after many of them, to second order in 1 / n. The integral is
    index e^y E_decay(y), y = -index log z, and the exponential integral a continued fraction (5.1.22).
    """
    fall = -math.log(z)
    y = index * fall
    fraction = y
    for level in range(REMAINDER_LEVELS, 0, -1):
        fraction = y + (decay + (level - 1)) / (1.0 + level / fraction)
    return index / fraction + 0.5 + (decay / index + fall) / 12.0


@compiled
def alive_each(parameters: Parameters, x: FloatArray, last: FloatArray, age: FloatArray) -> FloatArray:
    """Give `alive_of` of each customer, shape `(n,)`."""
    r, alpha, a, b = parameters
    alive = np.empty(len(x))
    for row in range(len(x)):
        alive[row] = alive_of(r, alpha, a, b, x[row], last[row], age[row])
    return alive


@compiled
def forecast_each(
    parameters: Parameters, x: FloatArray, last: FloatArray, age: FloatArray, horizon: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give P(alive), P(buy) and the mean number of purchases of each customer, each of shape `(n,)`."""
    r, alpha, a, b = parameters
    alive, buy, mean = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    for row in range(len(x)):
        own_age = max(age[row], last[row])
        is_alive = alive_of(r, alpha, a, b, x[row], last[row], own_age)
        z = horizon / ((alpha + horizon) + own_age)
        log_ratio = math.log1p(-z)
        shape = r + x[row]
        buy_if_alive = -math.expm1(shape * log_ratio)
        # Whatever rounding does: at least P(buy), and at most the mean if nobody ever left.
        mean_max = shape * (horizon / (alpha + own_age))
        expected = min(max(mean_if_alive(r, a, b, x[row], z, log_ratio), buy_if_alive), mean_max)
        alive[row] = is_alive
        buy[row] = is_alive * buy_if_alive
        mean[row] = max(is_alive * expected, buy[row])
    return alive, buy, mean


@compiled
def growth_each(
    buy: FloatArray, mean: FloatArray, amount: FloatArray, previous: FloatArray, log_amount_variance: float
) -> FloatArray:
    """Give P(y > prev) of each customer, shape `(n,)`; see `purchase_model.growth_probability`."""
    spread = math.expm1(log_amount_variance)
    # P(Y > need) of k baskets, for all customers: log-normal Y with mean k and log-variance v is standardised once.
    shifts, scales = np.empty(PURCHASES_SPELLED_OUT + 1), np.empty(PURCHASES_SPELLED_OUT + 1)
    for count in range(1, PURCHASES_SPELLED_OUT + 1):
        log_variance = math.log1p(spread / count)
        shifts[count], scales[count] = math.log(count) - log_variance * 0.5, 1.0 / math.sqrt(log_variance)
    growth = np.empty(len(buy))
    for row in range(len(buy)):
        if not previous[row] > 0.0:
            growth[row] = buy[row]
            continue
        log_need = math.log(max(previous[row], AMOUNT_MIN) / max(amount[row], AMOUNT_MIN))
        further = max(mean[row] / max(buy[row], AMOUNT_MIN) - 1.0, 0.0)
        share = math.exp(-min(further, EXPONENT_MAX))
        rest, rest_count, rest_square = 1.0 - share, further + 1.0 - share, further + (further + 1.0) ** 2 - share
        total = share * _normal_upper_tail((log_need - shifts[1]) * scales[1])
        for count in range(2, PURCHASES_SPELLED_OUT + 1):
            share = share * (further * (1.0 / (count - 1)))
            total += share * _normal_upper_tail((log_need - shifts[count]) * scales[count])
            rest -= share
            rest_count -= share * count
            rest_square -= share * (count * count)
        rest = max(rest, 0.0)
        divisor = max(rest, AMOUNT_MIN)
        count_mean = max(rest_count / divisor, PURCHASES_SPELLED_OUT + 1.0)
        count_variance = min(max(rest_square / divisor - count_mean * count_mean, 0.0), further + 1.0)
        log_variance = math.log1p(spread / count_mean + count_variance / (count_mean * count_mean))
        deviations = (log_need - math.log(count_mean) + log_variance * 0.5) / math.sqrt(log_variance)
        total += rest * _normal_upper_tail(deviations)
        growth[row] = min(buy[row] * total, buy[row])
    return growth


@compiled
def _normal_upper_tail(value: float) -> float:
    """P(standard normal > value) by A&S 7.1.26, within 1.5e-7."""
    size = abs(value) * _SQRT_HALF
    t = 1.0 / (1.0 + 0.3275911 * size)
    series = t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))
    series = t * (0.254829592 + t * (-0.284496736 + series))
    tail = 0.5 * series * math.exp(-min(size * size, EXPONENT_MAX))
    return tail if value >= 0.0 else 1.0 - tail
