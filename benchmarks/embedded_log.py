"""Records a second through an embedded log, and how long a small commit takes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import numpy as np
import orjson

from benchmarks.measurement import Measurement, Rate, Stopwatch
from benchmarks.scale import Scale
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans

EVENTS = 400_000
BATCH_EVENTS = 4_000
PARTITIONS = 4
REPETITIONS = 3
COMMITS = 300
STATE_BYTES = 40_000
"""A hundred rows: what a shard writes after 10 ms at 10,000 events/s."""
CHANGES = 30


def run(scale: Scale) -> list[Measurement]:
    """Measure appending, reading and committing."""
    count = EVENTS if scale.is_full else 2 * BATCH_EVENTS
    return asyncio.run(_run(_events(count), COMMITS if scale.is_full else 10))


def _events(count: int) -> list[Outgoing]:
    """Make events of about 150 bytes, in batches that take turns among the partitions."""
    customers = np.random.default_rng(7).integers(0, 100_000, count).tolist()
    values = [
        orjson.dumps(
            {
                "event_id": f"e-{number}",
                "customer_id": f"c-{customer}",
                "type": "purchase",
                "occurred_at": 1_714_567_890_000 + number * 37,
                "amount": customer % 9973 / 100,
                "currency": "USD",
                "properties": {"items": number % 5},
            }
        )
        for number, customer in enumerate(customers)
    ]
    keys = [b"c-%d" % customer for customer in customers]
    times_ms = [1_714_567_890_000 + number * 37 for number in range(count)]
    return [
        Outgoing("events", number % PARTITIONS, values[part], keys[part], None, times_ms[part])
        for number, part in enumerate(slice(at, at + BATCH_EVENTS) for at in range(0, count, BATCH_EVENTS))
    ]


async def _run(events: list[Outgoing], commit_count: int) -> list[Measurement]:
    appending, reading = Stopwatch(), Stopwatch()
    count = sum(map(len, events))
    milliseconds: list[float] = []
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory(prefix="stream-app-log-") as folder:
            path = Path(folder) / "shop.log"
            ensure_plans(path, [TopicPlan(name, PARTITIONS) for name in ("events", "changes", "state")])
            log = SqliteLog(path, "benchmark")
            await log.start()
            appending.begin_repetition()
            with appending.timed():
                for batch in events:
                    await log.append([batch])
            reading.begin_repetition()
            with reading.timed():
                found = sum([await _read(log, number) for number in range(PARTITIONS)])
            assert found == count
            milliseconds += await _commit(log, events[0], commit_count)
            await log.stop()
    size = sum(len(value or b"") for batch in events for value in batch.values) / count
    return [
        _rate("append", f"records of {size:.0f} bytes appended, {BATCH_EVENTS:,} a batch", (count, appending), 300_000),
        _rate("read", "records read", (count, reading), 500_000),
        _latency(milliseconds),
    ]


async def _read(log: SqliteLog, partition: int) -> int:
    at = TopicPartition("events", partition)
    return sum([len(chunk) async for chunk in log.read(at, 0, (await log.bounds(at)).end)])


async def _commit(log: SqliteLog, events: Outgoing, count: int) -> list[float]:
    """Commit what a shard would, one after the other; give the milliseconds of each."""
    writer = await log.writer("shard-0")
    state = np.random.default_rng(8).bytes(STATE_BYTES)
    changes = Outgoing("changes", 0, events.values[:CHANGES], None, [[("ce_id", b"1" * 32)]] * CHANGES)
    milliseconds = []
    for number in range(count):
        started = time.perf_counter()
        await writer.commit([changes, Outgoing("state", 0, [state])], {TopicPartition("events", 0): number})
        milliseconds.append((time.perf_counter() - started) * 1000)
    return milliseconds


def _rate(case: str, what: str, told: tuple[int, Stopwatch], floor: float) -> Measurement:
    count, stopwatch = told
    rate = Rate.of([count] * REPETITIONS, stopwatch)
    return Measurement(
        name=f"embedded_log.{case}",
        what=f"{what}, every transaction on the disk",
        unit="records/s",
        value=rate.best,
        middle=rate.middle,
        floor=floor,
        notes=rate.note,
    )


def _latency(milliseconds: list[float]) -> Measurement:
    cuts = quantiles(milliseconds, n=100)
    return Measurement(
        name="embedded_log.commit",
        what=f"commit of {CHANGES} changes, {STATE_BYTES:,} bytes of state and a position, median",
        unit="ms",
        value=cuts[49],
        is_ceiling=True,
        notes=f"p99 {cuts[98]:.1f} ms",
    )
