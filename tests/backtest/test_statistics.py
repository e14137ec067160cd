"""Statistics of a backtest against a naive recount of the same run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from stream_app.backtest.results import ChangeKind, StatisticsResult
from stream_app.backtest.statistics import PERIOD_MS, BacktestStatistics
from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_DAY, Family
from stream_app.domain.rows import UNRATED
from tests.backtest.synthetic_run import (
    MOOD,
    START_MS,
    VALUE,
    Happening,
    Move,
    SyntheticRun,
    make_batch,
    make_changes,
    make_effects,
    make_knowledge,
    make_policy,
    random_run,
)

TWO_AXES = make_policy(VALUE, MOOD)


def finish(run: SyntheticRun) -> StatisticsResult:
    return run.statistics.finish(
        score_histograms={"value": (np.arange(4.0), np.array([3, 2, 1]))},
        knowledge=make_knowledge(run.policy),
        populations=run.population(),
        segment_matrix=run.segment_matrix(),
    )


def counted_moves(run: SyntheticRun) -> list[Move]:
    return [move for move in run.moves if run.output_from_ms is None or move.time_ms >= run.output_from_ms]


def counted_purchases(run: SyntheticRun) -> list[Happening]:
    return [
        event
        for event in run.happenings
        if event.family == Family.PURCHASE
        and not event.is_duplicate
        and (run.output_from_ms is None or event.time_ms >= run.output_from_ms)
    ]


def naive_flap_count(moves: list[Move], axis: int) -> int:
    of_customer: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        if move.axis == axis and move.from_tier >= 0:
            of_customer[move.customer_id].append(move)
    count = 0
    for history in of_customer.values():
        for place, move in enumerate(history):
            is_up = move.to_tier > move.from_tier
            for later in history[place + 1 :]:
                if later.time_ms - move.time_ms > 28 * MS_PER_DAY:
                    break
                if later.to_tier <= move.from_tier if is_up else later.to_tier >= move.from_tier:
                    count += 1
                    break
    return count


@pytest.fixture(scope="module", params=[(1, None), (2, None), (3, 50)], ids=["all", "other-seed", "output-from"])
def run(request: pytest.FixtureRequest) -> SyntheticRun:
    seed, output_from_day = request.param
    return random_run(TWO_AXES, seed=seed, output_from_day=output_from_day)


def test_migrations_and_first_ratings_equal_a_naive_count(run: SyntheticRun) -> None:
    moves = counted_moves(run)
    for place, axis in enumerate(finish(run).axes):
        expected = Counter((move.from_tier, move.to_tier) for move in moves if move.axis == place)
        n_tiers = len(axis.tiers)
        for source in range(n_tiers):
            for target in range(n_tiers):
                assert axis.migrations[source, target] == expected[source, target]
        assert axis.first_ratings.tolist() == [expected[UNRATED, target] for target in range(n_tiers)]


def test_changes_per_day_by_kind_and_cause_equal_a_naive_count(run: SyntheticRun) -> None:
    result = finish(run)
    expected: Counter[tuple[int, int, int, int]] = Counter()
    for move in counted_moves(run):
        kind = ChangeKind.PROMOTION if move.to_tier > move.from_tier else ChangeKind.DEMOTION
        kind = ChangeKind.FIRST_RATING if move.from_tier < 0 else kind
        expected[move.time_ms // MS_PER_DAY * MS_PER_DAY, move.axis, kind, move.cause] += 1
    assert all(later - earlier == MS_PER_DAY for earlier, later in pairwise(result.change_times_ms.tolist()))
    found: Counter[tuple[int, int, int, int]] = Counter()
    for place, axis in enumerate(result.axes):
        for day, kind, cause in zip(*np.nonzero(axis.changes_by_day), strict=True):
            key = (int(result.change_times_ms[day]), place, int(kind), int(cause))
            found[key] = int(axis.changes_by_day[day, kind, cause])
    assert found == expected


def test_flaps_equal_a_naive_search_through_every_pair_of_changes(run: SyntheticRun) -> None:
    for place, axis in enumerate(finish(run).axes):
        assert axis.flap_count == naive_flap_count(counted_moves(run), place)
        assert axis.flap_count > 0
        assert axis.flap_ratio == pytest.approx(axis.flap_count / axis.migrations.sum())


def test_revenue_goes_to_the_state_held_before_the_purchase(run: SyntheticRun) -> None:
    result = finish(run)
    expected: dict[tuple[int, int, int], float] = defaultdict(float)
    counts: Counter[tuple[int, int, int]] = Counter()
    origin_ms = int(result.period_times_ms[0])
    for event in counted_purchases(run):
        for axis, state in enumerate(event.tiers_before):
            key = ((event.time_ms - origin_ms) // PERIOD_MS, axis, state + 2)
            expected[key] += event.amount
            counts[key] += 1
    for place, axis_result in enumerate(result.axes):
        for period in range(len(result.period_times_ms)):
            for state in range(len(axis_result.states)):
                assert axis_result.revenue[period, state] == pytest.approx(expected[period, place, state])
                assert axis_result.purchase_counts[period, state] == counts[period, place, state]
    assert sum(counts.values()) == len(TWO_AXES.axes) * len(counted_purchases(run))


def test_populations_and_customer_days_equal_what_was_recorded(run: SyntheticRun) -> None:
    result = finish(run)
    days = [(t, p) for t, p in run.populations if run.output_from_ms is None or t >= run.output_from_ms]
    assert result.population_times_ms.tolist() == [time_ms for time_ms, _ in days]
    for place, axis in enumerate(result.axes):
        n_states = len(axis.states)
        assert axis.populations.tolist() == [counts[place, :n_states].tolist() for _, counts in days]
        assert axis.customer_days.sum(axis=0).tolist() == axis.populations.sum(axis=0).tolist()
        rated_days = sum(int(counts[place, 2:].sum()) for _, counts in days)
        assert axis.customer_years == pytest.approx(rated_days / 365.25)
        assert axis.changes_per_customer_year == pytest.approx(axis.change_count / (rated_days / 365.25))


def test_first_to_last_compares_each_customers_first_and_last_tier(run: SyntheticRun) -> None:
    for place, axis in enumerate(finish(run).axes):
        first = {customer: states[place] for customer, states in run.initial.items() if states[place] >= 0}
        for move in counted_moves(run):
            if move.axis == place:
                first.setdefault(move.customer_id, move.to_tier)
        expected = Counter((tier, run.held[customer][place]) for customer, tier in first.items())
        for source in range(len(axis.tiers)):
            for target in range(len(axis.tiers)):
                assert axis.first_to_last[source, target] == expected[source, target]


def test_events_duplicates_rescores_and_suppressed_changes_are_counted(run: SyntheticRun) -> None:
    result = finish(run)
    applied = Counter(event.family.name.lower() for event in run.happenings if not event.is_duplicate)
    assert result.events_by_family == {family.name.lower(): applied[family.name.lower()] for family in Family}
    assert result.applied_count == sum(applied.values())
    assert result.duplicate_count == sum(event.is_duplicate for event in run.happenings)
    assert result.rescored_by_events == len(run.happenings)
    assert [axis.suppressed_count for axis in result.axes] == [run.suppressed_count] * 2


def test_the_cut_of_the_stream_into_batches_does_not_matter() -> None:
    happenings = [
        Happening("a", START_MS + n * 1000, 1.5 * n, tiers_before=(n % 5 - 2,), is_duplicate=n % 7 == 0)
        for n in range(50)
    ]
    whole = BacktestStatistics(make_policy(), output_from_ms=None)
    whole.record_batch(make_batch(happenings), make_effects((), happenings))
    parts = BacktestStatistics(make_policy(), output_from_ms=None)
    for event in happenings:
        parts.record_batch(make_batch([event]), make_effects((), [event]))
    assert _finish_alone(whole).axes[0].revenue.tolist() == _finish_alone(parts).axes[0].revenue.tolist()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([(0, 0, 1), (28, 1, 0)], 1),
        ([(0, 0, 1), (29, 1, 0)], 0),
        ([(0, 1, 0), (5, 0, 1)], 1),
        ([(0, 0, 2), (5, 2, 1)], 0),
        ([(0, 0, 2), (5, 2, 1), (9, 1, 0)], 1),
        ([(0, 0, 1), (5, 1, 2), (9, 2, 0)], 2),
        ([(0, 0, 1), (20, 1, 2), (40, 2, 0)], 1),
        ([(0, 1, 2), (5, 2, 0)], 1),
        ([(0, 0, 1), (5, 1, 0), (9, 0, 1), (12, 1, 0)], 3),
        ([(0, 0, 1), (5, 1, 2)], 0),
        ([(0, -1, 1), (5, 1, 0)], 0),
    ],
    ids=[
        "back on the last day of the window",
        "back a day too late",
        "a fall that is undone",
        "back half the way is not back",
        "back in two steps",
        "one return undoes two changes",
        "the older of two changes is out of the window",
        "back beyond",
        "to and fro",
        "further in the same direction",
        "a first rating is no change",
    ],
)
def test_flaps_are_changes_undone_within_28_days(path: list[tuple[int, int, int]], expected: int) -> None:
    moves = [Move("a", START_MS + day * MS_PER_DAY, source, target) for day, source, target in path]
    one_tick_each = BacktestStatistics(make_policy(), output_from_ms=None)
    for move in moves:
        one_tick_each.record_tick(move.time_ms, make_effects([move]))
    all_at_once = BacktestStatistics(make_policy(), output_from_ms=None)
    all_at_once.record_tick(moves[-1].time_ms, make_effects(moves))
    assert _finish_alone(one_tick_each).axes[0].flap_count == expected
    assert _finish_alone(all_at_once).axes[0].flap_count == expected


def test_customers_who_are_rated_low_and_never_change_are_not_remembered() -> None:
    statistics = BacktestStatistics(make_policy(), output_from_ms=None)
    moves = [Move(f"c{n}", START_MS, UNRATED, 0, cause=Cause.FIRST_RATED) for n in range(5000)]
    statistics.record_tick(START_MS, make_effects(moves))
    assert len(statistics._histories.customer_ids) == 0


def test_a_log_of_nothing_gives_empty_figures() -> None:
    result = _finish_alone(BacktestStatistics(TWO_AXES, output_from_ms=None))
    assert result.applied_count == 0
    assert result.period_times_ms.tolist() == result.change_times_ms.tolist() == []
    for axis in result.axes:
        assert axis.flap_ratio is None
        assert axis.changes_per_customer_year is None
        assert axis.tier_revenue_shares is None
        assert axis.tier_customer_shares is None


def test_examples_tell_the_stories_they_announce() -> None:
    day = MS_PER_DAY
    moves = [
        Move("climber", START_MS + 1 * day, 0, 1),
        Move("climber", START_MS + 9 * day, 1, 2, score=5.0),
        Move("sleeper", START_MS + 10 * day, 2, 1, cause=Cause.TIME),
        Move("sleeper", START_MS + 40 * day, 1, 0, cause=Cause.TIME),
        Move("refunder", START_MS + 11 * day, 2, 0, cause=Cause.EVENT),
        Move("returner", START_MS + 12 * day, 2, 0, cause=Cause.TIME),
        Move("returner", START_MS + 50 * day, 0, 2, score=1.0),
        *(Move("restless", START_MS + (60 + n) * day, n % 2, 1 - n % 2) for n in range(8)),
        Move("loyal", START_MS, UNRATED, 2, cause=Cause.FIRST_RATED),
        Move("fresh", START_MS + 70 * day, UNRATED, 2, cause=Cause.FIRST_RATED),
    ]
    statistics = BacktestStatistics(make_policy(), output_from_ms=None)
    for move in sorted(moves, key=lambda move: move.time_ms):
        statistics.record_tick(move.time_ms, make_effects([move]))
    found = dict(statistics.example_candidates())
    assert found == {
        "climber": "Climbed from small to vip",
        "sleeper": "Fell from vip to small because time passed, and for no other reason",
        "returner": "Came back: vip, down to small, up to vip",
        "restless": "Changed tier more often than anybody else: 8 times",
        "loyal": "Has held vip the longest: 70 days",
        "fresh": "New, and vip from the first rating",
    }


def test_examples_are_the_same_whatever_the_order_of_customers_within_a_tick() -> None:
    moves = [Move(f"c{n:02d}", START_MS + MS_PER_DAY, 0, 2, score=float(n % 3)) for n in range(20)]
    chosen = []
    for ordered in (moves, moves[::-1]):
        statistics = BacktestStatistics(make_policy(), output_from_ms=None)
        for move in ordered:
            statistics.record_tick(move.time_ms, make_effects([move]))
        chosen.append(statistics.example_candidates())
    assert chosen[0] == chosen[1]
    assert chosen[0][0][0] == "c02"


def test_without_any_change_the_largest_purchase_is_the_example() -> None:
    statistics = BacktestStatistics(make_policy(), output_from_ms=None)
    events = [Happening("b", START_MS, 9.0), Happening("a", START_MS, 9.0), Happening("c", START_MS, 2.0)]
    statistics.record_batch(make_batch(events), make_effects((), events))
    assert statistics.example_candidates() == [("a", "Made the largest single purchase")]


def test_ids_outside_of_ascii_come_back_as_they_were() -> None:
    statistics = BacktestStatistics(make_policy(), output_from_ms=None)
    statistics.record_tick(START_MS, make_effects([Move("Żółć-☕", START_MS, 0, 2)]))
    assert statistics.example_candidates()[0][0] == "Żółć-☕"


def test_headlines_name_the_axis_when_there_are_several() -> None:
    statistics = BacktestStatistics(TWO_AXES, output_from_ms=None)
    move = Move("a", START_MS, 0, 1, axis=1)
    statistics.record_tick(START_MS, replace(make_effects([], n_axes=2), changes=make_changes([move], 2)))
    assert statistics.example_candidates()[0] == ("a", "Climbed from low to high (mood)")


def _finish_alone(statistics: BacktestStatistics) -> StatisticsResult:
    n_axes, tiers_max = statistics._n_axes, statistics._n_tiers
    return statistics.finish(
        score_histograms={},
        knowledge=make_knowledge(TWO_AXES if n_axes == 2 else make_policy()),
        populations=np.zeros((n_axes, tiers_max + 2), dtype=np.int64),
        segment_matrix={},
    )
