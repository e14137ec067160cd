"""The contract of every log: one promise a function, each run against a fresh `LogCase`.

A kind of log is tested by running every function of `PROMISES`, each under a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.port import Headers, Log, Outgoing, TopicPartition, Writer
from stream_app.adapters.log.topics import RECORD_BYTES_MAX, TRANSACTION_BYTES_MAX
from tests.log.clients import Clients, plain, read_all, take


class LogCase(Protocol):
    """A kind of log under test, without any topics but those that were asked for."""

    async def topic(self, partition_count: int = 1) -> str:
        """Make a new topic, which nothing cleans up, and give its name."""

    def open(self, group: str = "segments") -> Log:
        """Give another client, not yet started."""


Promise = Callable[[LogCase], Awaitable[None]]
PROMISES: list[Promise] = []


def promise(function: Promise) -> Promise:
    PROMISES.append(function)
    return function


@promise
async def a_record_is_read_as_it_was_written(case: LogCase) -> None:
    topic = await case.topic()
    now_ms = int(time.time() * 1000)
    written: list[tuple[int, bytes | None, bytes | None, Headers]] = [
        (now_ms - 5000, b"c-1", b'{"a": 1}', [("ce_type", b"changed"), ("ce_id", b"\x00\xff")]),
        (now_ms - 7000, b"c-1", None, []),
        (now_ms - 6000, None, b"", [("ce_type", b"")]),
        (now_ms - 4000, b"", "Grüße".encode(), [("twice", b"1"), ("twice", b"2"), ("ключ", b"x" * 300)]),
        (now_ms - 3000, b"\x00" * 256, bytes(range(256)), []),
    ]
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        timestamps, keys, values, headers = zip(*written, strict=True)
        await writer.commit([Outgoing(topic, 0, values, keys, headers, timestamps)], {})
        assert [plain(record) for record in await read_all(log, TopicPartition(topic, 0))] == written


@promise
async def a_record_without_a_timestamp_gets_the_time_of_appending(case: LogCase) -> None:
    topic = await case.topic()
    async with Clients(case) as clients:
        log = await clients.start()
        before_ms = int(time.time() * 1000)
        await log.append([Outgoing(topic, 0, [b"1", b"2"])])
        after_ms = int(time.time() * 1000)
        records = await read_all(log, TopicPartition(topic, 0))
        assert [before_ms <= record.timestamp <= after_ms for record in records] == [True, True]
        assert [(record.key, list(record.headers)) for record in records] == [(None, []), (None, [])]


@promise
async def a_commit_tells_where_each_of_its_parts_begins(case: LogCase) -> None:
    first, second = await case.topic(2), await case.topic()
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        parts = [(first, 1, b"a"), (second, 0, b"b"), (first, 0, b"c"), (first, 1, b"d")]
        for _ in range(3):
            offsets = await writer.commit([Outgoing(t, p, [mark] * 3) for t, p, mark in parts], {})
            for (topic, partition, mark), offset in zip(parts, offsets, strict=True):
                records = await read_all(log, TopicPartition(topic, partition), offset)
                assert [(record.offset, record.value) for record in records[:3]] == [
                    (offset + place, mark) for place in range(3)
                ]


@promise
async def an_empty_part_has_no_offset(case: LogCase) -> None:
    topic = await case.topic()
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        assert await writer.commit([], {}) == []
        assert await writer.commit([Outgoing(topic, 0, [])], {}) == [-1]
        offsets = await writer.commit([Outgoing(topic, 0, []), Outgoing(topic, 0, [b"1"]), Outgoing(topic, 0, [])], {})
        assert (offsets[0], offsets[2]) == (-1, -1)
        assert [record.offset for record in await read_all(log, TopicPartition(topic, 0))] == [offsets[1]]
        await log.append([Outgoing(topic, 0, [])])
        await log.append([])


@promise
async def many_small_records_keep_their_order(case: LogCase) -> None:
    topic = await case.topic(3)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        values = [f"{number}".encode() for number in range(20_000)]
        for start in range(0, len(values), 5_000):
            part = values[start : start + 5_000]
            await writer.commit([Outgoing(topic, 2, part, part)], {})
        records = await read_all(log, TopicPartition(topic, 2))
        assert [record.value for record in records] == values
        assert [record.key for record in records] == values
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))


@promise
async def the_largest_records_in_the_largest_transaction_come_back(case: LogCase) -> None:
    topics = [await case.topic(2), await case.topic()]
    count = TRANSACTION_BYTES_MAX // RECORD_BYTES_MAX
    values = [bytes([65 + number]) * RECORD_BYTES_MAX for number in range(count)]
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        outgoing = [
            Outgoing(topics[0], 0, values[:3]),
            Outgoing(topics[0], 1, values[3:5]),
            Outgoing(topics[1], 0, values[5:]),
        ]
        await writer.commit(outgoing, {})
        for part in outgoing:
            records = await read_all(log, TopicPartition(part.topic, part.partition))
            assert [record.value for record in records] == list(part.values)


@promise
async def a_record_that_is_too_large_leaves_nothing_of_its_commit(case: LogCase) -> None:
    topic, other = await case.topic(), await case.topic()
    source = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        await writer.commit([], {source: 1})
        with pytest.raises(LogError):
            await writer.commit([Outgoing(other, 0, [b"1"]), Outgoing(topic, 0, [bytes(2 << 20)])], {source: 2})
        await writer.close()
        following = await clients.writer(log, "shard-0")
        await following.commit([Outgoing(other, 0, [b"2"])], {})
        assert [record.value for record in await read_all(log, TopicPartition(other, 0))] == [b"2"]
        assert await read_all(log, source) == []
        assert await log.committed([source]) == {source: 1}


@promise
async def a_newer_writer_takes_the_right_to_commit_away(case: LogCase) -> None:
    topics = [await case.topic(), await case.topic()]
    source = TopicPartition(topics[0], 0)
    async with Clients(case) as clients:
        old_log, new_log = await clients.start(), await clients.start()
        old = await clients.writer(old_log, "shard-0")
        await old.commit([Outgoing(topic, 0, [b"old"]) for topic in topics], {source: 1})
        new = await clients.writer(new_log, "shard-0")
        for _ in range(2):
            with pytest.raises(FencedError):
                await old.commit([Outgoing(topic, 0, [b"zombie"]) for topic in topics], {source: 9})
        await old.close()
        await new.commit([Outgoing(topic, 0, [b"new"]) for topic in topics], {source: 2})
        for topic in topics:
            records = await read_all(old_log, TopicPartition(topic, 0))
            assert [record.value for record in records] == [b"old", b"new"]
        assert await new_log.committed([source]) == {source: 2}


@promise
async def writers_of_other_names_are_left_alone(case: LogCase) -> None:
    topic = await case.topic()
    async with Clients(case) as clients:
        log, other_log = await clients.start(), await clients.start()
        first = await clients.writer(log, "shard-0")
        second = await clients.writer(other_log, "shard-1")
        for number in range(3):
            await first.commit([Outgoing(topic, 0, [b"first %d" % number])], {})
            await second.commit([Outgoing(topic, 0, [b"second %d" % number])], {})
        records = await read_all(log, TopicPartition(topic, 0))
        assert [record.value for record in records] == [
            b"%s %d" % (name, number) for number in range(3) for name in (b"first", b"second")
        ]


@promise
async def commits_at_the_same_time_are_each_there_once_and_whole(case: LogCase) -> None:
    topics = [await case.topic(), await case.topic()]
    async with Clients(case) as clients:
        log = await clients.start()
        writers = [await clients.writer(log, f"shard-{number}") for number in range(3)]

        async def commit(name: int, writer: Writer) -> None:
            for number in range(10):
                value = b"%d/%d" % (name, number)
                await writer.commit([Outgoing(topic, 0, [value, value]) for topic in topics], {})

        await asyncio.gather(*(commit(name, writer) for name, writer in enumerate(writers)))
        for topic in topics:
            values = [record.value for record in await read_all(log, TopicPartition(topic, 0))]
            for name in range(3):
                own = [value for value in values if value is not None and value.startswith(b"%d/" % name)]
                assert own == [b"%d/%d" % (name, number) for number in range(10) for _ in range(2)]
            assert len(values) == 60


@promise
async def positions_belong_to_their_group(case: LogCase) -> None:
    topic = await case.topic(3)
    partitions = [TopicPartition(topic, number) for number in range(3)]
    async with Clients(case) as clients:
        log, other = await clients.start("segments"), await clients.start("others")
        assert await log.committed(partitions) == {}
        writer = await clients.writer(log, "shard-0")
        await writer.commit([], {partitions[0]: 7, partitions[2]: 0})
        await writer.commit([Outgoing(topic, 0, [b"1"])], {partitions[0]: 8})
        assert await log.committed(partitions) == {partitions[0]: 8, partitions[2]: 0}
        assert await log.committed([partitions[1]]) == {}
        assert await other.committed(partitions) == {}


@promise
async def bounds_tell_how_far_a_partition_reaches(case: LogCase) -> None:
    topic = await case.topic(2)
    partition = TopicPartition(topic, 1)
    async with Clients(case) as clients:
        log = await clients.start()
        assert await log.bounds(partition) == (0, 0, 0)
        writer = await clients.writer(log, "shard-0")
        [offset] = await writer.commit([Outgoing(topic, 1, [b"1", b"2", b"3"])], {})
        bounds = await log.bounds(partition)
        assert bounds.start == 0
        assert bounds.stable_end == bounds.end >= offset + 3
        assert await log.bounds(TopicPartition(topic, 0)) == (0, 0, 0)


@promise
async def the_number_of_partitions_is_known(case: LogCase) -> None:
    one, three = await case.topic(1), await case.topic(3)
    async with Clients(case) as clients:
        log = await clients.start()
        assert await log.partition_count(one) == 1
        assert await log.partition_count(three) == 3
        assert await log.partition_count("no-such-topic") is None


@promise
async def reading_keeps_to_its_bounds(case: LogCase) -> None:
    topic = await case.topic()
    partition = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        for number in range(4):
            await writer.commit([Outgoing(topic, 0, [b"%d/%d" % (number, place) for place in range(5)])], {})
        everything = await read_all(log, partition)
        assert len(everything) == 20
        end = (await log.bounds(partition)).end
        for start, stop in [(0, end), (3, 3), (3, 4), (2, end - 2), (end, end), (end - 1, end), (7, 5), (0, end + 99)]:
            records = await read_all(log, partition, start, stop)
            assert [record.offset for record in records] == [
                record.offset for record in everything if start <= record.offset < stop
            ]


@promise
async def truncation_forgets_only_what_lies_before(case: LogCase) -> None:
    topic = await case.topic(2)
    partition = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        for number in range(4):
            await writer.commit([Outgoing(topic, 0, [b"%d/%d" % (number, place) for place in range(5)])], {})
        everything = await read_all(log, partition)
        cut = everything[12].offset
        await log.truncate(partition, cut)
        bounds = await log.bounds(partition)
        assert 0 <= bounds.start <= cut
        kept = [record for record in await read_all(log, partition) if record.offset >= cut]
        assert [plain(record) for record in kept] == [plain(record) for record in everything[12:]]
        await log.truncate(partition, everything[3].offset)
        assert (await log.bounds(partition)).start == bounds.start
        await log.truncate(partition, bounds.end)
        emptied = await log.bounds(partition)
        assert emptied.start <= emptied.end == bounds.end
        [offset] = await writer.commit([Outgoing(topic, 0, [b"after"])], {})
        assert offset >= bounds.end
        assert [record.value for record in await read_all(log, partition, bounds.end)] == [b"after"]


@promise
async def appended_records_are_there_once_whoever_writes_them(case: LogCase) -> None:
    topic = await case.topic(2)
    async with Clients(case) as clients:
        logs = [await clients.start() for _ in range(3)]

        async def append(name: int, log: Log) -> None:
            for number in range(10):
                values = [b"%d/%d/%d" % (name, number, place) for place in range(20)]
                await log.append([Outgoing(topic, place, values[place::2], values[place::2]) for place in range(2)])

        await asyncio.gather(*(append(name, log) for name, log in enumerate(logs)))
        for place in range(2):
            values = [record.value or b"" for record in await read_all(logs[0], TopicPartition(topic, place))]
            for name in range(3):
                own = [value for value in values if value.startswith(b"%d/" % name)]
                assert own == [b"%d/%d/%d" % (name, number, one) for number in range(10) for one in range(place, 20, 2)]
            assert len(values) == 300


@promise
async def what_was_committed_is_there_after_a_restart(case: LogCase) -> None:
    topic = await case.topic()
    partition = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        await writer.commit([Outgoing(topic, 0, [b"1", b"2"])], {partition: 2})
        await writer.close()
        await log.stop()
        again = await clients.start()
        assert [record.value for record in await read_all(again, partition)] == [b"1", b"2"]
        assert await again.committed([partition]) == {partition: 2}
        following = await clients.writer(again, "shard-0")
        await following.commit([Outgoing(topic, 0, [b"3"])], {})
        assert [record.value for record in await read_all(again, partition)] == [b"1", b"2", b"3"]


@promise
async def a_follower_gets_what_is_there_and_then_what_comes(case: LogCase) -> None:
    topic, other = await case.topic(2), await case.topic()
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        await writer.commit([Outgoing(topic, 0, [b"a", b"b"]), Outgoing(other, 0, [b"x"])], {})
        skipped = (await log.bounds(TopicPartition(other, 0))).end
        starts = {TopicPartition(topic, 0): 1, TopicPartition(topic, 1): 0, TopicPartition(other, 0): skipped}
        async with clients.following(starts) as records:
            assert await take(records, 1) == {TopicPartition(topic, 0): [b"b"]}
            for number in range(5):
                value = b"%d" % number
                await writer.commit([Outgoing(topic, 1, [value]), Outgoing(other, 0, [value, value])], {})
                assert await take(records, 3) == {
                    TopicPartition(topic, 1): [value],
                    TopicPartition(other, 0): [value, value],
                }


@promise
async def a_follower_that_stopped_goes_on_where_it_was(case: LogCase) -> None:
    topic = await case.topic()
    partition = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, "shard-0")
        seen: list[bytes | None] = []
        position = 0
        for number in range(3):
            await writer.commit([Outgoing(topic, 0, [b"%d/%d" % (number, place) for place in range(4)])], {})
            async with clients.following({partition: position}) as records:
                while len(seen) < 4 * (number + 1):
                    _, chunk = await anext(records)
                    seen.extend(record.value for record in chunk)
                    position = chunk[-1].offset + 1
        assert seen == [b"%d/%d" % (number, place) for number in range(3) for place in range(4)]


@promise
async def a_follower_sees_nothing_of_a_commit_that_was_refused(case: LogCase) -> None:
    topic = await case.topic()
    partition = TopicPartition(topic, 0)
    async with Clients(case) as clients:
        log = await clients.start()
        old = await clients.writer(log, "shard-0")
        async with clients.following({partition: 0}) as records:
            new = await clients.writer(log, "shard-0")
            with pytest.raises(FencedError):
                await old.commit([Outgoing(topic, 0, [b"zombie"])], {})
            await new.commit([Outgoing(topic, 0, [b"new"])], {})
            assert await take(records, 1) == {partition: [b"new"]}


@promise
async def a_follower_can_be_cancelled_while_it_waits(case: LogCase) -> None:
    topic = await case.topic()
    async with Clients(case) as clients:
        log = await clients.start()
        waiting = asyncio.ensure_future(anext(log.follow({TopicPartition(topic, 0): 0})))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await log.append([Outgoing(topic, 0, [b"1"])])
        assert len(await read_all(log, TopicPartition(topic, 0))) == 1
