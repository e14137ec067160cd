"""Following the topics: everything that a worker writes, read into the model as it comes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.adapters.state_records import StateRecord, decode_state_record
from stream_app.web.change_records import Batch, Position, fingerprint
from stream_app.web.read_model import ReadModel

LOOK_SECONDS = 1.0
"""Time between looks at where the events end, and between attempts to find missing topics."""
WAIT_SECONDS_MAX = 10.0
"""Longest time between attempts to read a log that failed."""
_CUSTOMERS_AT_A_TIME = 5000
_log = logging.getLogger(__name__)


class _StateGapError(Exception):
    """The state log was truncated beyond what had been read of a partition."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition}")
        self.partition = partition


class _RebuildError(Exception):
    """Everything is to be read again."""


class Follower:
    """Keeps a model up to date with a log, for as long as it runs.

    Parameters
    ----------
    model
        What to keep up to date.
    log
        Where from; started and stopped here.
    """

    def __init__(self, model: ReadModel, log: Log) -> None:
        self._model, self._log, self._topics = model, log, model.topics
        self._is_rebuild_wanted = asyncio.Event()
        self._read_again: set[int] = set()

    def rebuild(self) -> None:
        """Read everything again from the topics."""
        self._is_rebuild_wanted.set()

    async def run(self) -> None:
        """Follow without end; a log that fails is tried again, and the model says so meanwhile.

        Raises
        ------
        IncompatibleStateError
            When what is there is of another policy or version.
        """
        wait_seconds = 0.1
        while True:
            try:
                await self._follow()
            except* _StateGapError as gaps:
                for gap in gaps.exceptions:
                    assert isinstance(gap, _StateGapError)
                    _log.warning("state log truncated beyond what was read; partition=%d is read again", gap.partition)
                    self._model.forget_partition(gap.partition)
                    self._read_again.add(gap.partition)
            except* (LogError, OSError, sqlite3.Error) as errors:
                if self._model.fault is None:
                    wait_seconds = 0.1
                self._note(errors.exceptions[0])
            except* _RebuildError:
                self._is_rebuild_wanted.clear()
                await asyncio.to_thread(self._model.history.rebuild)
                for partition in list(self._model.partitions):
                    self._model.forget_partition(partition)
            await self._log.stop()
            if self._model.fault is not None:
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, WAIT_SECONDS_MAX)

    def _note(self, error: BaseException) -> None:
        """Say what is wrong; a damaged history is made anew, everything else is tried again."""
        what = "history" if isinstance(error, sqlite3.Error) else "log"
        fault = f"the {what} cannot be used: {str(error) or type(error).__name__}"
        if self._model.fault is None:
            _log.warning("%s; trying again", fault)
        self._model.fault = fault
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._model.history.rebuild()

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            await self._log.start()
            count = await self._partition_count()
            changes, knowledge = await self._history_starts(count)
            for partition, start in changes.items():
                self._model.progress_of(partition.partition).begin_changes(start)
            group.create_task(self._follow_knowledge(knowledge))
            group.create_task(self._follow_changes(changes))
            group.create_task(self._follow_state(count))
            group.create_task(self._look_at_ends(count))
            group.create_task(self._forget_erased(count))
            group.create_task(self._wait_for_rebuild())

    async def _wait_for_rebuild(self) -> None:
        await self._is_rebuild_wanted.wait()
        raise _RebuildError

    async def _partition_count(self) -> int:
        """Wait until the topics are there: a worker that starts for the first time makes them."""
        while True:
            counts = [
                await self._log.partition_count(name)
                for name in (self._topics.state, self._topics.segment_changes, self._topics.knowledge)
            ]
            if all(counts):
                return int(counts[0] or 0)
            self._model.fault = f"there is no topic {self._topics.state} yet; start the worker of {self._topics.app}"
            await asyncio.sleep(LOOK_SECONDS)

    async def _history_starts(self, count: int) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Give where to go on reading what is kept on disk; begins anew where the log is not the one that was read."""
        changes = [TopicPartition(self._topics.segment_changes, number) for number in range(count)]
        knowledge = [TopicPartition(self._topics.knowledge, 0)]
        if not await self._is_same_log([*changes, *knowledge]):
            _log.warning("the log is not the one that was read before; the history is made anew")
            await asyncio.to_thread(self._model.history.rebuild)
        return await self._starts(changes), await self._starts(knowledge)

    async def _is_same_log(self, partitions: Sequence[TopicPartition]) -> bool:
        for partition in partitions:
            position = self._position(partition)
            bounds = await self._log.bounds(partition)
            if position is None or position.next_offset <= bounds.start:
                continue
            if position.next_offset > bounds.end:
                return False
            found = [
                fingerprint(record.value)
                async for records in self._log.read(partition, position.next_offset - 1, position.next_offset)
                for record in records
            ]
            if found and found[-1] != position.last:
                return False
        return True

    async def _starts(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        starts = {}
        for partition in partitions:
            position = self._position(partition)
            start = (await self._log.bounds(partition)).start
            starts[partition] = start if position is None else max(start, position.next_offset)
        return starts

    def _position(self, partition: TopicPartition) -> Position | None:
        return self._model.history.positions(partition.topic).get(partition.partition)

    async def _follow_changes(self, starts: dict[TopicPartition, int]) -> None:
        async for partition, records in self._log.follow(starts):
            batch = _batch(partition, records)
            changes = await asyncio.to_thread(self._model.store_changes, batch, [record.value for record in records])
            self._model.progress_of(partition.partition).reach_changes(batch.next_offset)
            self._model.tell(changes)

    async def _follow_knowledge(self, starts: dict[TopicPartition, int]) -> None:
        async for partition, records in self._log.follow(starts):
            told = [(_kind(record), record.value) for record in records if record.value and _kind(record) in _TOLD]
            self._model.apply_knowledge(_batch(partition, records), told)

    async def _follow_state(self, count: int) -> None:
        """Read all rows there are, then follow; rows that were read before a failure are not read again."""
        starts = {}
        for number in range(count):
            self._model.progress_of(number)
        for number in range(count):
            partition = TopicPartition(self._topics.state, number)
            bounds = await self._log.bounds(partition)
            reached = self._model.progress_of(number).state_position
            if reached and not bounds.start <= reached <= bounds.end:
                self._model.forget_partition(number)
                reached = 0
            progress = self._model.progress_of(number)
            progress.state_position = reached or bounds.start
            starts[partition] = bounds.stable_end
        for partition, end in starts.items():
            progress = self._model.progress_of(partition.partition)
            async for records in self._log.read(partition, progress.state_position, end):
                await self._apply_state(partition.partition, records)
            # Only holes may be left before the end.
            progress.state_position = max(progress.state_position, end)
        # The index of a million ids takes a tenth of a second, which the first request should not wait for.
        self._model.customers.index()
        for number in range(count):
            self._model.progress_of(number).is_read = True
            await self._note_changes_end(number)
        self._model.fault = None
        self._read_again.clear()
        async for partition, records in self._log.follow(starts):
            await self._apply_state(partition.partition, records)

    async def _apply_state(self, partition: int, records: Sequence[LogRecord]) -> None:
        for record in records:
            if record.value is not None:
                self._apply_state_record(partition, decode_state_record(record.value))
            self._model.progress_of(partition).state_position = record.offset + 1
            # A record takes milliseconds: requests have their turn in between.
            await asyncio.sleep(0)
        await self._note_changes_end(partition)

    async def _note_changes_end(self, number: int) -> None:
        """Note where the changes end now, so that it can be told up to when they have been read."""
        progress = self._model.progress_of(number)
        bounds = await self._log.bounds(TopicPartition(self._topics.segment_changes, number))
        progress.note_changes_end(bounds.stable_end)

    def _apply_state_record(self, partition: int, record: StateRecord) -> None:
        progress, number = self._model.progress_of(partition), record.header.batch_number
        if progress.batch_number and number > progress.batch_number + 1:
            if partition not in self._read_again:
                raise _StateGapError(partition)
            # The hole is in the log itself: the worker refuses such a log, and says so.
            _log.warning("state log has a hole: partition=%d batch_number=%d", partition, number)
        progress.batch_number = number
        self._model.apply_state(partition, record)

    async def _forget_erased(self, count: int) -> None:
        """Take the changes of erased customers out of the history, whenever one was erased, and after a start.

        A topic goes on to hold what was published of them, and changes are read side by side with rows: so it is only
        known who is erased once all rows have been read that were there after those changes.
        """
        while True:
            while not (self._model.is_ready and self._model.may_hold_erased):
                await asyncio.sleep(LOOK_SECONDS)
            self._model.may_hold_erased = False
            last_number = self._model.history.last_number
            for number in range(count):
                await self._reach_state_end(number)
            forgotten = 0
            async for part in self._customers_of_history():
                unknown = self._model.customers.unknown(part)
                if unknown:
                    await asyncio.to_thread(self._model.history.forget_customers, unknown, last_number)
                    forgotten += len(unknown)
            if forgotten:
                _log.info("history: %d erased customers are forgotten", forgotten)

    async def _customers_of_history(self) -> AsyncIterator[list[bytes]]:
        part = await asyncio.to_thread(self._model.history.customers_after, b"", _CUSTOMERS_AT_A_TIME)
        while part:
            yield part
            part = await asyncio.to_thread(self._model.history.customers_after, part[-1], _CUSTOMERS_AT_A_TIME)

    async def _reach_state_end(self, number: int) -> None:
        """Wait until the rows of a partition have been read that are there now."""
        progress, partition = self._model.progress_of(number), TopicPartition(self._topics.state, number)
        end = (await self._log.bounds(partition)).stable_end
        while progress.state_position < end and await self._has_records(partition, progress.state_position, end):
            await asyncio.sleep(LOOK_SECONDS)

    async def _has_records(self, partition: TopicPartition, start: int, end: int) -> bool:
        async for records in self._log.read(partition, start, end):
            if records:
                return True
        return False

    async def _look_at_ends(self, count: int) -> None:
        """Ask now and then where the events end, and note how much has come since."""
        has_events = await self._log.partition_count(self._topics.events) is not None
        while True:
            if has_events:
                for number in range(count):
                    bounds = await self._log.bounds(TopicPartition(self._topics.events, number))
                    self._model.progress_of(number).events_end = bounds.end
            for progress in self._model.partitions.values():
                progress.pass_holes()
            self._model.mark_rates(time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)


def _batch(partition: TopicPartition, records: Sequence[LogRecord]) -> Batch:
    last = records[-1]
    return Batch(partition.topic, partition.partition, last.offset + 1, fingerprint(last.value))


_TOLD = ("renewal", "switch", "quality")
"""Kinds of records that readers need; the others are between the learner and the shards."""


def _kind(record: LogRecord) -> str:
    return dict(record.headers).get("kind", b"renewal").decode("ascii", "replace")
