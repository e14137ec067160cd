"""A log whose events have all been applied, half way through the life of a shop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, Outgoing
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.ticks import GRID_MS
from tests.streaming.harness import Sale, new_log, opened, produce, sales_of, tell_tick, working

OLD_COUNT = 3


@cache
def sales() -> tuple[Sale, ...]:
    return tuple(sales_of(ShopSettings(customers=200, days=120, seed=3)))


@cache
def halves() -> tuple[tuple[Sale, ...], tuple[Sale, ...], int]:
    """Give the sales before and after a tick in the middle, and the tick."""
    middle_ms = sales()[len(sales()) // 2].time_ms // GRID_MS * GRID_MS
    first = tuple(sale for sale in sales() if sale.time_ms < middle_ms)
    return first, sales()[len(first) :], middle_ms


async def first_half(path: Path) -> None:
    """Let three shards work until nothing is left."""
    first, _, middle_ms = halves()
    new_log(path, OLD_COUNT)
    async with opened(path) as log:
        await produce(log, first, OLD_COUNT)
        await tell_tick(log, middle_ms, OLD_COUNT)
        async with working(log, OLD_COUNT) as host:
            await host.until_idle(middle_ms)


async def produce_by_key(log: Log, topic: str, chosen: Sequence[Sale], count: int) -> None:
    """Write events as a Kafka client would."""
    for partition in range(count):
        keys = [sale.customer_id.encode() for sale in chosen]
        own = np.flatnonzero(partitions_of(keys, count) == partition).tolist()
        if own:
            values = [chosen[place].value for place in own]
            times_ms = [chosen[place].time_ms for place in own]
            outgoing = Outgoing(topic, partition, values, [keys[p] for p in own], timestamps_ms=times_ms)
            await log.append([outgoing])
