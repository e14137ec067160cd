"""From options to what a Faust app is built of: the worker on its log, checked before it starts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from stream_app.adapters.codec.flat_scan import compile_scan
from stream_app.adapters.faust_app import End, Hosting
from stream_app.adapters.log.opening import open_log
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.adapters.log.sqlite.role import WorkerRole
from stream_app.adapters.log.topic_setup import check_topics, create_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import LogUrl, SqliteUrl
from stream_app.domain.policy import Policy
from stream_app.engine.compilation import compile_all
from stream_app.streaming.metrics import Metrics, PopulationCollector
from stream_app.streaming.metrics_server import MetricsServer
from stream_app.streaming.worker import Worker, WorkerSetup

_NS_PER_MS = 1_000_000

logger = logging.getLogger(__name__)


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
    metrics_host, metrics_port
        Where metrics and health are served; port None: nowhere, 0: at a free one.
    sets_up_logging
        True: logging is set up already.
    """

    url: LogUrl
    topics: Topics
    policy: Policy
    ticks_by_wall_clock: bool = True
    trusts_keys: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    sets_up_logging: bool = False


class HostedWorker:
    """A worker, the client of its log and the server of its metrics, opened and closed together.

    Parameters
    ----------
    worker
        Owns shards.
    log
        Started.
    metrics
        Started, or None.
    role
        On an embedded log, which has one worker at a time.
    """

    def __init__(self, worker: Worker, log: Log, metrics: MetricsServer | None, role: WorkerRole | None) -> None:
        self._worker = worker
        self._log = log
        self._metrics = metrics
        self._role = role

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
        if self._metrics is not None:
            self._metrics.stop()
        if self._role is not None:
            self._role.release()


def hosting(options: WorkerOptions) -> Hosting:
    """Give what a Faust app is built of; nothing is connected to before the app starts."""

    async def open_runtime(end: End) -> HostedWorker:
        # The first thing of all: a second worker on one file must not touch anything.
        role = WorkerRole(options.url.path) if isinstance(options.url, SqliteUrl) else None
        for own in (compile_all, compile_scan):
            await asyncio.to_thread(own)
        count = await asyncio.to_thread(_checked_partition_count, options)
        log = open_log(options.url, options.topics.app)
        await log.start()
        setup = WorkerSetup(
            options.policy, options.topics, count, options.ticks_by_wall_clock, trusts_keys=options.trusts_keys
        )
        registry = CollectorRegistry()
        worker = Worker(setup, log, Metrics(registry, wall_clock_ms), wall_clock_ms, end)
        registry.register(PopulationCollector(worker, options.policy))
        return HostedWorker(worker, log, _served(options, registry, worker), role)

    return Hosting(options.url, options.topics, open_runtime, options.sets_up_logging)


def _served(options: WorkerOptions, registry: CollectorRegistry, worker: Worker) -> MetricsServer | None:
    if options.metrics_port is None:
        return None
    server = MetricsServer(registry, is_alive=lambda: True, is_ready=lambda: worker.is_ready)
    server.start(options.metrics_host, options.metrics_port)
    logger.info("metrics served host=%s port=%s", options.metrics_host, server.port)
    return server


def _checked_partition_count(options: WorkerOptions) -> int:
    if isinstance(options.url, SqliteUrl):
        # A file belongs to this application alone; on a cluster, making topics is a decision of its owners.
        create_topics(options.url, options.topics, None, None)
    return check_topics(options.url, options.topics)


def wall_clock_ms() -> int:
    """Give the time of this machine, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // _NS_PER_MS
