"""What Faust itself would send; shards, learner and tools write through the log port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

from faust.transport import base
from faust.types import TP, RecordMetadata

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.adapters.log.sqlite.writing import Committer, Submission

_MS_PER_S = 1000


class SqliteProducer(base.Producer):
    """Appends records one by one: for what is rare."""

    allow_headers = True

    def __init__(self, transport: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(transport, *arguments, **named)
        self._path: Path = transport.path

    async def on_start(self) -> None:
        """Connect."""
        await super().on_start()
        self._committer = Committer(self._path, self.app.conf.id)

    async def on_stop(self) -> None:
        """Write what still waits and close."""
        await self.flush()
        await self._committer.close()
        await super().on_stop()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[Any]:
        """Begin to append a record; the task that is given ends with where it stands."""
        return asyncio.ensure_future(
            self.send_and_wait(topic, key, value, partition, timestamp, headers, transactional_id=transactional_id)
        )

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        """Append a record and tell where it stands."""
        if transactional_id is not None:
            message = "the embedded log takes transactions through its port, not through Faust"
            raise LogError(message)
        at = TP(topic, partition) if partition is not None else self.key_partition(topic, key or b"")
        timestamp_ms = time.time_ns() // 1_000_000 if timestamp is None else int(timestamp * _MS_PER_S)
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
        outgoing = Outgoing(topic, at.partition, [value], [key], [pairs], [timestamp_ms])
        [offset] = await self._committer.submit(Submission([outgoing], {}))
        return RecordMetadata(topic, at.partition, at, offset, timestamp_ms, 0)

    async def flush(self) -> None:
        """Wait until everything that was buffered is written."""
        await self.buffer.flush()

    async def create_topic(self, topic: str, partitions: int, replication: int, **_settings: Any) -> None:
        """Make a topic unless it is there; replication and other settings mean nothing here."""
        ensure_plans(self._path, [TopicPlan(topic, partitions)])

    def key_partition(self, topic: str, key: bytes) -> Any:
        """Give the partition of a key."""
        count = self.app.consumer.topic_partitions(topic)
        if count is None:
            message = f"log {self._path} has no topic {topic}, or the app does not read it: name a partition"
            raise LogError(message)
        return TP(topic, int(partitions_of([key], count)[0]))

    def supports_headers(self) -> bool:
        """Tell that records have headers."""
        return True
