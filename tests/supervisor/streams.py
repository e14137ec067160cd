"""Streams of events for feeds, and logs to feed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.port import LogRecord, TopicPartition
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.supervisor.event_stream import EventSlice

TOPICS = Topics("shop", "events")
PARTITION_COUNT = 2
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class NumberedStream:
    """Events numbered from 0, of a few customers, in slices.

    Parameters
    ----------
    times_ms
        Shape `(n,)`, never falling.
    slice_length
        Events in each slice.
    identity
        What tells it from others.
    """

    times_ms: NDArray[np.int64]
    slice_length: int = 7
    identity: str = "numbered"

    def slices(self, position: int) -> Iterator[EventSlice]:
        whole = EventSlice(
            self.times_ms,
            [b"c%d" % (number % 5) for number in range(len(self.times_ms))],
            [b'{"event_id":"%d"}' % number for number in range(len(self.times_ms))],
        )
        for start in range(position, len(whole), self.slice_length):
            yield whole[start : start + self.slice_length]


def some_days(count: int = 60, seed: int = 1) -> NumberedStream:
    """Make a stream with busy hours, empty hours, and several events at one time."""
    gaps_ms = np.random.default_rng(seed).choice([0, 1000, 20 * 60_000, HOUR_MS, 5 * HOUR_MS], count)
    return NumberedStream(10**12 + np.cumsum(gaps_ms).astype(np.int64))


def empty_log(folder: Path) -> SqliteLog:
    """Make a log with the application's topics."""
    ensure_topics(folder / "log.sqlite", TOPICS, PARTITION_COUNT)
    return SqliteLog(folder / "log.sqlite", TOPICS.app)


async def read_topic(log: SqliteLog, topic: str) -> list[list[LogRecord]]:
    """Read all records of a topic, partition by partition."""
    partitions: list[list[LogRecord]] = []
    for number in range(PARTITION_COUNT):
        partition = TopicPartition(topic, number)
        bounds = await log.bounds(partition)
        partitions.append([record async for part in log.read(partition, bounds.start, bounds.end) for record in part])
    return partitions
