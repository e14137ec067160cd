"""The purchase model: who is still a customer, and how much will be bought, by BG/NBD in columns of customers.

Symbols are those of Fader, Hardie and Lee (2005): while alive, a customer buys at rate lambda, which varies between
customers as Gamma(r, alpha), and leaves for good after any purchase with probability p, which varies as Beta(a, b). Of
a history only three numbers matter: x (repeat purchases), t_x (from the first to the last purchase) and T (age: from
the first purchase to the moment of the forecast). Times are in weeks.

Every function works row by row with a fixed number of steps: no sum runs across customers and no loop stops when it
has converged, so that a customer's numbers are the same to the bit whatever block the customer is computed in.

References
----------
P. Fader, B. Hardie, K. L. Lee (2005), "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model,
Marketing Science 24(2), 275-284.
M. Abramowitz, I. Stegun (1964), Handbook of Mathematical Functions, 5.1.22, 7.1.26, 15.1.1, 15.3.3.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import SettingsError

FloatArray = NDArray[np.float64]

SERIES_TERMS = 64
"""Terms of each Gauss series; what is left out is estimated (`_series_remainder`)."""
SERIES_TERMS_NEAR = 32
"""Terms where even new customers' series fall fast: as exact there (2e-10), in half the time."""
NEAR_MAX = 0.75
"""Largest argument z of a new customer (T = 0) for which that holds. The number of terms hangs on the population and
the horizon alone, never on who is in the block."""
REMAINDER_LEVELS = 8
"""Levels of the continued fraction in the estimate of what the series leaves out."""
EXPONENT_MAX = 700.0
"""exp of more does not fit in a float64."""
PURCHASES_SPELLED_OUT = 8
"""Numbers of purchases whose spend is told apart in `growth_probability`; higher ones are taken together."""
AMOUNT_MIN = 1e-12
"""Smallest amount whose logarithm is taken."""


@dataclass(frozen=True, slots=True)
class PurchaseParameters:
    """The population's four parameters.

    Parameters
    ----------
    r
        Shape of the purchase rate's Gamma distribution.
    alpha_weeks
        Its inverse scale, in weeks: the mean rate is r / alpha_weeks purchases a week.
    a, b
        Parameters of the drop-out probability's Beta distribution; its mean is a / (a + b).

    Raises
    ------
    SettingsError
        If one of them is not positive and finite.
    """

    r: float
    alpha_weeks: float
    a: float
    b: float

    def __post_init__(self) -> None:
        """Validate."""
        values = astuple(self)
        if not all(math.isfinite(value) and value > 0.0 for value in values):
            message = f"purchase parameters (r, alpha_weeks, a, b) = {values}: each must be positive and finite; refit"
            raise SettingsError(message, code="invalid_purchase_parameters")


PRIOR_PARAMETERS = PurchaseParameters(r=0.5, alpha_weeks=10.0, a=0.5, b=2.0)
"""What is believed of a shop before anything is known of it."""


@dataclass(frozen=True, slots=True, eq=False)
class PurchaseForecast:
    """What the model says of each customer.

    Parameters
    ----------
    alive_probability
        Shape `(n,)`, in [0, 1].
    buy_probability
        Shape `(n,)`, in [0, 1]: P(at least one purchase within the horizon).
    expected_purchases
        Shape `(n,)`, not below `buy_probability`: mean number of purchases within the horizon.
    """

    alive_probability: FloatArray
    buy_probability: FloatArray
    expected_purchases: FloatArray


def purchase_forecast(
    parameters: PurchaseParameters,
    repeat_purchases: FloatArray,
    first_to_last_weeks: FloatArray,
    age_weeks: FloatArray,
    horizon_weeks: float,
) -> PurchaseForecast:
    """Forecast purchases in [T, T + H) from each customer's history.

    Parameters
    ----------
    parameters
        Of the population.
    repeat_purchases
        x, shape `(n,)`, not below 0: purchases after the first.
    first_to_last_weeks
        t_x, shape `(n,)`, weeks, in [0, T].
    age_weeks
        T, shape `(n,)`, weeks, not below 0; taken as t_x where it is below.
    horizon_weeks
        H, positive.

    Returns
    -------
    PurchaseForecast
        All finite. The alive probability is eq. 10's denominator upside down, the mean eq. 10 itself. Who is alive has
        lambda ~ Gamma(r + x, alpha + T) and cannot leave before buying, so
        P(buy) = P(alive) (1 - ((alpha + T) / (alpha + T + H))^(r + x)).

    Raises
    ------
    SettingsError
        If the horizon is not positive and finite.

    References
    ----------
    Fader, Hardie, Lee (2005), eq. 10 and its derivation in the appendix. The mean is within 1e-9 of the exact value
    as long as z = H / (alpha + T + H) <= .8, mostly 1e-7 and at worst some 1e-3 up to z = .99 (a new customer, and an
    alpha of a hundredth of the horizon).
    """
    if not (math.isfinite(horizon_weeks) and horizon_weeks > 0.0):
        message = f"horizon_weeks = {horizon_weeks}: it must be positive and finite; correct the policy's horizon"
        raise SettingsError(message, code="invalid_horizon")
    x = _column(repeat_purchases)
    age = np.maximum(_column(age_weeks), first_to_last_weeks)
    alive = alive_probability(parameters, x, first_to_last_weeks, age)
    z = horizon_weeks / ((parameters.alpha_weeks + horizon_weeks) + age)
    log_ratio = np.log1p(-z)
    shape = parameters.r + x
    buy_if_alive = -np.expm1(shape * log_ratio)
    is_near = horizon_weeks <= NEAR_MAX * (parameters.alpha_weeks + horizon_weeks)
    terms = SERIES_TERMS_NEAR if is_near else SERIES_TERMS
    mean_if_alive = _mean_if_alive(parameters, x, z, (log_ratio, terms))
    # Whatever rounding does: at least P(buy), and at most the mean if nobody ever left.
    mean_max = shape * (horizon_weeks / (parameters.alpha_weeks + age))
    mean_if_alive = np.minimum(np.maximum(mean_if_alive, buy_if_alive), mean_max)
    buy = alive * buy_if_alive
    return PurchaseForecast(
        alive_probability=alive,
        buy_probability=buy,
        expected_purchases=np.maximum(alive * mean_if_alive, buy),
    )


def alive_probability(
    parameters: PurchaseParameters,
    repeat_purchases: FloatArray,
    first_to_last_weeks: FloatArray,
    age_weeks: FloatArray,
) -> FloatArray:
    """Give the probability that each customer has not left for good.

    Parameters
    ----------
    parameters
        Of the population.
    repeat_purchases, first_to_last_weeks, age_weeks
        x, t_x, T as in `purchase_forecast`.

    Returns
    -------
    FloatArray
        Shape `(n,)`, in [0, 1]: 1 / (1 + [x > 0] a / (b + x - 1) ((alpha + T) / (alpha + t_x))^(r + x)). It is 1 for
        x = 0: the model lets nobody leave before the second purchase.

    References
    ----------
    Fader, Hardie, Lee (2005), denominator of eq. 10.

    Examples
    --------
    >>> parameters = PurchaseParameters(r=0.243, alpha_weeks=4.414, a=0.793, b=2.426)
    >>> alive = alive_probability(parameters, np.array([2.0]), np.array([30.43]), np.array([38.86]))
    >>> round(float(alive[0]), 4)
    0.7266
    """
    x = _column(repeat_purchases)
    last = _column(first_to_last_weeks)
    silence = np.maximum(_column(age_weeks) - last, 0.0)
    log_odds = np.log(parameters.a / ((parameters.b - 1.0) + np.maximum(x, 1.0)))
    log_odds += (parameters.r + x) * np.log1p(silence / (parameters.alpha_weeks + last))
    alive = 1.0 / (1.0 + np.exp(np.minimum(log_odds, EXPONENT_MAX)))
    return np.where(x > 0.0, alive, 1.0)


def expected_purchases(
    parameters: PurchaseParameters,
    repeat_purchases: FloatArray,
    first_to_last_weeks: FloatArray,
    age_weeks: FloatArray,
    horizon_weeks: float,
) -> FloatArray:
    """Give the mean number of purchases of each customer in [T, T + H), shape `(n,)`; see `purchase_forecast`."""
    forecast = purchase_forecast(parameters, repeat_purchases, first_to_last_weeks, age_weeks, horizon_weeks)
    return forecast.expected_purchases


def buy_probability(
    parameters: PurchaseParameters,
    repeat_purchases: FloatArray,
    first_to_last_weeks: FloatArray,
    age_weeks: FloatArray,
    horizon_weeks: float,
) -> FloatArray:
    """Give each customer's probability of a purchase in [T, T + H), shape `(n,)`; see `purchase_forecast`."""
    forecast = purchase_forecast(parameters, repeat_purchases, first_to_last_weeks, age_weeks, horizon_weeks)
    return forecast.buy_probability


def growth_probability(
    forecast: PurchaseForecast,
    expected_amount: FloatArray,
    previous_spend: FloatArray,
    log_amount_variance: float,
) -> FloatArray:
    """Give the model's probability that each customer spends more in the next H than in the last.

    Who buys does so 1 + Poisson(lambda) times, lambda = E[n] / P(buy) - 1; the spend of k purchases is taken as
    log-normal with mean k m and log-variance log(1 + (exp(v) - 1) / k) (the first two moments of a sum of k
    independent log-normal amounts). Then P(y > prev) = P(buy) * sum over k of Poisson(k - 1; lambda) P(sum of k >
    prev) for prev > 0, and P(buy) for prev = 0. Purchases beyond `PURCHASES_SPELLED_OUT` are one more such term, with
    the mean and variance of k among them.

    Parameters
    ----------
    forecast
        Of the same customers.
    expected_amount
        m, shape `(n,)`: expected amount of a purchase, positive.
    previous_spend
        prev, shape `(n,)`, not below 0: gross spend in [t - H, t).
    log_amount_variance
        v, positive: variance of log amounts within a customer.

    Returns
    -------
    FloatArray
        Shape `(n,)`, in [0, 1].
    """
    buy = forecast.buy_probability
    amount = np.maximum(_column(expected_amount), AMOUNT_MIN)
    previous = _column(previous_spend)
    log_need = np.log(np.maximum(previous, AMOUNT_MIN) / amount)
    further = np.maximum(forecast.expected_purchases / np.maximum(buy, AMOUNT_MIN) - 1.0, 0.0)
    spread = math.expm1(log_amount_variance)
    share = np.exp(-np.minimum(further, EXPONENT_MAX))
    rest, rest_count, rest_square = 1.0 - share, further + 1.0 - share, further + (further + 1.0) ** 2 - share
    counts = range(1, PURCHASES_SPELLED_OUT + 1)
    needs = log_need - np.array([[math.log(count)] for count in counts])
    exceedances = _exceedance(needs, np.array([[math.log1p(spread / count)] for count in counts]))
    total = share * exceedances[0]
    for count in counts[1:]:
        share = share * (further * (1.0 / (count - 1)))
        total = total + share * exceedances[count - 1]
        rest = rest - share
        rest_count = rest_count - share * count
        rest_square = rest_square - share * (count * count)
    rest = np.maximum(rest, 0.0)
    divisor = np.maximum(rest, AMOUNT_MIN)
    count_mean = np.maximum(rest_count / divisor, PURCHASES_SPELLED_OUT + 1.0)
    count_variance = np.minimum(np.maximum(rest_square / divisor - count_mean * count_mean, 0.0), further + 1.0)
    log_variance = np.log1p(spread / count_mean + count_variance / (count_mean * count_mean))
    total = total + rest * _exceedance(log_need - np.log(count_mean), log_variance)
    return np.where(previous > 0.0, np.minimum(buy * total, buy), buy)


def _column(values: FloatArray) -> FloatArray:
    """Make values contiguous: numpy computes transcendental functions of strided views in another way."""
    return np.ascontiguousarray(values, dtype=np.float64)


def _mean_if_alive(
    parameters: PurchaseParameters, x: FloatArray, z: FloatArray, series: tuple[FloatArray, int]
) -> FloatArray:
    """Give E[purchases in (T, T + H)] of who is alive at T: eq. 10 without its denominator, in a form that computes.

    With c = a + b + x - 1 and e = a + b - 1 - r, Euler's transformation (15.3.3) turns eq. 10's numerator into
    c / (a - 1) (1 - (1 - z)^(a - 1) F(e, a - 1; c; z)). Taking out the first term of F and one factor (a - 1) of
    the others leaves
    -c ((1 - z)^(a - 1) - 1) / (a - 1) - (1 - z)^(a - 1) e z sum over n >= 0 of (e + 1)_n (a)_n / ((c + 1)_n (2)_n) z^n,
    which is smooth at a = 1 and at a + b + x = 1, and nothing overflows for thousands of purchases.
    """
    r, a, b = parameters.r, parameters.a, parameters.b
    log_ratio, terms = series
    c = (a + b - 1.0) + x
    e = a + b - 1.0 - r
    power = (a - 1.0) * log_ratio
    lost = log_ratio if a == 1.0 else np.expm1(power) / (a - 1.0)
    mean = -c * lost - np.exp(power) * ((e * z) * _gauss_series((e + 1.0, a), c + 1.0, 2.0, z, terms))
    if a <= 1.0 + r:
        return mean
    # Large a makes that series slow for few purchases; there the form of the paper converges faster (and only there).
    few = np.minimum(x, a)
    c = (a + b - 1.0) + few
    shape = r + few
    paper = c * (1.0 - np.exp(shape * log_ratio) * _gauss_series((shape, b + few), c, 1.0, z, terms)) / (a - 1.0)
    return np.where(x + 1.0 + r < a, paper, mean)


def _gauss_series(
    upper: tuple[FloatArray | float, FloatArray | float], c: FloatArray, d: float, z: FloatArray, terms: int
) -> FloatArray:
    """Sum (p)_n (q)_n / ((c)_n (d)_n) z^n over n >= 0 (15.1.1 for d = 1); needs p + q < c + d and 0 < z < 1."""
    p, q = upper
    index = np.arange(terms, dtype=np.float64)[:, None]
    ratios = (p + index) * (q + index) / (d + index) / (c + index)
    ratios *= z
    term, total = np.ones_like(z), np.ones_like(z)
    for ratio in ratios[:-1]:
        term *= ratio
        total += term
    term *= ratios[-1]
    decay = np.maximum((c + d) - (p + q), 1.0)
    shift = ((c * c + d * d) - (p * p + q * q)) / (2.0 * decay) - 0.5
    return total + term * _series_remainder(decay, np.maximum(terms + shift, terms / 2), z)


def _series_remainder(decay: FloatArray, index: FloatArray, z: FloatArray) -> FloatArray:
    """Sum (1 + k / index)^(-decay) z^k over k >= 0, by Euler and Maclaurin up to the first derivative.

    So the series' terms fall after many of them, to second order in 1 / n. The integral is
    index e^y E_decay(y), y = -index log z, and the exponential integral a continued fraction (5.1.22).
    """
    fall = -np.log(z)
    y = index * fall
    fraction = y
    for level in range(REMAINDER_LEVELS, 0, -1):
        fraction = y + (decay + (level - 1)) / (1.0 + level / fraction)
    return index / fraction + 0.5 + (decay / index + fall) / 12.0


def _exceedance(log_need: FloatArray, log_variance: FloatArray | float) -> FloatArray:
    """P(Y > need) for log-normal Y with mean 1 and the given log-variance."""
    deviations = (log_need + log_variance * 0.5) / np.sqrt(log_variance)
    return _normal_upper_tail(deviations)


def _normal_upper_tail(values: FloatArray) -> FloatArray:
    """P(standard normal > value) by A&S 7.1.26, within 1.5e-7."""
    size = np.abs(values) * math.sqrt(0.5)
    t = 1.0 / (1.0 + 0.3275911 * size)
    series = t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))
    series = t * (0.254829592 + t * (-0.284496736 + series))
    tail = 0.5 * series * np.exp(-np.minimum(size * size, EXPONENT_MAX))
    return np.where(values >= 0.0, tail, 1.0 - tail)
