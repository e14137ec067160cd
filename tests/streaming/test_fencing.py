"""A worker whose partition another one has taken gives it up at once when it is told to."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from stream_app.simulation.settings import ShopSettings
from tests.streaming.harness import new_log, opened, produce, sales_of, working

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
