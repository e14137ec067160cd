"""One task a shard: it takes all that waits, has the shard apply it, and commits; errors of the log begin it anew."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition, Writer
from stream_app.adapters.state_header import SweepCursor
from stream_app.domain.events import MS_PER_MINUTE
from stream_app.streaming.erasure import is_erasure, split_at_erasures
from stream_app.streaming.event_runs import EventRun
from stream_app.streaming.inbox import Inbox
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.messages import NoticeKind, SketchPurpose
from stream_app.streaming.persistence import ClosedError, keep_working
from stream_app.streaming.recovery import recover_shard
from stream_app.streaming.reports import Observer
from stream_app.streaming.shard import Shard, ShardSetup

BACKLOG_MS = 10 * MS_PER_MINUTE
"""A shard whose last tick is older works off a backlog."""
BACKLOG_WAIT_S = 120.0
"""How long a day's knowledge is waited for in a backlog: a worker that dies is replaced in a quarter of that."""
LIVE_WAIT_S = 2.0
"""The same for a shard that is up to date: events are not to wait for somebody who is away."""
POSITIONS_S = 0.2
"""Time between two commits that tell positions: only those who measure lag go by them, and on Kafka they cost two of a
commit's five round trips."""
COMMIT_EVERY_S = 0.06
"""Time from the beginning of one commit to that of the next, unless `PACED_RECORDS_MAX` wait. At 10,000 events/s, four
shards that commit as fast as they can take 1.6 cores of a machine of two, broker included, and with this pause 1.3:
the median of event to change is the same, and the 99th percentile no longer hangs on who else wants a core."""
PACED_RECORDS_MAX = 1000
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What tasks share.

    Parameters
    ----------
    log, feed, observer
        The log, what the learner told, and who measures.
    clock_ms
        Wall clock, in milliseconds since 1970-01-01 UTC.
    """

    log: Log
    feed: KnowledgeFeed
    observer: Observer
    clock_ms: Callable[[], int]


class ShardTask:
    """Runs a shard on a log. `open`, then `run` until it is closed or fails.

    Parameters
    ----------
    services
        What tasks share.
    setup
        What the shard is told.
    """

    def __init__(self, services: Services, setup: ShardSetup) -> None:
        self._services, self._setup = services, setup
        topics, own = setup.topics, setup.partition
        self._events = TopicPartition(topics.events, own)
        self._ticks = TopicPartition(topics.ticks, own)
        self._state = TopicPartition(topics.state, own)
        self.inbox = Inbox()
        self._waiting_ticks: list[LogRecord] = []
        self._ticks_seen = 0
        self._wake = asyncio.Event()
        self._is_closing = False
        self._gave_up = False
        self._writer: Writer | None = None
        self._shard: Shard | None = None
        self._begun_at = self._positions_told_at = -math.inf
        self._has_untold_positions = False
        self._truncating: asyncio.Task[None] | None = None
        self.progress_count = 0
        services.feed.listen(self._wake.set)

    @property
    def is_open(self) -> bool:
        """Tell whether it has been recovered."""
        return self._shard is not None

    @property
    def shard(self) -> Shard:
        """The shard as it was recovered."""
        assert self._shard is not None
        return self._shard

    async def open(self) -> dict[TopicPartition, int]:
        """Take the partition over: fence earlier owners, recover, and say where to go on in events and ticks."""
        started = time.perf_counter()
        self._shard = None
        await self._drop_writer()
        self._positions_told_at, self._has_untold_positions = -math.inf, False
        self._writer = await self._services.log.writer(f"{self._setup.topics.app}-shard-{self._setup.partition}")
        self._shard = await recover_shard(self._services.log, self._services.feed, self._setup)
        progress = self._shard.progress
        self.inbox.expect(progress.events_position)
        self._ticks_seen = progress.ticks_position
        self._waiting_ticks = []
        seconds = time.perf_counter() - started
        self._services.observer.recovered(self._setup.partition, len(self._shard.engine.table), seconds)
        _logger.info(
            "recovered topic=%s partition=%d offset=%d customers=%d seconds=%.2f",
            *(*self._events, progress.events_position, len(self._shard.engine.table), seconds),
        )
        return self._shard.positions

    def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        """Take in records of events or ticks; those that are known already are dropped."""
        if partition == self._events:
            self.inbox.add(records)
        else:
            fresh = [record for record in records if record.offset >= self._ticks_seen]
            if fresh:
                self._ticks_seen = fresh[-1].offset + 1
                self._waiting_ticks += fresh
        self._wake.set()

    async def run(self) -> None:
        """Work until closed.

        Raises
        ------
        FencedError
            When another worker has taken the partition.
        LogError
            When the log failed too often.
        """
        await keep_working(self._work, self._begin_anew, self._failed, lambda: self._is_closing)

    def _failed(self, error: LogError) -> None:
        self._services.observer.failed(self._setup.partition, "log")
        _logger.warning("begins anew topic=%s partition=%d error=%s", *self._events, error)

    async def close(self) -> None:
        """Begin nothing more, let the running commit end, and give up the writer. `run` must end before."""
        self._services.feed.forget(self._wake.set)
        if self._truncating is not None:
            await self._truncating
        if self._writer is not None:
            try:
                await self._tell_positions()
            except LogError as error:
                # They only say how large the lag is; whoever takes over tells them again.
                _logger.info("positions not told topic=%s partition=%d error=%s", *self._events, error)
            await self._writer.close()
            self._writer = None
        self._services.observer.revoked(self._setup.partition)

    def ask_to_close(self) -> None:
        """Have `run` end after the running commit."""
        self._is_closing = True
        self._wake.set()

    async def _begin_anew(self) -> None:
        """Recover after an error; what was handed over and is not in the state is read again."""
        # Ticks that wait are dropped by `open` and read again.
        kept, events_end, ticks_end = self.inbox.drain(), self.inbox.end, self._ticks_seen
        positions = await self.open()
        await self._read_again(self._events, positions[self._events], kept[0].offset if kept else events_end)
        self.inbox.add(kept)
        await self._read_again(self._ticks, positions[self._ticks], ticks_end)

    async def _drop_writer(self) -> None:
        """Close the writer of an earlier attempt, if there is one."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                await writer.close()
            except LogError as error:
                _logger.warning("closing failed topic=%s partition=%d error=%s", *self._events, error)

    async def _read_again(self, partition: TopicPartition, start: int, end: int) -> None:
        if start < end:
            async for records in self._services.log.read(partition, start, end):
                self.hand_over(partition, records)

    async def _work(self) -> None:
        shard = self.shard
        if shard.cursor is not None:
            await self._sweep(shard.cursor.time_ms, shard.cursor.after_id)
            await self._commit()
        while not self._is_closing:
            self._wake.clear()
            self._take_ticks()
            await self._answer_questions()
            if shard.progress.is_waiting:
                await self._wait_for_day()
            await self._pace()
            records = self.inbox.take()
            if records or len(shard.due_ticks(None)):
                self._begun_at = asyncio.get_running_loop().time()
                for run in split_at_erasures(records) if records else ((),):
                    await self._work_off(run)
                await self._commit()
            elif not self._waiting_ticks:
                await self._wait_for_work()

    async def _pace(self) -> None:
        """Let more records gather where the last commit began a moment ago: each costs the same, whatever is in it."""
        left_s = self._begun_at + COMMIT_EVERY_S - asyncio.get_running_loop().time()
        if left_s > 0 and 0 < len(self.inbox) < PACED_RECORDS_MAX:
            await asyncio.sleep(left_s)

    async def _work_off(self, records: Sequence[LogRecord]) -> None:
        """Use records up, which are events, or a command on its own; what is left is to be committed."""
        shard, feed = self.shard, self._services.feed
        if records and is_erasure(records[0]):
            shard.erase(records[0].key or b"")
            shard.finish(records[0].offset + 1)
            return
        run: EventRun | None = shard.read(records) if records else None
        while True:
            self._take_ticks()
            times_ms = shard.due_ticks(run)
            if len(times_ms):
                shard.adopt(feed.newest())
                await self._pass_time(times_ms)
                if shard.progress.is_waiting:
                    await self._commit()
                    await self._wait_for_day()
            elif run is not None and run.left:
                shard.adopt(feed.newest_for(shard.engine.scoring_version))
                shard.apply(run)
            else:
                break
            if shard.is_full:
                await self._commit()
        if run is not None:
            shard.finish(run.end)

    def _take_ticks(self) -> None:
        if self._waiting_ticks:
            ticks, self._waiting_ticks = self._waiting_ticks, []
            self.shard.tell_ticks(ticks)

    async def _pass_time(self, times_ms: NDArray[np.int64]) -> None:
        """Apply ticks; a sweep of more rows than a commit may hold is cut into slices."""
        shard = self.shard
        engine = shard.engine
        is_switch = engine.scoring_version not in (0, shard.in_force.scoring.version)
        period_ms = shard.policy.sweep_period_minutes * MS_PER_MINUTE
        span_ms = int(times_ms[-1]) - max(engine.last_tick_ms, int(times_ms[-1]) - period_ms)
        due = len(engine.table) * (1.0 if is_switch else span_ms / period_ms)
        if due <= shard.setup.rows_max:
            shard.tick(times_ms)
            return
        for time_ms in times_ms.tolist():
            await self._sweep(time_ms, None)

    async def _sweep(self, time_ms: int, after_id: bytes | None) -> None:
        shard = self.shard
        sweep = shard.engine.begin_sweep(time_ms, shard.in_force, after_id)
        while (effects := sweep.next(max(shard.setup.rows_max // 2, 1))) is not None:
            shard.take_slice(effects, SweepCursor(time_ms, sweep.after_id or b""))
            if shard.is_full and not sweep.is_finished:
                if self._is_closing:
                    raise ClosedError
                await self._commit()
                await asyncio.sleep(0)
        shard.finish_ticks(np.array([time_ms], dtype=np.int64))

    async def _wait_for_day(self) -> None:
        """Wait for the knowledge of the day that was reported, as long as that is worth it."""
        shard, feed = self.shard, self._services.feed
        progress = shard.progress
        is_backlog = self._services.clock_ms() - shard.engine.last_tick_ms > BACKLOG_MS
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if self._gave_up else BACKLOG_WAIT_S if is_backlog else LIVE_WAIT_S)
        while feed.closed_day < progress.reported_day:
            if self._is_closing:
                raise ClosedError
            self._wake.clear()
            await self._answer_questions()
            if feed.closed_day >= progress.reported_day:
                break
            left_s = deadline - loop.time()
            if left_s <= 0:
                self._gave_up = True
                progress.is_waiting = False
                _logger.warning(
                    "goes on without renewed knowledge topic=%s partition=%d day=%d: is a shard or the learner away?",
                    *(*self._events, progress.reported_day),
                )
                return
            try:
                await asyncio.wait_for(self._wake.wait(), left_s)
            except TimeoutError:
                continue
        self._gave_up = progress.is_waiting = False

    async def _answer_questions(self) -> None:
        shard, feed = self.shard, self._services.feed
        for offset, notice in feed.questions_after(shard.progress.answered):
            purpose = SketchPurpose.FULL if notice.kind is NoticeKind.ASK_FULL else SketchPurpose.DRY_RUN
            shard.answer(purpose, notice.day, (offset, notice.time_ms, notice.knowledge))
            await self._commit()

    async def _commit(self) -> None:
        if self._writer is None:
            raise ClosedError
        shard, services = self.shard, self._services
        outgoing = shard.write(services.feed.newest_version)
        started = time.perf_counter()
        offsets = await self._writer.commit(outgoing, self._due_positions())
        shard.report.seconds["commit"] += time.perf_counter() - started
        report, truncation = shard.committed(offsets[-1])
        self.progress_count += 1
        services.observer.committed(report, shard.standing(self.inbox.end))
        # The next batch does not wait for it. Where one still runs, the next one will do what this one would have done.
        if truncation is not None and (self._truncating is None or self._truncating.done()):
            self._truncating = asyncio.create_task(self._truncate(truncation))

    def _due_positions(self) -> dict[TopicPartition, int]:
        now = asyncio.get_running_loop().time()
        self._has_untold_positions = now - self._positions_told_at < POSITIONS_S
        if self._has_untold_positions:
            return {}
        self._positions_told_at = now
        return self.shard.positions

    async def _wait_for_work(self) -> None:
        """Wait until there is something to do; if that takes long, say first how far this has come."""
        if self._has_untold_positions:
            try:
                async with asyncio.timeout(POSITIONS_S):
                    await self._wake.wait()
            except TimeoutError:
                await self._tell_positions()
        else:
            await self._wake.wait()

    async def _tell_positions(self) -> None:
        if self._writer is not None and self._has_untold_positions:
            await self._writer.commit([], self.shard.positions)
            self._has_untold_positions = False

    async def _truncate(self, before: int) -> None:
        try:
            await self._services.log.truncate(self._state, before)
        except LogError as error:
            # The log stays longer than it needs to be; the next truncation comes soon.
            _logger.warning("not truncated topic=%s partition=%d offset=%d error=%s", *self._state, before, error)
