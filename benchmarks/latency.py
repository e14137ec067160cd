"""From an event in the topic to its segment change at a reader of committed records, at a steady rate."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from benchmarks.live_application import Events, LiveApplication, shared_out
from benchmarks.measurement import Measurement
from benchmarks.pipeline import PARTITIONS, use_all_cores
from benchmarks.scale import Scale
from benchmarks.warm_shards import NEW_SHARE, WarmShards
from stream_app.adapters.log.port import Log, TopicPartition
from tests.kafka.broker import KafkaCluster

RATE, SECONDS, WARM_UP_SECONDS = 10_000, 20, 30
GOAL_MS, FLOOR_MS = 50.0, 150.0
STEP_S = 0.01
_KNOWN = 200_000
_SETTLE_S = 3.0
_PATIENCE_S = 60.0


@dataclass(slots=True)
class _Sent:
    """When each event was sent, by partition, in the order of offsets."""

    times: list[list[float]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    latencies_ms: list[float] = field(default_factory=list)


def run_kafka(scale: Scale) -> list[Measurement]:
    """Measure on Kafka, with broker, load and reader on the same cores."""
    use_all_cores()
    with KafkaCluster(1) as cluster, tempfile.TemporaryDirectory(prefix="stream-app-latency-") as folder:
        return _rows("latency.kafka", "Kafka", asyncio.run(_run(scale, f"kafka://{cluster.bootstrap}", Path(folder))))


def run_embedded(scale: Scale) -> list[Measurement]:
    """Measure on the embedded log."""
    use_all_cores()
    with tempfile.TemporaryDirectory(prefix="stream-app-latency-") as folder:
        url = f"sqlite:///{folder.lstrip('/')}/log.sqlite"
        return _rows("latency.embedded", "the embedded log", asyncio.run(_run(scale, url, Path(folder))))


def _rows(name: str, where: str, latencies_ms: list[float]) -> list[Measurement]:
    told = np.array(latencies_ms)
    median, p99 = np.percentile(told, [50, 99]).tolist()
    return [
        Measurement(
            name=name,
            what=f"event to change on {where}, {RATE:,} events/s, p99",
            unit="ms",
            value=p99,
            middle=median,
            floor=FLOOR_MS,
            goal=GOAL_MS,
            is_ceiling=True,
            notes=f"{len(told):,} changes; the median is that of the changes; {_KNOWN:,} customers known, "
            f"{NEW_SHARE:.0%} of the events of new ones",
        )
    ]


async def _run(scale: Scale, url: str, folder: Path) -> list[float]:
    seconds = SECONDS if scale.is_full else 2
    warm_up = WARM_UP_SECONDS if scale.is_full else 1
    known = _KNOWN if scale.is_full else scale.customers
    with await asyncio.to_thread(LiveApplication, url, PARTITIONS, folder) as application:
        log = await application.opened()
        reading = await application.opened()
        try:
            shards = WarmShards(scale, known)
            await shards.hand_over(log, application)
            events = shards.draw(RATE * (seconds + warm_up), NEW_SHARE)
            application.start_worker()
            sent = _Sent()
            reader = asyncio.create_task(_read(reading, application, sent))
            await _send(log, application, sent, events)
            await _settled(sent)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        finally:
            await log.stop()
            await reading.stop()
    # Until then a broker that was just started compiles its code, on half a core.
    kept = sent.latencies_ms[int(len(sent.latencies_ms) * warm_up / (seconds + warm_up)) :]
    if not kept:
        message = f"no change came: see {folder}"
        raise RuntimeError(message)
    return kept


async def _settled(sent: _Sent) -> None:
    """Wait until changes have come, and no more do; a loaded machine may take long to start a worker."""
    loop = asyncio.get_running_loop()
    count, since, deadline = 0, loop.time(), loop.time() + _PATIENCE_S
    while loop.time() < deadline and not (count and loop.time() - since > _SETTLE_S):
        if len(sent.latencies_ms) > count:
            count, since = len(sent.latencies_ms), loop.time()
        await asyncio.sleep(0.1)


async def _send(log: Log, application: LiveApplication, sent: _Sent, events: Events) -> None:
    per_step = int(RATE * STEP_S)
    begun = time.perf_counter()
    for step, start in enumerate(range(0, len(events.keys), per_step)):
        await _append(log, application, sent, events.part(start, start + per_step))
        ahead = begun + (step + 1) * STEP_S - time.perf_counter()
        await asyncio.sleep(max(ahead, 0.0))


async def _append(log: Log, application: LiveApplication, sent: _Sent, events: Events) -> None:
    outgoing = shared_out(application.topics.events, PARTITIONS, events)
    for own in outgoing:
        sent.times[own.partition] += [time.perf_counter()] * len(own)
    await log.append(outgoing)


async def _read(log: Log, application: LiveApplication, sent: _Sent) -> None:
    starts = {TopicPartition(application.topics.segment_changes, partition): 0 for partition in range(PARTITIONS)}
    async for partition, records in log.follow(starts):
        now = time.perf_counter()
        for record in records:
            offset = orjson.loads(record.value or b"")["source"].get("offset")
            if offset is not None:
                sent.latencies_ms.append(1000.0 * (now - sent.times[partition.partition][offset]))
