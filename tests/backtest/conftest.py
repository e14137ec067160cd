"""A simulated shop's log, and the means to replay it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.run import BacktestResult, run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.simulation.files import ShopFiles, write_shop
from stream_app.simulation.settings import ShopSettings

RUN_STARTED_MS = 1_900_000_000_000
"""A fixed start of every run, after all events of the logs."""

RunBacktest = Callable[..., BacktestResult]


@pytest.fixture(scope="session")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log of a small simulated shop: 400 customers over 120 days."""
    path = tmp_path_factory.mktemp("shop") / "shop.parquet"
    write_shop(ShopSettings(customers=400, days=120, seed=11), ShopFiles.checked(path, None))
    return path


@pytest.fixture
def replay(shop_log: Path, tmp_path: Path) -> RunBacktest:
    """Run a backtest into a folder of `tmp_path`, with defaults for all that a test does not speak of."""

    def run(name: str, **overrides: Any) -> BacktestResult:
        defaults: dict[str, Any] = {
            "patterns": (str(shop_log),),
            "policy": load_policy(None),
            "out": tmp_path / name,
            "run_started_ms": RUN_STARTED_MS,
            "tick_ms": 6 * 3_600_000,
        }
        return run_backtest(BacktestSettings(**(defaults | overrides)))

    return run
