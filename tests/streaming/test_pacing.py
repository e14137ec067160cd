"""A shard gathers what comes in quick succession, and lets neither a lone event nor a backlog wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stream_app.adapters.log.port import TopicPartition
from stream_app.adapters.log.sqlite.batches import Record
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming import shard_task
from tests.streaming.harness import TOPICS, Sale, new_log, opened, sales_of, working

SALES = sales_of(ShopSettings(customers=600, days=1, seed=5))
EVENTS = TopicPartition(TOPICS.events, 0)
FAR_S = 3600.0
COUNT = 200


def record_of(offset: int, sale: Sale) -> Record:
    return Record(offset, sale.time_ms, sale.customer_id.encode(), sale.value, ())


def test_a_commit_is_not_begun_again_before_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_task, "COMMIT_EVERY_S", 0.2)

    async def run() -> None:
        new_log(tmp_path / "log.db", 1)
        async with opened(tmp_path / "log.db") as log, working(log, 1) as host:
            loop, shard = asyncio.get_running_loop(), host.worker.shards[0]
            # The first event brings the first ticks, a question to the learner, and a wait for its answer.
            shard.hand_over(EVENTS, [record_of(0, SALES[0])])
            await host.until(lambda: shard.shard.progress.events_position == 1 and shard.progress_count > 1)
            before, begun_at = shard.progress_count, loop.time()
            for offset in range(1, COUNT):
                shard.hand_over(EVENTS, [record_of(offset, SALES[0])])
                await asyncio.sleep(0.005)
            await host.until(lambda: shard.shard.progress.events_position == COUNT)
            commits, elapsed_s = shard.progress_count - before, loop.time() - begun_at
        # However fast the machine is: one at the beginning and at the end, and one for each pause that has passed.
        assert 1 <= commits <= 2 + elapsed_s / 0.2

    asyncio.run(run())


@pytest.mark.parametrize("waiting", [1, shard_task.PACED_RECORDS_MAX])
def test_a_lone_event_and_a_backlog_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    monkeypatch.setattr(shard_task, "COMMIT_EVERY_S", FAR_S)

    async def run() -> None:
        new_log(tmp_path / "log.db", 1)
        async with opened(tmp_path / "log.db") as log, working(log, 1) as host:
            shard = host.worker.shards[0]
            if waiting > 1:
                shard.hand_over(EVENTS, [record_of(0, SALES[0])])
                await host.until(lambda: shard.shard.progress.events_position == 1)
            start = shard.shard.progress.events_position
            many = [record_of(start + number, SALES[number % len(SALES)]) for number in range(waiting)]
            shard.hand_over(EVENTS, many)
            await host.until(lambda: shard.shard.progress.events_position == start + waiting)

    asyncio.run(run())
