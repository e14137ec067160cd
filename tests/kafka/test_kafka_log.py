"""Kafka keeps the contract of every log, and what only a cluster can go wrong at is told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.kafka.clients import FETCHER_LOOK_MS, new_reader
from stream_app.adapters.log.kafka.log import KafkaLog
from stream_app.adapters.log.kafka.writer import KafkaWriter
from stream_app.adapters.log.port import Log, Outgoing, TopicPartition, Writer
from tests.kafka.broker import KafkaCluster
from tests.kafka.kafka_case import KafkaCase
from tests.log.clients import Clients, read_all, take
from tests.log.contract import PROMISES, Promise

DEADLINE_S = 60.0


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_kafka_keeps_the_contract_of_every_log(promise: Promise, kafka_bootstrap: str) -> None:
    asyncio.run(asyncio.wait_for(promise(KafkaCase(kafka_bootstrap)), DEADLINE_S))


def in_time(test: Awaitable[None], deadline_s: float = DEADLINE_S) -> None:
    async def limited() -> None:
        async with asyncio.timeout(deadline_s):
            await test

    asyncio.run(limited())


@pytest.fixture
def case(kafka_bootstrap: str) -> KafkaCase:
    """The shared cluster."""
    return KafkaCase(kafka_bootstrap)


def test_an_open_transaction_of_somebody_else_hides_what_is_behind_it(case: KafkaCase) -> None:
    async def test() -> None:
        topic = await case.topic()
        partition = TopicPartition(topic, 0)
        log = KafkaLog(case.bootstrap, "segments")
        await log.start()
        writer = await log.writer(f"{topic}-shard-0")
        await writer.commit([Outgoing(topic, 0, [b"before"])], {})
        foreign = AIOKafkaProducer(bootstrap_servers=case.bootstrap.split(","), transactional_id=f"{topic}-foreign")
        await foreign.start()
        await foreign.begin_transaction()
        await foreign.send_and_wait(topic, b"open", partition=0)
        await writer.commit([Outgoing(topic, 0, [b"behind"])], {})
        bounds = await log.bounds(partition)
        assert (bounds.start, bounds.stable_end) == (0, 2)
        assert bounds.end > 3
        # The reader stops where it can be sure, and does not wait for the stranger.
        assert [record.value for record in await read_all(log, partition, 0, bounds.end)] == [b"before"]
        await foreign.abort_transaction()
        await foreign.stop()
        values: list[bytes | None] = []
        while len(values) < 2:
            values = [record.value for record in await read_all(log, partition)]
        assert values == [b"before", b"behind"]
        await log.stop()

    in_time(test())


def test_readers_look_for_something_to_fetch_every_few_milliseconds(case: KafkaCase) -> None:
    """A fetch that ends while other records are taken is begun again only then: by aiokafka's default, .2 s later."""

    async def test() -> None:
        reader = new_reader(case.bootstrap)
        await reader.start()
        try:
            # aiokafka cannot stop what has not begun anything.
            await asyncio.sleep(0)
            assert reader._fetcher._fetcher_timeout == FETCHER_LOOK_MS / 1000 <= 0.01
        finally:
            await reader.stop()

    in_time(test())


def test_a_partition_that_does_not_exist_is_named(case: KafkaCase) -> None:
    async def test() -> None:
        topic = await case.topic(2)
        async with Clients(case) as clients:
            log = await clients.start()
            with pytest.raises(LogError, match="no-such-topic-0 does not exist"):
                await log.bounds(TopicPartition("no-such-topic", 0))
            with pytest.raises(LogError, match=f"{topic}-2 does not exist .it has 2 partitions"):
                await read_all(log, TopicPartition(topic, 2), 0, 1)

    in_time(test())


def test_following_from_beyond_the_end_is_refused_and_never_begins_elsewhere(case: KafkaCase) -> None:
    async def test() -> None:
        topic = await case.topic()
        async with Clients(case) as clients, clients.following({TopicPartition(topic, 0): 5}) as records:
            with pytest.raises(LogError, match="ends at 0 and cannot be followed from 5"):
                await anext(records)

    in_time(test())


def test_a_follower_that_begins_before_the_start_begins_at_the_start(case: KafkaCase) -> None:
    async def test() -> None:
        topic = await case.topic()
        partition = TopicPartition(topic, 0)
        async with Clients(case) as clients:
            log = await clients.start()
            await log.append([Outgoing(topic, 0, [b"1", b"2", b"3"])])
            await log.truncate(partition, 2)
            async with clients.following({partition: 0}) as records:
                assert await take(records, 1) == {partition: [b"3"]}

    in_time(test())


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    async def test() -> None:
        log = KafkaLog("127.0.0.1:1", "segments")
        with pytest.raises(LogError, match=r"127\.0\.0\.1:1"):
            await log.start()
        await log.stop()

    in_time(test(), 10)


def note_complaints(complaints: list[str]) -> None:
    """Note what the running event loop complains about."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["message"]))


async def replaced_writer(clients: Clients, log: Log, topic: str) -> Writer:
    """Give a writer that has committed once, and that another of its name has fenced since."""
    old = await clients.writer(log, topic)
    await old.commit([Outgoing(topic, 0, [b"1"])], {})
    await clients.writer(log, topic)
    return old


def test_a_fenced_writer_leaves_no_unseen_errors(case: KafkaCase) -> None:
    complaints: list[str] = []

    async def test() -> None:
        note_complaints(complaints)
        topic = await case.topic()
        async with Clients(case) as clients:
            log = await clients.start()
            old = await replaced_writer(clients, log, topic)
            with pytest.raises(FencedError):
                await old.commit([Outgoing(topic, 0, [b"2"])], {})
            await old.close()
        gc.collect()

    in_time(test())
    assert complaints == []


def test_a_writer_that_is_fenced_between_two_batches_says_so(case: KafkaCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker that slept through its session: aiokafka then says only that there is no transaction."""
    complaints: list[str] = []

    async def test() -> None:
        note_complaints(complaints)
        topic = await case.topic()
        async with Clients(case) as clients:
            log = await clients.start()
            old = await replaced_writer(clients, log, topic)
            assert isinstance(old, KafkaWriter)
            producer = old._producer
            send, is_in_transaction = producer.send_batch, producer._txn_manager.is_in_transaction

            async def send_late(*arguments: Any, **named: Any) -> Any:
                delivery = await send(*arguments, **named)
                while is_in_transaction():
                    await asyncio.sleep(0.001)
                return delivery

            monkeypatch.setattr(producer, "send_batch", send_late)
            with pytest.raises(FencedError):
                await old.commit([Outgoing(topic, 0, [b"2"]), Outgoing(topic, 0, [b"3"])], {})
            with pytest.raises(FencedError):
                await old.commit([Outgoing(topic, 0, [b"2"])], {})
        gc.collect()

    in_time(test())
    assert complaints == []


async def commit_through_kills(cluster: KafkaCluster, kills: int) -> None:
    """Commit while brokers are killed in rotation and started again; whoever fails recovers by what is committed."""
    case = KafkaCase(cluster.bootstrap, cluster.replication)
    topic = await case.topic()
    source = TopicPartition(topic, 0)
    progress: asyncio.Queue[int] = asyncio.Queue()

    async def kill() -> None:
        for number in range(kills):
            for _ in range(20):
                await progress.get()
            broker = cluster.brokers[number % len(cluster.brokers)]
            await asyncio.to_thread(broker.kill)
            broker.start()
            # The next one falls when this one is back, as in a rolling restart that went wrong.
            await asyncio.to_thread(cluster.wait_until_ready)

    killing = asyncio.ensure_future(kill())
    recoveries = number = 0
    async with Clients(case) as clients:
        log = await clients.start()
        writer = await clients.writer(log, topic)
        while not (killing.done() and number >= 30 * kills):
            try:
                await writer.commit([Outgoing(topic, 0, [b"%d" % number])], {source: number + 1})
                number += 1
                progress.put_nowait(number)
            except LogError:
                recoveries += 1
                await writer.close()
                writer = await clients.writer(log, topic)
                number = (await log.committed([source])).get(source, 0)
        await killing
        values = [record.value for record in await read_all(log, source)]
    assert values == [b"%d" % each for each in range(number)]
    print(f"brokers={len(cluster.brokers)} kills={kills} commits={number} recoveries={recoveries}")


def test_commits_go_through_kills_of_the_only_broker_each_once(kafka_one_broker: KafkaCluster) -> None:
    in_time(commit_through_kills(kafka_one_broker, 2), 240)


def test_commits_go_through_kills_of_three_brokers_in_rotation_each_once(kafka_three_brokers: KafkaCluster) -> None:
    in_time(commit_through_kills(kafka_three_brokers, 3), 360)
