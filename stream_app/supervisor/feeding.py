"""Events into a log, each once, with hourly ticks between them; where it stopped is told by the log itself.

The first tick comes before the first event and says which stream this is. Then every run of events is one transaction,
whose last record carries the position in the stream; the ticks that follow it are the next one, and carry the position,
too. After a crash, the last tick and the events behind the offsets in it say where to go on, whatever else is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.port import Headers, Log, LogRecord, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import Topics
from stream_app.streaming.ticks import GRID_MS, TickRecord, decode_tick, encode_tick
from stream_app.supervisor.event_stream import EventSlice

POSITION_HEADER = "feed-position"
"""How many events of the stream are in the log once this record is."""
IDENTITY_HEADER = "feed-identity"
"""On the first tick: which stream it is."""
PartitionsOf = Callable[[Sequence[bytes]], NDArray[np.int64]]
_TICKS_MAX = 2_000
"""Ticks of one transaction, so that it stays small."""


@dataclass(slots=True)
class PartitionEnd:
    """How far one partition of the events has come.

    Parameters
    ----------
    end
        The offset behind the events before the last tick.
    times_ms, offsets
        Shape `(n,)`: the events since then.
    """

    end: int
    times_ms: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def add(self, times_ms: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Note events that were written."""
        self.times_ms = np.concatenate((self.times_ms, times_ms))
        self.offsets = np.concatenate((self.offsets, offsets))

    def ends_at(self, ticks_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give for each tick the offset behind the events before it."""
        before = np.searchsorted(self.times_ms, ticks_ms, side="left")
        return np.concatenate(([self.end], self.offsets + 1))[before]

    def pass_tick(self, tick_ms: int) -> None:
        """Forget the events before a tick."""
        self.end = int(self.ends_at(np.array([tick_ms]))[0])
        is_later = self.times_ms >= tick_ms
        self.times_ms, self.offsets = self.times_ms[is_later], self.offsets[is_later]


@dataclass(slots=True)
class FeedState:
    """How far a feed has come; only its `Feed` changes it.

    Parameters
    ----------
    partitions
        Of the events.
    position
        Events of the stream that are in the log.
    last_event_ms
        Time of the last event since the last tick; None when there was none.
    last_tick_ms
        Time of the last tick; None before the first.
    identity
        Of the stream that the log was begun with.
    """

    partitions: list[PartitionEnd]
    position: int = 0
    last_event_ms: int | None = None
    last_tick_ms: int | None = None
    identity: str | None = None


async def recover(log: Log, topics: Topics, partition_count: int) -> FeedState:
    """Find out from a log how far its feed had come.

    Parameters
    ----------
    log
        Started; nobody else may be feeding it.
    topics
        Names of the application.
    partition_count
        Of the events.
    """
    events = [TopicPartition(topics.events, partition) for partition in range(partition_count)]
    ticks = TopicPartition(topics.ticks, 0)
    bounds = await log.bounds(ticks)
    first = await _first_record(log, ticks, bounds.start, bounds.end)
    last = await _last_record(log, ticks, bounds.start, bounds.end)
    if first is None or last is None:
        return FeedState([PartitionEnd((await log.bounds(partition)).end) for partition in events])
    tick = decode_tick(last.value or b"")
    identity = dict(first.headers).get(IDENTITY_HEADER, b"").decode()
    state = FeedState([], _position_in(last.headers), None, tick.time_ms, identity or None)
    for partition in events:
        found = PartitionEnd(tick.events_end(partition.partition))
        async for records in log.read(partition, found.end, (await log.bounds(partition)).end):
            times_ms = np.array([record.timestamp for record in records], dtype=np.int64)
            # Records of others may lie between, of any time.
            found.add(np.maximum.accumulate(times_ms), np.array([record.offset for record in records]))
            for record in records:
                if position := _position_in(record.headers):
                    state.position = max(state.position, position)
                    state.last_event_ms = max(state.last_event_ms or 0, record.timestamp)
        state.partitions.append(found)
    return state


class Feed:
    """Writes a stream of events, and its ticks, to a log.

    Parameters
    ----------
    writer
        Of this feed; a second feed of the same name takes it away.
    topics
        Where to.
    partitions_of
        Says to which partitions events with these keys go; shape `(n,)`.
    state
        As `recover` gives it.
    """

    def __init__(self, writer: Writer, topics: Topics, partitions_of: PartitionsOf, state: FeedState) -> None:
        self._writer = writer
        self._topics = topics
        self._partitions_of = partitions_of
        self.state = state

    async def begin(self, identity: str, first_event_ms: int) -> None:
        """Write the first tick, at the hour in which the first event falls."""
        self.state.identity = identity
        first_ms = np.array([first_event_ms // GRID_MS * GRID_MS])
        await self._write_ticks(first_ms, [(IDENTITY_HEADER, identity.encode())])

    async def write(self, events: EventSlice, until_ms: int) -> None:
        """Write events, and then the ticks up to a time.

        Parameters
        ----------
        events
            The next of the stream, all of them before `until_ms`; may be empty.
        until_ms
            No later event of the stream is before this time.
        """
        assert self.state.last_tick_ms is not None, "a feed begins with a tick"
        if len(events):
            await self._write_events(events)
        ticks_ms = np.arange(self.state.last_tick_ms + GRID_MS, until_ms + 1, GRID_MS, dtype=np.int64)
        for start in range(0, len(ticks_ms), _TICKS_MAX):
            await self._write_ticks(ticks_ms[start : start + _TICKS_MAX], [])

    async def _write_events(self, events: EventSlice) -> None:
        numbers = self._partitions_of(events.keys)
        position = self.state.position + len(events)
        places = [np.flatnonzero(numbers == number) for number in range(len(self.state.partitions))]
        outgoing = [
            _outgoing((self._topics.events, number), events, own, position)
            for number, own in enumerate(places)
            if len(own)
        ]
        offsets = await self._writer.commit(outgoing, {})
        for records, offset in zip(outgoing, offsets, strict=True):
            times_ms = events.times_ms[places[records.partition]]
            self.state.partitions[records.partition].add(times_ms, offset + np.arange(len(records)))
        self.state.position, self.state.last_event_ms = position, int(events.times_ms[-1])

    async def _write_ticks(self, ticks_ms: NDArray[np.int64], headers: Headers) -> None:
        ends = np.stack([partition.ends_at(ticks_ms) for partition in self.state.partitions], axis=1).tolist()
        times_ms = ticks_ms.tolist()
        values = [
            encode_tick(TickRecord(time_ms, {str(number): end for number, end in enumerate(tick_ends)}))
            for time_ms, tick_ends in zip(times_ms, ends, strict=True)
        ]
        position = (POSITION_HEADER, str(self.state.position).encode())
        outgoing = [
            Outgoing(self._topics.ticks, number, values, None, [[*headers, position]] * len(values), times_ms)
            for number in range(len(self.state.partitions))
        ]
        await self._writer.commit(outgoing, {})
        self.state.last_tick_ms = times_ms[-1]
        if self.state.last_event_ms is not None and self.state.last_event_ms < times_ms[-1]:
            self.state.last_event_ms = None
        for partition in self.state.partitions:
            partition.pass_tick(times_ms[-1])


def _outgoing(place: tuple[str, int], events: EventSlice, rows: NDArray[np.int64], position: int) -> Outgoing:
    """Take some events together for one partition; the last of them says how far the stream has come."""
    headers: list[Headers] = [()] * len(rows)
    headers[-1] = [(POSITION_HEADER, str(position).encode())]
    indices = rows.tolist()
    values = [events.values[index] for index in indices]
    keys = [events.keys[index] for index in indices]
    return Outgoing(*place, values, keys, headers, events.times_ms[rows].tolist())


def _position_in(headers: Headers) -> int:
    return int(dict(headers).get(POSITION_HEADER, b"0"))


async def _first_record(log: Log, partition: TopicPartition, start: int, end: int) -> LogRecord | None:
    async for records in log.read(partition, start, end):
        if records:
            return records[0]
    return None


async def _last_record(log: Log, partition: TopicPartition, start: int, end: int) -> LogRecord | None:
    """Read backwards in growing steps, since the last offsets may be holes."""
    step = 64
    while end > start:
        last = None
        async for records in log.read(partition, max(end - step, start), end):
            last = records[-1] if records else last
        if last is not None:
            return last
        end, step = max(end - step, start), step * 8
    return None
