"""Figures against brute force and by hand; windows that close, save and restore; the drift alarm."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.domain.errors import IncompatibleStateError, SettingsError
from stream_app.learning.drift import ALARMS_MAX, BLOCK_OUTCOMES, DriftAlarm, LossWatch
from stream_app.learning.outcome_tables import TENTHS, as_array, by_rank
from stream_app.learning.prequential import (
    EXAMPLES_MAX,
    WINDOWS_MAX,
    FloatArray,
    PrequentialEvaluation,
    ScoredOutcomes,
    area_under_curve,
    calibration_ratio,
    capture_share,
    has_grown,
    hit_share,
    log_losses,
    normalized_gini,
)


def outcomes(count: int, seed: int) -> ScoredOutcomes:
    random = np.random.default_rng(seed)
    rate = random.gamma(0.5, 1.0, count)
    baskets = random.poisson(rate).astype(np.float64)
    # Drawn one after the other, so that a new column does not change the others.
    noise, sizes = random.normal(0.0, 0.3, count), random.uniform(5.0, 50.0, count)
    return ScoredOutcomes(
        value_score=rate + noise,
        buy_probability=-np.expm1(-rate),
        growth_probability=-np.expm1(-rate) * 0.7,
        expected_purchases=rate,
        expected_spend=rate * 27.5,
        spend=baskets * sizes,
        baskets=baskets,
        previous_spend=np.where(random.random(count) < 0.5, 20.0, 0.0),
        has_full_past=np.ones(count),
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30))
def test_the_roc_area_equals_counting_all_pairs(rows: list[tuple[int, bool]]) -> None:
    pairs = [(p, n) for p, is_p in rows if is_p for n, is_n in rows if not is_n]
    found = area_under_curve(np.array([float(s) for s, _ in rows]), np.array([flag for _, flag in rows]))
    if not pairs:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs))


def test_the_gini_is_one_for_the_truth_minus_one_reversed_and_nothing_for_a_constant() -> None:
    spend = np.random.default_rng(1).gamma(0.3, 50.0, 4000)
    assert normalized_gini(spend, spend) == pytest.approx(1.0)
    assert normalized_gini(-spend, spend) == pytest.approx(-1.0, abs=0.01)
    assert normalized_gini(np.zeros(4000), spend) == pytest.approx(0.0, abs=0.06)


def test_the_gini_by_hand() -> None:
    spend = np.array([6.0, 3.0, 1.0, 0.0])
    # Heights by the score: .3, .9, 1, 1; by spend: .6, .9, 1, 1.
    assert normalized_gini(np.array([3.0, 4.0, 2.0, 1.0]), spend) == pytest.approx((0.8 - 0.5) / (0.875 - 0.5))


def test_shares_of_the_top_by_hand() -> None:
    spend = np.array([50.0, 30.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    score = np.array([9.0, 1.0, 8.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0])
    assert capture_share(score, spend) == pytest.approx(0.7)
    assert hit_share(score, spend) == pytest.approx(0.5)
    assert hit_share(score, np.where(spend == 50.0, spend, 0.0)) == 1.0


def test_calibration_and_log_loss_by_hand() -> None:
    assert calibration_ratio(np.array([0.5, 1.0]), np.array([0.0, 2.0])) == pytest.approx(0.75)
    losses = log_losses(np.array([0.25, 0.25, 0.0]), np.array([True, False, True]))
    np.testing.assert_allclose(losses[:2], [-math.log(0.25), -math.log(0.75)])
    assert np.isfinite(losses[2])


@pytest.mark.filterwarnings("error")
def test_figures_without_meaning_are_nan_and_never_an_error() -> None:
    nobody = ScoredOutcomes(*np.zeros((9, 50)))
    single = ScoredOutcomes(*np.ones((9, 1)))
    nothing = ScoredOutcomes(*np.zeros((9, 0)))
    for examples in (nobody, single, nothing):
        evaluation = PrequentialEvaluation()
        evaluation.add(examples, 10.0)
        figures = evaluation.current()
        assert figures is not None
        assert figures.example_count == len(examples)
        assert math.isnan(figures.buy_auc)
        assert math.isnan(figures.normalized_gini)


def test_windows_close_when_their_28_days_are_over() -> None:
    evaluation = PrequentialEvaluation()
    for day in range(0, 84, 7):
        evaluation.add(outcomes(200, day), float(day))
    assert [figures.start_day for figures in evaluation.closed] == [0.0, 28.0]
    assert all(figures.example_count == 800 for figures in evaluation.closed)
    assert 0.6 < evaluation.closed[0].buy_auc < 1.0
    open_window = evaluation.current()
    assert open_window is not None
    assert open_window.start_day == 56.0


def test_a_restored_evaluation_goes_on_the_same() -> None:
    evaluation = PrequentialEvaluation()
    for day in range(0, 70, 7):
        evaluation.add(outcomes(100, day), float(day))
    restored = PrequentialEvaluation.from_state(evaluation.state())
    for one in (evaluation, restored):
        one.add(outcomes(100, 99), 75.0)
        one.add(outcomes(100, 100), 90.0)
    # By their bits: NaN is not equal to itself.
    assert repr(restored.closed) == repr(evaluation.closed)
    assert repr(restored.current()) == repr(evaluation.current())


def test_memory_is_bounded_and_later_examples_are_counted() -> None:
    evaluation = PrequentialEvaluation()
    evaluation.add(outcomes(EXAMPLES_MAX, 1), 1.0)
    evaluation.add(outcomes(1000, 2), 1.0)
    figures = evaluation.current()
    assert figures is not None
    assert figures.example_count == EXAMPLES_MAX + 1000
    assert evaluation.state()["examples"].shape[1] == EXAMPLES_MAX
    small = PrequentialEvaluation()
    for window in range(WINDOWS_MAX + 5):
        small.add(outcomes(3, window), window * 28.0)
    assert len(small.closed) == WINDOWS_MAX


def test_outcomes_with_nan_are_refused_and_change_nothing() -> None:
    evaluation = PrequentialEvaluation()
    columns = [np.array(column) for column in (getattr(outcomes(5, 1), name) for name in ScoredOutcomes.__slots__)]
    columns[2][3] = np.nan
    with pytest.raises(SettingsError, match="finite"):
        evaluation.add(ScoredOutcomes(*columns), 3.0)
    assert evaluation.current() is None


@pytest.mark.parametrize("name", ["version", "examples", "closed", "tables", "buy_watch.open"])
def test_a_foreign_or_damaged_state_is_refused(name: str) -> None:
    evaluation = PrequentialEvaluation()
    for day in (0.0, 30.0):
        evaluation.add(outcomes(9, 1), day)
    state = evaluation.state()
    state[name] = {"version": np.array([99]), "buy_watch.open": np.array(["x"])}.get(name, state[name][..., :-1].T)
    with pytest.raises(IncompatibleStateError, match="learn afresh"):
        PrequentialEvaluation.from_state(state)


def losses_of(mean: float, count: int, seed: int) -> FloatArray:
    return mean + np.random.default_rng(seed).normal(0.0, 0.035, count)


def test_the_alarm_rises_when_the_loss_does_and_not_before() -> None:
    alarm = DriftAlarm()
    assert not any(alarm.update(loss) for loss in losses_of(0.45, 5000, 1))
    assert any(alarm.update(loss) for loss in losses_of(0.55, 60, 2))
    assert alarm.alarm_count == 1


def test_a_falling_loss_raises_no_alarm() -> None:
    alarm = DriftAlarm()
    losses = np.concatenate([losses_of(0.6, 200, 1), losses_of(0.4, 2000, 2)])
    assert not any(alarm.update(loss) for loss in losses)


def test_a_restored_alarm_goes_on_to_the_bit() -> None:
    losses = np.concatenate([losses_of(0.45, 100, 3), losses_of(0.56, 100, 4)])
    alarm = DriftAlarm()
    whole = [alarm.update(loss) for loss in losses]
    assert any(whole)
    for cut in (0, 1, 50, 105, whole.index(True) + 1, 180):
        first = DriftAlarm()
        head = [first.update(loss) for loss in losses[:cut]]
        second = DriftAlarm.from_state(first.state())
        assert head + [second.update(loss) for loss in losses[cut:]] == whole
        assert second.state()["numbers"].tobytes() == alarm.state()["numbers"].tobytes()


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingsError, match="finite"):
        DriftAlarm().update(math.nan)


def test_figures_are_plain_numbers() -> None:
    evaluation = PrequentialEvaluation()
    evaluation.add(outcomes(300, 5), 3.0)
    figures = evaluation.current()
    assert figures is not None
    assert all(type(value) is float for value in astuple(figures))


def test_nothing_is_said_of_growth_where_the_window_before_began_before_the_log() -> None:
    known, unknown = outcomes(400, 1), outcomes(300, 2)
    both = ScoredOutcomes(
        **{
            name: np.concatenate([getattr(known, name), np.zeros(300) if name == "has_full_past" else other])
            for name in ScoredOutcomes.__slots__
            for other in (getattr(unknown, name),)
        }
    )
    evaluation, alone = PrequentialEvaluation(), PrequentialEvaluation()
    evaluation.add(both, 3.0)
    alone.add(known, 3.0)
    figures, expected = evaluation.current(), alone.current()
    assert figures is not None
    assert expected is not None
    assert figures.growth_auc == expected.growth_auc
    assert figures.growth_log_loss == expected.growth_log_loss
    assert np.array_equal(evaluation.tables().growth_by_rank, alone.tables().growth_by_rank)
    assert figures.buy_auc != expected.buy_auc


def test_the_same_amounts_in_another_order_are_no_growth() -> None:
    before, after = np.array([0.1 + 0.2 + 0.3]), np.array([0.3 + 0.2 + 0.1])
    assert not has_grown(np.maximum(before, after), np.minimum(before, after)).any()
    assert has_grown(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 2.0])).tolist() == [False, True, False]


def test_the_loss_of_who_knows_the_share_alone_is_beside_the_loss() -> None:
    examples = outcomes(5_000, 4)
    evaluation = PrequentialEvaluation()
    evaluation.add(examples, 1.0)
    figures = evaluation.current()
    assert figures is not None
    share = float((examples.baskets > 0).mean())
    assert figures.buy_base_loss == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share))
    assert figures.buy_log_loss < figures.buy_base_loss
    assert figures.spend_calibration == pytest.approx(examples.expected_spend.sum() / examples.spend.sum())


def test_tables_hold_every_outcome_once_across_windows() -> None:
    evaluation = PrequentialEvaluation()
    parts = [outcomes(250, day) for day in range(0, 84, 7)]
    for place, part in enumerate(parts):
        evaluation.add(part, place * 7.0)
    tables = evaluation.tables()
    spend = sum(float(part.spend.sum()) for part in parts)
    for table in as_array(tables):
        assert table[:, 0].sum() == 250 * len(parts)
    assert tables.spend_by_value[:, 2].sum() == pytest.approx(spend)
    assert tables.spend_by_expectation[:, 1].sum() == pytest.approx(sum(part.expected_spend.sum() for part in parts))
    assert tables.growth_by_rank[0, 2] > tables.growth_by_rank[-1, 2]
    probability = tables.buying_by_probability
    means = probability[:, 1] / probability[:, 0]
    assert ((means >= np.arange(TENTHS) / TENTHS) & (means <= (np.arange(TENTHS) + 1) / TENTHS)).all()


def test_tenths_by_rank_by_hand() -> None:
    table = by_rank(np.arange(20.0), np.arange(20.0), np.ones(20))
    assert table[0].tolist() == [2.0, 37.0, 2.0]
    assert table[-1].tolist() == [2.0, 1.0, 2.0]
    assert by_rank(np.array([3.0, 5.0]), np.ones(2), np.array([7.0, 9.0]))[:, 2].tolist() == [
        9.0,
        *[0.0] * 4,
        7.0,
        *[0.0] * 4,
    ]


def test_a_watch_tells_when_the_loss_rose_and_from_what_to_what() -> None:
    random = np.random.default_rng(7)
    watch = LossWatch()
    for day in range(90):
        watch.add(random.exponential(0.4 if day < 60 else 0.6, 1_000), float(day))
    first = watch.raised[0]
    assert watch.alarm_count == len(watch.raised) == 1
    assert 60.0 <= first.day < 65.0
    assert first.loss_before == pytest.approx(0.4, abs=0.02)
    assert 0.45 < first.loss_after < 0.6


def test_a_watch_does_not_depend_on_how_losses_are_cut_and_goes_on_from_its_state() -> None:
    losses = np.random.default_rng(8).exponential(0.4, 60 * BLOCK_OUTCOMES + 7)
    losses[30 * BLOCK_OUTCOMES :] += 0.3
    whole, cut = LossWatch(), LossWatch()
    whole.add(losses, 5.0)
    for part in np.split(losses, [1, 200, 999, 5_000]):
        cut.add(part, 5.0)
        cut = LossWatch.from_state(cut.state())
    assert whole.raised
    assert cut.raised == whole.raised
    assert all(np.array_equal(value, whole.state()[name]) for name, value in cut.state().items())


def test_a_watch_remembers_so_many_alarms() -> None:
    watch = LossWatch()
    for step in range(ALARMS_MAX + 6):
        watch.add(np.full(40 * BLOCK_OUTCOMES, float(step)), 1.0)
    assert len(watch.raised) == ALARMS_MAX
    assert watch.alarm_count > ALARMS_MAX
