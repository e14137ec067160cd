"""The worker: all shards that this process owns, the learner if it owns it, and what they share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from stream_app.adapters.log.errors import FencedError, LogError, UnusableLogError
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import StreamAppError
from stream_app.domain.policy import Policy
from stream_app.engine import Engine
from stream_app.learning.learner import Learner
from stream_app.streaming.draft import DRAFT_ROWS_MAX
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.learner_task import LearnerTask
from stream_app.streaming.persistence import keep_opening
from stream_app.streaming.reports import Observer
from stream_app.streaming.shard import ShardSetup
from stream_app.streaming.shard_task import Services, ShardTask
from stream_app.streaming.ticker import Ticker

LEARNER_WAITING_MAX = 2_000
"""Records of the learner's input that may wait in memory: at most 1.8 GB if all were full, some 100 MB as they are."""
RECOVERED_TOGETHER = 2
"""Shards that are recovered at a time: each holds up to 80 MB of what it has fetched, and they share a core anyway."""
FENCED_WAIT_S = 60.0
"""How long a shard that was fenced waits to be revoked, before the worker ends: a rebalance takes a quarter of it."""
PROGRESS_CHECK_S = 5.0
NO_PROGRESS_S = 180.0
"""Waiting records and no commit for so long, while the log answers, is a defect: the supervisor has to begin anew. It
is longer than any wait for knowledge."""

_logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """How a worker ends."""

    DONE = 0
    DEFECT = 1
    """An error of our own code; nothing of the batch was committed."""
    REFUSED = 2
    """State, settings and log do not fit: a person has to decide."""
    TRY_AGAIN = 70
    """The log failed too often, or there was no progress: a supervisor starts the worker again."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker is told.

    Parameters
    ----------
    policy
        What people decide.
    topics
        Names of the topics.
    partition_count
        Partitions of the events.
    ticks_by_wall_clock
        True: the owner of the learner tells each minute that time has passed.
    trusts_keys, rows_max
        See `ShardSetup`.
    """

    policy: Policy
    topics: Topics
    partition_count: int
    ticks_by_wall_clock: bool = True
    trusts_keys: bool = False
    rows_max: int = DRAFT_ROWS_MAX


class Worker:
    """Owns shards while they are assigned to this process.

    Parameters
    ----------
    setup
        What it is told.
    log
        Started.
    observer
        Whoever measures.
    clock_ms
        Wall clock, in milliseconds since 1970-01-01 UTC.
    end
        Called once with how the process has to end, when something cannot be mended here.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        log: Log,
        observer: Observer,
        clock_ms: Callable[[], int],
        end: Callable[[ExitCode, str], None],
    ) -> None:
        self._setup, self._log, self._end = setup, log, end
        self._feed = KnowledgeFeed(log, setup.topics.knowledge, Learner(setup.policy).knowledge)
        self._services = Services(log, self._feed, observer, clock_ms)
        self._shards: dict[int, ShardTask] = {}
        self._learner: LearnerTask | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._recovering = asyncio.Semaphore(RECOVERED_TOGETHER)
        self._revoking: set[str] = set()
        self._fenced: set[str] = set()

    @property
    def shards(self) -> dict[int, ShardTask]:
        """Shards of this process by partition."""
        return self._shards

    def engines(self) -> list[Engine]:
        """Give the engines of the shards that are open."""
        return [task.shard.engine for task in list(self._shards.values()) if task.is_open]

    @property
    def is_ready(self) -> bool:
        """Tell whether everything that was assigned has been recovered."""
        return all(task.is_open for task in list(self._shards.values()))

    @property
    def learner(self) -> LearnerTask | None:
        """The learner, where this process owns it."""
        return self._learner

    @property
    def feed(self) -> KnowledgeFeed:
        """What the learner has told."""
        return self._feed

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        """Take over partitions that this process does not own yet, before any of their records flows.

        Parameters
        ----------
        partitions
            All partitions of the events that are assigned now.
        owns_learner
            Whether the learner's input is assigned.

        Returns
        -------
        dict[TopicPartition, int]
            Where to go on in events, ticks and the learner's input; of those that are new.
        """
        await self._feed.start()
        positions: dict[TopicPartition, int] = {}
        fresh = sorted(partitions - self._shards.keys())
        opened = [self._open_shard(partition) for partition in fresh]
        if owns_learner and self._learner is None:
            opened.append(self._open_learner())
        for told in await asyncio.gather(*opened):
            positions |= told
        return positions

    async def _open_shard(self, partition: int) -> dict[TopicPartition, int]:
        own = self._setup
        setup = ShardSetup(own.policy, own.topics, partition, own.partition_count, own.trusts_keys, own.rows_max)
        shard = self._shards[partition] = ShardTask(self._services, setup)
        async with self._recovering:
            positions = await self._opened(shard.open, f"shard {partition}")
        self._begin(f"shard-{partition}", shard.run)
        return positions

    async def _open_learner(self) -> dict[TopicPartition, int]:
        own = self._setup
        self._learner = LearnerTask(self._services, own.policy, own.topics, own.partition_count)
        positions = await self._opened(self._learner.open, "learner")
        self._begin("learner", self._learner.run)
        if own.ticks_by_wall_clock:
            self._begin("ticker", Ticker(self._services, own.topics, own.partition_count).run)
        return positions

    async def _opened(
        self, open_it: Callable[[], Awaitable[dict[TopicPartition, int]]], name: str
    ) -> dict[TopicPartition, int]:
        """Open a task; what cannot be mended here ends the process."""

        def failed(error: LogError) -> None:
            _logger.warning("opening is tried again task=%s error=%s", name, error)

        try:
            return await keep_opening(open_it, failed)
        except (StreamAppError, UnusableLogError) as error:
            self._end(ExitCode.REFUSED, f"{name}: {error}")
            raise
        except LogError as error:
            self._end(ExitCode.TRY_AGAIN, f"{name}: {error}")
            raise

    def _begin(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self._tasks[name] = asyncio.create_task(self._guard(name, run), name=name)

    async def _guard(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task; say how the process has to end if it fails."""
        try:
            await run()
        except FencedError as error:
            # The new owner must not be fenced in turn: wait for the rebalance that tells us.
            _logger.warning("fenced task=%s error=%s", name, error)
            self._fenced.add(name)
            await asyncio.sleep(FENCED_WAIT_S)
            if name not in self._revoking:
                self._end(ExitCode.TRY_AGAIN, f"{name}: another worker owns it, but it was not revoked here")
        except (StreamAppError, UnusableLogError) as error:
            self._end(ExitCode.REFUSED, f"{name}: {error}")
        except LogError as error:
            self._end(ExitCode.TRY_AGAIN, f"{name}: {error}")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            _logger.exception("defect task=%s", name)
            self._end(ExitCode.DEFECT, f"{name}: {type(error).__name__}: {error}")

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        """Give partitions up: begin nothing more, wait for running commits, close the writers."""
        names = [f"shard-{partition}" for partition in partitions]
        for partition in partitions & self._shards.keys():
            self._shards[partition].ask_to_close()
        if lost_learner and self._learner is not None:
            self._learner.ask_to_close()
            names += ["learner", "ticker"]
        self._revoking |= set(names)
        await asyncio.gather(*(self._end_task(name) for name in names))
        for partition in partitions & self._shards.keys():
            await self._close(self._shards.pop(partition))
        if lost_learner and self._learner is not None:
            learner, self._learner = self._learner, None
            await self._close(learner)
        self._revoking -= set(names)

    async def _end_task(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is None:
            return
        # The ticker never ends by itself, and a fenced task only waits for this very moment.
        if name == "ticker" or name in self._fenced:
            self._fenced.discard(name)
            task.cancel()
        done, _ = await asyncio.wait({task}, timeout=20.0)
        if not done:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    @staticmethod
    async def _close(task: ShardTask | LearnerTask) -> None:
        try:
            await task.close()
        except LogError as error:
            _logger.warning("closing failed error=%s", error)

    def wants(self, partition: TopicPartition) -> bool:
        """Tell whether there is room for more records of a partition; the transport polls no others."""
        topics = self._setup.topics
        if partition.topic == topics.events:
            shard = self._shards.get(partition.partition)
            return shard is not None and shard.inbox.wants_more
        if partition.topic == topics.learner_input:
            return self._learner is not None and self._learner.waiting_count < LEARNER_WAITING_MAX
        return True

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        """Take in records of a partition that was assigned; it never waits, see `wants`."""
        topics = self._setup.topics
        if partition.topic == topics.learner_input:
            if self._learner is not None:
                self._learner.hand_over(records)
        elif partition.topic in (topics.events, topics.ticks):
            shard = self._shards.get(partition.partition)
            if shard is not None:
                shard.hand_over(partition, records)

    async def run(self) -> None:
        """Watch over the tasks until cancelled: waiting records without any progress end the process."""
        loop = asyncio.get_running_loop()
        seen: dict[str, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(PROGRESS_CHECK_S)
            await self._measure_lag()
            for partition, shard in list(self._shards.items()):
                name, now = f"shard-{partition}", loop.time()
                count, since = seen.get(name, (-1, now))
                if count != shard.progress_count or not len(shard.inbox):
                    seen[name] = (shard.progress_count, now)
                elif now - since > NO_PROGRESS_S and await self._log_answers(partition):
                    text = f"{name}: {len(shard.inbox)} records wait, and nothing was committed for {now - since:.0f} s"
                    self._end(ExitCode.TRY_AGAIN, text)

    async def _measure_lag(self) -> None:
        for partition, shard in list(self._shards.items()):
            if shard.is_open:
                with suppress(LogError):
                    bounds = await self._log.bounds(TopicPartition(self._setup.topics.events, partition))
                    lag = max(bounds.stable_end - shard.shard.progress.events_position, 0)
                    self._services.observer.lagging(partition, lag)

    async def _log_answers(self, partition: int) -> bool:
        try:
            async with asyncio.timeout(PROGRESS_CHECK_S):
                await self._log.bounds(TopicPartition(self._setup.topics.events, partition))
        except (LogError, TimeoutError):
            return False
        return True

    async def stop(self) -> None:
        """Give everything up."""
        await self.revoke(set(self._shards), self._learner is not None)
        await self._feed.stop()
