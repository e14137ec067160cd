"""Logs that give a learner little or nothing to go by: finite scores, sensible tiers or none, never a crash."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
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


RATED_LATE = {"no_purchase": None, "one_customer": "1 buyer at the end, 100 needed"}
"""Why nobody has a tier; None: there is no buyer who could have one."""


@dataclass(frozen=True)
class Outputs:
    """What a run over one of the logs left."""

    name: str
    customers: set[str]
    folder: Path
    summary: dict[str, Any]


def replay(log: Callable[[], Iterator[Line]], folder: Path) -> Outputs:
    customers, types, days, amounts = zip(*log(), strict=True)
    times = pa.array(START_MS + np.array(days) * MS_PER_DAY + 36_000_000, type=pa.timestamp("ms", tz="UTC"))
    table = {"customer_id": customers, "type": types, "occurred_at": times, "amount": pa.array(amounts, pa.float64())}
    pq.write_table(pa.table(table), folder / "log.parquet")
    settings = BacktestSettings(
        patterns=(str(folder / "log.parquet"),),
        policy=load_policy(None),
        out=folder / "out",
        run_started_ms=RUN_STARTED_MS,
        # A purchase counts under the lines of its day: those who all buy at once are told apart by the next sweep.
        to_ms=START_MS + (max(days) + 3) * MS_PER_DAY,
        tick_ms=MS_PER_DAY,
        score_every_ms=7 * MS_PER_DAY,
    )
    with np.errstate(all="raise", under="ignore"):
        summary: dict[str, Any] = run_backtest(settings).summary
    return Outputs(log.__name__, set(customers), folder / "out", summary)


@pytest.fixture(scope="module", params=LOGS, ids=lambda log: log.__name__)
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return replay(request.param, tmp_path_factory.mktemp(request.param.__name__))


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_scores_are_finite_and_tiers_are_told_only_of_enough_buyers(outputs: Outputs) -> None:
    scores = pq.read_table(outputs.folder / "scores.parquet").to_pydict()

    buyers = [place for place, count in enumerate(scores["purchase_count"]) if count > 0]
    for name in PREDICTED:
        assert all(np.isfinite(scores[name][place]) and scores[name][place] >= 0.0 for place in buyers), name
    tiers = {tier for name in ("value_tier", "growth_tier") for tier in scores[name]}
    few = {"unrated", "prospect", None}
    assert (tiers <= few) == (outputs.name in RATED_LATE)
    assert outputs.summary["customers"]["total"] == len(outputs.customers)


def test_no_output_holds_nan_or_infinity(outputs: Outputs) -> None:
    json.loads((outputs.folder / "summary.json").read_text(), parse_constant=refuse)
    for line in (outputs.folder / "changes.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    assert not re.search(r"\b(nan|inf)\b", (outputs.folder / "report.html").read_text(), flags=re.IGNORECASE)
    for name in ("scores.parquet", "segments.parquet"):
        for column in pq.read_table(outputs.folder / name).columns:
            if pa.types.is_floating(column.type):
                assert np.isfinite(column.drop_null().to_numpy()).all()


def test_who_has_no_tier_is_told_with_the_reason(outputs: Outputs) -> None:
    reason = RATED_LATE.get(outputs.name)
    for axis in outputs.summary["axes"]:
        unrated = axis["unrated"]
        if reason is None:
            assert unrated is None
        else:
            assert unrated["customers"] == 1
            assert reason in unrated["reason"]
            assert unrated["reason"] in outputs.summary["notes"]


def test_tiers_make_sense(outputs: Outputs) -> None:
    value = outputs.summary["axes"][0]["populations"]
    rated = sum(value[tier] for tier in ("small", "big", "vip"))

    # A cut never lets more than its share in; hysteresis may hold a few more.
    assert value["vip"] <= max(0.1 * rated, 1)
    if outputs.name in ("identical_customers", "free_goods"):
        # Their snapshots lie on different days, which tells a few of them apart by a bucket.
        assert value["small"] >= 0.95 * rated
    if outputs.name == "one_customer_has_it_all":
        segments = pq.read_table(outputs.folder / "segments.parquet").to_pydict()
        assert dict(zip(segments["customer_id"], segments["value_tier"], strict=True))["c0"] == "vip"


def test_predictions_are_judged_or_it_is_said_why_not(outputs: Outputs) -> None:
    predictions = outputs.summary["predictions"]
    assert (predictions["methods"] is None) == (outputs.name in ("no_purchase", "one_customer", "two_weeks"))
    page = (outputs.folder / "report.html").read_text()
    assert "Were the predictions right?" in page
    if predictions["methods"] is None:
        assert "No cutoff has enough buyers" in page
    if not predictions["prequential"]["outcomes"]:
        assert any("No prediction has been proven yet" in note for note in outputs.summary["notes"])
