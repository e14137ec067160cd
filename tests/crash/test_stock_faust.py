"""The crash tests can tell a build that loses its place from one that does not: a stock Faust table counts wrongly."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from pathlib import Path

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.port import Outgoing, TopicPartition

APP = Path(__file__).parents[2] / "benchmarks" / "peers" / "faust_table.py"
PARTITIONS = 4
EVENTS = 3_000
CUSTOMERS = 50
DEADLINE_S = 180.0


async def _make(bootstrap: str, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    finally:
        await admin.close()


async def _end(log: KafkaLog, topic: str) -> int:
    return sum([(await log.bounds(TopicPartition(topic, p))).stable_end for p in range(PARTITIONS)])


async def _until(log: KafkaLog, topic: str, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while await _end(log, topic) < count:
        assert time.monotonic() < deadline, f"{topic} has not {count} records"
        await asyncio.sleep(0.02)


async def _counts(log: KafkaLog, topic: str) -> int:
    """Give the sum of the counts of all customers, from the last record of each in the changelog."""
    last: dict[bytes | None, int] = {}
    for partition in range(PARTITIONS):
        own = TopicPartition(topic, partition)
        async for records in log.read(own, 0, (await log.bounds(own)).stable_end):
            for record in records:
                last[record.key] = orjson.loads(record.value or b"[0]")[0]
    return sum(last.values())


def test_a_stock_faust_table_counts_events_twice_or_not_at_all_when_it_is_killed(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    name = f"stock-{uuid.uuid4().hex[:10]}"
    events, outputs = f"{name}-events", f"{name}-outputs"

    async def run() -> int:
        await _make(kafka_bootstrap, events, outputs, f"{name}-totals-changelog")
        log = KafkaLog(kafka_bootstrap, name)
        await log.start()
        try:
            for partition in range(PARTITIONS):
                own = range(partition, EVENTS, PARTITIONS)
                keys = [b"c%d" % (PARTITIONS * (number % CUSTOMERS) + partition) for number in own]
                values = [b'{"amount":1.0}' for _ in own]
                await log.append([Outgoing(events, partition, values, keys)])
            command = [sys.executable, str(APP), kafka_bootstrap, name, events, outputs, str(tmp_path)]
            changelog = f"{name}-totals-changelog"
            for wanted in (EVENTS // 3, EVENTS):
                with (tmp_path / "faust.log").open("ab") as output:
                    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
                try:
                    await _until(log, changelog, wanted)
                    # What the second life repeats comes after the end, if it repeats anything.
                    await asyncio.sleep(0.0 if wanted < EVENTS else 10.0)
                finally:
                    process.kill()
                    process.wait()
            return await _counts(log, changelog)
        finally:
            await log.stop()

    counted = asyncio.run(run())
    print(f"events={EVENTS} counted={counted}")
    assert counted != EVENTS
