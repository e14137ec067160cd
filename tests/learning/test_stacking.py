"""Stacking: the formula first, the learner when it has proved better; damaged, restored and one-sided counts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import FloatArray, Stack, log_odds
from stream_app.learning.stacking import StackedCalibration


def probabilities_of(score: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def predictions(
    count: int, seed: int, learned_noise: float, model_noise: float
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Two views of a true score, each with its own noise, and what came."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1.5, 1.0, count)
    learned, model = (truth + noise * random.normal(0.0, 1.0, count) for noise in (learned_noise, model_noise))
    return probabilities_of(learned), probabilities_of(model), random.random(count) < probabilities_of(truth)


def counted(count: int, learned_noise: float, model_noise: float) -> StackedCalibration:
    stacked = StackedCalibration()
    stacked.learn_many(*predictions(count, 1, learned_noise, model_noise))
    return stacked


def test_before_any_outcome_the_formula_speaks_alone() -> None:
    model = np.array([0.01, 0.3, 0.9])
    np.testing.assert_allclose(StackedCalibration().stack().apply(np.full(3, 0.5), model), model)


def test_the_better_of_the_two_is_trusted() -> None:
    learned_is_better, model_is_better = counted(20_000, 0.1, 2.0).stack(), counted(20_000, 2.0, 0.1).stack()
    assert learned_is_better.learned_weight > 0.8
    assert learned_is_better.model_weight < 0.2
    assert model_is_better.model_weight > 0.8
    assert model_is_better.learned_weight < 0.2


def test_few_outcomes_hardly_move_the_formula() -> None:
    stack = counted(30, 0.1, 0.3).stack()
    assert stack.learned_weight < 0.2
    assert stack.model_weight == pytest.approx(1.0, abs=0.2)


def test_the_combination_is_calibrated() -> None:
    stack = counted(30_000, 0.8, 0.6).stack()
    learned, model, came = predictions(30_000, 2, 0.8, 0.6)
    combined = stack.apply(learned, model)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 1.0)):
        rows = (combined >= low) & (combined < high)
        assert combined[rows].mean() == pytest.approx(came[rows].mean(), abs=0.025)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("came", [True, False])
def test_outcomes_of_one_kind_only_give_finite_probabilities(*, came: bool) -> None:
    stacked = StackedCalibration()
    for value in (0.0, 1.0, 0.5):
        stacked.learn_many(np.full(40_000, value), np.full(40_000, 1.0 - value), np.full(40_000, came))
    combined = stacked.stack().apply(np.array([0.0, 0.3, 1.0]), np.array([1.0, 0.3, 0.0]))
    assert np.all((combined > 0.0) & (combined < 1.0))


def test_a_probability_never_falls_when_both_rise() -> None:
    grid = np.linspace(0.001, 0.999, 400)
    for learned_noise, model_noise in ((0.1, 2.0), (2.0, 0.1), (3.0, 3.0)):
        combined = counted(5000, learned_noise, model_noise).stack().apply(grid, grid)
        assert np.all(np.diff(combined) > 0.0)


def test_a_restored_state_goes_on_to_the_bit() -> None:
    first = counted(700, 0.5, 0.5)
    second = StackedCalibration.from_state(first.state())
    for one in (first, second):
        one.learn_many(*predictions(300, 3, 0.5, 0.5))
    assert second.stack() == first.stack()
    assert second.example_count == first.example_count == 1000
    assert second.state()["cells"].tobytes() == first.state()["cells"].tobytes()


@pytest.mark.parametrize("name", ["version", "cells", "counters"])
def test_a_foreign_or_damaged_state_is_refused(name: str) -> None:
    state = counted(50, 0.5, 0.5).state()
    for damaged in (np.array([99]) if name == "version" else state[name][:0], None):
        broken = {key: value for key, value in state.items() if key != name}
        if damaged is not None:
            broken[name] = damaged
        with pytest.raises(IncompatibleStateError, match="learn afresh"):
            StackedCalibration.from_state(broken)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused_and_not_counted(bad: float) -> None:
    stacked = StackedCalibration()
    with pytest.raises(SettingsError, match=r"in \[0, 1\]"):
        stacked.learn_many(np.array([0.5, 0.5]), np.array([0.5, bad]), np.array([True, False]))
    assert stacked.example_count == 0


def test_weights_are_those_of_log_odds() -> None:
    combined = Stack(0.3, 0.5, 0.25).apply(np.array([0.2]), np.array([0.7]))
    expected = 0.3 + 0.5 * log_odds(np.array([0.2])) + 0.25 * log_odds(np.array([0.7]))
    np.testing.assert_allclose(log_odds(combined), expected)
