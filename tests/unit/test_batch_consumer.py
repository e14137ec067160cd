"""What a poll takes is delivered if it continues the last delivery, and read again if it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from faust.types import TP

from stream_app.adapters.faust_app import Hosting, build_app
from stream_app.adapters.log.kafka.consumer import BatchConsumer, Fetched
from stream_app.adapters.log.topics import Topics
from stream_app.adapters.log.urls import parse_log_url

EVENTS = TP("events", 0)
TICKS = TP("app-ticks", 0)


class Record(NamedTuple):
    """A record of which only the offset counts."""

    offset: int
    timestamp: int = 1_000
    timestamp_type: int = 0


class Thread:
    """Where the consumer's thread is: answers polls from a list, and keeps what was sought."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.sought: list[dict[Any, int]] = []
        self.asked: list[set[Any]] = []

    async def getmany(self, active: set[Any], timeout: float) -> Any:
        self.asked.append(set(active))
        answer = self.answers.pop(0)
        return answer() if callable(answer) else answer

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        self.sought.append(dict(partitions))

    def highwater(self, _tp: Any) -> int:
        return 99

    def assignment(self) -> set[Any]:
        return {EVENTS, TICKS}


def fetched(start: int, end: int, *offsets: int) -> Fetched:
    return Fetched(start, end, [Record(offset) for offset in offsets])


def run(answers: list[Any], test: Callable[[BatchConsumer, Thread], Awaitable[None]]) -> None:
    """Run a test with a consumer that stands at offset 10 of both partitions, and polls these answers."""

    async def never(_end: Any) -> Any:
        raise AssertionError

    async def limited() -> None:
        app = build_app(Hosting(parse_log_url("kafka://127.0.0.1:1"), Topics("app", "events"), never))
        consumer: Any = app.consumer
        thread = Thread(answers)
        consumer._thread = thread
        await consumer.seek_wait({EVENTS: 10, TICKS: 10})
        thread.sought.clear()
        consumer.resume_partitions({EVENTS, TICKS})
        async with asyncio.timeout(10):
            await test(consumer, thread)

    asyncio.run(limited())


async def delivered(consumer: BatchConsumer) -> list[tuple[str, dict[str, bytes], list[int]]]:
    """Poll once, and give topic, headers and offsets of each delivery."""
    return [
        (tp.topic, dict(message.headers), [record.offset for record in message.value])
        async for tp, message in consumer.getmany(timeout=0.01)
    ]


def test_each_partition_with_something_new_gives_one_message_that_says_where_it_begins_and_ends() -> None:
    async def test(consumer: BatchConsumer, _thread: Thread) -> None:
        assert await delivered(consumer) == [
            ("events", {"position": b"10", "end": b"13"}, [10, 11, 12]),
            ("app-ticks", {"position": b"10", "end": b"11"}, [10]),
        ]
        assert await delivered(consumer) == [("events", {"position": b"13", "end": b"20"}, [15, 19])]

    polls = [{EVENTS: fetched(10, 13, 10, 11, 12), TICKS: fetched(10, 11, 10)}, {EVENTS: fetched(13, 20, 15, 19)}]
    run(polls, test)


def test_ends_of_transactions_move_the_position_without_a_delivery() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        assert await delivered(consumer) == []
        assert await delivered(consumer) == [("events", {"position": b"10", "end": b"13"}, [12])]
        assert thread.sought == []

    run([{EVENTS: fetched(10, 11)}, {EVENTS: fetched(11, 13, 12)}], test)


def test_what_a_poll_took_before_a_rebalance_is_read_again() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        def during_a_rebalance() -> dict[Any, Fetched]:
            consumer.app.consumer_generation_id += 1
            return {EVENTS: fetched(10, 12, 10, 11)}

        thread.answers.insert(0, during_a_rebalance)
        assert await delivered(consumer) == []
        assert await delivered(consumer) == []
        assert thread.sought == [{EVENTS: 10}]
        assert await delivered(consumer) == [("events", {"position": b"10", "end": b"14"}, [10, 11, 12, 13])]

    run([{EVENTS: fetched(12, 14, 12, 13)}, {EVENTS: fetched(10, 14, 10, 11, 12, 13)}], test)


def test_a_seek_between_two_polls_counts_and_not_what_was_fetched_before_it() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        def sought_meanwhile() -> dict[Any, Fetched]:
            consumer._positions[EVENTS] = consumer._delivered[EVENTS] = 5
            return {EVENTS: fetched(10, 12, 10, 11)}

        thread.answers.insert(0, sought_meanwhile)
        assert await delivered(consumer) == []
        assert thread.sought == [{EVENTS: 5}]
        assert await delivered(consumer) == [("events", {"position": b"5", "end": b"7"}, [5, 6])]

    run([{EVENTS: fetched(5, 7, 5, 6)}], test)


def test_paused_partitions_are_not_polled_and_nothing_is_lost_of_them() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        consumer.pause_partitions({EVENTS})
        await delivered(consumer)
        consumer.resume_partitions({EVENTS})
        await delivered(consumer)
        assert thread.asked == [{TICKS}, {EVENTS, TICKS}]

    run([{}, {}], test)


def test_a_poll_without_active_partitions_waits_until_there_is_one() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        consumer.pause_partitions({EVENTS, TICKS})

        async def poll() -> list[Any]:
            return [tp async for tp, _ in consumer.getmany(timeout=60)]

        polling = asyncio.ensure_future(poll())
        await asyncio.sleep(0)
        consumer.resume_partitions({EVENTS})
        assert await polling == []
        assert thread.asked == []

    run([], test)


def test_a_seek_to_what_was_delivered_last_follows_every_rebalance() -> None:
    async def test(consumer: BatchConsumer, thread: Thread) -> None:
        await delivered(consumer)
        await consumer.perform_seek()
        assert thread.sought == [{EVENTS: 13, TICKS: 10}]

    run([{EVENTS: fetched(10, 13, 12)}], test)
