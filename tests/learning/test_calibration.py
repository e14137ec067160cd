"""Calibration against known distortions; little data, restored state, order of arrival."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.domain.linear_score import log_odds
from stream_app.learning.calibration import (
    CalibrationLine,
    FloatArray,
    ProbabilityCalibration,
)


def distorted(count: int, seed: int, shift: float, slope: float) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Predictions p whose truth has log-odds shift + slope * log-odds(p)."""
    random = np.random.default_rng(seed)
    score = random.normal(-1.0, 1.2, count)
    return 1.0 / (1.0 + np.exp(-score)), random.random(count) < 1.0 / (1.0 + np.exp(-(shift + slope * score)))


def counted(count: int, seed: int, shift: float, slope: float) -> ProbabilityCalibration:
    calibration = ProbabilityCalibration()
    calibration.learn_many(*distorted(count, seed, shift, slope))
    return calibration


@pytest.mark.parametrize(("shift", "slope"), [(0.0, 1.0), (-0.7, 1.0), (0.5, 0.6), (1.0, 1.6)])
def test_a_distortion_is_undone(shift: float, slope: float) -> None:
    line = counted(30_000, 1, shift, slope).line()
    assert line.intercept == pytest.approx(shift, abs=0.08)
    assert line.slope == pytest.approx(slope, abs=0.08)
    probability, came = distorted(30_000, 2, shift, slope)
    calibrated = line.apply(probability)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        rows = (calibrated >= low) & (calibrated < high)
        assert calibrated[rows].mean() == pytest.approx(came[rows].mean(), abs=0.02)


def test_without_outcomes_nothing_changes_and_with_few_only_little() -> None:
    assert ProbabilityCalibration().line() == CalibrationLine(0.0, 1.0)
    few = ProbabilityCalibration()
    few.learn_many(np.full(10, 0.3), np.ones(10, dtype=np.bool_))
    line = few.line()
    assert 0.0 < line.intercept < 0.5
    assert line.slope == pytest.approx(1.0, abs=0.2)


def test_the_order_of_customers_never_changes() -> None:
    probability = np.linspace(0.001, 0.999, 500)
    for seed, slope in ((1, -1.0), (2, 0.0), (3, 9.0)):
        assert np.all(np.diff(counted(20_000, seed, 0.0, slope).line().apply(probability)) > 0.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("came", [True, False])
def test_outcomes_of_one_kind_only_give_finite_probabilities(*, came: bool) -> None:
    calibration = ProbabilityCalibration()
    for value in (0.0, 1.0, 0.5):
        calibration.learn_many(np.full(40_000, value), np.full(40_000, came))
    calibrated = calibration.line().apply(np.array([0.0, 0.3, 1.0]))
    assert np.all((calibrated > 0.0) & (calibrated < 1.0))


def test_the_old_is_forgotten() -> None:
    calibration = counted(60_000, 1, 1.0, 1.0)
    calibration.learn_many(*distorted(120_000, 2, -1.0, 1.0))
    assert calibration.line().intercept == pytest.approx(-1.0, abs=0.15)


def test_it_does_not_matter_how_outcomes_are_cut_into_calls() -> None:
    probability, came = distorted(3000, 4, 0.5, 0.8)
    pieces = ProbabilityCalibration()
    for start in range(0, 3000, 77):
        pieces.learn_many(probability[start : start + 77], came[start : start + 77])
    whole = counted(3000, 4, 0.5, 0.8)
    np.testing.assert_allclose(pieces.state()["bins"].astype(float), whole.state()["bins"].astype(float), rtol=1e-10)


def test_a_restored_calibration_goes_on_to_the_bit() -> None:
    first = counted(500, 5, 0.5, 0.8)
    second = ProbabilityCalibration.from_state(first.state())
    for one in (first, second):
        one.learn_many(*distorted(500, 6, 0.5, 0.8))
    assert second.line() == first.line()
    assert second.example_count == first.example_count == 1000
    assert second.state()["bins"].tobytes() == first.state()["bins"].tobytes()


@pytest.mark.parametrize("name", ["version", "bins", "counters"])
def test_a_foreign_or_damaged_state_is_refused(name: str) -> None:
    state = counted(50, 1, 0.0, 1.0).state()
    for damaged in (np.array([99]) if name == "version" else state[name][:0], None):
        broken = {key: value for key, value in state.items() if key != name}
        if damaged is not None:
            broken[name] = damaged
        with pytest.raises(IncompatibleStateError, match="learn afresh"):
            ProbabilityCalibration.from_state(broken)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused_and_not_counted(bad: float) -> None:
    calibration = ProbabilityCalibration()
    with pytest.raises(SettingsError, match=r"in \[0, 1\]"):
        calibration.learn_many(np.array([0.5, bad]), np.array([True, False]))
    assert calibration.example_count == 0


def test_log_odds_are_bounded() -> None:
    np.testing.assert_allclose(log_odds(np.array([0.0, 0.5, 1.0])), [-8.0, 0.0, 8.0], atol=1e-9)
