"""Streaming fit of the purchase model's four parameters: by the newest snapshots, again and again, and averaged.

The log-likelihood of a customer with x repeat purchases, the last at t_x, at age T (symbols as in
`domain.purchase_model`) is
L = log G(r + x) - log G(r) + r log alpha + log G(a + b) + log G(b + x) - log G(b) - log G(a + b + x)
  + log((alpha + T)^-(r + x) + [x > 0] a / (b + x - 1) (alpha + t_x)^-(r + x)).
Its mean over the snapshots of the last 28 days, each customer once, is climbed in the logarithms of the parameters
under a prior (`log_prior`), from where the last fit ended. What is given out is the mean of the fits, by the
squares of the ages that each had seen and how new it is: who has left shows with time, and the fits of the first weeks,
which are little but the prior, are soon outweighed. A shop is not what BG/NBD says, and what fits best goes to and fro
as its customers age.

References
----------
P. Fader, B. Hardie, K. L. Lee (2005), Marketing Science 24(2), 275-284, eq. 6 and 7.
R. Byrd, P. Lu, J. Nocedal, C. Zhu (1995), A Limited Memory Algorithm for Bound Constrained Optimization, SIAM J. Sci.
Comput. 16(5), 1190-1208.
B. Polyak, A. Juditsky (1992), Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30(4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.purchase_model import PRIOR_PARAMETERS, PurchaseParameters

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

PRIOR_LOG_MEANS = tuple(math.log(value) for value in astuple(PRIOR_PARAMETERS))
"""Prior centre of log(r, alpha_weeks, a, b)."""
PRIOR_DEVIATIONS = (1.0, 1.0, 2.0, 2.0)
"""Of the logarithms of r, a, the share of customers who leave after a purchase, and the share who leave in a week."""
PRIOR_CUSTOMERS = 35.0
"""The prior weighs as much as what so many customers tell: drop-outs are known from few of them, and late. In a shop of
customers who each tell little, a share of all would outweigh them for good; in a small one, 35 would."""
PRIOR_SHARED_FROM = 1152
"""In a shop of fewer it weighs as one customer in 33, but never less than a single one."""
LOG_BOUNDS = (
    (math.log(1e-3), math.log(20.0)),
    (math.log(1e-2), math.log(1e4)),
    (math.log(1e-3), math.log(30.0)),
    (math.log(1e-3), math.log(300.0)),
)
"""Where the forecasts of `domain.purchase_model` are verified; the prior keeps the fit far from them."""
REMEMBERED_DAYS = 28
"""Every customer is snapshotted once in so many days."""
REMEMBERED_MAX = 4096
"""Customer states kept; the oldest are dropped."""
FIT_EVERY_DAYS = 7
FIT_GROWTH = 1.5
"""A fit is made every week, and sooner where so many times the snapshots of the last one have been seen."""
HALF_LIFE_DAYS = 90.0
"""After so long a fit counts half in the average."""
WEIGHT_MIN = 1e-6
"""Of a fit in the average, square weeks; customers of whom nobody is any older make one, too."""
ITERATIONS_MAX = 60
STATE_VERSION = 3


class PurchaseFit:
    """The four parameters, learned from customer states as they come; owned and changed by the learner alone."""

    def __init__(self) -> None:
        self._latest = np.array(PRIOR_LOG_MEANS)
        self._average = np.array(PRIOR_LOG_MEANS)
        # Columns: x, t_x, T, and the day on which it was taken in.
        self._states = np.zeros((0, 4), dtype=np.float32)
        self._seen = self._seen_at_fit = 0
        self._day, self._day_of_fit = 0, -FIT_EVERY_DAYS
        self._weight = 0.0

    @property
    def parameters(self) -> PurchaseParameters:
        """The average of the fits; the prior's centre before anything was learned."""
        r, alpha_weeks, a, b = (math.exp(value) for value in self._average)
        return PurchaseParameters(r=r, alpha_weeks=alpha_weeks, a=a, b=b)

    @property
    def remembered_count(self) -> int:
        """How many customer states there are to learn from."""
        return len(self._states)

    def remember(self, repeat_purchases: FloatArray, first_to_last_weeks: FloatArray, age_weeks: FloatArray) -> None:
        """Take in customers as they were at their snapshots; of more than fit, evenly spaced ones.

        Parameters
        ----------
        repeat_purchases, first_to_last_weeks, age_weeks
            x, t_x, T, each of shape `(n,)`, finite, 0 <= t_x <= T, weeks.

        Raises
        ------
        SettingsError
            If a value is not finite or below 0; nothing is taken in.
        """
        days = np.full(len(age_weeks), self._day)
        states = np.stack([repeat_purchases, first_to_last_weeks, age_weeks, days], axis=1).astype(np.float32)
        if not np.all(np.isfinite(states) & (states >= 0.0)):
            message = "customer states (x, t_x, T): each must be finite and not below 0; repair the rows they come from"
            raise SettingsError(message, code="invalid_customer_state")
        self._seen += len(states)
        if len(states) > REMEMBERED_MAX:
            states = states[np.arange(REMEMBERED_MAX) * len(states) // REMEMBERED_MAX]
        self._states = np.concatenate([self._states, states])[-REMEMBERED_MAX:]

    def learn_day(self) -> None:
        """End a day, and fit if it is time for it; does nothing without any states."""
        self._states = self._states[self._states[:, 3] > self._day - REMEMBERED_DAYS]
        is_due = self._day - self._day_of_fit >= FIT_EVERY_DAYS or self._seen >= FIT_GROWTH * self._seen_at_fit
        if len(self._states) and is_due:
            self._fit()
        self._day += 1

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        counters = [self._seen, self._seen_at_fit, self._day, self._day_of_fit, len(self._states)]
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array(counters, dtype=np.int64),
            "weight": np.array([self._weight]),
            "vectors": np.stack([self._latest, self._average]),
            "states": self._states.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> PurchaseFit:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        fit = cls()
        try:
            version = int(state["version"][0])
            if version == STATE_VERSION:
                fit._seen, fit._seen_at_fit, fit._day, fit._day_of_fit, count = map(int, state["counters"])
                fit._weight = float(state["weight"][0])
                fit._latest, fit._average = np.array(state["vectors"], dtype=np.float64).reshape(2, 4)
                fit._states = np.array(state["states"], dtype=np.float32).reshape(count, 4)
            known = (fit._weight, fit._latest, fit._average, fit._states)
            is_whole = all(bool(np.isfinite(values).all()) for values in known)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"purchase fit state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or not is_whole:
            message = (
                f"purchase fit state of version {version}, complete = {is_whole}: version {STATE_VERSION} is needed; "
                "learn afresh or run the version that wrote it"
            )
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        return fit

    def _fit(self) -> None:
        """Climb from the last fit, and move the average."""
        states = self._states[:, :3].astype(np.float64)
        self._latest = fitted(self._latest, states)
        told = max(float(np.square(states[:, 2]).sum()), WEIGHT_MIN)
        left = 0.5 ** ((self._day - self._day_of_fit) / HALF_LIFE_DAYS)
        self._weight = self._weight * left + told
        self._average = self._average + (told / self._weight) * (self._latest - self._average)
        self._day_of_fit, self._seen_at_fit = self._day, self._seen


def fitted(start: FloatArray, states: FloatArray) -> FloatArray:
    """Find the log-parameters of the highest posterior density.

    Parameters
    ----------
    start
        Shape `(4,)`: where to begin, within `LOG_BOUNDS`.
    states
        Shape `(n, 3)`, n at least 1: x, t_x and T in weeks.

    Returns
    -------
    FloatArray
        Shape `(4,)`, within `LOG_BOUNDS`.
    """
    count = len(states)
    weight = max(1.0 / count, PRIOR_CUSTOMERS / max(count, PRIOR_SHARED_FROM))

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        prior, prior_gradient = log_prior(values)
        density = float(log_likelihood(values, states).mean()) + weight * prior
        gradient = log_likelihood_gradient(values, states).mean(axis=0) + weight * prior_gradient
        return -density, -gradient

    options = {"maxiter": ITERATIONS_MAX, "ftol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=LOG_BOUNDS, options=options)
    return np.asarray(found.x, dtype=np.float64)


def log_prior(log_parameters: FloatArray) -> tuple[float, FloatArray]:
    """Give the logarithm of the prior density, 0 at its centre, and its gradient.

    Log r, log a, log p and log (p r / alpha) are normal and independent, with p = a / (a + b) the mean share who leave
    after a purchase, and p r / alpha about the share who leave in a week. Whether a shop where customers buy more often
    loses as many a purchase or as many a week, nobody knows beforehand: here both are believed alike, and where they
    buy four times as often, half as many are expected to leave after a purchase and twice as many in a week. How often
    customers buy is then almost free (log-deviation 2.8), for that a shop knows of itself within days.

    Parameters
    ----------
    log_parameters
        Shape `(4,)`: log of r, alpha in weeks, a, b.

    Returns
    -------
    tuple[float, FloatArray]
        At most 0, and shape `(4,)`: in the log-parameters.
    """
    precisions = 1.0 / np.square(PRIOR_DEVIATIONS)
    values, slopes = _prior_coordinates(log_parameters)
    off = values - _prior_coordinates(np.array(PRIOR_LOG_MEANS))[0]
    return -0.5 * float(precisions @ (off * off)), -(precisions * off) @ slopes


def log_likelihood(log_parameters: FloatArray, states: FloatArray) -> FloatArray:
    """Give each customer's log-likelihood (eq. 6).

    Parameters
    ----------
    log_parameters
        Shape `(4,)`: log of r, alpha in weeks, a, b.
    states
        Shape `(n, 3)`: x, t_x and T in weeks.

    Returns
    -------
    FloatArray
        Shape `(n,)`.
    """
    r, alpha, a, b = np.exp(log_parameters)
    x = states[:, 0]
    alive, gone = _log_alternatives(log_parameters, states)
    rates = gammaln(r + x) - gammaln(r) + r * math.log(alpha)
    drop_outs = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    return np.asarray(rates + drop_outs + np.logaddexp(alive, gone), dtype=np.float64)


def log_likelihood_gradient(log_parameters: FloatArray, states: FloatArray) -> FloatArray:
    """Give the gradient of each customer's log-likelihood in the logarithms of the parameters.

    Parameters
    ----------
    log_parameters, states
        As in `log_likelihood`.

    Returns
    -------
    FloatArray
        Shape `(n, 4)`.
    """
    r, alpha, a, b = np.exp(log_parameters)
    x, last, age = states.T
    alive, gone = _log_alternatives(log_parameters, states)
    gone_share = np.exp(gone - np.logaddexp(alive, gone))
    alive_share = 1.0 - gone_share
    mean_log = alive_share * np.log(alpha + age) + gone_share * np.log(alpha + last)
    mean_inverse = alive_share / (alpha + age) + gone_share / (alpha + last)
    both = digamma(a + b) - digamma(a + b + x)
    gradient = np.stack(
        [
            digamma(r + x) - digamma(r) + math.log(alpha) - mean_log,
            r / alpha - (r + x) * mean_inverse,
            both + gone_share / a,
            both + digamma(b + x) - digamma(b) - gone_share / (b + np.maximum(x, 1.0) - 1.0),
        ],
        axis=1,
    )
    return np.asarray(gradient * np.exp(log_parameters), dtype=np.float64)


def _log_alternatives(log_parameters: FloatArray, states: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give the logs of eq. 6's alternatives: alive at T; gone after the last purchase (impossible for x = 0)."""
    r, alpha, a, b = np.exp(log_parameters)
    x, last, age = states.T
    alive = -(r + x) * np.log(alpha + age)
    gone = np.log(a / (b + np.maximum(x, 1.0) - 1.0)) - (r + x) * np.log(alpha + last)
    return alive, np.where(x > 0.0, gone, -np.inf)


def _prior_coordinates(log_parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give log r, log a, log p and log (p r / alpha) of `log_prior`, and a row of derivatives for each of them."""
    log_r, log_alpha, log_a, log_b = log_parameters
    log_leaving = -np.logaddexp(0.0, log_b - log_a)
    staying = -math.expm1(log_leaving)
    values = np.array([log_r, log_a, log_leaving, log_leaving + log_r - log_alpha])
    slopes = np.array(
        [
            [1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, staying, -staying],
            [1.0, -1.0, staying, -staying],
        ]
    )
    return values, slopes
