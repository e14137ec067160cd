"""Small logs and scores files for the tests of judging, written as files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stream_app.adapters.event_files import EventLogOptions, open_event_log
from stream_app.adapters.policy_file import load_policy
from stream_app.backtest.judging.purchase_log import PurchaseLog, read_purchases
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.policy import Policy
from tests.backtest.conftest import RUN_STARTED_MS

DAY_0_MS = 1_704_067_200_000
"""2024-01-01."""
Event = tuple[str, float, float] | tuple[str, float, float, str] | tuple[str, float, float, str, str]
"""Customer, day, amount, type (purchase) and event id (none)."""


def day(number: float) -> int:
    return DAY_0_MS + round(number * MS_PER_DAY)


def write_events(path: Path, events: Sequence[Event]) -> Path:
    lines = ["customer_id,occurred_at,amount,type,event_id"]
    for event in events:
        customer, number, amount, kind, event_id = (*event, "purchase", "")[:5] if len(event) < 5 else event
        lines.append(f"{customer},{day(number)},{amount},{kind},{event_id if len(event) == 5 else ''}")
    path.write_text("\n".join(lines) + "\n")
    return path


def read_log(path: Path, policy: Policy | None = None) -> PurchaseLog:
    options = EventLogOptions(run_started_ms=RUN_STARTED_MS)
    with open_event_log([str(path)], policy or load_policy(None), options) as log:
        return read_purchases(log)


def make_log(folder: Path, events: Sequence[Event]) -> PurchaseLog:
    return read_log(write_events(folder / "events.csv", events))


def write_scores(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows of a scores file; what a row leaves out is as the backtest writes what nothing computes."""
    filled = [
        {
            "cutoff": day(row["day"]),
            "customer_id": row["customer"],
            "purchase_count": row.get("count", 1),
            "value_score": row.get("value"),
            "growth_score": row.get("growth"),
            "expected_spend": row.get("spend"),
            "expected_purchases": row.get("purchases"),
            "buy_probability": row.get("buy"),
            "horizon_days": row.get("horizon", 84),
            "value_tier": row.get("tier"),
            "value_rank_tier": row.get("rank"),
        }
        for row in rows
    ]
    numbers = ("value_score", "growth_score", "expected_spend", "expected_purchases", "buy_probability")
    schema = pa.schema(
        [
            ("cutoff", pa.int64()),
            ("customer_id", pa.string()),
            ("purchase_count", pa.int64()),
            *((name, pa.float64()) for name in numbers),
            ("horizon_days", pa.int32()),
            ("value_tier", pa.string()),
            ("value_rank_tier", pa.string()),
        ]
    )
    table = pa.Table.from_pylist(filled, schema=schema)
    times = table.column("cutoff").cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(table.set_column(0, "cutoff", times), path)
    return path
