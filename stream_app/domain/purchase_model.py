"""The purchase model: who is still a customer, and how much will be bought, by BG/NBD in columns of customers.

Symbols are those of Fader, Hardie and Lee (2005): while alive, a customer buys at rate lambda, which varies between
customers as Gamma(r, alpha), and leaves for good after any purchase with probability p, which varies as Beta(a, b). Of
a history only three numbers matter: x (repeat purchases), t_x (from the first to the last purchase) and T (age: from
the first purchase to the moment of the forecast). Times are in weeks.

Every function works row by row: no sum runs across customers, so that a customer's numbers are the same to the bit
whatever block the customer is computed in. The formulas themselves are in `purchase_formulas`.

References
----------
P. Fader, B. Hardie, K. L. Lee (2005), "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model,
Marketing Science 24(2), 275-284.
M. Abramowitz, I. Stegun (1964), Handbook of Mathematical Functions, 5.1.22, 7.1.26, 15.1.1, 15.3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import SettingsError
from stream_app.domain.purchase_formulas import alive_each, forecast_each, growth_each

FloatArray = NDArray[np.float64]


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
        if not all(math.isfinite(value) and value > 0.0 for value in self.values):
            message = (
                f"purchase parameters (r, alpha_weeks, a, b) = {self.values}: each must be positive and finite; refit"
            )
            raise SettingsError(message, code="invalid_purchase_parameters")

    @property
    def values(self) -> tuple[float, float, float, float]:
        """r, alpha, a and b."""
        return float(self.r), float(self.alpha_weeks), float(self.a), float(self.b)


PRIOR_PARAMETERS = PurchaseParameters(r=1.0, alpha_weeks=10.0, a=0.5, b=2.75)
"""What is believed of a shop before anything is known of it: five purchases a year, rates that vary as an exponential
distribution does, and two customers in thirteen who leave after a purchase, most of them after the first few."""


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
    x, last, age = _columns(repeat_purchases, first_to_last_weeks, age_weeks)
    return PurchaseForecast(*forecast_each(parameters.values, x, last, age, float(horizon_weeks)))


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
    x, last, age = _columns(repeat_purchases, first_to_last_weeks, age_weeks)
    return alive_each(parameters.values, x, last, age)


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
    buy, mean = forecast.buy_probability, forecast.expected_purchases
    buy, mean, amount, previous = _columns(buy, mean, expected_amount, previous_spend)
    return growth_each(buy, mean, amount, previous, float(log_amount_variance))


def _columns(*values: FloatArray) -> list[FloatArray]:
    """Make columns what the loops are compiled for: contiguous, and of one length, which they do not check."""
    columns = [np.ascontiguousarray(column, dtype=np.float64) for column in values]
    if any(len(column) != len(columns[0]) for column in columns):
        message = f"columns of {[len(column) for column in columns]} customers: one length is needed"
        raise ValueError(message)
    return columns
