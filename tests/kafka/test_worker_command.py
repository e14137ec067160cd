"""The worker as operators start it, on a real broker: it segments, ends as it is told to, and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_app.adapters.log.kafka.admin import create_topics
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from tests.kafka.kafka_case import SettledLog
from tests.kafka.workers import WorkerProcess, wait_until
from tests.log.clients import read_all

PARTITIONS = 2
CUSTOMERS = 300
DAY_MS = 86_400_000
BEGIN_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
FAUST_WEB_PORT = 6066
Start = Callable[..., WorkerProcess]


@pytest.fixture
def topics() -> Topics:
    """Names of an application of its own."""
    app = f"app-{uuid.uuid4().hex[:12]}"
    return Topics(app, f"{app}-events")


@pytest.fixture
def start(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[Start]:
    """Start a worker with settings from the environment."""
    workers: list[WorkerProcess] = []
    settings = {
        "STREAM_APP_LOG": f"kafka://{kafka_bootstrap}",
        "STREAM_APP_APP": topics.app,
        "STREAM_APP_EVENTS": topics.events,
        "STREAM_APP_TICKS": "none",
    }

    def start_one(name: str, arguments: Sequence[str]) -> WorkerProcess:
        worker = WorkerProcess(name, tmp_path, arguments, settings)
        workers.append(worker)
        return worker

    yield start_one
    for worker in workers:
        worker.clear_away()


OURS = ["-m", "stream_app", "worker"]
FAUSTS = ["-m", "faust", "-A", "stream_app.worker", "worker"]
COMMANDS = pytest.mark.parametrize("command", [OURS, FAUSTS], ids=["stream-app", "faust"])


def purchases(day: int, count: int) -> Iterator[tuple[str, bytes, int]]:
    """Purchases of a day: customer, event and time."""
    draw = random.Random(day)
    for number in range(count):
        customer = f"c{draw.randrange(CUSTOMERS)}"
        time_ms = BEGIN_MS + day * DAY_MS + number * DAY_MS // count
        event = {
            "event_id": f"{day}-{number}",
            "customer_id": customer,
            "type": "purchase",
            "occurred_at": datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(),
            "amount": round(draw.lognormvariate(3, 1), 2),
        }
        yield customer, json.dumps(event).encode(), time_ms


async def append(bootstrap: str, topics: Topics, days: range) -> None:
    log = SettledLog(bootstrap, "feed")
    await log.start()
    for day in days:
        rows = list(purchases(day, 1000))
        places = partitions_of([customer.encode() for customer, _, _ in rows], PARTITIONS)
        for partition in range(PARTITIONS):
            own = [row for row, place in zip(rows, places, strict=True) if place == partition]
            keys, values, times = [row[0].encode() for row in own], [row[1] for row in own], [row[2] for row in own]
            await log.append([Outgoing(topics.events, partition, values, keys, None, times)])
    await log.stop()


async def lag(bootstrap: str, topics: Topics) -> int:
    log = SettledLog(bootstrap, topics.app)
    await log.start()
    sources = [TopicPartition(topics.events, number) for number in range(PARTITIONS)]
    positions = await log.committed(sources)
    ends = [(await log.bounds(source)).end for source in sources]
    await log.stop()
    return sum(ends) - sum(positions.values())


async def changes(bootstrap: str, topics: Topics) -> list[Mapping[str, object]]:
    log = SettledLog(bootstrap, "reader")
    await log.start()
    partitions = [TopicPartition(topics.segment_changes, number) for number in range(PARTITIONS)]
    told = [record for partition in partitions for record in await read_all(log, partition)]
    await log.stop()
    return [json.loads(record.value or b"") for record in told]


def check_sequences(told: Sequence[Mapping[str, object]]) -> None:
    """Check that the changes of each customer are there once each, in order."""
    seen: dict[object, int] = {}
    for change in told:
        seen[change["customer_id"]] = seen.get(change["customer_id"], 0) + 1
        assert change["sequence"] == seen[change["customer_id"]]
    assert len({change["change_id"] for change in told}) == len(told)


@COMMANDS
def test_a_worker_segments_stops_when_told_and_goes_on_where_it_was(
    command: list[str], kafka_bootstrap: str, topics: Topics, start: Start
) -> None:
    create_topics(kafka_bootstrap, topics, PARTITIONS, 1)
    asyncio.run(append(kafka_bootstrap, topics, range(3)))
    first = start("first", command)
    wait_until(lambda: first.process.poll() is not None or asyncio.run(lag(kafka_bootstrap, topics)) == 0, [first])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", FAUST_WEB_PORT)) != 0, "Faust's web pages show what is in memory"
    assert first.end(signal.SIGTERM) == 0, first.output()
    told = asyncio.run(changes(kafka_bootstrap, topics))
    assert len(told) >= CUSTOMERS
    check_sequences(told)
    asyncio.run(append(kafka_bootstrap, topics, range(3, 5)))
    second = start("second", command)
    wait_until(lambda: second.process.poll() is not None or asyncio.run(lag(kafka_bootstrap, topics)) == 0, [second])
    assert second.end(signal.SIGTERM) == 0, second.output()
    more = asyncio.run(changes(kafka_bootstrap, topics))
    assert len(more) > len(told)
    check_sequences(more)


@COMMANDS
def test_a_cluster_that_does_not_fit_ends_the_worker_with_what_to_do(command: list[str], start: Start) -> None:
    worker = start("worker", command)
    assert worker.process.wait(60) == 2, worker.output()
    assert "there is no such topic" in worker.output()
    assert "stream-app topics create" in worker.output()
    assert "Traceback" not in worker.output()


def test_settings_that_cannot_be_used_are_told_in_a_line_each(tmp_path: Path) -> None:
    settings = {"STREAM_APP_LOG": "redis://x", "STREAM_APP_TICKS": "no"}
    worker = WorkerProcess("worker", tmp_path, OURS, settings)
    assert worker.process.wait(60) == 2
    assert [line.partition(":")[0].strip() for line in worker.output().splitlines()] == [
        "stream-app",
        "STREAM_APP_LOG",
        "STREAM_APP_TICKS",
    ]
