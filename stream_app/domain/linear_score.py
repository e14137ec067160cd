"""Linear models as vectors, scored column by column.

The learner's models reach the engine as vectors of plain numbers. They are scored without matrix products: BLAS adds
in another order for another number of rows, and a customer's score must not depend on who else is in the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
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

    def coefficients(self) -> FloatArray:
        """Give each feature's weight in its own unit, shape `(n_features,)`; 0 for features that never varied."""
        has_varied = self.deviations > 0.0
        return np.where(has_varied, self.weights / np.where(has_varied, self.deviations, 1.0), 0.0)


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
    score = np.full(columns.shape[1], weights.intercept)
    for column, mean, coefficient in zip(columns, weights.means, weights.coefficients(), strict=True):
        if coefficient != 0.0:
            score += (column - mean) * coefficient
    return score


def probabilities(score: FloatArray) -> FloatArray:
    """Give 1 / (1 + exp(-score)), shape `(n,)`, in [0, 1]; nothing overflows."""
    return 1.0 / (1.0 + np.exp(-np.clip(score, -700.0, 700.0)))
