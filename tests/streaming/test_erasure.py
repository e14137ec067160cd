"""An erased customer is gone from every topic of ours but those that the receipt names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.domain.identifiers import pack_ids
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.erasure import Receipt, erase_customer
from tests.streaming.harness import (
    TOPICS,
    Host,
    end_of,
    new_log,
    opened,
    produce,
    records_of,
    replayed,
    sales_of,
    tell_tick,
    working,
)

PARTITIONS = 1
DAY_MS = 86_400_000


async def topics_that_hold(log: Log, customer_id: str) -> set[str]:
    """Search all topics of the application for the bytes of an id."""
    found = set()
    for topic in TOPICS.rules():
        count = await log.partition_count(topic)
        for partition in range(count or 0):
            own = TopicPartition(topic, partition)
            bounds = await log.bounds(own)
            async for records in log.read(own, bounds.start, bounds.end):
                for record in records:
                    if customer_id.encode() in (record.value or b"") and record.value is not None:
                        found.add(topic)
    return found


async def _together(host: Host, work: Callable[[], object]) -> Receipt:
    """Let the worker go on while something waits for it."""
    task = asyncio.ensure_future(work())  # type: ignore[call-overload]
    await host.until(task.done)
    receipt = task.result()
    assert isinstance(receipt, Receipt)
    return receipt


def test_the_id_is_found_only_where_the_receipt_says_that_it_remains(tmp_path: Path) -> None:
    sales = sales_of(ShopSettings(customers=120, days=100, seed=9))
    # Somebody who was snapshotted, so that the learner knows the customer, too.
    victim = sales[0].customer_id
    others = [sale for sale in sales if sale.customer_id != victim]
    end_ms = end_of(sales)

    async def run() -> None:
        path = tmp_path / "log.db"
        new_log(path, PARTITIONS)
        async with opened(path) as log:
            await produce(log, sales, PARTITIONS)
            await tell_tick(log, end_ms, PARTITIONS)
            async with working(log, PARTITIONS) as host:
                await host.until_idle(end_ms)
                assert TOPICS.state in await topics_that_hold(log, victim)
                receipt = await _together(host, lambda: erase_customer(log, TOPICS, victim, timeout_s=30.0))
                assert receipt.is_applied
                # Two days of ticks write the state log anew.
                for hour in range(1, 49):
                    await tell_tick(log, end_ms + hour * DAY_MS // 24, PARTITIONS)
                await host.until_idle(end_ms + 2 * DAY_MS)
                shard = host.worker.shards[0].shard
                assert shard.engine.table.find(pack_ids([victim])).tolist() == [-1]
                assert shard.engine.table.customer_count == len({sale.customer_id for sale in others})
            found = await topics_that_hold(log, victim)
            assert found <= {TOPICS.segment_changes, TOPICS.current_segments}
            segments = await records_of(log, TOPICS.current_segments, 0)
            assert segments[-1] is None or None in segments
            result = await replayed(log, 0, PARTITIONS)
            assert result.is_equal, result.difference

    asyncio.run(run())
