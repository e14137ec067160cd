"""Copies a topic to one that is keyed by customer id: each record once, however often the copying is interrupted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.single_event import read_customer_id
from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.merging import merge_heads
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Bounds, Log, LogRecord, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import TRANSACTION_BYTES_MAX
from stream_app.domain.errors import InvalidEventError, SettingsError

COMMIT_BYTES_MAX: Final = TRANSACTION_BYTES_MAX // 2
"""Keys, values and headers of a commit; framing has room besides."""
COMMIT_RECORDS_MAX: Final = 8192
_BEFORE_ALL_MS: Final = -(1 << 62)


@dataclass(frozen=True, slots=True)
class RekeyPlan:
    """What is copied where.

    Parameters
    ----------
    source, target
        Topics of one log.
    """

    source: str
    target: str

    @property
    def owner(self) -> str:
        """Name of the writer, and of the group that positions are told to."""
        return f"rekey-{self.source}-to-{self.target}"


class Keying(Enum):
    """How a record came by its key."""

    KEYED = "keyed"
    """It had its customer's id already."""
    REKEYED = "rekeyed"
    """It had another key, or none, and has its customer's id now."""
    KEPT = "kept"
    """It names no customer, and keeps its key."""
    SPREAD = "spread"
    """It names no customer and has no key; its place goes by its value."""


Counts = dict[Keying, int]


class _Placed(NamedTuple):
    """A record, and the partition that it comes from."""

    partition: int
    record: LogRecord


class Rekeying:
    """Copies the records of one topic to another, and tells positions with them in one transaction.

    Records of one source partition keep their order in each target partition. Among partitions they go by the time of
    their records as far as the source reached at the start, so that a customer's events do not come much later than
    they were made.

    Parameters
    ----------
    log
        Started; its group is the plan's owner.
    plan
        What to copy where.
    on_committed
        Is told the number of records of each commit.
    """

    def __init__(self, log: Log, plan: RekeyPlan, on_committed: Callable[[int], None] | None = None) -> None:
        self._log, self._plan, self._on_committed = log, plan, on_committed
        self._writer: Writer | None = None
        self._target_count = 0
        self.counts: Counts = dict.fromkeys(Keying, 0)
        self.positions: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Take the right to copy over from whoever else does, and find out where to go on and where to stop.

        Raises
        ------
        SettingsError
            When the topics are not as they must be; the message says what to do.
        LogError
            When the log failed.
        """
        sources = await self._partitions()
        # Earlier writers can commit no more from here on, so the positions hold until we move them.
        self._writer = await self._log.writer(self._plan.owner)
        known = await self._log.committed(sources)
        bounds = {source: await self._log.bounds(source) for source in sources}
        if not known:
            await self._require_empty_target()
        self.positions = {source: known.get(source, own.start) for source, own in bounds.items()}
        _require_within(self.positions, bounds)
        self.ends = {source: max(own.stable_end, self.positions[source]) for source, own in bounds.items()}
        if not known:
            # From now on a target with records and without positions is not ours.
            await self._commit([], self.positions)

    @property
    def left(self) -> int:
        """Offsets between the positions and the ends of the start."""
        return sum(max(0, end - self.positions[source]) for source, end in self.ends.items())

    async def copy(self) -> None:
        """Copy up to where the source ended at the start.

        Raises
        ------
        FencedError
            When somebody else has begun to copy the same.
        LogError
            When the log failed; a new `Rekeying` goes on where this one was.
        """
        async for placed in self._merged():
            await self._write(placed)
        if self.left:
            # What is left are offsets without records.
            await self._commit([], self.ends)
            self.positions |= self.ends

    async def follow(self) -> None:
        """Copy what comes, without end; errors are those of `copy`."""
        async for source, records in self._log.follow(self.positions):
            await self._write([_Placed(source.partition, record) for record in records])

    async def stop(self) -> None:
        """Give the right to copy up."""
        if self._writer is not None:
            await self._writer.close()
            self._writer = None

    async def _partitions(self) -> list[TopicPartition]:
        plan = self._plan
        if plan.source == plan.target:
            message = f"topic {plan.source} cannot be copied onto itself; name another one by --to-topic"
            raise SettingsError(message, code="invalid_rekey")
        counts = [await self._log.partition_count(topic) for topic in (plan.source, plan.target)]
        for topic, count in zip((plan.source, plan.target), counts, strict=True):
            if count is None:
                message = f"topic {topic}: there is no such topic; make it, or name another one"
                raise SettingsError(message, code="missing_topic")
        self._target_count = counts[1] or 0
        return [TopicPartition(plan.source, partition) for partition in range(counts[0] or 0)]

    async def _require_empty_target(self) -> None:
        plan = self._plan
        for partition in range(self._target_count):
            bounds = await self._log.bounds(TopicPartition(plan.target, partition))
            if bounds.end > bounds.start:
                message = (
                    f"topic {plan.target} holds records, but group {plan.owner} has no positions in {plan.source}: it "
                    "is not known which of them were copied; copy to an empty topic"
                )
                raise SettingsError(message, code="unknown_positions")

    async def _merged(self) -> AsyncIterator[list[_Placed]]:
        heads = [_Head(source.partition, self._log.read(source, *self._span(source))) for source in self.ends]
        heads = [head for head in heads if await head.fill()]
        while heads:
            counts, order = merge_heads([head.times_ms for head in heads])
            taken = [placed for head, count in zip(heads, counts, strict=True) for placed in head.take(count)]
            yield [taken[place] for place in order.tolist()]
            heads = [head for head in heads if await head.fill()]

    def _span(self, source: TopicPartition) -> tuple[int, int]:
        return self.positions[source], self.ends[source]

    async def _write(self, placed: Sequence[_Placed]) -> None:
        for part in _parts_of(placed):
            outgoing, counts = self._keyed(part)
            positions = {TopicPartition(self._plan.source, own.partition): own.record.offset + 1 for own in part}
            try:
                await self._commit(outgoing, positions)
            except FencedError:
                raise
            except LogError as error:
                largest = max(part, key=_size)
                place = f"{self._plan.source}-{largest.partition} offset {largest.record.offset}"
                message = f"{error}; the largest record of this commit is {place}, {_size(largest):,} bytes"
                raise LogError(message) from error
            self.positions |= positions
            for keying, count in counts.items():
                self.counts[keying] += count
            if self._on_committed is not None:
                self._on_committed(len(part))

    async def _commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> None:
        if self._writer is None:
            message = "the copying has not been started; start it first"
            raise LogError(message)
        await self._writer.commit(outgoing, positions)

    def _keyed(self, part: Sequence[_Placed]) -> tuple[list[Outgoing], Counts]:
        keys: list[bytes | None] = []
        counts: Counts = dict.fromkeys(Keying, 0)
        for own in part:
            key, keying = _key_of(own.record)
            keys.append(key)
            counts[keying] += 1
        placing = [(own.record.value or b"") if key is None else key for own, key in zip(part, keys, strict=True)]
        partitions = partitions_of(placing, self._target_count)
        outgoing = []
        for partition in np.unique(partitions).tolist():
            chosen = np.flatnonzero(partitions == partition).tolist()
            records = [part[place].record for place in chosen]
            outgoing.append(
                Outgoing(
                    self._plan.target,
                    partition,
                    values=[record.value for record in records],
                    keys=[keys[place] for place in chosen],
                    headers=[list(record.headers) for record in records],
                    timestamps_ms=[record.timestamp for record in records],
                )
            )
        return outgoing, counts


class _Head:
    """What is in memory of one source partition; `fill` before anything else."""

    def __init__(self, partition: int, chunks: AsyncIterator[Sequence[LogRecord]]) -> None:
        self._partition, self._chunks = partition, chunks
        self._records: Sequence[LogRecord] = ()
        self._reached_ms = _BEFORE_ALL_MS
        self.times_ms: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    async def fill(self) -> bool:
        """Read on if nothing is at hand; gives False when the partition is at its end."""
        while not len(self.times_ms):
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return False
            self._records = chunk
            times_ms = np.fromiter((record.timestamp for record in chunk), dtype=np.int64, count=len(chunk))
            # The latest time so far, so that no record leaves its place in the partition.
            self.times_ms = np.maximum.accumulate(np.maximum(times_ms, self._reached_ms))
            if len(self.times_ms):
                self._reached_ms = int(self.times_ms[-1])
        return True

    def take(self, count: int) -> list[_Placed]:
        """Take the first records at hand."""
        taken = [_Placed(self._partition, record) for record in self._records[:count]]
        self._records, self.times_ms = self._records[count:], self.times_ms[count:]
        return taken


def _key_of(record: LogRecord) -> tuple[bytes | None, Keying]:
    try:
        key = read_customer_id(record.value or b"").encode()
    except InvalidEventError:
        return record.key, Keying.SPREAD if record.key is None else Keying.KEPT
    return key, Keying.KEYED if key == record.key else Keying.REKEYED


def _size(own: _Placed) -> int:
    record = own.record
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _parts_of(placed: Sequence[_Placed]) -> Iterator[Sequence[_Placed]]:
    """Cut records into commits of bounded size, in order."""
    start = byte_count = 0
    for place, own in enumerate(placed):
        size = _size(own)
        if place > start and (byte_count + size > COMMIT_BYTES_MAX or place - start >= COMMIT_RECORDS_MAX):
            yield placed[start:place]
            start, byte_count = place, 0
        byte_count += size
    if start < len(placed):
        yield placed[start:]


def _require_within(positions: Mapping[TopicPartition, int], bounds: Mapping[TopicPartition, Bounds]) -> None:
    for source, position in positions.items():
        own = bounds[source]
        if position < own.start:
            message = (
                f"{source.topic}-{source.partition}: records from offset {position} up to {own.start} were deleted "
                "before they were copied; copy what is left to another, empty topic"
            )
            raise SettingsError(message, code="records_gone")
        if position > own.end:
            message = (
                f"{source.topic}-{source.partition} ends at {own.end}, and was copied up to {position}: it was made "
                "anew; copy it to another, empty topic"
            )
            raise SettingsError(message, code="topic_made_anew")
