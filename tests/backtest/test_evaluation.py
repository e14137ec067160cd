"""Predictions of a run judged in the run itself: leak-free, bounded, and the same however it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_app.adapters.event_files import EventLogOptions, open_event_log
from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.evaluation import cutoffs as cutoffs_module
from stream_app.backtest.evaluation import sample as sample_module
from stream_app.backtest.evaluation.cutoffs import CutoffPredictions
from stream_app.backtest.evaluation.evaluation import RESUMED_NOTE
from stream_app.backtest.evaluation.sample import CustomerSample
from stream_app.backtest.judging.purchase_log import PurchaseLog, read_purchases
from stream_app.backtest.judging.run import JudgeSettings, run_judgement
from stream_app.backtest.replay import Observer, Replay
from stream_app.backtest.run import BacktestResult
from stream_app.backtest.shards import Shards
from stream_app.domain.events import MS_PER_DAY
from stream_app.learning.blending import FIRST_PLACE, PAST_SHARES
from stream_app.learning.learner import Learner
from tests.backtest.conftest import RUN_STARTED_MS
from tests.backtest.judging_logs import write_events

RunBacktest = Callable[..., BacktestResult]
POLICY = load_policy(None)
OPTIONS = EventLogOptions(run_started_ms=RUN_STARTED_MS)


def watched(path: Path, shard_count: int = 1, to_ms: int | None = None) -> tuple[CustomerSample, CutoffPredictions]:
    """Replay a log under the eyes of a sample."""
    shards = Shards(POLICY, shard_count)
    sample = CustomerSample(shards)
    predictions = CutoffPredictions(sample, POLICY, None)
    observers: list[Observer] = [sample, predictions]
    replay = Replay(shards=shards, learner=Learner(POLICY), observers=observers, tick_ms=MS_PER_DAY)
    options = EventLogOptions(run_started_ms=RUN_STARTED_MS, to_ms=to_ms)
    with open_event_log([str(path)], POLICY, options) as log:
        replay.run(log.batches(), to_ms)
    return sample, predictions


def whole_log(path: Path) -> PurchaseLog:
    with open_event_log([str(path)], POLICY, OPTIONS) as log:
        return read_purchases(log)


def totals(log: PurchaseLog) -> dict[bytes, tuple[float, float, float]]:
    """Sum up every customer who bought or returned: baskets, spend, refunds."""
    count = log.customer_count
    columns = log.baskets.sums(count), log.baskets.sums(count, log.baskets.amounts)
    refunds = log.refunds.sums(count, log.refunds.amounts)
    known = zip(*columns, refunds, strict=True)
    return {
        customer: (b, round(s, 6), round(r, 6))
        for customer, (b, s, r) in zip(log.indices, known, strict=True)
        if b or r
    }


@pytest.mark.parametrize("shard_count", [1, 3])
def test_the_sample_of_a_small_log_is_the_log(shop_log: Path, shard_count: int) -> None:
    sample, _ = watched(shop_log, shard_count)
    whole = whole_log(shop_log)

    sampled = sample.purchase_log(whole.start_ms, whole.end_ms).log

    assert sample.share == 1.0
    assert totals(sampled) == totals(whole)
    assert list(sampled.indices) == sorted(sampled.indices)


def test_repeated_events_count_once_and_purchases_of_a_day_are_one_basket(tmp_path: Path) -> None:
    lines = [("a", 1.1, 5.0, "purchase", "e1"), ("a", 1.2, 5.0, "purchase", "e1"), ("a", 1.3, 7.0, "purchase", "e2")]
    lines += [("b", 3.0, 2.0, "purchase", "e3"), ("a", 4.0, 1.5, "refund", "e4"), ("c", 5.0, 0.0, "browse", "e5")]
    sample, _ = watched(write_events(tmp_path / "events.csv", lines))

    assert totals(sample.purchase_log(0, 10**13).log) == {b"a": (1.0, 12.0, 1.5), b"b": (1.0, 2.0, 0.0)}


@pytest.mark.parametrize("bound", ["CUSTOMERS_MAX", "MOVEMENTS_MAX"])
def test_a_sample_is_bounded_and_keeps_all_of_whom_it_keeps(
    shop_log: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(sample_module, bound, 100)
    monkeypatch.setattr(sample_module, "_WAITING_MIN", 50)
    monkeypatch.setattr(sample_module, "_TAKEN_MAX", 20)
    sample, _ = watched(shop_log, 3)
    whole = totals(whole_log(shop_log))

    sampled = sample.purchase_log(0, 10**13)

    drawn = totals(sampled.log)
    assert 0 < len(drawn) <= 100
    assert 0.0 < sample.share < 0.5
    alone, _ = watched(shop_log, 1)
    assert totals(alone.purchase_log(0, 10**13).log) == drawn
    assert sample.share == alone.share
    assert drawn.items() <= whole.items()


def test_predictions_at_a_cutoff_do_not_know_what_came_after_it(shop_log: Path) -> None:
    _, whole = watched(shop_log)
    cutoff = whole.kept[1]

    _, cut = watched(shop_log, to_ms=cutoff.cutoff_ms)

    assert len(whole.kept) == 4
    last = cut.kept[-1]
    assert last.cutoff_ms == cutoff.cutoff_ms
    assert np.array_equal(last.names, cutoff.names)
    assert last.columns.tobytes() == cutoff.columns.tobytes()


def test_of_a_long_log_every_second_cutoff_is_kept(shop_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutoffs_module, "CUTOFFS_MAX", 3)
    _, predictions = watched(shop_log)

    first, second = (kept.cutoff_ms for kept in predictions.kept)
    assert second - first == 56 * MS_PER_DAY


@pytest.fixture(scope="module")
def summary(shop_log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Sum up a run of the shop, whose scores are in a file as well."""
    from stream_app.backtest.run import run_backtest
    from stream_app.backtest.settings import BacktestSettings

    out = tmp_path_factory.mktemp("evaluated")
    settings = BacktestSettings(
        patterns=(str(shop_log),),
        policy=POLICY,
        out=out,
        run_started_ms=RUN_STARTED_MS,
        tick_ms=6 * 3_600_000,
        score_every_ms=28 * MS_PER_DAY,
    )
    run_backtest(settings)
    written: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return written | {"scores": str(out / "scores.parquet")}


def test_the_run_says_of_itself_what_a_judgement_of_its_scores_says(summary: dict[str, Any], shop_log: Path) -> None:
    methods = summary["predictions"]["methods"]
    settings = JudgeSettings(
        scores=Path(summary["scores"]),
        patterns=(str(shop_log),),
        policy=POLICY,
        run_started_ms=RUN_STARTED_MS,
        horizon_ms=methods["horizon_days"] * MS_PER_DAY,
    )
    judged = run_judgement(settings).as_document()

    assert methods["horizon_days"] == 84
    assert [cutoff["cutoff"] for cutoff in methods["cutoffs"]] == [cutoff["cutoff"] for cutoff in judged["cutoffs"]]
    assert methods["means"].keys() == judged["means"].keys()
    for name, figures in judged["means"].items():
        told = methods["means"][name]
        assert told.keys() == figures.keys()
        for figure, value in figures.items():
            # Ties are broken by the order of customers, which is another here.
            assert told[figure] == (None if value is None else pytest.approx(value, abs=0.02)), (name, figure)
    assert methods["held_cap20"] == pytest.approx(judged["tiers"]["held_cap20"], abs=0.02)


def test_the_number_of_shards_changes_no_figure(replay: RunBacktest) -> None:
    one, three = (replay(str(count), shard_count=count).summary["predictions"] for count in (1, 3))

    assert json.dumps(one) == json.dumps(three)


def test_shares_by_tenths_add_up_and_are_of_every_method_that_ranks(summary: dict[str, Any]) -> None:
    methods = summary["predictions"]["methods"]
    shares = methods["spend_share_by_tenth"]

    assert set(shares) == {"scores", "rfm_sum", "decayed_spend", "last_horizon_spend"}
    assert all(sum(tenths) == pytest.approx(1.0) and len(tenths) == 10 for tenths in shares.values())
    assert shares["scores"][0] > 0.15 > 0.1 > shares["scores"][-1]
    assert methods["labels"].keys() == methods["means"].keys()
    assert methods["sample_share"] == 1.0


def test_prequential_figures_count_every_outcome_once(summary: dict[str, Any]) -> None:
    prequential = summary["predictions"]["prequential"]
    windows = prequential["windows"]

    assert prequential["outcomes"] == sum(window["outcomes"] for window in windows) > 50
    for table in prequential["tables"]["spend_by_value"], prequential["tables"]["buying_by_probability"]:
        assert sum(row[0] for row in table) == prequential["outcomes"]
    weighted = sum(window["buy_auc"] * window["outcomes"] for window in windows) / prequential["outcomes"]
    assert prequential["overall"]["buy_auc"] == pytest.approx(weighted)
    assert prequential["overall"]["growth_auc"] is None or prequential["overall"]["growth_auc"] > 0.4


def test_scoring_switches_are_told_in_order(summary: dict[str, Any]) -> None:
    switches = summary["predictions"]["scoring_switches"]

    assert [switch["scoring"] for switch in switches] == list(range(2, 2 + len(switches)))
    assert switches[0]["past_share"] == PAST_SHARES[FIRST_PLACE]
    assert {switch["past_share"] for switch in switches} <= set(PAST_SHARES)
    assert [switch["at"] for switch in switches] == sorted(switch["at"] for switch in switches)
    assert all(switch["at"].endswith("T00:00:00Z") for switch in switches)


def test_a_resumed_run_has_no_yardsticks_and_says_why(replay: RunBacktest, tmp_path: Path) -> None:
    cut_ms = 1_704_067_200_000 + 100 * MS_PER_DAY
    replay("first", to_ms=cut_ms, save_state=tmp_path / "state.npz")
    rest = replay("rest", load_state=tmp_path / "state.npz").summary
    whole = replay("whole").summary

    assert rest["predictions"]["methods"] is None
    assert RESUMED_NOTE in rest["notes"]
    assert json.dumps(rest["predictions"]["prequential"]) == json.dumps(whole["predictions"]["prequential"])


@pytest.mark.parametrize(("days", "horizon"), [(20, None), (60, 28), (90, 56), (112, 84)])
def test_a_short_log_is_judged_over_as_long_as_it_covers(replay: RunBacktest, days: int, horizon: int | None) -> None:
    summary = replay("short", to_ms=1_704_067_200_000 + days * MS_PER_DAY).summary
    methods = summary["predictions"]["methods"]

    assert (None if methods is None else methods["horizon_days"]) == horizon
    if methods is not None:
        calibrated = methods["means"]["scores"]["spend_calibration"]
        assert (calibrated is None) == (horizon != 84)
        assert bool(methods["notes"]) == (horizon != 84)
    elif days < 84:
        assert any("No prediction has been proven yet" in note for note in summary["notes"])


def test_output_that_begins_later_is_judged_from_there(replay: RunBacktest) -> None:
    from_ms = 1_704_067_200_000 + 30 * MS_PER_DAY
    cutoffs = replay("later", from_ms=from_ms).summary["predictions"]["methods"]["cutoffs"]

    assert all(cutoff["cutoff"] >= "2024-01-31" for cutoff in cutoffs)


def test_batch_models_stand_beside_the_run_when_asked_for(replay: RunBacktest) -> None:
    pytest.importorskip("lightgbm", reason="the extra `compare` is not installed")
    methods = replay("compared", is_compared=True).summary["predictions"]["methods"]

    assert {"bgnbd_gamma_gamma", "lightgbm"} <= methods["means"].keys()
    assert methods["labels"]["lightgbm"] == "LightGBM"
    assert methods["means"]["bgnbd_gamma_gamma"]["normalized_gini"] > 0.0
