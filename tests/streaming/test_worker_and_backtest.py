"""A worker on a log publishes what a backtest of the same events writes, however it was stopped and started."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import pytest

from stream_app.adapters.policy_file import load_policy
from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import (
    Sale,
    backtest_changes,
    end_of,
    new_log,
    opened,
    produce,
    published,
    sales_of,
    tell_tick,
    working,
)


@cache
def sales() -> tuple[Sale, ...]:
    return tuple(sales_of(ShopSettings(customers=400, days=260, seed=3)))


def expected(tmp_path: Path, partition_count: int) -> list[list[dict[str, object]]]:
    """Give the changes of the backtest by the partition of their customer."""
    partitions: list[list[dict[str, object]]] = [[] for _ in range(partition_count)]
    for change in backtest_changes(sales(), tmp_path / "backtest", load_policy(None)):
        sale = Sale(str(change["customer_id"]), 0, b"")
        partitions[sale.partition(partition_count)].append(change)
    return partitions


@pytest.mark.parametrize("partition_count", [1, 3])
def test_a_backlog_gives_the_changes_of_a_backtest(tmp_path: Path, partition_count: int) -> None:
    async def run() -> list[list[dict[str, object]]]:
        path = tmp_path / "log.db"
        new_log(path, partition_count)
        async with opened(path) as log:
            await produce(log, sales(), partition_count)
            await tell_tick(log, end_of(sales()), partition_count)
            async with working(log, partition_count) as host:
                await host.until_idle(end_of(sales()))
            return [await published(log, partition) for partition in range(partition_count)]

    found = asyncio.run(run())
    assert sum(map(len, found)) > 300
    assert found == expected(tmp_path, partition_count)
