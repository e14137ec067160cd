"""Two probabilities of the same thing made into one calibrated probability, by how far each has proved right.

A formula's probability is there from the first day; a learned one becomes better when there was enough to learn from,
and is worse before. Their log-odds are combined as intercept + learned_weight * learned + model_weight * model, fitted
to outcomes counted in cells of both log-odds, with exponential forgetting. The fit begins at the formula alone,
(0, 0, 1), and is drawn to it by a penalty, so that a young or small log trusts the formula and a large one whatever
predicts.

References
----------
D. Wolpert (1992), Stacked Generalization, Neural Networks 5(2), 241-259.
J. Platt (1999), Probabilistic Outputs for Support Vector Machines, Advances in Large Margin Classifiers, 61-74.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import SCORE_MAX, Stack, log_odds, probabilities

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

HALF_LIFE_EXAMPLES = 100_000.0
"""After so many examples an outcome counts half. The two predictions are much alike, so that which is better shows
only in many outcomes: with 5,000 the penalty never lets go of the formula."""
CELLS_A_SIDE = 24
"""Cells of each log-odds; within a cell, the mean of what fell into it counts."""
PRIOR_PRECISIONS = (25.0, 50.0, 50.0)
"""Strength of that beginning: about that of 500 outcomes at a base rate of a tenth."""
LOWEST = (-4.0, 0.0, 0.0)
HIGHEST = (4.0, 3.0, 3.0)
NEWTON_STEPS = 15
STATE_VERSION = 1


class StackedCalibration:
    """Counts of both predictions and of outcomes; owned and changed by the learner alone."""

    def __init__(self) -> None:
        # Rows: weight, sum of learned log-odds, sum of the formula's, weight of positives.
        self._cells = np.zeros((4, CELLS_A_SIDE * CELLS_A_SIDE))
        self._example_count = 0

    @property
    def example_count(self) -> int:
        """How many outcomes were counted."""
        return self._example_count

    def learn_many(self, learned: FloatArray, model: FloatArray, is_positive: NDArray[np.bool_]) -> None:
        """Count predictions that were made before the outcome was learned.

        Parameters
        ----------
        learned, model
            Shape `(n,)`, in [0, 1].
        is_positive
            Shape `(n,)`: what came.

        Raises
        ------
        SettingsError
            If a probability is none; nothing is counted.
        """
        both = np.stack([learned, model])
        if not np.all((both >= 0.0) & (both <= 1.0)):
            message = "predicted probabilities: each must be in [0, 1]; repair the features they come from"
            raise SettingsError(message, code="invalid_probability")
        scores = log_odds(both)
        sides = ((scores + SCORE_MAX) * (CELLS_A_SIDE / (2.0 * SCORE_MAX))).astype(np.int64)
        place = np.minimum(sides[0], CELLS_A_SIDE - 1) * CELLS_A_SIDE + np.minimum(sides[1], CELLS_A_SIDE - 1)
        weight = np.exp2(-np.arange(len(place) - 1, -1, -1, dtype=np.float64) / HALF_LIFE_EXAMPLES)
        added = [
            np.bincount(place, weights=values, minlength=CELLS_A_SIDE * CELLS_A_SIDE)
            for values in (weight, weight * scores[0], weight * scores[1], weight * is_positive)
        ]
        self._cells = self._cells * 2.0 ** (-len(place) / HALF_LIFE_EXAMPLES) + np.stack(added)
        self._example_count += len(place)

    def stack(self) -> Stack:
        """Fit the weights to the counts by penalised Newton steps; the formula alone before any."""
        weight, learned, model, positive = self._cells[:, self._cells[0] > 0.0]
        design = np.stack([np.ones(len(weight)), learned / weight, model / weight])
        prior, precisions = np.array(astuple(Stack())), np.array(PRIOR_PRECISIONS)
        found = prior.copy()
        for _ in range(NEWTON_STEPS):
            mean = probabilities((found[:, None] * design).sum(axis=0))
            gradient = (design * (positive - weight * mean)).sum(axis=1) - precisions * (found - prior)
            curved = design * (weight * mean * (1.0 - mean))
            curvature = (curved[:, None, :] * design[None, :, :]).sum(axis=2) + np.diag(precisions)
            # A bounded step cannot overshoot into the flat ends of the logistic curve.
            step = np.clip(np.linalg.solve(curvature, gradient), -0.5, 0.5)
            found = np.clip(found + step, LOWEST, HIGHEST)
        return Stack(*(float(value) for value in found))

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array([self._example_count], dtype=np.int64),
            "cells": self._cells.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]]) -> StackedCalibration:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version.
        """
        new = cls()
        try:
            version, new._example_count = int(state["version"][0]), int(state["counters"][0])
            cells = np.array(state["cells"], dtype=np.float64)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"stacking state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or cells.shape != new._cells.shape or not np.isfinite(cells).all():
            message = f"stacking state of version {version}: version {STATE_VERSION} is needed; learn afresh"
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        new._cells = cells
        return new
