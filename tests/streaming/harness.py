"""A worker on an embedded log without a host, and what a backtest of the same events gives."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import ensure_topics
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.policy_file import load_policy
from stream_app.adapters.state_records import decode_state_record
from stream_app.backtest.run import run_backtest
from stream_app.backtest.settings import BacktestSettings
from stream_app.domain.policy import Policy
from stream_app.learning.learner import Learner
from stream_app.simulation.settings import ShopSettings
from stream_app.streaming.journal import JournalReplay, ReplayResult
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.reports import NobodyWatches, Observer
from stream_app.streaming.shard import Shard, ShardSetup
from stream_app.streaming.ticks import GRID_MS, TickRecord, encode_tick
from stream_app.streaming.worker import ExitCode, Worker, WorkerSetup
from tests.simulation import shops

TOPICS = Topics("test", "events")
DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Sale:
    """An event of a shop, as it goes into a log or a file."""

    customer_id: str
    time_ms: int
    value: bytes

    def partition(self, partition_count: int) -> int:
        return zlib.crc32(self.customer_id.encode()) % partition_count


def sales_of(settings: ShopSettings) -> list[Sale]:
    """Simulate a shop; events in the order of time."""
    events = shops.run(settings).events
    times = pc.strftime(events["occurred_at"], format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
    times_ms = shops.times_ms(events).tolist()
    sales = []
    for row, time, time_ms in zip(events.to_pylist(), times, times_ms, strict=True):
        told = {name: value for name, value in row.items() if value is not None} | {"occurred_at": time}
        sales.append(Sale(row["customer_id"], time_ms, orjson.dumps(told)))
    return sales


def backtest_changes(sales: Sequence[Sale], folder: Path, policy: Policy) -> list[dict[str, object]]:
    """Give the changes of a backtest over the same events, without their sources."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events.jsonl"
    path.write_bytes(b"\n".join(sale.value for sale in sales) + b"\n")
    run_backtest(BacktestSettings(patterns=(str(path),), policy=policy, out=folder / "out", run_started_ms=1 << 41))
    lines = (folder / "out" / "changes.jsonl").read_bytes().splitlines()
    return [without_source(orjson.loads(line)) for line in lines]


def without_source(change: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in change.items() if name != "source"}


@dataclass(slots=True)
class Host:
    """What Faust does for a worker, in a few lines: it polls, hands over, and ends with the worker."""

    log: Log
    worker: Worker
    positions: dict[TopicPartition, int]
    ends: list[tuple[ExitCode, str]] = field(default_factory=list)

    async def poll(self) -> bool:
        """Hand over what the log holds; gives False when there was nothing new."""
        has_more = False
        for partition, position in self.positions.items():
            if not self.worker.wants(partition):
                has_more = True
                continue
            end = (await self.log.bounds(partition)).stable_end
            async for records in self.log.read(partition, position, min(end, position + 5000)):
                await self.worker.hand_over(partition, records)
                self.positions[partition] = records[-1].offset + 1
                has_more = True
        return has_more

    async def until(self, is_reached: Callable[[], bool]) -> None:
        """Go on until something is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not is_reached():
                if self.ends:
                    raise AssertionError(self.ends)
                await self.poll()
                await asyncio.sleep(0.002)

    async def until_idle(self, last_tick_ms: int) -> None:
        """Go on until every shard has reached a tick and all of its events, and all of that is in the log."""
        shards = self.worker.shards.values()

        def is_reached() -> bool:
            return all(
                shard.is_open
                and shard.shard.engine.last_tick_ms >= last_tick_ms
                and not shard.shard.progress.is_waiting
                and not len(shard.inbox)
                for shard in shards
            )

        async with asyncio.timeout(DEADLINE_S):
            await self.until(is_reached)
            # A shard's engine is ahead of the log while its commit runs.
            while not all([await self._is_committed(shard.shard) for shard in shards]):
                await asyncio.sleep(0.002)

    async def _is_committed(self, shard: Shard) -> bool:
        values = await records_of(self.log, TOPICS.state, shard.setup.partition)
        if not values or values[-1] is None:
            return False
        header = decode_state_record(values[-1]).header
        positions = {own.topic: position for own, position in shard.positions.items()}
        return header.positions == positions and header.clock.last_tick_ms == shard.engine.last_tick_ms


def new_log(path: Path, partition_count: int) -> None:
    ensure_topics(path, TOPICS, partition_count)


@asynccontextmanager
async def opened(path: Path, group: str = "test") -> AsyncIterator[SqliteLog]:
    log = SqliteLog(path, group)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def produce(log: Log, sales: Sequence[Sale], partition_count: int) -> None:
    """Write events as a producer would that says when each was made."""
    for partition in range(partition_count):
        own = [sale for sale in sales if sale.partition(partition_count) == partition]
        if own:
            values = [sale.value for sale in own]
            keys = [sale.customer_id.encode() for sale in own]
            times_ms = [sale.time_ms for sale in own]
            await log.append([Outgoing(TOPICS.events, partition, values, keys, timestamps_ms=times_ms)])


async def tell_tick(log: Log, time_ms: int, partition_count: int) -> None:
    ends = {}
    for partition in range(partition_count):
        ends[str(partition)] = (await log.bounds(TopicPartition(TOPICS.events, partition))).end
    value = encode_tick(TickRecord(time_ms, ends))
    await log.append([Outgoing(TOPICS.ticks, partition, [value]) for partition in range(partition_count)])


def end_of(sales: Sequence[Sale]) -> int:
    """Give the first tick after the last event, with which a backtest ends."""
    return (max(sale.time_ms for sale in sales) // GRID_MS + 1) * GRID_MS


@asynccontextmanager
async def working(
    log: Log,
    partition_count: int,
    observer: Observer | None = None,
    *,
    ends: list[tuple[ExitCode, str]] | None = None,
) -> AsyncIterator[Host]:
    """Run a worker that owns everything; how it would end its process is noted in `ends`."""
    setup = WorkerSetup(load_policy(None), TOPICS, partition_count, ticks_by_wall_clock=False)
    ends = [] if ends is None else ends
    worker = Worker(
        setup, log, observer or NobodyWatches(), lambda: 1 << 41, lambda code, text: ends.append((code, text))
    )
    positions = await worker.assign(set(range(partition_count)), owns_learner=True)
    try:
        yield Host(log, worker, positions, ends)
    finally:
        await worker.stop()


@asynccontextmanager
async def killed(log: Log, partition_count: int, rows_max: int) -> AsyncIterator[Host]:
    """Run a worker that owns everything, and end it like a process: nothing is finished, nothing is closed."""
    setup = WorkerSetup(load_policy(None), TOPICS, partition_count, ticks_by_wall_clock=False, rows_max=rows_max)
    ends: list[tuple[ExitCode, str]] = []
    worker = Worker(setup, log, NobodyWatches(), lambda: 1 << 41, lambda code, text: ends.append((code, text)))
    positions = await worker.assign(set(range(partition_count)), owns_learner=True)
    try:
        yield Host(log, worker, positions, ends)
    finally:
        # Tasks of the log itself go on: what was handed to it may still be committed, as with a broker.
        own = [task for task in asyncio.all_tasks() if task.get_name().startswith(("shard-", "learner", "knowledge"))]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)


class _FailingWriter:
    """A writer whose commits fail when they are told to, before or after they were made."""

    def __init__(self, writer: Writer, fails: Callable[[], bool], *, is_committed: bool) -> None:
        self._writer, self._fails, self._is_committed = writer, fails, is_committed

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        fails = self._fails()
        if fails and not self._is_committed:
            message = "the broker is away"
            raise LogError(message)
        offsets = await self._writer.commit(outgoing, positions)
        if fails:
            message = "nobody knows whether this was committed"
            raise LogError(message)
        return offsets

    async def close(self) -> None:
        await self._writer.close()


class FailingLog:
    """A log that passes everything on, but for commits that fail."""

    def __init__(self, log: Log, fails: Callable[[str], bool], *, is_committed: bool) -> None:
        self._log, self._commit_fails, self._is_committed = log, fails, is_committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def writer(self, name: str) -> Writer:
        """Open a writer that may fail."""
        writer = await self._log.writer(name)
        return _FailingWriter(writer, lambda: self._commit_fails(name), is_committed=self._is_committed)


async def records_of(log: Log, topic: str, partition: int) -> list[bytes | None]:
    own = TopicPartition(topic, partition)
    bounds = await log.bounds(own)
    values: list[bytes | None] = []
    try:
        async for records in log.read(own, bounds.start, bounds.stable_end):
            values += [record.value for record in records]
    except LogError as error:
        raise AssertionError(topic) from error
    return values


async def published(log: Log, partition: int) -> list[dict[str, object]]:
    """Give the segment changes of a partition, without their sources."""
    values = await records_of(log, TOPICS.segment_changes, partition)
    return [without_source(orjson.loads(value or b"")) for value in values]


async def replayed(log: Log, partition: int, partition_count: int) -> ReplayResult:
    """Recompute what a shard has published from events, journal and knowledge."""
    policy = load_policy(None)
    feed = KnowledgeFeed(log, TOPICS.knowledge, Learner(policy).knowledge)
    await feed.catch_up()
    setup = ShardSetup(policy, TOPICS, partition, partition_count)
    own = TopicPartition(TOPICS.events, partition)
    end = (await log.committed([own]))[own]
    return await JournalReplay(log, feed, setup).run(end)
