"""Scores of a simulated shop against the truth about its customers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.cli import app
from stream_app.domain.errors import SettingsError
from stream_app.domain.events import MS_PER_DAY
from stream_app.simulation.files import ShopFiles, write_shop
from stream_app.simulation.posterior import PurchaseHistory, SimulatedShop
from stream_app.simulation.settings import Population, ShopSettings
from tests.backtest.conftest import RUN_STARTED_MS

CUSTOMERS, DAYS = 1_500, 420
NOBODY = PurchaseHistory(np.empty(0, dtype="S1"), np.empty(0, dtype=np.int64), np.empty(0))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a shop's events, truth, and the scores of a backtest at two cutoffs."""
    folder = tmp_path_factory.mktemp("shop")
    population = Population(purchases_per_year=14.0, launch_share=0.7, activity=0.0)
    settings = ShopSettings(customers=CUSTOMERS, days=DAYS, seed=7, population=population)
    files = ShopFiles.checked(folder / "events.parquet", folder / "truth.parquet")
    write_shop(settings, files, on_progress=lambda stage, share: None)
    backtest = BacktestSettings(
        patterns=(str(folder / "events.parquet"),),
        policy=load_policy(None),
        out=folder / "out",
        run_started_ms=RUN_STARTED_MS,
        tick_ms=MS_PER_DAY,
        score_every_ms=28 * MS_PER_DAY,
        score_from_ms=settings.start_ms + 294 * MS_PER_DAY,
    )
    run_backtest(backtest)
    return folder


def test_value_ranks_and_alive_probabilities_hold_against_the_truth(shop: Path) -> None:
    out = shop / "judged.json"
    scores, events, truth = (str(shop / name) for name in ("out/scores.parquet", "events.parquet", "truth.parquet"))

    result = CliRunner().invoke(app, ["judge", scores, events, "--truth", truth, "--out", str(out)])

    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text())
    assert [(gate["name"], gate["verdict"]) for gate in document["gates"]] == [
        ("rank correlation with the truth", "pass"),
        ("alive calibration error", "pass"),
    ]
    assert len(document["truth"]) == 5
    assert all(0.3 < figures["best_rank_correlation"] < 1.0 for figures in document["truth"])


def test_the_best_expectation_is_right_on_average_and_ranks_better_than_spend_so_far(shop: Path) -> None:
    log = pq.read_table(shop / "events.parquet", filters=pc.field("type") == "purchase")
    times_ms = log["occurred_at"].cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
    ids = np.array(log["customer_id"].to_pylist(), dtype=np.bytes_)
    amounts = log["amount"].to_numpy()
    history = PurchaseHistory(ids, times_ms, amounts)
    at_ms = int(times_ms.min()) // MS_PER_DAY * MS_PER_DAY + 200 * MS_PER_DAY

    known = SimulatedShop(shop / "truth.parquet", history).at(at_ms, 84)

    assert known.best_spend.mean() == pytest.approx(known.true_spend.mean(), rel=0.05)
    is_past = times_ms < at_ms
    so_far = np.bincount(np.searchsorted(known.customer_ids, ids[is_past]), amounts[is_past])
    truth = known.true_spend
    assert np.corrcoef(known.best_spend, truth)[0, 1] > np.corrcoef(so_far, truth)[0, 1]
    assert set(known.true_spend[~known.is_alive]) == {0.0}


def test_a_file_that_is_no_truth_is_refused(shop: Path) -> None:
    with pytest.raises(SettingsError, match="no truth file"):
        SimulatedShop(shop / "events.parquet", NOBODY)


def test_the_truth_of_another_shop_is_refused(shop: Path) -> None:
    stranger = PurchaseHistory(np.array([b"stranger"]), np.array([0]), np.array([1.0]))

    with pytest.raises(SettingsError, match="same shop"):
        SimulatedShop(shop / "truth.parquet", stranger)
