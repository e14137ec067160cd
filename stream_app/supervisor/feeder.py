"""Takes up a stream where the log ends, and tells it at the pace of its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from stream_app.adapters.event_files import EventLogOptions, open_event_log
from stream_app.adapters.event_files.discovery import find_files
from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import SettingsError
from stream_app.domain.policy import Policy
from stream_app.streaming.ticks import GRID_MS
from stream_app.supervisor.event_stream import NO_EVENTS, EventSlice, EventStream
from stream_app.supervisor.feeding import Feed, recover
from stream_app.supervisor.file_events import FileEvents
from stream_app.supervisor.pace import Clock, Pace, Playback
from stream_app.supervisor.shop import Shop

EVENTS_MAX = 10_000
"""Most events of one transaction."""
BYTES_MAX = 4_000_000
"""About the most bytes of one transaction: well below what it may hold, with keys and headers."""


async def tell(feed: Feed, stream: EventStream, playback: Playback | None) -> None:
    """Write a stream to its end; the last tick is the first after the last event.

    Parameters
    ----------
    feed
        Its state says where to begin.
    stream
        What to write.
    playback
        Says when; None: as fast as can be.

    Raises
    ------
    SettingsError
        When the log was begun with another stream.
    """
    state = feed.state
    if state.last_tick_ms is not None and state.identity != stream.identity:
        message = "the log was begun with other events than these; go on with the same, or name another --folder"
        raise SettingsError(message, code="other_events")
    for events in stream.slices(state.position):
        if state.last_tick_ms is None:
            await feed.begin(stream.identity, int(events.times_ms[0]))
        await _tell_slice(feed, events, playback)
    if state.last_event_ms is not None:
        await feed.write(NO_EVENTS, (state.last_event_ms // GRID_MS + 1) * GRID_MS)


async def _tell_slice(feed: Feed, events: EventSlice, playback: Playback | None) -> None:
    sizes = np.cumsum(np.fromiter(map(len, events.values), dtype=np.int64, count=len(events)))
    start = 0
    while start < len(events):
        next_ms = int(events.times_ms[start])
        reached_ms = int(events.times_ms[-1]) + 1 if playback is None else playback.reached_ms(next_ms)
        due = int(np.searchsorted(events.times_ms, reached_ms, side="left"))
        written = int(sizes[start - 1]) if start else 0
        fitting = max(int(np.searchsorted(sizes, written + BYTES_MAX, side="right")), start + 1)
        end = max(min(due, fitting, start + EVENTS_MAX), start)
        # All before this time is told: later events of this slice, and of those behind it, are not earlier.
        until_ms = min(reached_ms, int(events.times_ms[min(end, len(events) - 1)]))
        await feed.write(events[start:end], until_ms)
        start = end
        if playback is not None and end == due and start < len(events):
            await playback.wait(reached_ms)


async def feed_files(
    log: Log, topics: Topics, patterns: Sequence[str], policy: Policy, options: EventLogOptions
) -> None:
    """Tell the events of files to a log, as fast as can be.

    Parameters
    ----------
    log
        Not started yet.
    topics
        Where to.
    patterns
        Paths or globs.
    policy, options
        How to read them.
    """
    async with _feeding(log, topics) as feed:
        with open_event_log(patterns, policy, options) as events:
            await tell(feed, FileEvents(events, policy, find_files(patterns)), None)


async def feed_shop(log: Log, topics: Topics, shop: tuple[int, int], days_per_second: float) -> None:
    """Tell a simulated shop to a log until it closes.

    Parameters
    ----------
    log
        Not started yet; its group is that of the worker.
    topics
        Where to.
    shop
        How many customers, and the seed.
    days_per_second
        How fast time passes after the history.
    """
    clock = Clock()
    async with _feeding(log, topics) as feed:
        today = datetime.fromtimestamp(clock.now_ms() / 1000, tz=UTC).date()
        opened = Shop.opened(*shop, today)
        if feed.state.identity is not None:
            # The shop that the log was begun with goes on, from the day on which it was opened.
            opened = replace(opened, start=Shop.identified(feed.state.identity).start)
        pace = Pace(opened.history_end_ms, days_per_second)
        waiting_count = partial(count_waiting, log, topics, len(feed.state.partitions))
        await tell(feed, opened, Playback(pace, feed.state.last_tick_ms or 0, clock, waiting_count))


async def count_waiting(log: Log, topics: Topics, partition_count: int) -> int:
    """Count the events that the worker has not taken in yet."""
    partitions = [TopicPartition(topics.events, number) for number in range(partition_count)]
    positions = await log.committed(partitions)
    ends = [(await log.bounds(partition)).end for partition in partitions]
    return sum(end - positions.get(partition, 0) for partition, end in zip(partitions, ends, strict=True))


@asynccontextmanager
async def _feeding(log: Log, topics: Topics) -> AsyncIterator[Feed]:
    await log.start()
    try:
        count = await log.partition_count(topics.events)
        if count is None:
            message = f"topic {topics.events} is not there; start `worker` or `run` first, which makes it"
            raise SettingsError(message, code="no_topic")
        writer = await log.writer(f"{topics.app}-feed")
        try:
            state = await recover(log, topics, count)
            yield Feed(writer, topics, lambda keys: partitions_of(keys, count), state)
        finally:
            await writer.close()
    finally:
        await log.stop()
