"""Predictions and what came of them, added up by tenths: what calibration plots and lift charts are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream_app.learning.draws import ranked

FloatArray = NDArray[np.float64]

TENTHS = 10
COLUMNS = 3
"""Of each table: how many predictions, the sum of what was predicted, the sum of what came."""


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeTables:
    """Sums over predictions, each of shape `(TENTHS, COLUMNS)`; those of several windows can be added.

    Parameters
    ----------
    spend_by_value
        Expected spend and spend, by tenths of the customers of a window as the value score ranks them, highest first.
    spend_by_expectation
        The same, by tenths as expected spend ranks them.
    growth_by_rank
        Probability of growth and who grew, by tenths as that probability ranks them, highest first.
    buying_by_probability, growth_by_probability
        Probability and whether it came, by tenths of the probability itself, lowest first.
    """

    spend_by_value: FloatArray
    spend_by_expectation: FloatArray
    growth_by_rank: FloatArray
    buying_by_probability: FloatArray
    growth_by_probability: FloatArray

    def __add__(self, other: OutcomeTables) -> OutcomeTables:
        """Add up the tables of different outcomes."""
        return tables_from(as_array(self) + as_array(other))


def no_outcomes() -> OutcomeTables:
    """Give the tables of no outcome."""
    return tables_from(np.zeros((len(fields(OutcomeTables)), TENTHS, COLUMNS)))


def as_array(tables: OutcomeTables) -> FloatArray:
    """Give all tables as one array, shape `(5, TENTHS, COLUMNS)`."""
    return np.stack([getattr(tables, each.name) for each in fields(OutcomeTables)])


def tables_from(array: FloatArray) -> OutcomeTables:
    """Read what `as_array` gave."""
    return OutcomeTables(*array)


def by_rank(score: FloatArray, predicted: FloatArray, came: FloatArray) -> FloatArray:
    """Add up by tenths of the customers, highest score first; shape `(TENTHS, COLUMNS)`.

    Parameters
    ----------
    score, predicted, came
        Shape `(n,)`; with n below ten some tenths are empty.
    """
    tenths = np.empty(len(score), dtype=np.int64)
    tenths[ranked(score)] = np.arange(len(score)) * TENTHS // max(len(score), 1)
    return _added(tenths, predicted, came)


def by_probability(probability: FloatArray, came: NDArray[np.bool_]) -> FloatArray:
    """Add up by tenths of a probability, shape `(TENTHS, COLUMNS)`; probabilities of shape `(n,)`, in [0, 1]."""
    tenths = np.minimum((probability * TENTHS).astype(np.int64), TENTHS - 1)
    return _added(tenths, probability, came.astype(np.float64))


def _added(tenths: NDArray[np.int64], predicted: FloatArray, came: FloatArray) -> FloatArray:
    sums = [np.bincount(tenths, weights, minlength=TENTHS) for weights in (None, predicted, came)]
    return np.stack(sums, axis=1).astype(np.float64)
