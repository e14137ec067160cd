"""What tiers and predictions promise on a real purchase log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.prequential import area_under_curve, capture_share, hit_share, normalized_gini
from tests.backtest.conftest import RUN_STARTED_MS

FIRST_CUTOFF_MS = 865_382_400_000
"""1997-06-04, day 154 of the log."""
HORIZON_DAYS = 91
TIERS = ("small", "big", "vip")
GROWTH_TIERS = ("declining", "steady", "growing")


@dataclass(frozen=True)
class Cutoff:
    scores: NDArray[np.float64]
    held: NDArray[np.int64]
    ranks: NDArray[np.int64]
    spend_after: NDArray[np.float64]
    baskets_after: NDArray[np.int64]
    spend_before: NDArray[np.float64]
    growth_ranks: NDArray[np.int64]
    growth_probability: NDArray[np.float64]
    buy_probability: NDArray[np.float64]


@pytest.fixture(scope="module")
def run(cdnow_events_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Cutoff]]:
    out = tmp_path_factory.mktemp("cdnow")
    settings = BacktestSettings(
        patterns=(str(cdnow_events_path),),
        policy=load_policy(None),
        out=out,
        run_started_ms=RUN_STARTED_MS,
        score_every_ms=28 * MS_PER_DAY,
        score_from_ms=FIRST_CUTOFF_MS,
    )
    summary = run_backtest(settings).summary
    return summary, list(cutoffs_of(out / "scores.parquet", cdnow_events_path))


def cutoffs_of(scores: Path, events: Path) -> list[Cutoff]:
    """Join each cutoff's scores with what was spent in the 91 days from it, where the log has them."""
    found = duckdb.execute(
        f"""
        with purchases as (select customer_id, ts::timestamp as at, amount::double as amount
                           from read_csv('{events}', all_varchar = true)),
             cutoffs as (select *, cutoff::timestamp as at from '{scores}'
                         where cutoff::timestamp + interval {HORIZON_DAYS} days <= timestamp '1998-07-01')
        select cutoffs.cutoff, cutoffs.customer_id, value_score, value_tier, value_rank_tier, growth_rank_tier,
               growth_score, buy_probability,
               coalesce(sum(amount) filter (purchases.at >= cutoffs.at), 0) as spend,
               count(distinct purchases.at) filter (purchases.at >= cutoffs.at) as baskets,
               coalesce(sum(amount) filter (purchases.at < cutoffs.at), 0) as before
        from cutoffs left join purchases on purchases.customer_id = cutoffs.customer_id
             and purchases.at >= cutoffs.at - interval {HORIZON_DAYS} days
             and purchases.at < cutoffs.at + interval {HORIZON_DAYS} days
        group by all order by cutoffs.cutoff, cutoffs.customer_id
        """
    ).fetchnumpy()
    held = np.array([TIERS.index(tier) for tier in found["value_tier"]])
    ranks = np.array([TIERS.index(tier) for tier in found["value_rank_tier"]])
    growth_ranks = np.array([GROWTH_TIERS.index(tier) for tier in found["growth_rank_tier"]])
    columns = [found[name] for name in ("value_score", "spend", "baskets", "before", "growth_score", "buy_probability")]
    value, spend, baskets, before, growth, buy = (np.asarray(column, dtype=np.float64) for column in columns)
    return [
        Cutoff(
            scores=value[own],
            held=held[own],
            ranks=ranks[own],
            spend_after=spend[own],
            baskets_after=baskets[own].astype(np.int64),
            spend_before=before[own],
            growth_ranks=growth_ranks[own],
            growth_probability=growth[own],
            buy_probability=buy[own],
        )
        for own in (found["cutoff"] == cutoff for cutoff in np.unique(found["cutoff"]))
    ]


def cap20(order_by: tuple[NDArray[Any], ...], spend: NDArray[np.float64]) -> float:
    top = np.lexsort(order_by)[::-1][: round(0.2 * len(spend))]
    return float(spend[top].sum() / spend.sum())


def test_every_row_of_the_log_counts(run: tuple[dict[str, Any], list[Cutoff]]) -> None:
    summary, cutoffs = run

    assert summary["rows"]["read"] == summary["rows"]["applied"] == 69_659
    assert summary["customers"]["total"] == 23_570
    assert summary["axes"][0]["revenue"]["total"] == pytest.approx(2_500_315.63)
    assert len(cutoffs) == 11


def test_rank_tiers_are_those_of_exact_quantiles_but_for_half_a_percent(
    run: tuple[dict[str, Any], list[Cutoff]],
) -> None:
    shares: dict[str, list[float]] = {"value": [], "growth": []}
    for cutoff in run[1]:
        for axis, scores, quantiles, ranks in (
            ("value", cutoff.scores, [0.8, 0.95], cutoff.ranks),
            ("growth", cutoff.growth_probability, [0.2, 0.8], cutoff.growth_ranks),
        ):
            exact = np.searchsorted(np.quantile(scores, quantiles), scores, side="right")
            shares[axis].append(float(np.mean(exact != ranks)))

    assert np.mean(shares["value"]) <= 0.005
    assert np.mean(shares["growth"]) <= 0.005


@pytest.mark.parametrize(("axis", "flaps_max"), [(0, 0.06), (1, 0.13)])
def test_few_tier_changes_are_undone_within_four_weeks(
    run: tuple[dict[str, Any], list[Cutoff]], axis: int, flaps_max: float
) -> None:
    changes = run[0]["axes"][axis]

    assert changes["changes"]["total"] > 10_000
    assert changes["flaps"]["ratio"] <= flaps_max


def test_the_value_score_ranks_customers_by_what_they_will_spend(run: tuple[dict[str, Any], list[Cutoff]]) -> None:
    assert np.mean([normalized_gini(cutoff.scores, cutoff.spend_after) for cutoff in run[1]]) >= 0.700
    assert np.mean([capture_share(cutoff.scores, cutoff.spend_after) for cutoff in run[1]]) >= 0.700
    assert np.mean([hit_share(cutoff.scores, cutoff.spend_after) for cutoff in run[1]]) >= 0.525


def test_probabilities_rank_who_will_buy_and_who_will_spend_more(run: tuple[dict[str, Any], list[Cutoff]]) -> None:
    buy: list[float] = []
    growth: list[float] = []
    active: list[float] = []
    for cutoff in run[1]:
        has_grown = cutoff.spend_after > cutoff.spend_before
        is_active = cutoff.spend_before > 0.0
        buy.append(area_under_curve(cutoff.buy_probability, cutoff.baskets_after > 0))
        growth.append(area_under_curve(cutoff.growth_probability, has_grown))
        active.append(area_under_curve(cutoff.growth_probability[is_active], has_grown[is_active]))

    assert np.mean(buy) >= 0.780
    assert np.mean(growth) >= 0.685
    assert np.mean(active) >= 0.655


def test_hysteresis_costs_almost_none_of_the_revenue_that_the_top_fifth_will_bring(
    run: tuple[dict[str, Any], list[Cutoff]],
) -> None:
    by_score = [cap20((cutoff.scores,), cutoff.spend_after) for cutoff in run[1]]
    by_held_tier = [cap20((cutoff.scores, cutoff.held), cutoff.spend_after) for cutoff in run[1]]

    assert np.mean(by_score) > 0.65
    assert np.mean(by_score) - np.mean(by_held_tier) <= 0.01


def test_the_run_itself_tells_that_it_ranks_ahead_of_every_simple_yardstick(
    run: tuple[dict[str, Any], list[Cutoff]],
) -> None:
    methods = run[0]["predictions"]["methods"]
    own, rfm = methods["means"]["scores"], methods["means"]["rfm_sum"]

    assert methods["sample_share"] == 1.0
    assert methods["customers"] == 23_570
    assert own["normalized_gini"] >= rfm["normalized_gini"] + 0.02
    assert own["growth_auc_active"] >= rfm["growth_auc_active"] + 0.05
    for name in ("rfm_sum", "decayed_spend", "last_horizon_spend"):
        ahead, count = methods["leads"][name]["normalized_gini"]
        assert ahead >= count - 1


def test_predictions_are_proven_outcome_by_outcome(run: tuple[dict[str, Any], list[Cutoff]]) -> None:
    prequential = run[0]["predictions"]["prequential"]
    overall = prequential["overall"]

    # Each customer once in 28 days, from the first snapshot whose 84 days are over to the end.
    assert 300_000 < prequential["outcomes"] < 23_570 * 17
    assert 0.8 < overall["spend_calibration"] < 1.25
    assert 0.8 < overall["count_calibration"] < 1.25
    assert overall["buy_log_loss"] < overall["buy_base_loss"]
    assert overall["growth_log_loss"] < overall["growth_base_loss"]
    assert prequential["windows"][-1]["buy_auc"] > prequential["windows"][0]["buy_auc"]
