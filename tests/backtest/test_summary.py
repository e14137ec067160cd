"""The summary: every number from the statistics, every row accounted for, and plain words where numbers are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from stream_app.backtest.results import StatisticsResult
from stream_app.backtest.statistics import BacktestStatistics
from stream_app.backtest.summary import EVENT_STAGE, TICK_STAGE, RunFacts, build_summary, five_numbers, percent, plain
from stream_app.domain.effects import Cause
from stream_app.domain.events import MS_PER_DAY, Family
from stream_app.domain.policy import Policy
from stream_app.domain.refusals import Refusal
from stream_app.domain.rows import PROSPECT, UNRATED
from tests.backtest.synthetic_run import (
    MOOD,
    START_MS,
    VALUE,
    Happening,
    SyntheticRun,
    make_batch,
    make_effects,
    make_knowledge,
    make_policy,
    random_run,
)

TWO_AXES = make_policy(VALUE, MOOD)


def finish(run: SyntheticRun) -> StatisticsResult:
    return run.statistics.finish(
        score_histograms={},
        knowledge=make_knowledge(run.policy),
        populations=run.population(),
        segment_matrix=run.segment_matrix(),
    )


def facts_for(result: StatisticsResult, **changes: object) -> RunFacts:
    facts = RunFacts(
        sources=("events.csv",),
        rows_read=result.applied_count + result.duplicate_count + 9,
        ignored={"unmapped_type": 4},
        dead_letters={"invalid_time": 3, "wrong_type": 2},
        first_event_ms=START_MS,
        last_event_ms=START_MS + 120 * MS_PER_DAY,
        seconds_by_stage={"read": 1.0, EVENT_STAGE: 2.0, TICK_STAGE: 4.0},
        settings={"tick": "1h"},
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run() -> SyntheticRun:
    return random_run(TWO_AXES, seed=5, days=60, customers=40)


@pytest.fixture(scope="module")
def result(run: SyntheticRun) -> StatisticsResult:
    return finish(run)


def nothing(policy: Policy, *, has_lines: bool, happenings: tuple[Happening, ...] = ()) -> StatisticsResult:
    statistics = BacktestStatistics(policy, output_from_ms=None)
    if happenings:
        statistics.record_batch(make_batch(happenings), make_effects((), happenings))
    populations = np.zeros((len(policy.axes), 5), dtype=np.int64)
    populations[:, 0], populations[:, 1] = 4, 37
    return statistics.finish(
        score_histograms={},
        knowledge=make_knowledge(policy, has_lines=has_lines),
        populations=populations,
        segment_matrix={("unrated",): 37, ("prospect",): 4},
    )


def test_every_row_read_is_accounted_for_and_the_equation_is_told(result: StatisticsResult) -> None:
    rows = build_summary(TWO_AXES, result, facts_for(result))["rows"]
    assert rows["read"] == rows["applied"] + rows["duplicates"] + sum(rows["ignored"].values()) + sum(
        rows["dead_letters"].values()
    )
    assert rows["equation"] == (
        f"{rows['read']:,} read = {rows['applied']:,} applied + {rows['duplicates']:,} duplicates + 4 ignored "
        "+ 5 dead letters"
    )


@pytest.mark.parametrize("missing", [-1, 1])
def test_a_row_that_is_lost_or_counted_twice_is_a_bug_that_is_not_hidden(
    result: StatisticsResult, missing: int
) -> None:
    facts = facts_for(result)
    with pytest.raises(ValueError, match="every row must go to exactly one"):
        build_summary(TWO_AXES, result, replace(facts, rows_read=facts.rows_read + missing))


def test_line_items_share_the_fate_of_their_order(result: StatisticsResult) -> None:
    facts = facts_for(result)
    alone = build_summary(TWO_AXES, result, facts)["rows"]
    lines = replace(facts, rows_read=facts.rows_read + 13, merged_rows=9, duplicate_merged_rows=3, copied_rows=4)

    rows = build_summary(TWO_AXES, result, lines)["rows"]

    assert rows["applied"] == alone["applied"] + 6
    assert rows["duplicates"] == alone["duplicates"] + 3 + 4
    assert rows["merged"] == 6


def test_many_repeated_ids_raise_the_question_of_line_items(result: StatisticsResult) -> None:
    facts = facts_for(result)
    many = replace(facts, rows_read=facts.rows_read + 100_000, copied_rows=100_000)

    assert any("--map order_id=COLUMN" in note for note in build_summary(TWO_AXES, result, many)["notes"])
    assert not any("order_id" in note for note in build_summary(TWO_AXES, result, facts)["notes"])


def test_numbers_of_each_axis_are_those_of_the_statistics(run: SyntheticRun, result: StatisticsResult) -> None:
    summary = build_summary(TWO_AXES, result, facts_for(result))
    for place, (axis, told) in enumerate(zip(result.axes, summary["axes"], strict=True)):
        moves = [move for move in run.moves if move.axis == place]
        changes = [move for move in moves if move.from_tier != UNRATED]
        assert told["changes"]["total"] == len(changes)
        assert told["changes"]["promotions"] == sum(move.to_tier > move.from_tier for move in changes)
        by_time = sum(move.to_tier < move.from_tier and move.cause is Cause.TIME for move in changes)
        assert told["changes"]["demotions_by_cause"]["time"] == by_time
        assert sum(told["changes"]["by_cause"].values()) == len(changes)
        assert told["changes"]["per_day"] == pytest.approx(len(changes) / 60)
        assert sum(told["first_ratings"].values()) == len(moves) - len(changes)
        for source, target in product(range(len(axis.tiers)), repeat=2):
            count = sum((move.from_tier, move.to_tier) == (source, target) for move in changes)
            assert told["migrations"][axis.tiers[source]][axis.tiers[target]] == count
        assert told["flaps"] == {"count": axis.flap_count, "ratio": axis.flap_ratio, "window_days": 28}
        assert told["populations"] == dict(zip(axis.states, axis.populations_end.tolist(), strict=True))


def test_revenue_is_told_by_state_and_shares_are_of_rated_customers(
    run: SyntheticRun, result: StatisticsResult
) -> None:
    told = build_summary(TWO_AXES, result, facts_for(result))["axes"][0]["revenue"]
    amounts = dict.fromkeys((PROSPECT, UNRATED, 0, 1, 2), 0.0)
    for event in run.happenings:
        if event.family == Family.PURCHASE and not event.is_duplicate:
            amounts[event.tiers_before[0]] += event.amount
    assert list(told["by_state"].values()) == pytest.approx(list(amounts.values()))
    assert told["total"] == pytest.approx(sum(amounts.values()))
    rated = sum(amounts[tier] for tier in range(3))
    assert list(told["share_by_tier"].values()) == pytest.approx([amounts[tier] / rated for tier in range(3)])


def test_segments_customers_rates_and_versions_are_told(run: SyntheticRun, result: StatisticsResult) -> None:
    summary = build_summary(TWO_AXES, result, facts_for(result))
    counts = [segment["customers"] for segment in summary["segments"]]
    assert sum(counts) == summary["customers"]["total"] == len(run.held)
    assert counts == sorted(counts, reverse=True)
    assert set(summary["segments"][0]["segment"]) == {"value", "mood"}
    applied = result.applied_count + result.duplicate_count
    assert summary["rates"]["events_per_second"] == pytest.approx(applied / 2)
    assert summary["rates"]["rescores_per_second"] == 0
    assert summary["duration_seconds"] == {"read": 1.0, EVENT_STAGE: 2.0, TICK_STAGE: 4.0, "total": 7.0}
    assert summary["versions"]["policy_hash"] == TWO_AXES.content_hash
    assert summary["versions"]["knowledge"] == 7
    assert summary["versions"]["knowledge_hash"] == make_knowledge(TWO_AXES).content_hash


def test_the_summary_is_plain_json(result: StatisticsResult) -> None:
    summary = build_summary(TWO_AXES, result, facts_for(result))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_reasons_that_are_members_of_an_enumeration_become_plain_strings(result: StatisticsResult) -> None:
    facts = facts_for(result, dead_letters={Refusal.INVALID_TIME: 5})
    (reason,) = build_summary(TWO_AXES, result, facts)["rows"]["dead_letters"]
    assert type(reason) is str
    assert reason == "invalid_time"


def test_times_are_told_in_utc(result: StatisticsResult) -> None:
    span = build_summary(TWO_AXES, result, facts_for(result, first_event_ms=1_500))["time_span"]
    assert span["first_event"] == "1970-01-01T00:00:01.500Z"
    assert span["last_event"] == "2022-05-08T00:00:00Z"


def test_too_few_buyers_are_told_with_their_number() -> None:
    result = nothing(make_policy(), has_lines=False, happenings=(Happening("a", START_MS),))
    summary = build_summary(make_policy(), result, facts_for(result))
    expected = "No quantile cut points on the axis value: 37 buyers at the end, 100 needed at the first tick of a day."
    assert expected in summary["notes"]
    assert summary["axes"][0]["cut_points"] is None


def test_a_log_without_purchases_is_summed_up_and_says_so() -> None:
    happenings = (Happening("a", START_MS, 0.0, Family.BROWSE),)
    result = nothing(make_policy(), has_lines=False, happenings=happenings)
    summary = build_summary(make_policy(), result, facts_for(result))
    assert any("The log has no purchase" in note for note in summary["notes"])
    assert summary["axes"][0]["revenue"]["share_by_tier"] is None
    assert [value for _, value in five_numbers(summary)][:2] == ["0 of 41", "none yet"]


def test_a_log_without_events_is_summed_up_and_says_so() -> None:
    result = nothing(make_policy(), has_lines=False)
    facts = RunFacts(sources=("empty.csv",), rows_read=0)
    summary = build_summary(make_policy(), result, facts)
    assert "No event was applied: there is nothing to segment." in summary["notes"]
    assert summary["time_span"] == {"first_event": None, "last_event": None, "output_from": None, "days": None}
    assert summary["rates"]["events_per_second"] is None
    assert len(five_numbers(summary)) == 5


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"has_event_ids": False}, "No event ids: duplicates cannot be recognised."),
        ({"last_event_ms": START_MS + 13 * MS_PER_DAY}, "The log spans 13 days only"),
        ({"notes": ("amounts were read with a decimal comma",)}, "amounts were read with a decimal comma"),
    ],
)
def test_what_could_be_misread_is_said_in_plain_words(
    result: StatisticsResult, changes: dict[str, object], note: str
) -> None:
    assert not any(note in told for told in build_summary(TWO_AXES, result, facts_for(result))["notes"])
    told = build_summary(TWO_AXES, result, facts_for(result, **changes))["notes"]
    assert any(note in one for one in told)


def test_many_refused_rows_are_pointed_out(result: StatisticsResult) -> None:
    facts = facts_for(result)
    refused = replace(facts, rows_read=facts.rows_read + 995, dead_letters={"invalid_time": 1000})
    assert any("of all rows were refused" in note for note in build_summary(TWO_AXES, result, refused)["notes"])


def test_nobody_who_changed_tier_is_told() -> None:
    result = nothing(make_policy(), has_lines=True, happenings=(Happening("a", START_MS),))
    summary = build_summary(make_policy(), result, facts_for(result))
    assert "Nobody changed tier on the axis value." in summary["notes"]
    assert ("Undone within 28 days", "no change to undo") in five_numbers(summary)


def test_the_five_numbers_are_those_of_the_first_axis(result: StatisticsResult) -> None:
    summary = build_summary(TWO_AXES, result, facts_for(result))
    told, axis = dict(five_numbers(summary)), result.axes[0]
    assert axis.tier_revenue_shares is not None
    assert axis.tier_customer_shares is not None
    assert axis.flap_ratio is not None
    assert told["Customers segmented"] == f"{axis.populations_end[2:].sum():,} of {result.customer_count:,}"
    held = f"{percent(axis.tier_revenue_shares[2])} by {percent(axis.tier_customer_shares[2])} of rated customers"
    assert told["Revenue held by vip"] == held
    assert told["Tier changes"].startswith(f"{axis.change_count:,}, {plain(axis.change_count / 60)} a day")
    assert told["Undone within 28 days"] == f"{percent(axis.flap_ratio)} of changes"
    assert told["Demoted by time alone"].endswith(f"of {axis.demotion_count:,} demotions")


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.9996, "99.9 %"), (0.384, "38 %"), (0.053, "5.3 %"), (0.0004, "< 0.1 %")],
)
def test_percentages_never_round_something_to_nothing_or_most_to_all(share: float, told: str) -> None:
    assert percent(share) == told
