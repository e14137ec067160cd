"""The contract of every learner: call `check_learner` with a way to make one and a way to restore one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.learning.linear_learners import BLOCK_ROWS, FloatArray, Learner, LearnerState


@dataclass(frozen=True, slots=True)
class LearnerCase:
    """A kind of learner under test.

    Parameters
    ----------
    make
        A fresh learner of `feature_count` features.
    restore
        A learner from a stored state.
    outcomes
        Outcomes of the kind it learns, from rows of features and a seed.
    feature_count
        Number of features.
    """

    make: Callable[[], Learner]
    restore: Callable[[Mapping[str, NDArray[np.generic]]], Learner]
    outcomes: Callable[[FloatArray, int], FloatArray]
    feature_count: int


def examples(case: LearnerCase, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Features of very different scales, one constant, one rare, and their outcomes."""
    random = np.random.default_rng(seed)
    features = random.normal(0.0, 1.0, (count, case.feature_count)) * np.geomspace(0.01, 100.0, case.feature_count)
    features[:, 0] = 5.123456789
    features[:, 1] = random.random(count) < 0.01
    return features, case.outcomes(features, seed)


def learned(case: LearnerCase, count: int = 1000, seed: int = 1) -> Learner:
    learner = case.make()
    learner.learn_many(*examples(case, count, seed))
    return learner


def as_bytes(state: LearnerState) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


def check_learner(case: LearnerCase) -> None:
    """Hold a learner to every promise."""
    for check in (
        _predicts_before_learning,
        _predicting_changes_nothing,
        _a_restored_learner_goes_on_to_the_bit,
        _the_same_examples_give_the_same_answer_however_they_arrive,
        _output_is_finite_at_extremes,
        _memory_is_bounded,
        _one_nan_is_refused_and_changes_nothing,
        _state_is_plain_and_a_damaged_one_is_refused,
        _it_learns,
    ):
        check(case)


def _predicts_before_learning(case: LearnerCase) -> None:
    predicted = case.make().predict_many(examples(case, 50, 1)[0])
    assert predicted.shape == (50,)
    assert np.isfinite(predicted).all()
    assert case.make().predict_many(np.zeros((0, case.feature_count))).shape == (0,)


def _predicting_changes_nothing(case: LearnerCase) -> None:
    learner = learned(case)
    before = as_bytes(learner.state())
    first = learner.predict_many(examples(case, 300, 2)[0])
    assert learner.predict_many(examples(case, 300, 2)[0]).tobytes() == first.tobytes()
    assert as_bytes(learner.state()) == before


def _a_restored_learner_goes_on_to_the_bit(case: LearnerCase) -> None:
    for count in (0, 5, BLOCK_ROWS, 1000):
        learner = learned(case, count)
        restored = case.restore({name: array.copy() for name, array in learner.state().items()})
        probe = examples(case, 100, 3)[0]
        assert restored.predict_many(probe).tobytes() == learner.predict_many(probe).tobytes()
        for one in (learner, restored):
            one.learn_many(*examples(case, 700, 4))
        assert as_bytes(restored.state()) == as_bytes(learner.state())
        assert restored.example_count == learner.example_count == count + 700


def _the_same_examples_give_the_same_answer_however_they_arrive(case: LearnerCase) -> None:
    features, outcomes = examples(case, 1000, 5)
    learners = [case.make(), case.make(), case.make()]
    for learner, size in zip(learners, (1000, 1000, 37), strict=True):
        for start in range(0, 1000, size):
            learner.learn_many(features[start : start + size], outcomes[start : start + size])
    assert as_bytes(learners[0].state()) == as_bytes(learners[1].state()) == as_bytes(learners[2].state())


def _output_is_finite_at_extremes(case: LearnerCase) -> None:
    learner = learned(case)
    assert np.isfinite(learner.predict_many(examples(case, 200, 6)[0] * 1e9)).all()
    features, outcomes = examples(case, 512, 7)
    features[::50] *= 1e6
    learner.learn_many(features, outcomes)
    for constant in (0.0, 7.0, 1e12):
        identical = case.make()
        identical.learn_many(np.full((512, case.feature_count), constant), outcomes)
        for one in (learner, identical):
            assert np.isfinite(one.predict_many(features)).all()


def _memory_is_bounded(case: LearnerCase) -> None:
    sizes = [sum(array.nbytes for array in learned(case, count).state().values()) for count in (640, 12_800)]
    assert sizes[0] == sizes[1] < 100_000


def _one_nan_is_refused_and_changes_nothing(case: LearnerCase) -> None:
    learner = learned(case)
    before = as_bytes(learner.state())
    for bad in (np.nan, np.inf):
        features, outcomes = examples(case, 300, 8)
        features[17, 2] = bad
        with pytest.raises(SettingsError, match="finite"):
            learner.learn_many(features, outcomes)
        with pytest.raises(SettingsError, match="finite"):
            learner.predict_many(features)
        features, outcomes = examples(case, 300, 8)
        outcomes[17] = bad
        with pytest.raises(SettingsError, match="finite"):
            learner.learn_many(features, outcomes)
    assert as_bytes(learner.state()) == before


def _state_is_plain_and_a_damaged_one_is_refused(case: LearnerCase) -> None:
    state = learned(case).state()
    assert all(array.dtype.kind in "fiuU" for array in state.values())
    for name in state:
        with pytest.raises(IncompatibleStateError, match="learn afresh"):
            case.restore({other: array for other, array in state.items() if other != name})
    with pytest.raises(IncompatibleStateError, match="learn afresh"):
        case.restore(state | {"version": np.array([99])})


def _it_learns(case: LearnerCase) -> None:
    learner = learned(case, 6400, 9)
    features, outcomes = examples(case, 4000, 10)
    predicted = learner.predict_many(features)
    assert np.corrcoef(predicted, outcomes)[0, 1] > 0.3
    assert predicted.mean() == pytest.approx(outcomes.mean(), rel=0.15)
