"""`stream-app produce` and `stream-app changes` on a real broker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2

from stream_app.adapters.log.kafka.admin import create_topics
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.port import LogRecord, Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from tests.log.clients import read_all

ROOT = Path(__file__).parents[2]
PARTITIONS = 3
DEADLINE_S = 180
"""Starting a process takes seconds on a busy machine."""
CHANGE = json.loads((ROOT / "schemas" / "segment_changed.v1.json").read_text())["examples"][0]


@pytest.fixture
def topics(kafka_bootstrap: str) -> Topics:
    """Topics that no other test has."""
    app = f"app-{uuid.uuid4().hex[:12]}"
    topics = Topics(app, f"{app}-events")
    create_topics(kafka_bootstrap, topics, PARTITIONS, 1)
    return topics


def command(*arguments: str) -> str:
    line = [sys.executable, "-m", "stream_app", *arguments]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_produced_events_are_there_once_where_kafka_clients_would_put_them(
    kafka_bootstrap: str, topics: Topics, tmp_path: Path
) -> None:
    shop = str(tmp_path / "shop.csv")
    told = command("simulate", "--customers", "300", "--days", "100", "--seed", "5", "--out", shop)
    count = int(told.split(": ")[1].split(" ")[0].replace(",", ""))
    url = f"kafka://{kafka_bootstrap}"
    told = command("produce", shop, "--log", url, "--topic", topics.events)
    assert told.splitlines()[0] == f"{topics.events}: {count:,} events written to {url}"

    async def read() -> list[list[LogRecord]]:
        log = KafkaLog(kafka_bootstrap, "test")
        await log.start()
        try:
            return [await read_all(log, TopicPartition(topics.events, number)) for number in range(PARTITIONS)]
        finally:
            await log.stop()

    ids = set()
    for number, records in enumerate(asyncio.run(read())):
        times_ms = [record.timestamp for record in records]
        assert times_ms == sorted(times_ms)
        for record in records:
            event = json.loads(record.value or b"")
            assert record.key == event["customer_id"].encode()
            assert (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS == number
            ids.add((event["customer_id"], event["event_id"]))
    assert len(ids) == count


def test_changes_are_followed_as_they_come(kafka_bootstrap: str, topics: Topics) -> None:
    def append(names: list[str]) -> None:
        async def run() -> None:
            log = KafkaLog(kafka_bootstrap, "test")
            await log.start()
            values = [json.dumps(CHANGE | {"customer_id": name}).encode() for name in names]
            await log.append([Outgoing(topics.segment_changes, 1, values)])
            await log.stop()

        asyncio.run(run())

    append(["a", "b", "c"])
    arguments = ["changes", "--log", f"kafka://{kafka_bootstrap}", "--app", topics.app]
    shown = [json.loads(line)["customer_id"] for line in command(*arguments, "--json").splitlines()]
    assert shown == ["a", "b", "c"]
    line = [sys.executable, "-m", "stream_app", *arguments, "--follow", "--last", "1"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "  c  value: small -> big" in following.stdout.readline()
        append(["d"])
        assert "  d  value: small -> big" in following.stdout.readline()
        following.terminate()
