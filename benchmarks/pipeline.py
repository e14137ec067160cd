"""Events a second through a whole worker: decode, score, tiers, state, outputs, exactly once."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from benchmarks.live_application import Events, LiveApplication, learned_knowledge
from benchmarks.measurement import Measurement
from benchmarks.scale import Scale

CUSTOMERS = 100_000
EVENTS = 1_000_000
PARTITIONS = 4


def run_embedded(scale: Scale) -> list[Measurement]:
    """Measure the worker on the embedded log."""
    with tempfile.TemporaryDirectory(prefix="stream-app-pipeline-") as folder:
        url = f"sqlite:///{folder.lstrip('/')}/log.sqlite"
        return [_measure(scale, url, Path(folder), ("pipeline.embedded", "on the embedded log", 50_000, 100_000))]


def run_kafka(scale: Scale) -> list[Measurement]:
    """Measure the worker on Kafka, with the broker on the same cores."""
    from tests.kafka.broker import KafkaCluster

    with KafkaCluster(1) as cluster, tempfile.TemporaryDirectory(prefix="stream-app-pipeline-") as folder:
        told = ("pipeline.kafka", "on Kafka, broker on the same cores", None, 100_000)
        return [_measure(scale, f"kafka://{cluster.bootstrap}", Path(folder), told)]


def use_all_cores() -> None:
    """Undo the binding to one core: broker, worker and load are processes of their own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _measure(scale: Scale, url: str, folder: Path, told: tuple[str, str, float | None, float]) -> Measurement:
    use_all_cores()
    name, where, floor, goal = told
    count = EVENTS if scale.is_full else 5_000
    rate = asyncio.run(worker_rate(scale, url, folder, count))
    return Measurement(
        name=name,
        what=f"events of {CUSTOMERS:,} customers through a worker {where}, every model in force, exactly once",
        unit="events/s",
        value=rate,
        floor=floor,
        goal=goal,
        notes=f"{count:,} events, {PARTITIONS} partitions, both cores",
    )


async def worker_rate(scale: Scale, url: str, folder: Path, count: int) -> float:
    """Let a worker work off so many events; gives events a second."""
    events = Events.drawn(count, CUSTOMERS)
    knowledge = learned_knowledge(scale)
    with await asyncio.to_thread(LiveApplication, url, PARTITIONS, folder) as application:
        log = await application.opened()
        try:
            await application.publish(log, knowledge)
            await application.fill(log, events)
            application.start_worker()
            return await application.rate(log, count)
        finally:
            await log.stop()
