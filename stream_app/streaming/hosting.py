"""From options to what a Faust app is built of: the worker on its log, checked before it starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stream_app.adapters.faust_app import End, Hosting
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.adapters.log.topic_setup import check_topics, create_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import LogUrl, SqliteUrl
from stream_app.domain.policy import Policy
from stream_app.streaming.reports import NobodyWatches
from stream_app.streaming.worker import Worker, WorkerSetup

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What an operator decides about a worker.

    Parameters
    ----------
    url
        Of the log.
    topics
        Names of the topics.
    policy
        What people decide.
    ticks_by_wall_clock
        True: time passes by the wall clock; False: only by what stands in the topics.
    trusts_keys
        True: a record's key need not be its customer's id.
    sets_up_logging
        True: logging is set up already.
    """

    url: LogUrl
    topics: Topics
    policy: Policy
    ticks_by_wall_clock: bool = True
    trusts_keys: bool = False
    sets_up_logging: bool = False


class HostedWorker:
    """A worker and the client of its log, opened and closed together.

    Parameters
    ----------
    worker
        Owns shards.
    log
        Started.
    """

    def __init__(self, worker: Worker, log: Log) -> None:
        self._worker = worker
        self._log = log

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        """Take over what is new; see `Worker.assign`."""
        return await self._worker.assign(partitions, owns_learner)

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        """Give partitions up; see `Worker.revoke`."""
        await self._worker.revoke(partitions, lost_learner)

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        """Take in records; see `Worker.hand_over`."""
        await self._worker.hand_over(partition, records)

    def wants(self, partition: TopicPartition) -> bool:
        """Tell whether there is room; see `Worker.wants`."""
        return self._worker.wants(partition)

    async def run(self) -> None:
        """Watch over the worker until cancelled."""
        await self._worker.run()

    async def stop(self) -> None:
        """Give everything up, and close the log."""
        await self._worker.stop()
        await self._log.stop()


def hosting(options: WorkerOptions) -> Hosting:
    """Give what a Faust app is built of; nothing is connected to before the app starts."""

    async def open_runtime(end: End) -> HostedWorker:
        count = await asyncio.to_thread(_checked_partition_count, options)
        log = open_log(options.url, options.topics.app)
        await log.start()
        setup = WorkerSetup(
            options.policy, options.topics, count, options.ticks_by_wall_clock, trusts_keys=options.trusts_keys
        )
        return HostedWorker(Worker(setup, log, NobodyWatches(), wall_clock_ms, end), log)

    return Hosting(options.url, options.topics, open_runtime, options.sets_up_logging)


def _checked_partition_count(options: WorkerOptions) -> int:
    if isinstance(options.url, SqliteUrl):
        # A file belongs to this application alone; on a cluster, making topics is a decision of its owners.
        create_topics(options.url, options.topics, None, None)
    return check_topics(options.url, options.topics)


def wall_clock_ms() -> int:
    """Give the time of this machine, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // _NS_PER_MS
