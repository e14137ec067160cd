"""Everything that is judged, counted again by loops over a simulated shop's log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import fsum, isclose
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.judging.run import JudgeSettings, run_judgement
from stream_app.backtest.run import BacktestResult
from stream_app.domain.events import MS_PER_DAY
from tests.backtest.conftest import RUN_STARTED_MS

RunBacktest = Callable[..., BacktestResult]
HORIZON_MS = 28 * MS_PER_DAY


@dataclass(frozen=True)
class Counted:
    """One customer at one cutoff."""

    score: float
    rank_tier: str
    spend: float
    previous_spend: float
    days: int
    decayed: float
    buy_probability: float


@pytest.fixture
def judged(replay: RunBacktest, shop_log: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    summary = replay("run", score_every_ms=28 * MS_PER_DAY).summary
    folder = tmp_path / "run"
    settings = JudgeSettings(
        scores=folder / "scores.parquet",
        patterns=(str(shop_log),),
        policy=load_policy(None),
        run_started_ms=RUN_STARTED_MS,
        horizon_ms=HORIZON_MS,
        changes=folder / "changes.jsonl",
    )
    return run_judgement(settings).as_document(), summary, folder


def purchases_of(shop_log: Path) -> dict[str, list[tuple[int, float]]]:
    found = defaultdict(list)
    for event in pq.read_table(shop_log).to_pylist():
        if event["type"] == "purchase":
            found[event["customer_id"]].append((round(event["occurred_at"].timestamp() * 1000), event["amount"]))
    return found


def count(shop_log: Path, folder: Path) -> dict[int, list[Counted]]:
    purchases = purchases_of(shop_log)
    by_cutoff = defaultdict(list)
    for row in pq.read_table(folder / "scores.parquet").to_pylist():
        at = round(row["cutoff"].timestamp() * 1000)
        own = purchases[row["customer_id"]]
        before = [(time_ms, amount) for time_ms, amount in own if time_ms < at]
        after = [(time_ms, amount) for time_ms, amount in own if at <= time_ms < at + HORIZON_MS]
        assert row["purchase_count"] == len(before)
        if before:
            by_cutoff[at].append(
                Counted(
                    score=row["value_score"],
                    rank_tier=row["value_rank_tier"],
                    spend=fsum(amount for _, amount in after),
                    previous_spend=fsum(amount for time_ms, amount in before if time_ms >= at - HORIZON_MS),
                    days=len({time_ms // MS_PER_DAY for time_ms, _ in after}),
                    decayed=decayed_spend(before, at),
                    buy_probability=row["buy_probability"],
                )
            )
    return by_cutoff


def decayed_spend(before: list[tuple[int, float]], at: int) -> float:
    """Halve every 90 days; a basket is as old as its first purchase."""
    first: dict[int, int] = {}
    for time_ms, _ in sorted(before):
        first.setdefault(time_ms // MS_PER_DAY, time_ms)
    ages = ((at - first[time_ms // MS_PER_DAY]) / MS_PER_DAY for time_ms, _ in before)
    return fsum(amount * 0.5 ** (age / 90) for age, (_, amount) in zip(ages, before, strict=True))


def area(pairs: list[tuple[float, bool]]) -> float:
    highs, lows = [s for s, is_high in pairs if is_high], [s for s, is_high in pairs if not is_high]
    won = sum((high > low) + 0.5 * (high == low) for high in highs for low in lows)
    return won / (len(highs) * len(lows))


def heights(ordered: list[Counted]) -> float:
    total = fsum(customer.spend for customer in ordered)
    sums = [fsum(customer.spend for customer in ordered[: place + 1]) for place in range(len(ordered))]
    return fsum(sums) / total / len(ordered)


def expected_figures(ordered: list[Counted]) -> dict[str, float]:
    """Reckon the figures of customers in the order of a ranking, best first."""
    total, fifth = fsum(customer.spend for customer in ordered), len(ordered) // 5
    by_spend = sorted(ordered, key=lambda customer: customer.spend, reverse=True)
    truly = [customer for customer in by_spend[:fifth] if customer.spend > 0]
    return {
        "normalized_gini": (heights(ordered) - 0.5) / (heights(by_spend) - 0.5),
        "cap10": fsum(customer.spend for customer in ordered[: len(ordered) // 10]) / total,
        "cap20": fsum(customer.spend for customer in ordered[:fifth]) / total,
        "hit20": sum(any(customer is top for top in ordered[:fifth]) for customer in truly) / len(truly),
    }


def assert_figures(found: dict[str, float], customers: list[Counted], key: Callable[[Counted], float]) -> None:
    """Hold figures between those with ties broken for the worse and for the better, which mostly are the same."""
    worst = expected_figures(sorted(customers, key=lambda customer: (-key(customer), customer.spend)))
    best = expected_figures(sorted(customers, key=lambda customer: (-key(customer), -customer.spend)))
    for name in worst:
        assert best[name] - worst[name] < 0.002
        assert worst[name] - 1e-9 <= found[name] <= best[name] + 1e-9, name


def test_every_figure_is_what_loops_over_the_log_give(
    judged: tuple[dict[str, Any], dict[str, Any], Path], shop_log: Path
) -> None:
    document, _, folder = judged
    counted = count(shop_log, folder)

    assert len(document["cutoffs"]) == 3
    for cutoff, customers in zip(document["cutoffs"], counted.values(), strict=False):
        assert cutoff["customer_count"] == len(customers) > 20
        scores, decayed = cutoff["methods"]["scores"], cutoff["methods"]["decayed_spend"]
        assert_figures(scores, customers, lambda customer: customer.score)
        assert_figures(decayed, customers, lambda customer: customer.decayed)
        by_probability = area([(c.buy_probability, c.days > 0) for c in customers])
        assert isclose(scores["buy_auc"], by_probability, rel_tol=1e-9)
        by_decayed = area([(c.decayed, c.days > 0) for c in customers])
        assert isclose(decayed["buy_auc"], by_decayed, rel_tol=1e-9)
        grew = [(c.decayed, c.spend > c.previous_spend) for c in customers]
        active = [pair for pair, c in zip(grew, customers, strict=True) if c.previous_spend > 0]
        assert isclose(decayed["growth_auc"], area(grew), rel_tol=1e-9)
        assert isclose(decayed["growth_auc_active"], area(active), rel_tol=1e-9)
        top = sorted(grew, reverse=True)[: len(grew) // 10]
        base = sum(is_up for _, is_up in grew) / len(grew)
        assert isclose(decayed["growth_lift10"], sum(is_up for _, is_up in top) / len(top) / base, rel_tol=1e-9)


def test_rank_tiers_off_are_those_of_sorting_the_scores(
    judged: tuple[dict[str, Any], dict[str, Any], Path], shop_log: Path
) -> None:
    document, _, folder = judged
    for cutoff, customers in zip(document["cutoffs"], count(shop_log, folder).values(), strict=False):
        if customers[0].rank_tier is None:
            assert cutoff["rank_tiers_off"]["value"] is None
            continue
        ordered = sorted(customers, key=lambda customer: customer.score, reverse=True)
        vips, bigs = int(len(ordered) * 0.05 + 1e-6), int(len(ordered) * 0.2 + 1e-6)
        tiers = ["vip"] * vips + ["big"] * (bigs - vips) + ["small"] * (len(ordered) - bigs)
        off = sum(customer.rank_tier != tier for customer, tier in zip(ordered, tiers, strict=True))
        assert isclose(cutoff["rank_tiers_off"]["value"], off / len(ordered), abs_tol=1e-12)


def test_changes_and_flaps_are_those_of_the_backtests_own_summary(
    judged: tuple[dict[str, Any], dict[str, Any], Path],
) -> None:
    document, summary, _ = judged
    found, own = document["changes"]["value"], summary["axes"][0]

    assert found["change_count"] == own["changes"]["total"] > 20
    assert found["flap_ratio"] == pytest.approx(own["flaps"]["ratio"])
    assert found["changes_per_customer_year"] == pytest.approx(own["changes_per_customer_year"], rel=0.03)


def test_the_document_is_plain_json_and_the_same_twice(
    judged: tuple[dict[str, Any], dict[str, Any], Path], shop_log: Path
) -> None:
    document, _, folder = judged
    settings = JudgeSettings(
        scores=folder / "scores.parquet",
        patterns=(str(shop_log),),
        policy=load_policy(None),
        run_started_ms=RUN_STARTED_MS,
        horizon_ms=HORIZON_MS,
        changes=folder / "changes.jsonl",
    )

    assert json.dumps(document, allow_nan=False) == json.dumps(run_judgement(settings).as_document())
