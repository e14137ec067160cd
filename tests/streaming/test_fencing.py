"""A worker whose partition another one has taken gives it up at once when it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from stream_app.adapters.log.port import Log, Writer
from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import TOPICS, FailingLog, end_of, new_log, opened, produce, sales_of, tell_tick, working

REVOKED_WITHIN_S = 5.0


def test_a_fenced_shard_is_given_up_without_a_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        path = tmp_path / "log.db"
        new_log(path, 1)
        async with opened(path) as log, opened(path) as other_log, working(log, 1) as host, working(other_log, 1):
            await produce(log, sales_of(ShopSettings(customers=20, days=5, seed=3)), 1)
            await host.until(lambda: any("fenced" in record.message for record in caplog.records))
            async with asyncio.timeout(REVOKED_WITHIN_S):
                await host.worker.revoke({0}, lost_learner=True)
            assert host.worker.shards == {}
            assert host.ends == []

    caplog.set_level(logging.WARNING)
    asyncio.run(run())


class _CountingLog(FailingLog):
    """Counts, too, how often each writer was opened."""

    def __init__(self, log: Log, fails: Callable[[str], bool]) -> None:
        super().__init__(log, fails, is_committed=False)
        self.opened: Counter[str] = Counter()

    async def writer(self, name: str) -> Writer:
        self.opened[name] += 1
        return await super().writer(name)


@pytest.mark.parametrize("owner", ["shard-0", "learner"])
def test_whoever_fails_while_it_is_given_up_opens_no_writer_that_would_fence_its_successor(
    tmp_path: Path, owner: str
) -> None:
    sales = sales_of(ShopSettings(customers=60, days=60, seed=3))
    name = f"{TOPICS.app}-{owner}"

    async def run() -> None:
        path = tmp_path / "log.db"
        new_log(path, 1)
        asked: list[str] = []

        def fails(writer: str) -> bool:
            if writer != name:
                return False
            # The broker fails just when the rebalance has told us.
            task = host.worker.learner if owner == "learner" else host.worker.shards[0]
            assert task is not None
            task.ask_to_close()
            asked.append(writer)
            return True

        async with opened(path) as log:
            counting = _CountingLog(log, fails)
            async with working(cast("Log", counting), 1) as host:
                await produce(log, sales, 1)
                await tell_tick(log, end_of(sales), 1)
                await host.until(lambda: bool(asked))
                await host.worker.revoke({0}, lost_learner=True)
                assert host.ends == []
            assert counting.opened[name] == 1
            assert asked == [name]

    asyncio.run(run())
