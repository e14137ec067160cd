"""A scoring with every model in force, without the year of events that it would take to learn one."""

from __future__ import annotations

import numpy as np

from stream_app.domain.credibility import SpendPopulation
from stream_app.domain.features import BASE_NAMES, GROWTH_NAMES
from stream_app.domain.knowledge import LearnedCount, LearnedProbability, Scoring
from stream_app.domain.linear_score import LinearWeights, Stack
from stream_app.domain.policy import Policy
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.reasons import Evidence
from stream_app.domain.scores import SCORES, build_functions, weights_for

_SEED = 11
_LABEL_COUNT = 500_000
_MEAN_AMOUNT = 40.0


def every_model(policy: Policy, version: int) -> Scoring:
    """Give a scoring in which every feature of every model counts: what scoring costs does not hang on the numbers."""
    random = np.random.default_rng(_SEED)
    stack = Stack(intercept=0.0, learned_weight=0.5, model_weight=0.5)
    base, growth = (_weights(random, len(names)) for names in (BASE_NAMES, GROWTH_NAMES))
    return Scoring(
        version=version,
        weights=weights_for(build_functions(policy, SCORES), Evidence.LABELS),
        population=PopulationModel(spend=SpendPopulation(mean_amount=_MEAN_AMOUNT)),
        buy=LearnedProbability(base, stack),
        growth=LearnedProbability(growth, stack),
        count=LearnedCount(base, 1.0),
        label_count=_LABEL_COUNT,
    )


def _weights(random: np.random.Generator, count: int) -> LinearWeights:
    return LinearWeights(np.full(count, 2.0), np.ones(count), random.normal(0.0, 0.02, count), -1.0)
