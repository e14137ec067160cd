"""Online calibration of probabilities: Platt's two numbers, from outcomes counted in bins.

Predictions and what came of them are counted in bins of the score (log-odds), with exponential forgetting, and the line
a + b score is fitted to the counts by penalised Newton steps. The penalty draws it to the identity, so that a young or
small log changes nothing until it has evidence; b > 0, so that calibration never changes a ranking.

References
----------
J. Platt (1999), Probabilistic Outputs for Support Vector Machines, Advances in Large Margin Classifiers, 61-74.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import SCORE_MAX, log_odds, probabilities

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

BIN_COUNT = 64
HALF_LIFE_EXAMPLES = 20_000.0
"""After so many examples an outcome counts half."""
PRIOR_PRECISION = 25.0
"""Weight of the identity on the intercept: some 100 outcomes at probability 1/2."""
SLOPE_PRIOR_PRECISION = 100.0
SLOPE_BOUNDS = (0.2, 3.0)
INTERCEPT_MAX = 4.0
NEWTON_STEPS = 12
STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationLine:
    """Calibrated log-odds = intercept + slope * score.

    Parameters
    ----------
    intercept
        In [-4, 4].
    slope
        In [0.2, 3].
    """

    intercept: float = 0.0
    slope: float = 1.0

    def apply(self, probability: FloatArray) -> FloatArray:
        """Calibrate probabilities, shape `(n,)`, in [0, 1]; keeps their order."""
        return probabilities(self.intercept + self.slope * log_odds(probability))


class ProbabilityCalibration:
    """Counts of predictions and outcomes; owned and changed by the learner alone."""

    def __init__(self) -> None:
        # Rows: weight, sum of scores, weight of positives.
        self._bins = np.zeros((3, BIN_COUNT))
        self._example_count = 0

    @property
    def example_count(self) -> int:
        """How many outcomes were counted."""
        return self._example_count

    def learn_many(self, probability: FloatArray, is_positive: NDArray[np.bool_]) -> None:
        """Count predictions that were made before the outcome was learned.

        Parameters
        ----------
        probability
            Shape `(n,)`, in [0, 1]: before calibration.
        is_positive
            Shape `(n,)`: what came.

        Raises
        ------
        SettingsError
            If a probability is none; nothing is counted.
        """
        if not np.all((probability >= 0.0) & (probability <= 1.0)):
            message = "predicted probabilities: each must be in [0, 1]; repair the features they come from"
            raise SettingsError(message, code="invalid_probability")
        score = log_odds(probability)
        place = np.minimum(((score + SCORE_MAX) * (BIN_COUNT / (2.0 * SCORE_MAX))).astype(np.int64), BIN_COUNT - 1)
        # Each example by its own age, so that it does not matter how examples are cut into calls.
        ages = np.arange(len(score) - 1, -1, -1, dtype=np.float64)
        weight = np.exp2(-ages / HALF_LIFE_EXAMPLES)
        added = [
            np.bincount(place, weights=values, minlength=BIN_COUNT)
            for values in (weight, weight * score, weight * is_positive)
        ]
        self._bins = self._bins * 2.0 ** (-len(score) / HALF_LIFE_EXAMPLES) + np.stack(added)
        self._example_count += len(score)

    def line(self) -> CalibrationLine:
        """Fit the line to the counts; the identity before any."""
        weight, score_sum, positive = self._bins
        is_used = weight > 0.0
        weight, positive = weight[is_used], positive[is_used]
        score = score_sum[is_used] / weight
        intercept, slope = 0.0, 1.0
        for _ in range(NEWTON_STEPS):
            mean = probabilities(intercept + slope * score)
            residual = positive - weight * mean
            curvature = weight * mean * (1.0 - mean)
            gradient_intercept = float(residual.sum()) - PRIOR_PRECISION * intercept
            gradient_slope = float((residual * score).sum()) - SLOPE_PRIOR_PRECISION * (slope - 1.0)
            h_ii = float(curvature.sum()) + PRIOR_PRECISION
            h_is = float((curvature * score).sum())
            h_ss = float((curvature * score * score).sum()) + SLOPE_PRIOR_PRECISION
            determinant = h_ii * h_ss - h_is * h_is
            step_intercept = (h_ss * gradient_intercept - h_is * gradient_slope) / determinant
            step_slope = (h_ii * gradient_slope - h_is * gradient_intercept) / determinant
            # A bounded step cannot overshoot into the flat ends of the logistic curve.
            intercept += min(max(step_intercept, -1.0), 1.0)
            slope += min(max(step_slope, -0.5), 0.5)
            intercept = min(max(intercept, -INTERCEPT_MAX), INTERCEPT_MAX)
            slope = min(max(slope, SLOPE_BOUNDS[0]), SLOPE_BOUNDS[1])
        return CalibrationLine(intercept=intercept, slope=slope)

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array([self._example_count], dtype=np.int64),
            "bins": self._bins.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> ProbabilityCalibration:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        new = cls()
        try:
            version, new._example_count = int(state["version"][0]), int(state["counters"][0])
            new._bins = np.array(state["bins"], dtype=np.float64)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"calibration state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or new._bins.shape != (3, BIN_COUNT) or not np.isfinite(new._bins).all():
            message = f"calibration state of version {version}: version {STATE_VERSION} is needed; learn afresh"
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        return new
