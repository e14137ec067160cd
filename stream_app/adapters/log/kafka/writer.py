"""Transactions of one owner, and records that have none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
)
from aiokafka.structs import TopicPartition as KafkaPartition

from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.kafka.batches import build_batches
from stream_app.adapters.log.kafka.clients import new_producer
from stream_app.adapters.log.kafka.loop_thread import LoopThread
from stream_app.adapters.log.port import Outgoing, TopicPartition

OPEN_TIMEOUT_S = 60.0
"""How long the start of a producer is tried: the restart of a broker must fit in."""
COMMIT_TIMEOUT_S = 30.0
"""Longer than the transaction timeout: after it, the broker has aborted what we have not committed."""
RECONNECT_PAUSE_S = 0.5
CLOSE_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


async def opened_producer(bootstrap: str, transactional_id: str | None) -> AIOKafkaProducer:
    """Start a producer; with a transactional id, all earlier ones of this id can commit no more from here on.

    Raises
    ------
    LogError
        When the cluster does not answer for `OPEN_TIMEOUT_S`, or refuses.
    """
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            while True:
                producer = new_producer(bootstrap, transactional_id)
                try:
                    await producer.start()
                except KafkaConnectionError as error:
                    await dropped(producer)
                    logger.warning("no broker answers bootstrap=%s error=%s", bootstrap, error)
                    await asyncio.sleep(RECONNECT_PAUSE_S)
                except BaseException:
                    await dropped(producer)
                    raise
                else:
                    return producer
    except (KafkaError, TimeoutError) as error:
        name = "a producer" if transactional_id is None else f"the writer {transactional_id!r}"
        message = f"{name} could not be opened on {bootstrap}: {error!r}: see whether the cluster is healthy"
        raise LogError(message) from error


async def dropped(producer: AIOKafkaProducer) -> None:
    """Give a producer up together with what it has not sent; no answer of a broker is waited for."""
    # `stop` sends what is left first, and waits for ever where the cluster does not answer.
    producer._closed = True
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await producer.client.close()
            await producer._sender.close()
    except (KafkaError, TimeoutError) as error:
        logger.info("producer dropped error=%r", error)
    _look_at_errors(producer)


def _look_at_errors(producer: AIOKafkaProducer) -> None:
    """Look at the errors in futures of aiokafka that nobody waits for: whoever committed has been told."""
    waiting = [batch._drain_waiter for batches in producer._message_accumulator._batches.values() for batch in batches]
    for future in (producer._txn_manager.wait_for_transaction_end(), *waiting):
        if future is not None and future.done():
            _look_at(future)


async def sent(producer: AIOKafkaProducer, outgoing: Sequence[Outgoing]) -> list[list[Awaitable[Any]]]:
    """Hand batches over to a producer.

    Returns
    -------
    list
        For each `Outgoing`, one awaitable per batch; it gives where the batch was written.
    """
    packed = [build_batches(producer.create_batch, each) for each in outgoing]
    deliveries: list[list[Awaitable[Any]]] = []
    # Nothing gives way between two first batches, so that they go to a broker in one request.
    for each, batches in zip(outgoing, packed, strict=True):
        deliveries.append([])
        for batch in batches:
            delivery = await producer.send_batch(batch, each.topic, partition=each.partition)
            # Nobody waits for it where a later batch is not taken any more.
            delivery.add_done_callback(_look_at)
            deliveries[-1].append(delivery)
    return deliveries


def _look_at(future: asyncio.Future[Any]) -> None:
    """Look at the error of a future that maybe nobody waits for, so that no one complains about it."""
    if not future.cancelled():
        future.exception()


class KafkaWriter:
    """The right to commit in the name of one owner.

    A commit has some eight round trips. In the event loop of the shards, each would wait until another shard has worked
    off its batch; so they are made in a thread that does nothing else.

    Parameters
    ----------
    name
        The transactional id.
    producer
        A producer of this id, started in the thread.
    group
        To whom positions are told.
    thread
        Where the producer lives.
    """

    def __init__(self, name: str, producer: AIOKafkaProducer, group: str, thread: LoopThread) -> None:
        self._name = name
        self._producer = producer
        self._group = group
        self._thread = thread
        self._death: LogError | None = None
        self._is_committing = False
        self.is_closed = False

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        """Make records and positions durable in one transaction: all of it or nothing; see `Writer.commit`."""
        if self._death is not None:
            raise self._death
        if self.is_closed:
            message = f"writer {self._name!r} is closed: open a new one, and recover"
            raise LogError(message)
        return await self._thread.run(self._commit(outgoing, positions))

    async def _commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        self._is_committing = True
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                return await self._transaction(outgoing, positions)
        except BaseException as error:
            who = f"writer {self._name!r}"
            told = _told(self._cause_of(error), who)
            self._death = told if isinstance(told, LogError) else LogError(f"{who} is dead after {error!r}: recover")
            if told is error:
                raise
            raise told from error
        finally:
            self._is_committing = False

    def _cause_of(self, error: BaseException) -> BaseException:
        """Give what has ended the transaction, where aiokafka only complains that there is none any more.

        Its sender may find out between any two calls of ours, as of a worker that slept and was replaced.
        """
        ended = self._producer._txn_manager.wait_for_transaction_end()
        if isinstance(error, KafkaError | TimeoutError | asyncio.CancelledError) or ended is None or not ended.done():
            return error
        return (None if ended.cancelled() else ended.exception()) or error

    async def _transaction(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        await self._producer.begin_transaction()
        deliveries = await sent(self._producer, outgoing)
        # Positions follow when records are written. Both at once would save two round trips, but brokers ask the
        # coordinator about each partition, who cannot tell while it adds the group: most commits were retried.
        await all_of([delivery for batches in deliveries for delivery in batches])
        first_offsets = [await batches[0] for batches in deliveries if batches]
        if positions:
            offsets = {KafkaPartition(*partition): offset for partition, offset in positions.items()}
            # No generation of the group goes with them: the name stands for one owner of one source partition.
            await self._producer.send_offsets_to_transaction(offsets, self._group)
        await self._producer.commit_transaction()
        written = iter([metadata.offset for metadata in first_offsets])
        return [next(written) if batches else -1 for batches in deliveries]

    async def close(self) -> None:
        """Give it up; an open transaction is aborted."""
        if self.is_closed:
            return
        self.is_closed = True
        await self._thread.run(self._close())

    async def _close(self) -> None:
        # A commit that was cancelled may not have noticed yet.
        if self._death is not None or self._is_committing:
            # The next writer of this name, or the transaction timeout, aborts what it has left open.
            await dropped(self._producer)
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._producer.stop()
        except (KafkaError, TimeoutError):
            await dropped(self._producer)


async def all_of(awaitables: Sequence[Awaitable[Result]]) -> list[Result]:
    """Wait for all, and then raise what says most: that the writer is fenced, or else the first error."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    fenced = [error for error in errors if isinstance(error, ProducerFenced | InvalidProducerEpoch)]
    for error in (*fenced, *errors):
        raise error
    return [result for result in results if not isinstance(result, BaseException)]


def _told(error: BaseException, who: str) -> BaseException:
    """Give the error of the port that says the same as one of aiokafka's; others are given back as they are."""
    if isinstance(error, ProducerFenced | InvalidProducerEpoch):
        return FencedError(f"{who} is fenced: a newer one of its name exists, or its transaction took too long")
    if isinstance(error, TimeoutError):
        return LogError(f"{who}: no commit in {COMMIT_TIMEOUT_S} s; it is not known whether it is in: recover")
    if isinstance(error, KafkaError | IllegalOperation):
        return LogError(f"{who}: {error!r}; it is not known whether the commit is in: recover")
    return error
