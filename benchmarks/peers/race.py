"""A worker beside its peers on the same events, on one broker, one after the other."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.live_application import Events, fill_topic
from benchmarks.measurement import Measurement
from benchmarks.peers import programs
from benchmarks.pipeline import CUSTOMERS, PARTITIONS, use_all_cores, worker_rate
from benchmarks.scale import Scale
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.port import Log, TopicPartition
from tests.kafka.broker import KafkaCluster

EVENTS, SLOW_EVENTS = 1_000_000, 100_000
ROUNDS_FULL = 3
"""Taken in turns, the best of each counts: a broker that was just started is slow to whoever comes first."""
FLOOR, GOAL, FAUST_FLOOR = 1.0, 1.5, 20.0
_WAIT_S = 300.0
_POLL_S = 0.05


def run(scale: Scale) -> list[Measurement]:
    """Measure all of them; each figure is from the first output or commit that is seen to the last."""
    use_all_cores()
    count = EVENTS if scale.is_full else 4_000
    slow_count = SLOW_EVENTS if scale.is_full else 4_000
    with KafkaCluster(1) as cluster, tempfile.TemporaryDirectory(prefix="stream-app-peers-") as folder:
        race = _Race(cluster.bootstrap, Path(folder))
        rounds = []
        for _ in range(ROUNDS_FULL if scale.is_full else 1):
            own = asyncio.run(worker_rate(scale, f"kafka://{cluster.bootstrap}", Path(folder), count))
            rounds.append((own, asyncio.run(race.peer(programs.kafka_streams, count))))
        ours, streams = (max(rates) for rates in zip(*rounds, strict=True))
        quix = asyncio.run(race.peer(programs.quix_streams, slow_count))
        stock = asyncio.run(race.peer(programs.faust_table, slow_count))
    told = f"{count:,} events of {CUSTOMERS:,} customers, {PARTITIONS} partitions, broker on the same cores; rounds: "
    told += ", ".join(f"{own / peer:.2f}" for own, peer in rounds)
    return [
        _row("peers.ours", "the whole worker: scoring, tiers, state, outputs, exactly once", ours, told),
        _row(
            "peers.kafka_streams", "Kafka Streams, exactly_once_v2, 1 thread: count, sum, every 4th told", streams, told
        ),
        _row("peers.quix", "Quix Streams, exactly once: the same simple job", quix, f"{slow_count:,} events"),
        _row("peers.faust", "stock Faust table: the same simple job", stock, f"{slow_count:,} events"),
        _ratio("peers.to_kafka_streams", "the worker against Kafka Streams", ours / streams, FLOOR, GOAL),
        _ratio("peers.to_faust", "the worker against stock Faust", ours / stock, FAUST_FLOOR, None),
    ]


def _row(name: str, what: str, rate: float, notes: str) -> Measurement:
    return Measurement(name=name, what=what, unit="events/s", value=rate, notes=notes)


def _ratio(name: str, what: str, value: float, floor: float, goal: float | None) -> Measurement:
    return Measurement(name=name, what=what, unit="times", value=value, floor=floor, goal=goal)


class _Race:
    """Runs one after the other."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap, self._folder = bootstrap, folder

    async def peer(self, command: Callable[[], list[str]], count: int) -> float:
        name = f"peer-{uuid.uuid4().hex[:10]}"
        topics = (f"{name}-events", f"{name}-outputs")
        await self._make(topics)
        log = KafkaLog(self._bootstrap, name)
        await log.start()
        try:
            await fill_topic(log, topics[0], PARTITIONS, Events.drawn(count, CUSTOMERS))
            data = self._folder / name
            data.mkdir()
            arguments = [self._bootstrap, name, *topics, str(data)]
            with (self._folder / f"{name}.log").open("wb") as output:
                process = subprocess.Popen(
                    [*await asyncio.to_thread(command), *arguments], stdout=output, stderr=subprocess.STDOUT
                )
            try:
                return await self._rate(log, topics[1], count, process)
            finally:
                process.kill()
                process.wait()
        finally:
            await log.stop()

    async def _make(self, topics: tuple[str, ...]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            settings = {"retention.ms": "-1"}
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=settings) for topic in topics])
        finally:
            await admin.close()

    async def _rate(self, log: Log, topic: str, count: int, process: subprocess.Popen[bytes]) -> float:
        """Count outputs that are committed: one for four events of a task, so within a few of a quarter of all."""
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        positions = dict.fromkeys(partitions, 0)
        wanted, seen = count // 4 - PARTITIONS, 0
        first: tuple[int, float] | None = None
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            for partition in partitions:
                end = (await log.bounds(partition)).stable_end
                async for records in log.read(partition, positions[partition], end):
                    seen += len(records)
                positions[partition] = end
            now = time.perf_counter()
            if first is None and seen:
                first = (seen, now)
            if seen >= wanted and first is not None:
                return 4.0 * (seen - first[0]) / max(now - first[1], 1e-9)
            if process.poll() is not None:
                break
            await asyncio.sleep(_POLL_S)
        message = (
            f"{seen} of {wanted} outputs: {[path.read_text()[-1500:] for path in self._folder.glob('peer-*.log')]}"
        )
        raise RuntimeError(message)
