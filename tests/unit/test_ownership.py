"""The runtime is told what it owns, and gets each record once while it owns its partition."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import LogRecord, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.ownership import Ownership, Reach

TOPICS = Topics("app", "events")
LEARNER = TopicPartition("app-learner-input", 0)


def pair(number: int) -> set[TopicPartition]:
    return {TopicPartition("events", number), TopicPartition("app-ticks", number)}


@dataclass
class Record:
    """A record of which only the offset counts."""

    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[()] = ()


def records(*offsets: int) -> list[LogRecord]:
    return [Record(offset) for offset in offsets]


@dataclass
class Listener:
    """Both sides of an ownership: keeps what the runtime is told, and what the source is."""

    start: int = 0
    room: bool = True
    calls: list[tuple[str, Any]] = field(default_factory=list)
    handed: list[tuple[TopicPartition, list[int]]] = field(default_factory=list)
    owned: set[int] = field(default_factory=set)
    has_learner: bool = False
    sought: dict[TopicPartition, int] = field(default_factory=dict)
    paused: set[TopicPartition] = field(default_factory=set)
    recovery: asyncio.Event | None = None

    async def assign(self, partitions: set[int], owns_learner: bool) -> dict[TopicPartition, int]:
        self.calls.append(("assign", (sorted(partitions), owns_learner)))
        if self.recovery is not None:
            await self.recovery.wait()
        new = {tp: self.start for number in partitions - self.owned for tp in pair(number)}
        if owns_learner and not self.has_learner:
            new[LEARNER] = self.start
        self.owned, self.has_learner = set(partitions), owns_learner
        return new

    async def revoke(self, partitions: set[int], lost_learner: bool) -> None:
        self.calls.append(("revoke", (sorted(partitions), lost_learner)))
        self.owned -= partitions
        self.has_learner &= not lost_learner

    async def hand_over(self, partition: TopicPartition, records: Sequence[LogRecord]) -> None:
        self.handed.append((partition, [record.offset for record in records]))

    def wants(self, partition: TopicPartition) -> bool:
        return self.room

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.calls.append(("stop", None))

    async def seek_wait(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.sought = dict(partitions)

    def pause_partitions(self, tps: set[TopicPartition]) -> None:
        self.paused |= tps

    def resume_partitions(self, tps: set[TopicPartition]) -> None:
        self.paused -= tps


def run(test: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await test

    asyncio.run(limited())


def test_what_is_new_is_taken_over_and_every_partition_is_sought() -> None:
    async def test() -> None:
        listener = Listener(start=7)
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0) | pair(1) | {LEARNER}, 1, listener)
        assert listener.calls == [("assign", ([0, 1], True))]
        assert listener.sought == dict.fromkeys(pair(0) | pair(1) | {LEARNER}, 7)

    run(test())


def test_what_is_kept_goes_on_behind_what_was_handed_over() -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        events = TopicPartition("events", 0)
        await ownership.take(pair(0) | pair(1), 1, listener)
        await ownership.hand_over(events, Reach(0, 6), records(0, 1, 4), listener)
        listener.start = 100
        await ownership.take(pair(0) | pair(2), 2, listener)
        assert listener.calls[1:] == [("revoke", ([1], False)), ("assign", ([0, 2], False))]
        assert listener.sought[events] == 6
        assert listener.sought[TopicPartition("events", 2)] == 100

    run(test())


def test_who_missed_an_assignment_gives_everything_up_and_recovers() -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0) | {LEARNER}, 4, listener)
        await ownership.hand_over(TopicPartition("events", 0), Reach(0, 2), records(0, 1), listener)
        listener.start = 30
        await ownership.take(pair(0) | {LEARNER}, 6, listener)
        assert listener.calls[1:] == [("revoke", ([0], True)), ("assign", ([0], True))]
        assert listener.sought[TopicPartition("events", 0)] == 30

    run(test())


def test_the_learner_is_lost_without_a_shard() -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0) | {LEARNER}, 1, listener)
        await ownership.take(pair(0), 2, listener)
        assert listener.calls[1:] == [("revoke", ([], True)), ("assign", ([0], False))]

    run(test())


def test_events_and_ticks_that_were_assigned_apart_are_refused() -> None:
    async def test() -> None:
        listener = Listener()
        apart = {TopicPartition("events", 0), TopicPartition("app-ticks", 1)}
        with pytest.raises(LogError, match="have to be the same"):
            await Ownership(TOPICS, listener).take(apart, 1, listener)
        assert listener.calls == []

    run(test())


@pytest.mark.parametrize(
    ("batches", "handed"),
    [
        ([(Reach(0, 2), [0, 1]), (Reach(2, 4), [2, 3])], [[0, 1], [2, 3]]),
        ([(Reach(0, 5), [0, 3]), (Reach(5, 11), [9])], [[0, 3], [9]]),
        ([(Reach(0, 2), [0, 1]), (Reach(0, 2), [0, 1])], [[0, 1]]),
        ([(Reach(0, 2), [0, 1]), (Reach(0, 6), [0, 1, 2, 5])], [[0, 1], [2, 5]]),
        ([(Reach(), [3]), (Reach(), [4])], [[3], [4]]),
    ],
    ids=["in_a_row", "holes", "repeated", "overlapping", "nothing_told"],
)
def test_each_record_is_handed_over_once(batches: list[tuple[Reach, list[int]]], handed: list[list[int]]) -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0), 1, listener)
        for reach, offsets in batches:
            await ownership.hand_over(TopicPartition("events", 0), reach, records(*offsets), listener)
        assert [offsets for _, offsets in listener.handed] == handed

    run(test())


def test_a_batch_that_was_lost_on_the_way_is_an_error_and_not_a_gap() -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0), 1, listener)
        await ownership.hand_over(TopicPartition("events", 0), Reach(0, 2), records(0, 1), listener)
        with pytest.raises(LogError, match="were not delivered"):
            await ownership.hand_over(TopicPartition("events", 0), Reach(4, 5), records(4), listener)

    run(test())


def test_records_of_partitions_that_are_not_owned_are_dropped() -> None:
    async def test() -> None:
        listener = Listener()
        ownership = Ownership(TOPICS, listener)
        await ownership.take(pair(0), 1, listener)
        await ownership.hand_over(TopicPartition("events", 1), Reach(), records(0), listener)
        await ownership.stop()
        await ownership.hand_over(TopicPartition("events", 0), Reach(), records(0), listener)
        assert listener.handed == []

    run(test())


def test_a_partition_without_room_is_paused_until_there_is_some() -> None:
    async def test() -> None:
        listener = Listener(room=False)
        ownership = Ownership(TOPICS, listener)
        flowing = asyncio.ensure_future(ownership.make_room(listener))
        events = TopicPartition("events", 0)
        for _ in range(2):
            await ownership.take(pair(0), 1, listener)
            await ownership.hand_over(events, Reach(), records(3), listener)
            listener.room = False
            await ownership.hand_over(events, Reach(), records(4), listener)
            assert listener.paused == {events}
            listener.room = True
            while listener.paused:
                await asyncio.sleep(0)
        flowing.cancel()

    run(test())


def test_stopping_breaks_a_recovery_off() -> None:
    async def test() -> None:
        listener = Listener(recovery=asyncio.Event())
        ownership = Ownership(TOPICS, listener)
        taking = asyncio.ensure_future(ownership.take(pair(0), 1, listener))
        while not listener.calls:
            await asyncio.sleep(0)
        await ownership.stop()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert listener.calls[-1] == ("stop", None)
        assert listener.sought == {}

    run(test())
