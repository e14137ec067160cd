"""Faust on an embedded log: every record once, in order, as it was written, from where recovery says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.types import TP

from stream_app.adapters.log.delivery import POSITION_HEADER
from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.log import SqliteLog
from stream_app.adapters.log.sqlite.topic_tables import TopicPlan, ensure_plans
from stream_app.adapters.log.sqlite.transport import register_transport
from stream_app.adapters.log.urls import SqliteUrl

DEADLINE_S = 120.0


class Hearing:
    """An app with one agent that notes what it gets, and where its partitions are sought to.

    Parameters
    ----------
    path
        The log.
    topics
        What the agent reads.
    starts
        Where recovery says that partitions go on.
    """

    def __init__(self, path: Path, topics: list[str], starts: dict[tuple[str, int], int]) -> None:
        register_transport()
        self.app = faust.App(
            "segments",
            broker=SqliteUrl(path).broker_url,
            datadir=str(path.parent / "faust"),
            topic_disable_leader=True,
            table_standby_replicas=0,
            web_enabled=False,
            stream_buffer_maxsize=4,
            stream_wait_empty=False,
        )
        self.heard: dict[tuple[str, int], list[Any]] = {}
        self.delays_s: list[float] = []
        self._starts = starts
        self.app.agent(self.app.topic(*topics, value_serializer="raw"))(self._hear)
        self.app.on_rebalance_complete.connect(self._recover)

    async def _hear(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            assert message.offset == event.value[-1].offset
            assert int(event.headers[POSITION_HEADER]) <= event.value[0].offset
            self.heard.setdefault((message.topic, message.partition), []).extend(event.value)
            self.delays_s.append(time.time() - event.value[-1].timestamp / 1000)
            event.ack()

    async def _recover(self, *_arguments: Any, **_named: Any) -> None:
        await self.app.consumer.seek_wait({TP(*partition): start for partition, start in self._starts.items()})

    def count(self) -> int:
        return sum(map(len, self.heard.values()))

    async def wait_for(self, count: int) -> None:
        await until(lambda: self.count() >= count)


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "this took too long"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(hearing: Hearing) -> AsyncIterator[None]:
    await hearing.app.start()
    try:
        yield
    finally:
        await asyncio.wait_for(hearing.app.stop(), DEADLINE_S)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(path, "segments")
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop 100%.log"
    ensure_plans(path, [TopicPlan("events", 3), TopicPlan("ticks", 3), TopicPlan("wide", 1)])
    return path


def test_records_arrive_in_order_from_where_recovery_says(path: Path) -> None:
    async def run() -> None:
        starts = {("events", 0): 100, ("events", 1): 0, ("events", 2): 7000, ("ticks", 1): 2}
        async with opened(path) as log:
            written = {}
            for number in range(3):
                values = [b"%d/%d" % (number, place) for place in range(7000)]
                headers = [[("place", b"%d" % place)] for place in range(7000)]
                await log.append([Outgoing("events", number, values, values, headers, list(range(7000)))])
                await log.append([Outgoing("ticks", number, [b"1", b"2", b"3", None])])
                written["events", number] = list(zip(range(7000), values, headers, strict=True))
            hearing = Hearing(path, ["events", "ticks"], starts)
            async with running(hearing):
                await hearing.wait_for(6900 + 7000 + 4 + 2 + 4)
                await log.append([Outgoing("events", 2, [b"live"])])
                await until(lambda: ("events", 2) in hearing.heard)
            for number in (0, 1):
                heard = hearing.heard["events", number]
                first = starts["events", number]
                assert [record.offset for record in heard] == list(range(first, 7000))
                assert [(record.timestamp, record.value, list(record.headers)) for record in heard] == written[
                    "events", number
                ][first:]
                assert [record.key for record in heard] == [record.value for record in heard]
            assert [(record.offset, record.value) for record in hearing.heard["events", 2]] == [(7000, b"live")]
            assert [record.value for record in hearing.heard["ticks", 1]] == [b"3", None]
            assert [record.value for record in hearing.heard["ticks", 0]] == [b"1", b"2", b"3", None]

    asyncio.run(run())


def test_without_a_seek_it_goes_on_at_the_position_of_the_group(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as log:
            await log.append([Outgoing("events", number, [b"0", b"1", b"2", b"3"]) for number in range(3)])
            writer = await log.writer("shard-0")
            await writer.commit([], {TopicPartition("events", 0): 3})
            await log.truncate(TopicPartition("events", 1), 2)
            hearing = Hearing(path, ["events"], {})
            async with running(hearing):
                await hearing.wait_for(7)
            heard = {number: [record.offset for record in hearing.heard["events", number]] for number in range(3)}
            assert heard == {0: [3], 1: [2, 3], 2: [0, 1, 2, 3]}

    asyncio.run(run())


def test_a_seek_while_records_flow_reads_them_again(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as log:
            await log.append([Outgoing("wide", 0, [b"%d" % number for number in range(50)])])
            hearing = Hearing(path, ["wide"], {})
            async with running(hearing):
                await hearing.wait_for(50)
                [partition] = hearing.app.consumer.assignment()
                await hearing.app.consumer.seek(partition, 40)
                await hearing.wait_for(60)
                await log.append([Outgoing("wide", 0, [b"50"])])
                await hearing.wait_for(61)
            offsets = [record.offset for record in hearing.heard["wide", 0]]
            assert offsets == [*range(50), *range(40, 51)]

    asyncio.run(run())


def test_a_partition_with_large_records_does_not_hold_up_the_others(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as log:
            await log.append([Outgoing("wide", 0, [bytes(900_000)] * 20)])
            await log.append([Outgoing("events", number, [b"1"] * 10) for number in range(3)])
            hearing = Hearing(path, ["wide", "events"], {})
            async with running(hearing):
                await hearing.wait_for(50)
            assert len(hearing.heard["wide", 0]) == 20

    asyncio.run(run())


def test_live_records_arrive_within_some_milliseconds(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as log:
            hearing = Hearing(path, ["events"], {})
            async with running(hearing):
                for number in range(101):
                    await log.append([Outgoing("events", number % 3, [b"1"])])
                    await hearing.wait_for(number + 1)
            delays_s = sorted(hearing.delays_s[1:])
            # 20 ms is the longest pause between two looks; the rest is for a machine that is busy.
            assert delays_s[len(delays_s) // 2] < 0.5

    asyncio.run(run())


def test_a_topic_that_is_not_there_ends_the_app_instead_of_waiting_for_ever(path: Path) -> None:
    async def run() -> None:
        hearing = Hearing(path, ["orders"], {})
        consumer: Any = hearing.app.consumer
        await consumer.on_start()
        try:
            with pytest.raises(LogError, match="no topic orders"):
                await consumer.subscribe(["orders"])
        finally:
            await consumer.on_stop()

    asyncio.run(run())
