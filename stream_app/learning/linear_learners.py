"""River's linear models behind one protocol: predict, learn in fixed blocks, save as arrays, export as vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing, utils

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import LinearWeights, column_score, probabilities

FloatArray = NDArray[np.float64]
LearnerState = dict[str, NDArray[np.generic]]

BLOCK_ROWS = 128
"""Examples of one River step. Blocks are filled across calls, so that it does not matter how examples arrive."""
LARGE_BLOCK_ROWS = 512
"""Examples of a step once steps are many: most of a step's 1.8 ms are River's, whatever its size (14 -> 4 us an
example)."""
LARGE_BLOCKS_FROM = 128 * BLOCK_ROWS
"""Examples learned before blocks are large: a young model needs its steps more than it needs speed."""
VARIANCE_MIN_RATIO = 1e-10
"""A variance below this share of the squared mean (or of 1) is rounding, not variation."""
LOG_COUNT_MAX = 25.0
"""Larger predicted log counts count as this; e^25 purchases in a horizon do not occur."""
OUTLIER_RATIO = 10.0
"""Counts beyond ten times the median (plus one) say nothing more about where the intercept is."""
STATE_VERSION = 1


class Target(StrEnum):
    """What a linear model predicts."""

    PROBABILITY = "probability"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """Constants of one learner; see McMahan et al. (2013), algorithm 1.

    Parameters
    ----------
    target
        Probability: logistic loss. Count: Poisson loss, prediction exp(score).
    alpha, beta
        Step sizes alpha / (beta + sqrt(sum of squared gradients)) per feature.
    l1, l2
        Penalties.
    gradient_max
        Bound of one example's loss gradient.
    intercept_step
        Constant step of the intercept along a block's mean gradient; River moves it by plain gradient descent.
    """

    target: Target
    alpha: float
    beta: float
    l1: float
    l2: float
    gradient_max: float
    intercept_step: float


PROBABILITY_SETTINGS = LinearSettings(
    Target.PROBABILITY,
    alpha=0.05,
    beta=1.0,
    l1=0.001,
    l2=0.001,
    gradient_max=1.0,
    intercept_step=0.1,
)
COUNT_SETTINGS = LinearSettings(
    Target.COUNT,
    alpha=0.02,
    beta=1.0,
    l1=0.01,
    l2=0.01,
    gradient_max=5.0,
    intercept_step=0.1,
)


class Learner(Protocol):
    """What every learner can do; a new one passes `tests/learning/contract.py`."""

    @property
    def example_count(self) -> int:
        """How many examples were given to it."""

    def predict_many(self, features: FloatArray) -> FloatArray:
        """Predict for rows of features, shape `(n, n_features)` to `(n,)`, finite; changes nothing."""

    def learn_many(self, features: FloatArray, outcomes: FloatArray) -> None:
        """Learn from rows of features and their outcomes."""

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""


class LinearLearner:
    """`StandardScaler | FTRL` on a fixed set of features; owned and changed by the learner alone.

    Parameters
    ----------
    feature_names
        In the order of the columns.
    settings
        Constants.

    References
    ----------
    H. B. McMahan et al. (2013), Ad Click Prediction: a View from the Trenches, KDD, 1222-1230.
    """

    def __init__(self, feature_names: tuple[str, ...], settings: LinearSettings) -> None:
        self._names = feature_names
        self._settings = settings
        self._scaler = preprocessing.StandardScaler()
        self._model = _river_model(settings)
        self._waiting = np.zeros((0, len(feature_names) + 1))
        self._example_count = 0

    @property
    def example_count(self) -> int:
        """How many examples were given to it, those that wait for a full block included."""
        return self._example_count

    def predict_many(self, features: FloatArray) -> FloatArray:
        """Predict; changes nothing.

        Parameters
        ----------
        features
            Shape `(n, n_features)`, finite.

        Returns
        -------
        FloatArray
            Shape `(n,)`: probabilities, or mean counts; finite. Before the first block, that of the intercept alone.

        Raises
        ------
        SettingsError
            If a feature is not finite or their number is another.
        """
        self._check(features)
        score = column_score(self.weights(), np.ascontiguousarray(features.T))
        if self._settings.target is Target.PROBABILITY:
            return probabilities(score)
        return np.exp(np.minimum(score, LOG_COUNT_MAX))

    def learn_many(self, features: FloatArray, outcomes: FloatArray) -> None:
        """Learn every full block; the rest waits for the next call.

        Parameters
        ----------
        features
            Shape `(n, n_features)`, finite.
        outcomes
            Shape `(n,)`: 0 or 1, or counts.

        Raises
        ------
        SettingsError
            If a value is not finite, an outcome is out of range, or shapes do not fit; nothing is learned.
        """
        self._check(features)
        highest = 1.0 if self._settings.target is Target.PROBABILITY else math.inf
        is_valid = np.isfinite(outcomes) & (outcomes >= 0.0) & (outcomes <= highest)
        if outcomes.shape != (len(features),) or not is_valid.all():
            message = f"outcomes: one for each example is needed, finite and in [0, {highest}]; repair the labels"
            raise SettingsError(message, code="invalid_outcomes")
        rows = np.concatenate([self._waiting, np.column_stack([features, outcomes])])
        learned = self._example_count - len(self._waiting)
        start = 0
        while True:
            end = start + (BLOCK_ROWS if learned + start < LARGE_BLOCKS_FROM else LARGE_BLOCK_ROWS)
            if end > len(rows):
                break
            self._learn_block(rows[start:end])
            start = end
        self._waiting = rows[start:].copy()
        self._example_count += len(features)

    def weights(self) -> LinearWeights:
        """Export the model as vectors."""
        weights = self._model.weights
        return LinearWeights(
            means=self._vector(self._scaler.means),
            deviations=np.sqrt(self._vector(self._scaler.vars)),
            weights=self._vector(weights),
            intercept=float(self._model.intercept),
        )

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        optimizer = self._model.optimizer
        count = self._scaler.counts[self._names[0]]
        return {
            "version": np.array([STATE_VERSION], dtype=np.int64),
            "counters": np.array([self._example_count, count, optimizer.n_iterations], dtype=np.int64),
            "names": np.array(self._names),
            "vectors": np.stack(
                [
                    self._vector(self._scaler.means),
                    self._vector(self._scaler.vars),
                    self._vector(self._model.weights),
                    self._vector(optimizer.z),
                    self._vector(optimizer.n),
                ]
            ),
            "intercept": np.array([self._model.intercept], dtype=np.float64),
            "waiting": self._waiting.copy(),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, NDArray[Any]], feature_names: tuple[str, ...], settings: LinearSettings
    ) -> LinearLearner:
        """Go on from a stored state, to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version and of these features.
        """
        learner = cls(feature_names, settings)
        try:
            version, names = int(state["version"][0]), tuple(str(name) for name in state["names"])
            learner._example_count, count, iterations = (int(value) for value in state["counters"])
            vectors, waiting = (np.array(state[name], dtype=np.float64) for name in ("vectors", "waiting"))
            intercept = float(state["intercept"][0])
            is_whole = vectors.shape == (5, len(names)) and waiting.shape[1:] == (len(names) + 1,)
            is_whole = is_whole and bool(np.isfinite(vectors).all() and np.isfinite(waiting).all())
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"linear learner state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        if version != STATE_VERSION or names != feature_names or not is_whole or not math.isfinite(intercept):
            message = (
                f"linear learner state of version {version} with {len(names)} features, complete = {is_whole}: version "
                f"{STATE_VERSION} and the {len(feature_names)} features of this release are needed; learn afresh"
            )
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        learner._waiting = waiting
        if iterations > 0:
            learner._restore(vectors, intercept, count=count, iterations=iterations)
        return learner

    def _restore(self, vectors: FloatArray, intercept: float, *, count: int, iterations: int) -> None:
        means, variances, weights, z, n = (dict(zip(self._names, row, strict=True)) for row in vectors)
        self._scaler.counts.update(dict.fromkeys(self._names, count))
        self._scaler.means.update(means)
        self._scaler.vars.update(variances)
        self._model.optimizer.z.update(z)
        self._model.optimizer.n.update(n)
        self._model.optimizer.n_iterations = iterations
        self._model._weights = utils.VectorDict(weights)
        self._model.intercept = intercept

    def _learn_block(self, rows: FloatArray) -> None:
        """Let River scale and learn one block: one step along the sum of its gradients.

        River steps along the mean of the weighted gradients; with weight 1, a year of a shop is too short to learn
        anything.
        """
        features, outcomes = rows[:, :-1], pa.chunked_array([pa.array(rows[:, -1].copy())])
        self._scaler.learn_many(self._table(features))
        # River's batch variance is a difference of squares: of a constant it leaves noise, even below 0, and a
        # negative variance has a complex root.
        for name, variance in self._scaler.vars.items():
            if variance < VARIANCE_MIN_RATIO * max(1.0, self._scaler.means[name] ** 2):
                self._scaler.vars[name] = 0.0
        # What the scaler's own transform does, which takes as long as all else because of its data frames.
        deviations = np.sqrt(self._vector(self._scaler.vars))
        scaled = features - self._vector(self._scaler.means)
        np.divide(scaled, deviations, out=scaled, where=deviations > 0.0)
        self._prepare_intercept(rows[:, -1])
        weight = float(len(rows))
        self._model.clip_gradient = self._settings.gradient_max * weight
        with np.errstate(over="ignore"):
            self._model.learn_many(self._table(scaled), outcomes, weight)

    def _table(self, features: FloatArray) -> pa.Table:
        columns = np.ascontiguousarray(features.T)
        return pa.Table.from_arrays([pa.array(column) for column in columns], names=list(self._names))

    def _prepare_intercept(self, outcomes: FloatArray) -> None:
        """Start the intercept at the first block's mean, and let it move the slower the larger counts are.

        From 0 it would take hundreds of blocks to come to a base rate; and a constant step of plain gradient descent
        diverges where the loss curves more than 2 / step, which for counts is their mean.
        """
        bounded = np.minimum(outcomes, OUTLIER_RATIO * (float(np.median(outcomes)) + 1.0))
        mean = float(bounded.mean())
        if self._model.optimizer.n_iterations == 0:
            start = (float(bounded.sum()) + 1.0) / (len(outcomes) + 2.0)
            is_probability = self._settings.target is Target.PROBABILITY
            self._model.intercept = math.log(start / (1.0 - start)) if is_probability else math.log(start)
        step = self._settings.intercept_step / (max(mean, 1.0) * len(outcomes))
        self._model.intercept_lr = optim.schedulers.Constant(step)

    def _vector(self, values: Mapping[str, float]) -> FloatArray:
        return np.array([values.get(name, 0.0) for name in self._names], dtype=np.float64)

    def _check(self, features: FloatArray) -> None:
        if features.ndim != 2 or features.shape[1] != len(self._names):
            message = f"features of shape {features.shape}: (n, {len(self._names)}) is needed; rebuild them"
            raise SettingsError(message, code="invalid_features")
        is_finite = np.isfinite(features)
        if not is_finite.all():
            # One NaN poisons a scaler for good.
            row, column = np.argwhere(~is_finite)[0]
            message = (
                f"feature {self._names[column]} = {features[row, column]} in row {row}: it must be finite; repair it"
            )
            raise SettingsError(message, code="invalid_features")


def _river_model(settings: LinearSettings) -> Any:
    """Make River's model; its two classes share no annotated interface."""
    optimizer = optim.FTRLProximal(alpha=settings.alpha, beta=settings.beta, l1=settings.l1, l2=settings.l2)
    if settings.target is Target.PROBABILITY:
        return linear_model.LogisticRegression(optimizer=optimizer, loss=optim.losses.Log())
    return linear_model.LinearRegression(optimizer=optimizer, loss=optim.losses.Poisson())
