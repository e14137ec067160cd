"""Linear models as vectors, scored column by column.

The learner's models reach the engine as vectors of plain numbers. They are scored without matrix products: BLAS adds
in another order for another number of rows, and a customer's score must not depend on who else is in the block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled

FloatArray = NDArray[np.float64]

SCORE_MAX = 8.0
"""Log-odds are counted within +-8 (odds of one in 3,000)."""


@dataclass(frozen=True, eq=False)
class LinearWeights:
    """A linear model on standardised features.

    Parameters
    ----------
    means
        Shape `(n_features,)`: what is subtracted from each feature.
    deviations
        Shape `(n_features,)`: what it is then divided by; 0 for a feature that has never varied, which is left out.
    weights
        Shape `(n_features,)`.
    intercept
        Score of the average customer.
    """

    means: FloatArray
    deviations: FloatArray
    weights: FloatArray
    intercept: float

    @cached_property
    def coefficients(self) -> FloatArray:
        """Each feature's weight in its own unit, shape `(n_features,)`; 0 for features that never varied."""
        has_varied = self.deviations > 0.0
        return np.where(has_varied, self.weights / np.where(has_varied, self.deviations, 1.0), 0.0)

    @cached_property
    def _parts(self) -> dict[tuple[int, ...], tuple[NDArray[np.int64], float]]:
        return {}

    def part(self, places: tuple[int, ...]) -> tuple[NDArray[np.int64], float]:
        """Give those of some features that count, and their means' share, which is the same for all customers."""
        if places not in self._parts:
            coefficients, means = self.coefficients.tolist(), self.means.tolist()
            counted = [place for place in places if coefficients[place] != 0.0]
            share = math.fsum(means[place] * coefficients[place] for place in counted)
            self._parts[places] = np.array(counted, dtype=np.int64), share
        return self._parts[places]


def linear_part(weights: LinearWeights, columns: FloatArray, places: Sequence[int]) -> FloatArray:
    """Sum weight (x - mean) / deviation over some of the features, in order; shape `(n,)`."""
    return _summed(weights, columns, places, 0.0)


def column_score(weights: LinearWeights, columns: FloatArray) -> FloatArray:
    """Score customers: intercept + sum over features of weight (x - mean) / deviation, features added in order.

    Parameters
    ----------
    weights
        With n_features entries each.
    columns
        Shape `(n_features, n)`.

    Returns
    -------
    FloatArray
        Shape `(n,)`; a row's score is the same to the bit in any block.
    """
    return _summed(weights, columns, range(len(columns)), weights.intercept)


def _summed(weights: LinearWeights, columns: FloatArray, places: Sequence[int], start: float) -> FloatArray:
    counted, means = weights.part(tuple(places))
    return _add_columns(np.ascontiguousarray(columns), counted, weights.coefficients, start - means)


@compiled
def _add_columns(columns: FloatArray, places: NDArray[np.int64], coefficients: FloatArray, start: float) -> FloatArray:
    """Add some columns to a start, each times its coefficient, in the order of the places; shape `(n,)`."""
    score = np.full(columns.shape[1], start)
    for place in places:
        coefficient, column = coefficients[place], columns[place]
        for row in range(len(score)):
            score[row] += column[row] * coefficient
    return score


def probabilities(score: FloatArray) -> FloatArray:
    """Give 1 / (1 + exp(-score)), shape `(n,)`, in [0, 1]; nothing overflows."""
    return 1.0 / (1.0 + np.exp(-_bounded(score, 700.0)))


def log_odds(probability: FloatArray) -> FloatArray:
    """Give log(p / (1 - p)) within +-`SCORE_MAX`, shape `(n,)`."""
    lowest = 1.0 / (1.0 + math.exp(SCORE_MAX))
    bounded = np.minimum(np.maximum(probability, lowest), 1.0 - lowest)
    return _bounded(np.log(bounded / (1.0 - bounded)), SCORE_MAX)


def _bounded(values: FloatArray, size: float) -> FloatArray:
    """Keep values within +-size; `np.clip` takes ten times as long on small arrays."""
    result: FloatArray = np.minimum(np.maximum(values, -size), size)
    return result


@dataclass(frozen=True, slots=True)
class Stack:
    """Combined log-odds = intercept + learned_weight * learned + model_weight * model; the formula alone by default.

    Parameters
    ----------
    intercept
        In [-4, 4].
    learned_weight, model_weight
        In [0, 3].
    """

    intercept: float = 0.0
    learned_weight: float = 0.0
    model_weight: float = 1.0

    def apply(self, learned: FloatArray, model: FloatArray) -> FloatArray:
        """Combine probabilities, each of shape `(n,)`, to `(n,)` in [0, 1]; rises with both."""
        score = self.intercept + self.learned_weight * log_odds(learned) + self.model_weight * log_odds(model)
        return probabilities(score)
