"""Events and ticks into a log: each once, in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Outgoing, TopicPartition, Writer
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.domain.errors import SettingsError
from stream_app.streaming.ticks import decode_tick
from stream_app.supervisor.event_stream import EventStream
from stream_app.supervisor.feeder import tell
from stream_app.supervisor.feeding import Feed, recover
from stream_app.supervisor.pace import WAITING_MAX, Clock, Pace, Playback
from tests.supervisor.streams import HOUR_MS, PARTITION_COUNT, TOPICS, NumberedStream, empty_log, read_topic, some_days


class QuickClock(Clock):
    """Time that passes only by waiting."""

    def __init__(self, now_ms: int = 2 * 10**12) -> None:
        self.start_ms, self.waited_seconds = now_ms, 0.0

    def now_ms(self) -> int:
        return self.start_ms + int(self.waited_seconds * 1000)

    def seconds(self) -> float:
        return self.waited_seconds

    async def sleep(self, seconds: float) -> None:
        self.waited_seconds += seconds


class PowerCutError(Exception):
    """The process ends here."""


class CutWriter:
    """A writer whose process ends at one of its commits, just before it or just after."""

    def __init__(self, writer: Writer, commits_left: int, *, is_after: bool) -> None:
        self._writer, self._commits_left, self._is_after = writer, commits_left, is_after

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        self._commits_left -= 1
        if self._commits_left < 0 and not self._is_after:
            raise PowerCutError
        offsets = await self._writer.commit(outgoing, positions)
        if self._commits_left < 0:
            raise PowerCutError
        return offsets

    async def close(self) -> None:
        await self._writer.close()


async def feed_all(
    log: SqliteLog,
    stream: EventStream,
    *,
    playback: Playback | None = None,
    cut: tuple[int, bool] | None = None,
) -> None:
    writer: Writer = await log.writer("feed")
    if cut is not None:
        writer = CutWriter(writer, cut[0], is_after=cut[1])
    state = await recover(log, TOPICS, PARTITION_COUNT)
    feed = Feed(writer, TOPICS, lambda keys: partitions_of(keys, PARTITION_COUNT), state)
    await tell(feed, stream, playback)


async def nobody_waits() -> int:
    return 0


def told(
    folder: Path, stream: EventStream, cuts: Sequence[tuple[int, bool]] = ()
) -> tuple[list[list[tuple[int, bytes, bytes]]], list[list[bytes]]]:
    """Feed a log, with power cuts; gives its events and ticks."""

    async def run() -> tuple[list[list[tuple[int, bytes, bytes]]], list[list[bytes]]]:
        log = empty_log(folder)
        await log.start()
        try:
            for number, cut in enumerate(cuts):
                # A later cut may come when everything has been told.
                with pytest.raises(PowerCutError) if number == 0 else contextlib.suppress(PowerCutError):
                    await feed_all(log, stream, cut=cut)
            await feed_all(log, stream)
            events = await read_topic(log, TOPICS.events)
            ticks = await read_topic(log, TOPICS.ticks)
        finally:
            await log.stop()
        return (
            [[(record.timestamp, record.key or b"", record.value or b"") for record in part] for part in events],
            [[record.value or b"" for record in part] for part in ticks],
        )

    return asyncio.run(run())


def test_every_event_is_written_once_in_order_with_its_customer_as_key_and_its_own_time(tmp_path: Path) -> None:
    stream = some_days()
    events, _ = told(tmp_path, stream)
    numbers = [[int(value[13:-2]) for _, _, value in part] for part in events]
    assert sorted(numbers[0] + numbers[1]) == list(range(len(stream.times_ms)))
    for partition, part in enumerate(numbers):
        assert part == sorted(part)
        for number, (time_ms, key, _) in zip(part, events[partition], strict=True):
            assert time_ms == stream.times_ms[number]
            assert key == b"c%d" % (number % 5)
            assert partitions_of([key], PARTITION_COUNT) == [partition]


def test_a_tick_stands_behind_all_events_before_it_and_before_all_others(tmp_path: Path) -> None:
    events, ticks = told(tmp_path, some_days())
    assert ticks[0] == ticks[1]
    for record in ticks[0]:
        tick = decode_tick(record)
        for partition, part in enumerate(events):
            end = tick.events_end(partition)
            assert all(time_ms < tick.time_ms for time_ms, _, _ in part[:end])
            assert all(time_ms >= tick.time_ms for time_ms, _, _ in part[end:])


def test_there_is_a_tick_for_every_hour_from_that_of_the_first_event_to_the_first_after_the_last(
    tmp_path: Path,
) -> None:
    stream = some_days()
    _, ticks = told(tmp_path, stream)
    times_ms = [decode_tick(record).time_ms for record in ticks[0]]
    assert times_ms[0] == stream.times_ms[0] // HOUR_MS * HOUR_MS
    assert times_ms[-1] == (stream.times_ms[-1] // HOUR_MS + 1) * HOUR_MS
    assert set(np.diff(times_ms)) == {HOUR_MS}


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("commits", range(0, 19, 3))
def test_a_feed_that_is_cut_off_at_any_commit_goes_on_without_loss_or_repetition(
    tmp_path: Path, commits: int, is_after: bool
) -> None:
    stream = some_days()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    events, ticks = told(whole, stream)
    assert told(cut, stream, [(commits, is_after), (2, not is_after)]) == (events, ticks)


def test_a_feed_that_has_told_everything_tells_nothing_again(tmp_path: Path) -> None:
    stream = some_days()
    told(tmp_path, stream)
    events, ticks = told(tmp_path, stream)
    assert sum(map(len, events)) == len(stream.times_ms)
    times_ms = [decode_tick(record).time_ms for record in ticks[0]]
    assert times_ms == sorted(set(times_ms))


def test_events_of_others_in_the_topic_change_neither_position_nor_order(tmp_path: Path) -> None:
    stream = some_days()

    async def run() -> list[int]:
        log = empty_log(tmp_path)
        await log.start()
        try:
            foreign = [Outgoing(TOPICS.events, number, [b"{}"] * 3) for number in range(PARTITION_COUNT)]
            await log.append(foreign)
            for cut in ((4, True), (3, False)):
                with pytest.raises(PowerCutError):
                    await feed_all(log, stream, cut=cut)
                await log.append(foreign)
            await feed_all(log, stream)
            parts = await read_topic(log, TOPICS.events)
        finally:
            await log.stop()
        return [int((record.value or b"")[13:-2]) for part in parts for record in part if record.value != b"{}"]

    assert sorted(asyncio.run(run())) == list(range(len(stream.times_ms)))


def test_a_log_that_was_begun_with_other_events_is_refused(tmp_path: Path) -> None:
    told(tmp_path, some_days())
    with pytest.raises(SettingsError, match="begun with other events"):
        told(tmp_path, NumberedStream(some_days().times_ms, identity="others"))


def test_history_is_told_at_once_and_the_rest_at_a_day_a_second(tmp_path: Path) -> None:
    stream = some_days(count=40)
    history_end_ms = int(stream.times_ms[15])
    clock = QuickClock()

    async def run() -> None:
        log = empty_log(tmp_path)
        await log.start()
        try:
            await feed_all(log, stream, playback=Playback(Pace(history_end_ms), 0, clock, nobody_waits))
        finally:
            await log.stop()

    asyncio.run(run())
    days = (int(stream.times_ms[-1]) - history_end_ms) / 86_400_000
    assert days <= clock.waited_seconds <= days + 0.5


def test_events_are_not_told_before_their_time_has_come(tmp_path: Path) -> None:
    stream = some_days(count=40)
    middle_ms = int(stream.times_ms[20])
    clock = QuickClock(now_ms=middle_ms)

    async def run() -> list[int]:
        log = empty_log(tmp_path)
        await log.start()
        try:
            playback = Playback(Pace(0, days_per_second=1e6), 0, clock, nobody_waits)
            task = asyncio.create_task(feed_all(log, stream, playback=playback))
            while clock.waited_seconds < 5.0:
                await asyncio.sleep(0)
            task.cancel()
            parts = await read_topic(log, TOPICS.events)
        finally:
            await log.stop()
        return [record.timestamp for part in parts for record in part]

    assert max(asyncio.run(run())) < clock.now_ms()


def test_time_stands_still_while_too_many_events_wait(tmp_path: Path) -> None:
    stream = some_days(count=40)
    clock = QuickClock()

    async def wait_for_the_first_hundred_seconds() -> int:
        return WAITING_MAX + 1 if clock.waited_seconds < 100.0 else 0

    async def run() -> None:
        log = empty_log(tmp_path)
        await log.start()
        try:
            playback = Playback(Pace(int(stream.times_ms[0])), 0, clock, wait_for_the_first_hundred_seconds)
            await feed_all(log, stream, playback=playback)
        finally:
            await log.stop()

    asyncio.run(run())
    days = (int(stream.times_ms[-1]) - int(stream.times_ms[0])) / 86_400_000
    assert 99.5 + days <= clock.waited_seconds <= 100.5 + days
