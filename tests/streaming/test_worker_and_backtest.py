"""A worker on a log publishes what a backtest of the same events writes, however it was stopped and started."""

from __future__ import annotations

import asyncio
import random
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from stream_app.adapters.log.port import Log
from stream_app.adapters.policy_file import load_policy
from stream_app.domain.knowledge import Scoring
from stream_app.domain.population import PopulationSketch
from stream_app.engine import Engine
from stream_app.learning import scoring_learner
from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import (
    FailingLog,
    Host,
    Sale,
    backtest_changes,
    end_of,
    killed,
    new_log,
    opened,
    produce,
    published,
    replayed,
    sales_of,
    tell_tick,
    working,
)


@cache
def sales() -> tuple[Sale, ...]:
    return tuple(sales_of(ShopSettings(customers=200, days=120, seed=3)))


def expected(tmp_path: Path, partition_count: int) -> list[list[dict[str, object]]]:
    """Give the changes of the backtest by the partition of their customer."""
    partitions: list[list[dict[str, object]]] = [[] for _ in range(partition_count)]
    for change in backtest_changes(sales(), tmp_path / "backtest", load_policy(None)):
        sale = Sale(str(change["customer_id"]), 0, b"")
        partitions[sale.partition(partition_count)].append(change)
    return partitions


@pytest.mark.parametrize(("partition_count", "examples"), [(1, 50_000), (3, 50_000), (3, 8)])
def test_a_backlog_gives_the_changes_of_a_backtest(
    tmp_path: Path, partition_count: int, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few examples, dry runs are of some customers only."""
    monkeypatch.setattr(scoring_learner, "EXAMPLES_PER_CYCLE", examples)
    strides: set[int] = set()
    sketched = Engine.full_sketch

    def noted(engine: Engine, scoring: Scoring, time_ms: int, stride: int = 1) -> PopulationSketch:
        strides.add(stride)
        return sketched(engine, scoring, time_ms, stride)

    monkeypatch.setattr(Engine, "full_sketch", noted)

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
    assert sum(map(len, found)) > 60
    assert found == expected(tmp_path, partition_count)
    assert (max(strides) > 1) == (examples < len({sale.customer_id for sale in sales()}))


@pytest.mark.parametrize(("seed", "rows_max"), [(1, 8192), (2, 10)])
def test_a_worker_that_is_killed_at_any_moment_loses_nothing_and_tells_nothing_twice(
    tmp_path: Path, seed: int, rows_max: int
) -> None:
    partition_count, draw = 2, random.Random(seed)
    lives = 0

    async def live(host: Host) -> bool:
        """Work for some commits; tells whether everything was done."""
        tasks = host.worker.shards.values()
        commit_count = draw.randrange(1, 4 if rows_max > 1000 else 90) * 12
        while sum(task.progress_count for task in tasks) < commit_count:
            if all(task.is_open and task.shard.engine.last_tick_ms >= end_of(sales()) for task in tasks):
                await host.until_idle(end_of(sales()))
                return True
            await host.poll()
            await asyncio.sleep(0.001)
        return False

    async def run() -> list[list[dict[str, object]]]:
        nonlocal lives
        path = tmp_path / "log.db"
        new_log(path, partition_count)
        async with opened(path) as log:
            await produce(log, sales(), partition_count)
            await tell_tick(log, end_of(sales()), partition_count)
        is_done = False
        while not is_done:
            lives += 1
            async with opened(path) as log, killed(log, partition_count, rows_max) as host:
                is_done = await live(host)
        async with opened(path) as log:
            for partition in range(partition_count):
                result = await replayed(log, partition, partition_count)
                assert result.is_equal, result.difference
                assert result.change_count == result.equal_count > 20
            return [await published(log, partition) for partition in range(partition_count)]

    found = asyncio.run(run())
    assert lives > 5
    assert found == expected(tmp_path, partition_count)


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_commit_of_unknown_outcome_is_mended_within_the_process(tmp_path: Path, *, is_committed: bool) -> None:
    partition_count, draw = 2, random.Random(7)
    failures = 0

    def fails(name: str) -> bool:
        nonlocal failures
        has_failed = failures < 3 and "shard-0" in name and draw.random() < 0.05
        failures += has_failed
        return has_failed

    async def run() -> list[list[dict[str, object]]]:
        path = tmp_path / "log.db"
        new_log(path, partition_count)
        async with opened(path) as log:
            await produce(log, sales(), partition_count)
            await tell_tick(log, end_of(sales()), partition_count)
            failing = FailingLog(log, fails, is_committed=is_committed)
            async with working(cast("Log", failing), partition_count) as host:
                await host.until_idle(end_of(sales()))
            return [await published(log, partition) for partition in range(partition_count)]

    found = asyncio.run(run())
    assert failures == 3
    assert found == expected(tmp_path, partition_count)
