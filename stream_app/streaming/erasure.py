"""Erasing a customer: the command in the events topic, and how far it has got."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter

import orjson

from stream_app.adapters.log.partitioning import partitions_of
from stream_app.adapters.log.port import Log, LogRecord, Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.errors import SettingsError

COMMAND_HEADER = "stream_app_command"
ERASE = b"erase"
POLL_S = 0.1
_headers = attrgetter("headers")


def hash_of_customer(customer_id: bytes) -> str:
    """Give the blake2b-128 of a customer id in hexadecimal: who knows the id finds it again, nobody else does."""
    return blake2b(customer_id, digest_size=16).hexdigest()


def is_erasure(record: LogRecord) -> bool:
    """Tell whether a record of the events topic is the command to erase the customer that is its key."""
    return bool(record.headers) and (COMMAND_HEADER, ERASE) in [*map(tuple, record.headers)]


def split_at_erasures(records: Sequence[LogRecord]) -> Iterator[Sequence[LogRecord]]:
    """Cut records into runs of events, and commands on their own, in order."""
    if not any(map(_headers, records)):
        yield records
        return
    start = 0
    for place, record in enumerate(records):
        if record.headers and is_erasure(record):
            if start < place:
                yield records[start:place]
            yield records[place : place + 1]
            start = place + 1
    if start < len(records):
        yield records[start:]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was erased, and what still holds the id.

    Parameters
    ----------
    partition, offset
        Where the command stands in the events topic.
    is_applied
        True: the shard has committed the erasure.
    remains
        Topic to what it still holds, and until when.
    """

    partition: int
    offset: int
    is_applied: bool
    remains: dict[str, str]


async def erase_customer(log: Log, topics: Topics, customer_id: str, *, timeout_s: float) -> Receipt:
    """Tell the customer's shard to forget a customer, and wait until it has.

    Parameters
    ----------
    log
        Where the application runs.
    topics
        Names of its topics.
    customer_id
        Whom to forget.
    timeout_s
        How long to wait for the worker.

    Returns
    -------
    Receipt

    Raises
    ------
    SettingsError
        When there is no such topic.
    """
    count = await log.partition_count(topics.events)
    if count is None:
        message = f"there is no topic {topics.events}: name the topic of events with --events"
        raise SettingsError(message)
    own = TopicPartition(topics.events, int(partitions_of([customer_id.encode()], count)[0]))
    before = (await log.bounds(own)).end
    value = orjson.dumps({"type": "stream_app.erase", "customer_id": customer_id})
    command = Outgoing(*own, [value], [customer_id.encode()], [[(COMMAND_HEADER, ERASE)]])
    await log.append([command])
    offset = await _offset_of(log, own, before, customer_id.encode())
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        is_applied = (await log.committed([own])).get(own, -1) > offset
        if is_applied or asyncio.get_running_loop().time() > deadline:
            return Receipt(own.partition, offset, is_applied, _remains(topics))
        await asyncio.sleep(POLL_S)


async def _offset_of(log: Log, own: TopicPartition, start: int, key: bytes) -> int:
    async for records in log.read(own, start, (await log.bounds(own)).end):
        for record in records:
            if record.key == key and is_erasure(record):
                return record.offset
    return start


def _remains(topics: Topics) -> dict[str, str]:
    return {
        topics.events: "events of the customer and this command, for as long as the topic's owner keeps them",
        topics.segment_changes: "changes that were published, for as long as the topic keeps them",
        topics.dead_letters: "refused records that name the customer, for as long as the topic keeps them",
        topics.current_segments: "a tombstone now; the last record until the topic is compacted",
        topics.state: "the row until the log has been written anew: within 24 hours of events and ticks",
        topics.learner_input: "nothing once the learner has saved its state, which it does at once",
        topics.learner_state: "nothing once the learner has saved its state, which it does at once",
        topics.knowledge: "nothing: it never holds an id",
        topics.journal: "a hash of the id",
        topics.ticks: "nothing: it never holds an id",
    }
