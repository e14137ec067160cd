"""The shop of the crash tests, and what a backtest of it gives."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.policy_file import load_policy
from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import Sale, backtest_changes, sales_of


@cache
def shop(customers: int = 250, days: int = 40) -> tuple[Sale, ...]:
    """Simulate a shop that switches its scoring at least once."""
    return tuple(sales_of(ShopSettings(customers=customers, days=days, seed=21)))


@cache
def expected_changes(sales: tuple[Sale, ...], partition_count: int) -> list[list[dict[str, object]]]:
    """Give the changes of a backtest of the same events, by partition."""
    partitions: list[list[dict[str, object]]] = [[] for _ in range(partition_count)]
    with tempfile.TemporaryDirectory() as folder:
        changes = backtest_changes(sales, Path(folder), load_policy(None))
    for change in changes:
        partitions[int(partitions_of([str(change["customer_id"]).encode()], partition_count)[0])].append(change)
    return partitions
