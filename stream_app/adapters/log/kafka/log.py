"""The log port on Apache Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition as KafkaPartition

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.kafka.clients import REQUEST_TIMEOUT_MS, common_settings, new_reader
from stream_app.adapters.log.kafka.connections import connections_closed, watch_connections
from stream_app.adapters.log.kafka.loop_thread import LoopThread
from stream_app.adapters.log.kafka.writer import CLOSE_TIMEOUT_S, KafkaWriter, all_of, opened_producer, sent
from stream_app.adapters.log.port import Bounds, LogRecord, Outgoing, TopicPartition, Writer

ASK_AGAIN_S = 0.1
QUESTION_TIMEOUT_S = 60.0
"""How long an answer is waited for: the restart of a broker must fit in."""
POLL_MS = 1_000
"""How often a reader that gets nothing looks whether it is at its end."""

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class KafkaLog:
    """Topics and partitions of a Kafka cluster, as their clients see them; only committed records are read.

    A commit is durable when it returns; readers see it some milliseconds later, and all of it at about the same time.

    Parameters
    ----------
    bootstrap
        Addresses `host:port`, with commas between them.
    group
        Consumer group that positions are told to.
    """

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._admin: AIOKafkaAdminClient | None = None
        self._committed_view: AIOKafkaConsumer | None = None
        self._full_view: AIOKafkaConsumer | None = None
        self._appender: AIOKafkaProducer | None = None
        self._appender_lock = asyncio.Lock()
        self._writers: list[KafkaWriter] = []
        self._writing: LoopThread | None = None
        self._known: dict[str, int] = {}

    async def start(self) -> None:
        """Connect."""
        watch_connections()
        self._admin = AIOKafkaAdminClient(**common_settings(self._bootstrap))
        self._committed_view = new_reader(self._bootstrap)
        self._full_view = new_reader(self._bootstrap, is_committed_only=False)
        try:
            for client in (self._admin, self._committed_view, self._full_view):
                await self._answer(client.start(), f"connecting to {self._bootstrap}")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything that was opened."""
        for writer in self._writers:
            await writer.close()
        self._writers.clear()
        if self._writing is not None:
            await self._writing.run(connections_closed())
            await self._writing.stop()
            self._writing = None
        clients = [self._appender, self._committed_view, self._full_view]
        self._appender = self._committed_view = self._full_view = None
        for client in clients:
            if client is not None:
                await _stopped(client)
        if self._admin is not None:
            await self._admin.close()
            self._admin = None
        await connections_closed()

    async def writer(self, name: str) -> Writer:
        """Open the writer of an owner; from here on earlier ones of this name can commit no more."""
        if self._writing is None:
            self._writing = LoopThread("kafka-writers")
            self._writing.start()
        producer = await self._writing.run(opened_producer(self._bootstrap, name))
        writer = KafkaWriter(name, producer, self._group, self._writing)
        self._writers = [each for each in self._writers if not each.is_closed]
        self._writers.append(writer)
        return writer

    async def append(self, outgoing: Sequence[Outgoing]) -> None:
        """Write records that belong to no owner; each once, but not all or none."""
        async with self._appender_lock:
            if self._appender is None:
                self._appender = await opened_producer(self._bootstrap, None)
        deliveries = await self._answer(sent(self._appender, outgoing), "appending")
        flat = [delivery for batches in deliveries for delivery in batches]
        await self._answer(all_of(flat), "appending")

    async def bounds(self, partition: TopicPartition) -> Bounds:
        """Tell how far a partition reaches now."""
        await self._check_exists(partition)
        assert self._full_view is not None
        assert self._committed_view is not None
        asked = KafkaPartition(*partition)
        # All three only grow; in this order of asking, start <= stable_end <= end holds in spite of it.
        starts = await self._ask(self._full_view.beginning_offsets, [asked], f"asking for the start of {partition}")
        stable = await self._ask(self._committed_view.end_offsets, [asked], f"asking for the end of {partition}")
        ends = await self._ask(self._full_view.end_offsets, [asked], f"asking for the end of {partition}")
        return Bounds(starts[asked], stable[asked], ends[asked])

    async def partition_count(self, topic: str) -> int | None:
        """Give the number of a topic's partitions; None when there is no such topic."""
        assert self._admin is not None
        (told,) = await self._ask(self._admin.describe_topics, [topic], f"asking for topic {topic}")
        if told["error_code"] == UnknownTopicOrPartitionError.errno:
            return None
        if told["error_code"]:
            message = f"topic {topic}: the cluster answers with error {told['error_code']}"
            raise LogError(message)
        return len(told["partitions"])

    async def read(self, partition: TopicPartition, start: int, end: int) -> AsyncIterator[Sequence[LogRecord]]:
        """Read the committed records with `start <= offset < end`, in chunks, and stop there."""
        bounds = await self.bounds(partition)
        # What is behind an open transaction is not to be seen, and what does not exist yet is not waited for.
        position, end = max(start, bounds.start), min(end, bounds.stable_end)
        if position >= end:
            return
        asked = KafkaPartition(*partition)
        reader = new_reader(self._bootstrap)
        try:
            await self._answer(reader.start(), f"reading {partition}")
            reader.assign([asked])
            reader.seek(asked, position)
            while position < end:
                records = await self._next(reader, partition)
                # Holes move the position without giving records.
                position = await self._answer(reader.position(asked), f"reading {partition}")
                if records and records[-1].offset >= end:
                    records = [record for record in records if record.offset < end]
                if records:
                    yield records
        finally:
            await _stopped(reader)

    async def _next(self, reader: AIOKafkaConsumer, partition: TopicPartition) -> Sequence[LogRecord]:
        asked = KafkaPartition(*partition)
        try:
            got: dict[KafkaPartition, list[LogRecord]] = await reader.getmany(timeout_ms=POLL_MS)
        except OffsetOutOfRangeError:
            # It was truncated under the reader's hands: what is gone is gone, as if it had begun a moment later.
            reader.seek(asked, (await self.bounds(partition)).start)
            return []
        except KafkaError as error:
            raise _failed(error, "reading", partition) from error
        return got.get(asked, [])

    async def follow(
        self, starts: Mapping[TopicPartition, int]
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[LogRecord]]]:
        """Read committed records from these offsets on, and wait for more without end; outside of any group."""
        reader = new_reader(self._bootstrap)
        try:
            await self._answer(reader.start(), "following")
            reader.assign([KafkaPartition(*partition) for partition in starts])
            for partition, start in starts.items():
                reader.seek(KafkaPartition(*partition), await self._followed_from(partition, start))
            while True:
                try:
                    got = await reader.getmany(timeout_ms=POLL_MS)
                except OffsetOutOfRangeError as error:
                    message = f"a follower was too slow, and what it wanted to read next is gone: {error}"
                    raise LogError(message) from error
                except KafkaError as error:
                    raise _failed(error, "following") from error
                for partition, records in got.items():
                    yield TopicPartition(partition.topic, partition.partition), records
        finally:
            await _stopped(reader)

    async def _followed_from(self, partition: TopicPartition, start: int) -> int:
        bounds = await self.bounds(partition)
        if start > bounds.end:
            message = (
                f"{partition.topic}-{partition.partition} ends at {bounds.end} and cannot be followed from {start}: "
                "was the topic created anew?"
            )
            raise LogError(message)
        return max(start, bounds.start)

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        """Let the log forget records with `offset < before`; it may keep some of them."""
        assert self._admin is not None
        wish = {KafkaPartition(*partition): RecordsToDelete(before_offset=before)}
        await self._ask(self._admin.delete_records, wish, f"truncating {partition} before {before}")

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the group's positions, of those partitions that have one."""
        assert self._admin is not None
        if not partitions:
            return {}
        asked = [KafkaPartition(*partition) for partition in partitions]
        question = partial(self._admin.list_consumer_group_offsets, self._group, None)
        told = await self._ask(question, asked, f"asking for the positions of group {self._group}")
        return {TopicPartition(*partition): at.offset for partition, at in told.items() if at.offset >= 0}

    async def _check_exists(self, partition: TopicPartition) -> None:
        # aiokafka waits without end for the offsets of a partition that does not exist.
        if partition.partition < self._known.get(partition.topic, 0):
            return
        count = await self.partition_count(partition.topic)
        if count is None or partition.partition >= count:
            found = "no such topic" if count is None else f"it has {count} partitions"
            message = f"{partition.topic}-{partition.partition} does not exist ({found}): create it, or mend its name"
            raise LogError(message)
        self._known[partition.topic] = count

    async def _ask(self, question: Callable[[Any], Awaitable[Any]], about: Any, what: str) -> Any:
        """Ask until there is an answer: a cluster that is moving its leaders about says that it cannot tell yet."""

        async def patient() -> Any:
            while True:
                try:
                    return await question(about)
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    logger.info("asking again what=%s error=%r", what, error)
                await asyncio.sleep(ASK_AGAIN_S)

        return await self._answer(patient(), what)

    async def _answer(self, question: Awaitable[Answer], what: str) -> Answer:
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S):
                return await question
        except TimeoutError as error:
            message = (
                f"{what} on {self._bootstrap}: no answer in {QUESTION_TIMEOUT_S} s: see whether the cluster is healthy"
            )
            raise LogError(message) from error
        except KafkaError as error:
            raise _failed(error, what) from error


def _failed(error: KafkaError, *what: object) -> LogError:
    return LogError(f"{' '.join(map(str, what))}: {error!r}")


async def _stopped(client: Any) -> None:
    """Close a client, without waiting for a cluster that does not answer."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S + REQUEST_TIMEOUT_MS / 1000):
            await client.stop()
    except (KafkaError, TimeoutError):
        await client._client.close()
