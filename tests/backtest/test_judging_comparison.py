"""Yardsticks: they know nothing of the future, fit what they claim to fit, and survive poor data."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.backtest.judging.baselines import Question, simple_predictions
from stream_app.backtest.judging.batch_purchase_model import (
    _amount_loss,
    batch_purchase_prediction,
    fit_amounts,
    fit_purchases,
)
from stream_app.backtest.judging.boosted_trees import BoostedTrees, load_lightgbm, snapshot_times, training_horizon_ms
from stream_app.backtest.judging.comparison import Comparison
from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.purchase_log import PurchaseLog
from stream_app.backtest.judging.snapshot_features import FEATURE_COUNT, snapshot_features
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from tests.backtest.judging_logs import Event, day, make_log

HORIZON_MS = 28 * MS_PER_DAY
CUTOFF_DAY = 120
needs_lightgbm = pytest.mark.skipif(
    find_spec("lightgbm") is None, reason="LightGBM is not installed: pip install 'stream-app[compare]'"
)


def shop(*, seed: int = 3, customers: int = 300, until_day: float = 200.0) -> list[Event]:
    """Draw Poisson buyers of different rates and amounts, some of whom leave; the draw does not depend on the end."""
    generator = np.random.default_rng(seed)
    events: list[Event] = []
    for number in range(customers):
        rate, amount = generator.gamma(0.8, 0.06), generator.lognormal(3.0, 0.7)
        when, leaves = generator.uniform(0, 60), generator.exponential(150.0) + 60
        for gap, factor in zip(
            generator.exponential(1 / max(rate, 1e-3), 60), generator.lognormal(0, 0.4, 60), strict=True
        ):
            if when < min(leaves, until_day):
                events.append((f"c{number:03}", round(when, 3), round(amount * factor, 2)))
            when += gap
    return sorted(events, key=lambda event: event[1])


def question_of(log: PurchaseLog, number: float = CUTOFF_DAY) -> Question:
    customers = np.unique(log.baskets.between(0, day(number)).customers)
    return Question(customers, day(number), HORIZON_MS)


def columns_of(prediction: Prediction) -> list[NDArray[np.float64]]:
    columns = (
        prediction.value,
        prediction.buy,
        prediction.growth,
        prediction.expected_spend,
        prediction.expected_purchases,
        prediction.buy_probability,
    )
    return [column for column in columns if column is not None]


def with_another_future(events: Sequence[Event]) -> list[Event]:
    """Replace all that happens from the cutoff on; customers keep their places in the log."""
    known = [event for event in events if event[1] < CUTOFF_DAY]
    return [*known, *((event[0], CUTOFF_DAY + place * 0.01, 1e6) for place, event in enumerate(known[::3]))]


def test_no_baseline_reads_what_lies_after_the_cutoff(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    log, other = make_log(tmp_path, shop()), make_log(tmp_path / "other", with_another_future(shop()))
    question, other_question = question_of(log), question_of(other)
    assert question.customers.tolist() == other_question.customers.tolist()

    found = simple_predictions(log, question) | {"batch": batch_purchase_prediction(log, question)}
    again = simple_predictions(other, other_question) | {"batch": batch_purchase_prediction(other, other_question)}

    for name, prediction in found.items():
        for one, two in zip(columns_of(prediction), columns_of(again[name]), strict=True):
            assert one.tolist() == two.tolist()


@needs_lightgbm
def test_boosted_trees_learn_nothing_from_what_lies_after_the_cutoff(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    log, other = make_log(tmp_path, shop()), make_log(tmp_path / "other", with_another_future(shop()))

    found = BoostedTrees(log).prediction(question_of(log))
    again = BoostedTrees(other).prediction(question_of(other))

    assert len(columns_of(found)) == 4
    for one, two in zip(columns_of(found), columns_of(again), strict=True):
        assert np.unique(one).size > 10
        assert one.tolist() == two.tolist()


@pytest.mark.parametrize("cutoff_day", [30, 84, 120, 500])
def test_every_label_ends_before_the_cutoff_and_every_window_before_begins_with_the_log(cutoff_day: int) -> None:
    question = Question(np.zeros(1, dtype=np.int64), day(cutoff_day), HORIZON_MS)
    horizon_ms = training_horizon_ms(day(0), question)
    times_ms = snapshot_times(day(0), day(cutoff_day), horizon_ms)

    assert horizon_ms == min(28, cutoff_day // 3) * MS_PER_DAY
    assert times_ms[0] == day(cutoff_day) - horizon_ms
    assert all(day(0) <= time_ms - horizon_ms and time_ms + horizon_ms <= day(cutoff_day) for time_ms in times_ms)


@needs_lightgbm
def test_boosted_trees_say_nothing_before_labels_have_matured(tmp_path: Path) -> None:
    log = make_log(tmp_path, shop(customers=30))
    comparison = Comparison(log)

    assert columns_of(comparison.predictions(question_of(log, 20))["lightgbm"]) == []
    assert comparison.notes == ["1 cutoffs had too few matured outcomes to train LightGBM."]


def test_without_lightgbm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("stream_app.backtest.judging.boosted_trees.import_module", missing)

    with pytest.raises(SettingsError, match=r"pip install 'stream-app\[compare\]'"):
        load_lightgbm()


def test_features_are_those_of_the_purchases_before_the_moment(tmp_path: Path) -> None:
    events: list[Event] = [
        ("ann", 10, 5.0),
        ("ann", 20, 20.0),
        ("ann", 40, 10.0),
        ("ann", 41, 7.0, "refund"),
        ("ann", 60, 1000.0),
        ("ben", 49, 3.0),
    ]
    log = make_log(tmp_path, events)

    features = snapshot_features(log, Question(log.find([b"ann", b"ben"]), day(50), 20 * MS_PER_DAY))

    assert features.shape == (2, FEATURE_COUNT)
    ann, ben = np.expm1(features[:, :10])
    assert ann == pytest.approx([3, 40, 10, 35, 35 / 3, 10, 20, 15, 10 / 15, 30 * 3 / 40])
    assert ben == pytest.approx([1, 1, 1, 3, 3, 3, 3, 0, 1, 1])
    assert np.expm1(features[0, 10:12]) == pytest.approx([10 + 20, 2])
    assert np.expm1(features[0, -4:-2]) == pytest.approx([10.0, 1.0])
    assert features[:, -2] == pytest.approx([7 / 35, 0.0])
    assert features[:, -1].tolist() == [0.0, 1.0]


def test_the_batch_fit_finds_the_parameters_that_drew_the_customers() -> None:
    generator = np.random.default_rng(5)
    count, r, alpha, a, b = 6000, 0.6, 6.0, 0.8, 2.4
    ages = generator.uniform(30, 60, count)
    rates, drops = generator.gamma(r, 1 / alpha, count), generator.beta(a, b, count)
    states = []
    for age, rate, drop in zip(ages, rates, drops, strict=True):
        x, last, when = 0, 0.0, generator.exponential(1 / rate)
        while when < age:
            x, last = x + 1, when
            if generator.random() < drop:
                break
            when += generator.exponential(1 / rate)
        states.append((x, last, age))

    fit = fit_purchases(np.array(states, dtype=np.float64))

    assert fit.r == pytest.approx(r, rel=0.15)
    assert fit.alpha_weeks == pytest.approx(alpha, rel=0.2)
    assert fit.a / (fit.a + fit.b) == pytest.approx(a / (a + b), rel=0.2)


def test_the_amount_fit_finds_the_parameters_that_drew_the_amounts() -> None:
    generator = np.random.default_rng(6)
    count, p, q, v = 8000, 6.0, 4.0, 15.0
    scales = generator.gamma(q, 1 / v, count)
    counts = generator.integers(1, 12, count).astype(np.float64)
    means = generator.gamma(p * counts, 1 / (counts * scales))

    fit = fit_amounts(counts, means)

    assert (fit.p, fit.q, fit.v) == pytest.approx((p, q, v), rel=0.15)
    # With one amount seen, the expectation lies between that amount and the population's mean p v / (q - 1) = 30.
    assert 10.0 < fit.expected_amount(np.ones(1), np.full(1, 10.0))[0] < 30.0


def test_the_gradient_of_the_amount_likelihood_is_that_of_differences() -> None:
    generator = np.random.default_rng(7)
    x, means = generator.integers(1, 9, 50).astype(np.float64), generator.lognormal(0, 0.6, 50)
    at, step = np.array([0.7, -0.3, 0.4]), 1e-6

    _, gradient = _amount_loss(at, x, means)

    for place in range(3):
        shift = np.eye(3)[place] * step
        difference = (_amount_loss(at + shift, x, means)[0] - _amount_loss(at - shift, x, means)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize(
    "events",
    [
        [("one", 1, 5.0), ("end", 199, 1.0)],
        [(f"c{number}", 1, 5.0) for number in range(50)] + [("end", 199, 1.0)],
        [(f"c{number}", number % 90, 0.0) for number in range(300)] + [("end", 199, 1.0)],
        [(f"c{number % 5}", number * 0.3, 1e9 if number % 7 else 0.01) for number in range(600)],
        [("whale", number * 0.1, 1e6) for number in range(1900)] + [("one", 3, 1.0)],
    ],
    ids=["one customer", "all alike", "no amounts", "cents and billions", "one buys all"],
)
def test_poor_data_give_finite_predictions(tmp_path: Path, events: list[Event]) -> None:
    log = make_log(tmp_path, events)

    predictions = list(simple_predictions(log, question_of(log)).values())
    predictions.append(batch_purchase_prediction(log, question_of(log)))
    if find_spec("lightgbm") is not None:
        predictions.append(BoostedTrees(log).prediction(question_of(log)))

    for prediction in predictions:
        assert all(np.isfinite(column).all() for column in columns_of(prediction))
