"""BG/NBD with Gamma-Gamma, fitted by maximum likelihood to all customers at once: the classic to hold scores against.

References
----------
P. Fader, B. Hardie, K. L. Lee (2005), Marketing Science 24(2), 275-284.
P. Fader, B. Hardie (2013), The Gamma-Gamma Model of Monetary Value, eq. 1a and 5 (symbols p, q, v; mean amount m of
x baskets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from stream_app.backtest.judging.baselines import Question
from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.purchase_log import Movements, PurchaseLog
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.purchase_model import PurchaseParameters, growth_probability, purchase_forecast
from stream_app.learning.purchase_fit import (
    LOG_BOUNDS,
    PRIOR_LOG_MEANS,
    log_likelihood,
    log_likelihood_gradient,
)

FloatArray = NDArray[np.float64]

DAYS_PER_WEEK = 7.0
ITERATIONS_MAX = 300
AMOUNT_LOG_START = (np.log(3.0), np.log(2.0), 0.0)
"""Where the search for log(p, q - 1, v) begins; v in units of the mean amount."""
AMOUNT_LOG_BOUNDS = ((-4.0, 6.0), (-4.0, 6.0), (-6.0, 8.0))
"""q is above 1, so that the population has a mean; far from every fit that was ever published."""


@dataclass(frozen=True, slots=True)
class AmountParameters:
    """The population's parameters of the Gamma-Gamma model; v in the reporting currency."""

    p: float
    q: float
    v: float

    def expected_amount(self, counts: FloatArray, mean_amounts: FloatArray) -> FloatArray:
        """Give E[amount of the next basket] = p (v + x m) / (p x + q - 1) of each customer (eq. 5)."""
        amounts: FloatArray = self.p * (self.v + counts * mean_amounts) / (self.p * counts + self.q - 1.0)
        return amounts

    @property
    def log_amount_variance(self) -> float:
        """Variance of log amounts of one customer: amounts are Gamma with shape p."""
        return float(np.log1p(1.0 / self.p))


def batch_purchase_prediction(log: PurchaseLog, question: Question) -> Prediction:
    """Fit both models to everybody who had bought before the cutoff, and predict.

    Parameters
    ----------
    log
        Only what lies before the cutoff is read.
    question
        Whom to predict, and when.

    Returns
    -------
    Prediction
        Value is E[n] E[m], growth the models' P(y > prev).
    """
    before = log.baskets.between(0, question.cutoff_ms)
    states, amounts, counts = _histories(before, log.customer_count, question)
    parameters = fit_purchases(states)
    amount_parameters = fit_amounts(counts, amounts)
    weeks = question.horizon_ms / MS_PER_DAY / DAYS_PER_WEEK
    forecast = purchase_forecast(parameters, states[:, 0], states[:, 1], states[:, 2], weeks)
    amount = amount_parameters.expected_amount(counts, amounts)
    previous, _ = log.spend_and_baskets(question.cutoff_ms - question.horizon_ms, question.cutoff_ms)
    growth = growth_probability(forecast, amount, previous[question.customers], amount_parameters.log_amount_variance)
    spend = forecast.expected_purchases * amount
    return Prediction(
        value=spend,
        buy=forecast.buy_probability,
        growth=growth,
        expected_spend=spend,
        expected_purchases=forecast.expected_purchases,
        buy_probability=forecast.buy_probability,
    )


def fit_purchases(states: FloatArray) -> PurchaseParameters:
    """Fit BG/NBD by maximum likelihood.

    Parameters
    ----------
    states
        Shape `(n, 3)`, n at least 1: x, t_x and T in weeks.

    Returns
    -------
    PurchaseParameters
        Within `LOG_BOUNDS`, where a degenerate likelihood (short or silent histories) would otherwise drift off.
    """
    different, counts = np.unique(states, axis=0, return_counts=True)
    weights = counts / counts.sum()

    def loss(log_parameters: FloatArray) -> tuple[float, FloatArray]:
        value = float(weights @ log_likelihood(log_parameters, different))
        return -value, -(weights @ log_likelihood_gradient(log_parameters, different))

    fit = minimize(
        loss,
        np.array(PRIOR_LOG_MEANS),
        jac=True,
        method="L-BFGS-B",
        bounds=LOG_BOUNDS,
        options={"maxiter": ITERATIONS_MAX, "ftol": 1e-12, "gtol": 1e-8},
    )
    r, alpha_weeks, a, b = (float(value) for value in np.exp(fit.x))
    return PurchaseParameters(r=r, alpha_weeks=alpha_weeks, a=a, b=b)


def fit_amounts(counts: FloatArray, mean_amounts: FloatArray) -> AmountParameters:
    """Fit Gamma-Gamma by maximum likelihood.

    Parameters
    ----------
    counts, mean_amounts
        x and m, shape `(n,)`; customers without a positive amount do not count.

    Returns
    -------
    AmountParameters
        Those of the start, scaled to the mean amount, when there is nothing to fit.
    """
    has_amount = (counts > 0.0) & (mean_amounts > 0.0)
    x, means = counts[has_amount], mean_amounts[has_amount]
    scale = float(means.mean()) if len(means) else 1.0
    start = np.array(AMOUNT_LOG_START)
    if len(means) > len(start):
        result = minimize(
            _amount_loss,
            start,
            args=(x, means / scale),
            jac=True,
            method="L-BFGS-B",
            bounds=AMOUNT_LOG_BOUNDS,
            options={"maxiter": ITERATIONS_MAX, "ftol": 1e-12, "gtol": 1e-8},
        )
        start = result.x
    p, q_minus_1, v = (float(value) for value in np.exp(start))
    return AmountParameters(p=p, q=1.0 + q_minus_1, v=v * scale)


def _amount_loss(log_parameters: FloatArray, x: FloatArray, means: FloatArray) -> tuple[float, FloatArray]:
    """Give the mean negative log-likelihood (eq. 1a) in log(p, q - 1, v), and its gradient."""
    p, q_minus_1, v = np.exp(log_parameters)
    q = 1.0 + q_minus_1
    px, total = p * x, v + means * x
    likelihood = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v) + px * np.log(x)
    likelihood += (px - 1.0) * np.log(means) - (px + q) * np.log(total)
    at_sum = digamma(px + q)
    by_p = x * (at_sum - digamma(px) + np.log(means) + np.log(x) - np.log(total))
    by_q = at_sum - digamma(q) + np.log(v) - np.log(total)
    by_v = q / v - (px + q) / total
    gradient = np.array([by_p.mean() * p, by_q.mean() * q_minus_1, by_v.mean() * v])
    return -float(likelihood.mean()), -gradient


def _histories(before: Movements, customer_count: int, question: Question) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give (x, t_x, T) in weeks, the mean amount of positive baskets, and their number, of whom is asked about."""
    who = question.customers
    days = before.times_ms // MS_PER_DAY
    first = np.zeros(customer_count, dtype=np.int64)
    last = np.zeros(customer_count, dtype=np.int64)
    first[before.customers[::-1]] = days[::-1]
    last[before.customers] = days
    repeats = before.sums(customer_count)[who] - 1.0
    first, last = first[who], last[who]
    ages = question.cutoff_ms / MS_PER_DAY - first
    states = np.stack([repeats, (last - first) / DAYS_PER_WEEK, ages / DAYS_PER_WEEK], axis=1)
    positive = before.sums(customer_count, before.amounts > 0.0)[who]
    totals = before.sums(customer_count, before.amounts)[who]
    return states, totals / np.maximum(positive, 1.0), positive
