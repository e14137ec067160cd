"""A cluster as the contract of every log wants it: topics on demand, and clients."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from kafka.admin import KafkaAdminClient

from stream_app.adapters.log.kafka.clients import server_list
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.port import Bounds, TopicPartition

POLL_S = 0.005
UNFINISHED = ["Ongoing", "PrepareCommit", "PrepareAbort"]


class SettledLog(KafkaLog):
    """A log that tells bounds and positions once no transaction is open any more.

    A broker answers a commit as soon as it is sure to happen, and shows it to readers some milliseconds later. The
    runtime waits for that where it recovers; tests that read what they have just written wait here.
    """

    async def bounds(self, partition: TopicPartition) -> Bounds:
        while True:
            bounds = await super().bounds(partition)
            if bounds.stable_end == bounds.end:
                return bounds
            await asyncio.sleep(POLL_S)

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await asyncio.to_thread(self._wait_for_transactions)
        return await super().committed(partitions)

    def _wait_for_transactions(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=server_list(self._bootstrap))
        try:
            while any(admin.list_transactions(state_filters=UNFINISHED).values()):
                time.sleep(POLL_S)
        finally:
            admin.close()


class KafkaCase:
    """A cluster under test.

    Parameters
    ----------
    bootstrap
        Its addresses.
    replication
        Replicas of a new topic.
    """

    def __init__(self, bootstrap: str, replication: int = 1) -> None:
        self.bootstrap = bootstrap
        self._replication = replication

    async def topic(self, partition_count: int = 1) -> str:
        """Make a new topic, which nothing cleans up, and give its name."""
        name = f"topic-{uuid.uuid4().hex}"
        admin = AIOKafkaAdminClient(bootstrap_servers=server_list(self.bootstrap))
        await admin.start()
        try:
            settings = {"retention.ms": "-1"}
            topic = NewTopic(name, partition_count, self._replication, topic_configs=settings)
            answer = await admin.create_topics([topic])
            assert [error for _, error, *_ in answer.topic_errors] == [0], answer
        finally:
            await admin.close()
        return name

    def open(self, group: str = "segments") -> KafkaLog:
        """Give another client, not yet started."""
        return SettledLog(self.bootstrap, group)
