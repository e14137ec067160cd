"""Logs that give a learner little or nothing to go by: finite scores, sensible tiers or none, never a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.run import BacktestSettings, run_backtest
from stream_app.domain.events import MS_PER_DAY
from tests.backtest.conftest import RUN_STARTED_MS

START_MS = 1_704_067_200_000
Line = tuple[str, str, int, float]
"""Customer, type, day, amount."""


def shop(customers: int, days: range, amount: Callable[[int, int], float], every: int = 9) -> Iterator[Line]:
    """Let each customer buy every so many days, each on days of its own."""
    for day in days:
        for customer in range(customers):
            if (day + customer) % every == 0:
                yield f"c{customer}", "purchase", day, amount(customer, day)


def no_purchase() -> Iterator[Line]:
    for _, _, day, _ in shop(150, range(120), lambda *_: 0.0):
        yield f"c{day}", "browse", day, 0.0


def one_customer() -> Iterator[Line]:
    return shop(1, range(200), lambda *_: 20.0)


def identical_customers() -> Iterator[Line]:
    for day in range(0, 200, 10):
        for customer in range(150):
            yield f"c{customer}", "purchase", day, 20.0


def one_customer_has_it_all() -> Iterator[Line]:
    return shop(150, range(150), lambda customer, _: 1e6 if customer == 0 else 10.0 + customer % 7)


def two_weeks() -> Iterator[Line]:
    return shop(150, range(14), lambda customer, day: 5.0 + customer % 11 + day)


def a_gap_of_a_year() -> Iterator[Line]:
    yield from shop(150, range(100), lambda customer, _: 5.0 + customer % 11)
    yield from shop(150, range(465, 600), lambda customer, _: 5.0 + customer % 11)


def tiny_amounts() -> Iterator[Line]:
    return shop(150, range(150), lambda customer, _: 1e-5 * (1 + customer % 11))


def huge_amounts() -> Iterator[Line]:
    return shop(150, range(150), lambda customer, _: 8e7 * (1 + customer % 11))


def free_goods() -> Iterator[Line]:
    return shop(150, range(150), lambda *_: 0.0)


def all_returned() -> Iterator[Line]:
    for customer, kind, day, amount in shop(150, range(150), lambda customer, _: 5.0 + customer % 11):
        yield customer, kind, day, amount
        yield customer, "refund", day, 3.0 * amount


LOGS = (
    no_purchase,
    one_customer,
    identical_customers,
    one_customer_has_it_all,
    two_weeks,
    a_gap_of_a_year,
    tiny_amounts,
    huge_amounts,
    free_goods,
    all_returned,
)
PREDICTED = ("value_score", "growth_score", "expected_spend", "expected_purchases", "buy_probability")


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.__name__)
def test_scores_are_finite_and_tiers_are_told_only_of_enough_buyers(
    log: Callable[[], Iterator[Line]], tmp_path: Path
) -> None:
    customers, types, days, amounts = zip(*log(), strict=True)
    times = pa.array(START_MS + np.array(days) * MS_PER_DAY + 36_000_000, type=pa.timestamp("ms", tz="UTC"))
    table = {"customer_id": customers, "type": types, "occurred_at": times, "amount": pa.array(amounts, pa.float64())}
    pq.write_table(pa.table(table), tmp_path / "log.parquet")

    settings = BacktestSettings(
        patterns=(str(tmp_path / "log.parquet"),),
        policy=load_policy(None),
        out=tmp_path / "out",
        run_started_ms=RUN_STARTED_MS,
        tick_ms=MS_PER_DAY,
        score_every_ms=7 * MS_PER_DAY,
    )
    with np.errstate(all="raise", under="ignore"):
        summary: dict[str, Any] = run_backtest(settings).summary

    scores = pq.read_table(tmp_path / "out" / "scores.parquet").to_pydict()
    buyers = [place for place, count in enumerate(scores["purchase_count"]) if count > 0]
    for name in PREDICTED:
        assert all(np.isfinite(scores[name][place]) and scores[name][place] >= 0.0 for place in buyers), name
    tiers = {tier for name in ("value_tier", "growth_tier") for tier in scores[name]}
    few = {"unrated", "prospect", None}
    assert (tiers <= few) == (log in (no_purchase, one_customer))
    assert summary["customers"]["total"] == len(set(customers))
