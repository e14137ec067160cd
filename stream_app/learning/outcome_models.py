"""The three models that learn from what customers did next: buying, number of purchases, growth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.features import BASE_NAMES, GROWTH_NAMES, feature_columns
from stream_app.domain.history import FeatureLayout, FloatArray
from stream_app.domain.knowledge import LearnedCount, LearnedProbability
from stream_app.domain.outlook import formula_forecast
from stream_app.domain.population_model import PopulationModel
from stream_app.learning.linear_learners import COUNT_SETTINGS, PROBABILITY_SETTINGS, LinearLearner
from stream_app.learning.pending import LearnerState
from stream_app.learning.prequential import has_grown
from stream_app.learning.stacking import StackedCalibration
from stream_app.learning.states import join_states, part_of

STACKED_FROM = 512
"""Outcomes after which a model's predictions are worth comparing with the formula's."""
LABELS_MIN = 500
"""Outcomes after which a learned model counts."""
RATIO_HALF_LIFE_EXAMPLES = 20_000.0
RATIO_PRIOR_PURCHASES = 20.0
"""So many purchases, predicted and come, are taken as seen when the ratio of both is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What came of n snapshots within a label horizon.

    Parameters
    ----------
    history
        Shape `(n_columns, n)`: as it was at the snapshots.
    periods
        The label horizon in periods of 28 days.
    spend, baskets
        Shape `(n,)`: y and n.
    has_full_past
        Shape `(n,)`, bool: whether the window before the snapshot lies within the log (S14).
    """

    history: FloatArray
    periods: int
    spend: FloatArray
    baskets: FloatArray
    has_full_past: NDArray[np.bool_]


class OutcomeModels:
    """Predicts, compares, learns, in this order; owned and changed by the learner alone.

    Parameters
    ----------
    layout
        Of the policy.
    """

    def __init__(self, layout: FeatureLayout) -> None:
        self._layout = layout
        self._buy = LinearLearner(BASE_NAMES, PROBABILITY_SETTINGS)
        self._count = LinearLearner(BASE_NAMES, COUNT_SETTINGS)
        self._growth = LinearLearner(GROWTH_NAMES, PROBABILITY_SETTINGS)
        self._buy_stack, self._growth_stack = StackedCalibration(), StackedCalibration()
        # Purchases predicted and come, each fading by half in `RATIO_HALF_LIFE_EXAMPLES`.
        self._purchase_sums = np.zeros(2)

    @property
    def label_count(self) -> int:
        """Outcomes seen, each label horizon counted."""
        return self._buy.example_count

    def learn(self, outcomes: Outcomes, population: PopulationModel) -> None:
        """Learn from matured snapshots, in their order.

        Parameters
        ----------
        outcomes
            At one label horizon.
        population
            Parameters of the formulas today: a few numbers of the whole population, which no single outcome moves.
        """
        layout = self._layout
        forecast = formula_forecast(layout, outcomes.history, population, outcomes.periods)
        columns = feature_columns(layout, outcomes.history, forecast, population.amount_unit)
        growth_features = np.ascontiguousarray(columns.T)
        base_features = np.ascontiguousarray(columns[: len(BASE_NAMES)].T)
        has_bought = outcomes.baskets > 0.0
        _learn_probability((self._buy, self._buy_stack), base_features, forecast.purchases.buy_probability, has_bought)
        targets = self._scaled_counts(outcomes, population, forecast.purchases.expected_purchases)
        self._learn_counts(base_features, targets)
        own = np.flatnonzero(outcomes.has_full_past)
        if len(own):
            grew = has_grown(outcomes.spend, forecast.previous_spend)
            formula = forecast.growth_probability[own]
            _learn_probability((self._growth, self._growth_stack), growth_features[own], formula, grew[own])

    def buy(self) -> LearnedProbability | None:
        """Export the model of buying; None before it counts."""
        return _export(self._buy, self._buy_stack)

    def growth(self) -> LearnedProbability | None:
        """Export the model of growth; None before it counts."""
        return _export(self._growth, self._growth_stack)

    def count(self) -> LearnedCount | None:
        """Export the model of the number of purchases; None before it counts."""
        if self._count.example_count < LABELS_MIN:
            return None
        predicted, came = (float(value) + RATIO_PRIOR_PURCHASES for value in self._purchase_sums)
        return LearnedCount(self._count.weights(), came / predicted)

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        parts = {name: getattr(self, f"_{name}").state() for name in _PARTS}
        return join_states(parts) | {"purchase_sums": self._purchase_sums.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[np.generic]], layout: FeatureLayout) -> OutcomeModels:
        """Go on from a stored state, to the bit."""
        new = cls(layout)
        new._buy = LinearLearner.from_state(part_of(state, "buy"), BASE_NAMES, PROBABILITY_SETTINGS)
        new._count = LinearLearner.from_state(part_of(state, "count"), BASE_NAMES, COUNT_SETTINGS)
        new._growth = LinearLearner.from_state(part_of(state, "growth"), GROWTH_NAMES, PROBABILITY_SETTINGS)
        new._buy_stack = StackedCalibration.from_state(part_of(state, "buy_stack"))
        new._growth_stack = StackedCalibration.from_state(part_of(state, "growth_stack"))
        new._purchase_sums = np.array(state["purchase_sums"], dtype=np.float64).reshape(2)
        return new

    def _scaled_counts(self, outcomes: Outcomes, population: PopulationModel, expected: FloatArray) -> FloatArray:
        """Give the counts as they would be over the whole horizon, by the purchase model."""
        whole = self._layout.horizon_periods
        if outcomes.periods == whole:
            return outcomes.baskets
        longer = formula_forecast(self._layout, outcomes.history, population, whole).purchases.expected_purchases
        growth = np.minimum(longer / np.maximum(expected, 1e-9), whole / outcomes.periods)
        return outcomes.baskets * growth

    def _learn_counts(self, features: FloatArray, targets: FloatArray) -> None:
        predicted = self._count.predict_many(features)
        fade = 0.5 ** (len(targets) / RATIO_HALF_LIFE_EXAMPLES)
        # Added up as integers, so that the sum does not hang on how numpy cuts it.
        self._purchase_sums = self._purchase_sums * fade + [_sum(predicted), _sum(targets)]
        self._count.learn_many(features, targets)


_PARTS = ("buy", "count", "growth", "buy_stack", "growth_stack")


def _sum(values: FloatArray) -> float:
    return float(np.rint(np.minimum(values, 1e6) * 2.0**20).astype(np.int64).sum()) * 2.0**-20


def _learn_probability(
    model: tuple[LinearLearner, StackedCalibration],
    features: FloatArray,
    formula: FloatArray,
    is_positive: NDArray[np.bool_],
) -> None:
    learner, stack = model
    if learner.example_count >= STACKED_FROM:
        stack.learn_many(learner.predict_many(features), formula, is_positive)
    learner.learn_many(features, is_positive.astype(np.float64))


def _export(learner: LinearLearner, stack: StackedCalibration) -> LearnedProbability | None:
    if learner.example_count < LABELS_MIN:
        return None
    return LearnedProbability(learner.weights(), stack.stack())
