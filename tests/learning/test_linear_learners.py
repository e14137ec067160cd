"""River's models behind the protocol: the contract, River's own predictions, and its blocks against single examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import FloatArray, LinearWeights, column_score
from stream_app.learning import linear_learners
from stream_app.learning.linear_learners import (
    BLOCK_ROWS,
    COUNT_SETTINGS,
    LARGE_BLOCK_ROWS,
    PROBABILITY_SETTINGS,
    LinearLearner,
    LinearSettings,
    Target,
)
from tests.learning.contract import LearnerCase, as_bytes, check_learner, examples, learned

NAMES = tuple(f"feature_{number}" for number in range(7))


def signal(features: FloatArray) -> FloatArray:
    scaled = features / np.geomspace(0.01, 100.0, features.shape[1])
    return 1.2 * scaled[:, 2] - 0.8 * scaled[:, 5]


def flags(features: FloatArray, seed: int) -> FloatArray:
    draws = np.random.default_rng(seed + 1000).random(len(features))
    return (draws < 1.0 / (1.0 + np.exp(1.0 - signal(features)))).astype(np.float64)


def counts(features: FloatArray, seed: int) -> FloatArray:
    rates = np.exp(0.5 * signal(features) - 0.5)
    return np.random.default_rng(seed + 1000).poisson(rates).astype(np.float64)


def case_of(settings: LinearSettings) -> LearnerCase:
    def restore(state: Mapping[str, NDArray[np.generic]]) -> LinearLearner:
        return LinearLearner.from_state(state, NAMES, settings)

    outcomes = flags if settings.target is Target.PROBABILITY else counts
    return LearnerCase(lambda: LinearLearner(NAMES, settings), restore, outcomes, len(NAMES))


CASES = [case_of(PROBABILITY_SETTINGS), case_of(COUNT_SETTINGS)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES, ids=["probability", "count"])
def test_linear_learners_keep_the_contract(case: LearnerCase) -> None:
    check_learner(case)


@pytest.mark.parametrize("case", CASES, ids=["probability", "count"])
def test_the_column_score_equals_rivers_own_prediction(case: LearnerCase) -> None:
    learner = learned(case, 3000)
    assert isinstance(learner, LinearLearner)
    features = examples(case, 400, 11)[0]
    table = pa.Table.from_arrays([pa.array(column) for column in features.T], names=list(NAMES))
    scaled = learner._scaler.transform_many(table)
    if case is CASES[0]:
        own = learner._model.predict_proba_many(scaled).column("True").to_numpy()
    else:
        own = learner._model.predict_many(scaled).to_numpy()
    np.testing.assert_allclose(learner.predict_many(features), own, rtol=1e-6, atol=1e-9)


def test_the_column_score_is_the_same_to_the_bit_in_any_block() -> None:
    learner = learned(CASES[0], 2000)
    assert isinstance(learner, LinearLearner)
    features = examples(CASES[0], 300, 12)[0]
    weights, columns = learner.weights(), np.ascontiguousarray(features.T)
    whole = column_score(weights, columns)
    for size in (1, 7, 128):
        parts = [column_score(weights, columns[:, start : start + size]) for start in range(0, 300, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_feature_that_never_varied_counts_for_nothing() -> None:
    weights = LinearWeights(np.array([5.0, 1.0]), np.array([0.0, 2.0]), np.array([9.0, 3.0]), 0.5)
    np.testing.assert_allclose(column_score(weights, np.array([[5.0, 1e9], [3.0, 1.0]])), [3.5, 0.5])


def test_a_block_of_one_row_is_rivers_learn_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_learners, "BLOCK_ROWS", 1)
    settings = replace(PROBABILITY_SETTINGS, intercept_step=0.01)
    learner = LinearLearner(NAMES, settings)
    features, outcomes = examples(CASES[0], 150, 13)
    learner.learn_many(features, outcomes)
    scaler: Any = preprocessing.StandardScaler()
    model: Any = linear_model.LogisticRegression(
        optimizer=optim.FTRLProximal(alpha=0.05, beta=1.0, l1=0.001, l2=0.001), intercept_lr=0.01
    )
    start = (outcomes[0] + 1.0) / 3.0
    model.intercept = math.log(start / (1.0 - start))
    for row, outcome in zip(features, outcomes, strict=True):
        named = dict(zip(NAMES, row.tolist(), strict=True))
        scaler.learn_one(named)
        model.learn_one(scaler.transform_one(named), bool(outcome))
    weights = learner.weights()
    np.testing.assert_allclose(weights.weights, [model.weights[name] for name in NAMES], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(weights.means, [scaler.means[name] for name in NAMES], rtol=1e-9, atol=1e-12)
    assert weights.intercept == pytest.approx(model.intercept, rel=1e-9)


def test_the_first_block_is_one_step_along_the_summed_gradient() -> None:
    learner = LinearLearner(NAMES, PROBABILITY_SETTINGS)
    features, outcomes = examples(CASES[0], BLOCK_ROWS, 14)
    learner.learn_many(features, outcomes)
    column = (features[:, 3] - features[:, 3].mean()) / features[:, 3].std()
    gradient = float((column * ((outcomes.sum() + 1.0) / (BLOCK_ROWS + 2.0) - outcomes)).sum())
    assert learner._model.optimizer.z[NAMES[3]] == pytest.approx(gradient, rel=1e-9)
    assert learner._model.optimizer.n[NAMES[3]] == pytest.approx(gradient**2, rel=1e-9)


def test_steps_grow_once_there_were_many_however_examples_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_learners, "LARGE_BLOCKS_FROM", 3 * BLOCK_ROWS)
    features, outcomes = examples(CASES[0], 3 * BLOCK_ROWS + 2 * LARGE_BLOCK_ROWS + 7, 17)
    whole, parts = (LinearLearner(NAMES, PROBABILITY_SETTINGS) for _ in range(2))
    whole.learn_many(features, outcomes)
    for start in range(0, len(features), 77):
        parts.learn_many(features[start : start + 77], outcomes[start : start + 77])
    assert whole.state()["counters"].tolist() == [len(features), len(features) - 7, 5]
    assert as_bytes(parts.state()) == as_bytes(whole.state())


def test_counts_in_the_hundreds_are_learned_without_swinging() -> None:
    random = np.random.default_rng(16)
    learner = LinearLearner(NAMES, COUNT_SETTINGS)
    features = examples(CASES[1], 6400, 16)[0]
    learner.learn_many(features, random.poisson(np.exp(5.0 + 0.3 * signal(features))).astype(np.float64))
    found = np.log(learner.predict_many(features))
    assert np.abs(found - (5.0 + 0.3 * signal(features))).mean() < 0.25


def test_a_huge_count_moves_the_model_no_more_than_the_gradients_bound() -> None:
    features, outcomes = examples(CASES[1], BLOCK_ROWS, 15)
    bounded, huge = LinearLearner(NAMES, COUNT_SETTINGS), LinearLearner(NAMES, COUNT_SETTINGS)
    for learner, outlier in ((bounded, 1e3), (huge, 1e9)):
        outcomes[5] = outlier
        learner.learn_many(features, outcomes)
    np.testing.assert_allclose(huge.state()["vectors"].astype(float), bounded.state()["vectors"].astype(float))


def test_a_constant_feature_never_gives_a_negative_variance() -> None:
    learner = LinearLearner(NAMES, PROBABILITY_SETTINGS)
    features = np.full((BLOCK_ROWS, len(NAMES)), math.pi * 1000.0)
    for seed in range(30):
        learner.learn_many(features, flags(features, seed))
    assert np.all(learner.weights().deviations == 0.0)
    assert np.isfinite(learner.predict_many(features)).all()


@pytest.mark.parametrize("bad", [-1.0, 2.0])
def test_an_outcome_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(SettingsError, match="outcomes"):
        LinearLearner(NAMES, PROBABILITY_SETTINGS).learn_many(np.zeros((1, len(NAMES))), np.array([bad]))


def test_the_state_of_other_features_is_refused() -> None:
    state = LinearLearner(NAMES, PROBABILITY_SETTINGS).state()
    with pytest.raises(IncompatibleStateError, match="features of this release"):
        LinearLearner.from_state(state, (*NAMES[:-1], "another"), PROBABILITY_SETTINGS)
