"""Streaming fit of the purchase model's four parameters: small gradient steps on remembered snapshots.

The log-likelihood of a customer with x repeat purchases, the last at t_x, at age T (symbols as in
`domain.purchase_model`) is
L = log G(r + x) - log G(r) + r log alpha + log G(a + b) + log G(b + x) - log G(b) - log G(a + b + x)
  + log((alpha + T)^-(r + x) + [x > 0] a / (b + x - 1) (alpha + t_x)^-(r + x)).
It is climbed in the logarithms of the parameters by Adam with a constant step, under a normal prior; the parameters
given out are the average of the iterates. Without prior or with a falling step the fit drifts or freezes on young logs.

References
----------
P. Fader, B. Hardie, K. L. Lee (2005), Marketing Science 24(2), 275-284, eq. 6 and 7.
D. Kingma, J. Ba (2015), Adam: A Method for Stochastic Optimization, ICLR, algorithm 1.
B. Polyak, A. Juditsky (1992), Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30(4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.purchase_model import PRIOR_PARAMETERS, PurchaseParameters
from stream_app.learning.draws import hashed_bits

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

PRIOR_LOG_MEANS = tuple(math.log(value) for value in astuple(PRIOR_PARAMETERS))
"""Prior centre of log(r, alpha_weeks, a, b)."""
PRIOR_LOG_DEVIATION = 1.5
PRIOR_WEIGHT = 1.0 / 300.0
"""Weight of the prior against the mean log-likelihood of a customer: that of one customer in 300."""
LOG_BOUNDS = (
    (math.log(1e-3), math.log(20.0)),
    (math.log(1e-2), math.log(1e4)),
    (math.log(1e-3), math.log(30.0)),
    (math.log(1e-3), math.log(300.0)),
)
"""Where the forecasts of `domain.purchase_model` are verified; the prior keeps the fit far from them."""
STEP_SIZE = 0.02
STEPS_A_DAY = 2
STATES_A_STEP = 512
AVERAGE_RATE = 0.01
"""Weight of the newest iterate in the average, once a hundred steps have been made (the plain mean before)."""
REMEMBERED_MAX = 4096
"""Customer states kept to draw from; the oldest are replaced."""
ADAM_DECAYS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
STATE_VERSION = 1


class PurchaseFit:
    """The four parameters, learned from customer states as they come; owned and changed by the learner alone.

    Parameters
    ----------
    seed
        Of the draws; the same seed and states give the same parameters.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._steps = 0
        self._iterate = np.array(PRIOR_LOG_MEANS)
        self._average = np.array(PRIOR_LOG_MEANS)
        self._gradient_mean = np.zeros(4)
        self._gradient_square = np.zeros(4)
        self._states = np.zeros((REMEMBERED_MAX, 3), dtype=np.float32)
        self._seen = 0

    @property
    def parameters(self) -> PurchaseParameters:
        """The averaged iterate; the prior's centre before anything was learned."""
        r, alpha_weeks, a, b = (math.exp(value) for value in self._average)
        return PurchaseParameters(r=r, alpha_weeks=alpha_weeks, a=a, b=b)

    @property
    def remembered_count(self) -> int:
        """How many customer states there are to draw from."""
        return min(self._seen, REMEMBERED_MAX)

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
        states = np.stack([repeat_purchases, first_to_last_weeks, age_weeks], axis=1).astype(np.float64)
        if not np.all(np.isfinite(states) & (states >= 0.0)):
            message = "customer states (x, t_x, T): each must be finite and not below 0; repair the rows they come from"
            raise SettingsError(message, code="invalid_customer_state")
        if len(states) > REMEMBERED_MAX:
            states = states[np.arange(REMEMBERED_MAX) * len(states) // REMEMBERED_MAX]
        places = (self._seen + np.arange(len(states))) % REMEMBERED_MAX
        self._states[places] = states
        self._seen += len(states)

    def learn_day(self) -> None:
        """Make one day's steps on customer states drawn from the remembered ones; does nothing without any."""
        if self.remembered_count == 0:
            return
        for _ in range(STEPS_A_DAY):
            self._step(self._draw())

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array([self._seed, self._steps, self._seen], dtype=np.int64),
            "vectors": np.stack([self._iterate, self._average, self._gradient_mean, self._gradient_square]),
            "states": self._states[: self.remembered_count].copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> PurchaseFit:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        try:
            version = int(state["version"][0])
            seed, steps, seen = (int(value) for value in state["counters"])
            vectors = np.array(state["vectors"], dtype=np.float64)
            states = np.array(state["states"], dtype=np.float32)
            is_whole = vectors.shape == (4, 4) and states.shape == (min(seen, REMEMBERED_MAX), 3)
            is_whole = is_whole and bool(np.isfinite(vectors).all() and np.isfinite(states).all())
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"purchase fit state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or not is_whole:
            message = (
                f"purchase fit state of version {version}, complete = {is_whole}: version {STATE_VERSION} is needed; "
                "learn afresh or run the version that wrote it"
            )
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        fit = cls(seed=seed)
        fit._steps, fit._seen = steps, seen
        fit._iterate, fit._average, fit._gradient_mean, fit._gradient_square = (row.copy() for row in vectors)
        fit._states[: len(states)] = states
        return fit

    def _draw(self) -> FloatArray:
        """Draw states with replacement, or take all where there are no more than a step needs."""
        if self.remembered_count <= STATES_A_STEP:
            return self._states[: self.remembered_count].astype(np.float64)
        numbers = np.arange(STATES_A_STEP, dtype=np.uint64) + np.uint64(self._steps * STATES_A_STEP)
        chosen = hashed_bits(numbers, self._seed) % np.uint64(self.remembered_count)
        return self._states[chosen.astype(np.int64)].astype(np.float64)

    def _step(self, states: FloatArray) -> None:
        gradient = log_likelihood_gradient(self._iterate, states).mean(axis=0)
        gradient -= PRIOR_WEIGHT * (self._iterate - np.array(PRIOR_LOG_MEANS)) / PRIOR_LOG_DEVIATION**2
        self._steps += 1
        first, second = ADAM_DECAYS
        self._gradient_mean = first * self._gradient_mean + (1.0 - first) * gradient
        self._gradient_square = second * self._gradient_square + (1.0 - second) * gradient * gradient
        mean = self._gradient_mean / (1.0 - first**self._steps)
        square = self._gradient_square / (1.0 - second**self._steps)
        iterate = self._iterate + STEP_SIZE * mean / (np.sqrt(square) + ADAM_EPSILON)
        lowest, highest = np.array(LOG_BOUNDS).T
        self._iterate = np.clip(iterate, lowest, highest)
        self._average += max(AVERAGE_RATE, 1.0 / self._steps) * (self._iterate - self._average)


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
