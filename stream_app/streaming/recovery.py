"""How a shard is built from its log: in an order in which nothing is missed, and with refusals instead of guesses."""

from __future__ import annotations

import asyncio

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Bounds, Log, TopicPartition
from stream_app.domain.errors import IncompatibleStateError
from stream_app.streaming.knowledge_feed import KnowledgeFeed
from stream_app.streaming.shard import Shard, ShardSetup
from stream_app.streaming.state_reader import StateReader

FOREIGN_TRANSACTION_S = 30.0
"""How long an open transaction of somebody else is waited for: brokers end ours after 15 s, and look every 10 s."""
POLL_S = 0.2


async def stable_bounds(log: Log, partition: TopicPartition) -> Bounds:
    """Wait until no transaction is open on a partition, so that no committed record is hidden behind it.

    Raises
    ------
    LogError
        When one stays open.
    """
    deadline = asyncio.get_running_loop().time() + FOREIGN_TRANSACTION_S
    while True:
        bounds = await log.bounds(partition)
        if bounds.stable_end >= bounds.end:
            return bounds
        if asyncio.get_running_loop().time() > deadline:
            message = (
                f"a transaction that is not ours is open on {partition.topic}-{partition.partition} since offset "
                f"{bounds.stable_end}: find and end it with `kafka-transactions.sh --find-hanging` and `--abort`"
            )
            raise LogError(message)
        await asyncio.sleep(POLL_S)


async def recover_shard(log: Log, feed: KnowledgeFeed, setup: ShardSetup) -> Shard:
    """Build a shard. Its writer must be open already: it fences earlier owners and ends their transactions.

    Parameters
    ----------
    log
        Where it is.
    feed
        What the learner told.
    setup
        What the shard is told.

    Returns
    -------
    Shard

    Raises
    ------
    IncompatibleStateError
        When state, positions and log do not fit; the message says what to do.
    LogError
        When the log fails, or a foreign transaction hides records.
    """
    topics, own = setup.topics, setup.partition
    state = TopicPartition(topics.state, own)
    events, ticks = TopicPartition(topics.events, own), TopicPartition(topics.ticks, own)
    bounds = await stable_bounds(log, state)
    reader = StateReader(setup.policy, own, setup.partition_count)
    async for records in log.read(state, bounds.start, bounds.end):
        for record in records:
            reader.add(record.offset, record.value or b"")
        await asyncio.sleep(0)
    recovered = reader.finish(bounds.start)
    await feed.catch_up()
    told = await log.committed([events, ticks])
    limits = {partition: await log.bounds(partition) for partition in (events, ticks)}
    if recovered is None:
        # Offsets alone say nothing: what was aborted takes some, too.
        if told:
            raise _refusal(events, f"positions {told} are known, but {state.topic} holds no state", "lost_state")
        starts = (limits[events].start, limits[ticks].start)
        return Shard(setup, await feed.load(1), None, starts)
    header = recovered.header
    for partition, limit in limits.items():
        position = header.positions.get(partition.topic)
        if position is None:
            raise _refusal(partition, f"the state knows positions in {list(header.positions)} only", "other_topic")
        if told.get(partition, 0) > position:
            raise _refusal(partition, f"the group is at {told[partition]}, the state at {position}", "lost_state")
        if not limit.start <= position <= limit.end:
            text = f"the state goes on at {position}, the topic reaches from {limit.start} to {limit.end}"
            raise _refusal(partition, text, "lost_records")
    return Shard(setup, await feed.load(header.knowledge_version), recovered, (0, 0))


def _refusal(partition: TopicPartition, what: str, code: str) -> IncompatibleStateError:
    message = (
        f"{partition.topic}-{partition.partition}: {what}; nothing is reset silently: restore the topics from a copy, "
        "or begin under another application name (--app), which reads all events anew"
    )
    return IncompatibleStateError(message, code=code)
