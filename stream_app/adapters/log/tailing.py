"""The end of a topic, as somebody wants to see it: some of its last records, and then what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from stream_app.adapters.log.port import Log, LogRecord, TopicPartition
from stream_app.domain.errors import SettingsError

Tailed = AsyncIterator[tuple[TopicPartition, Sequence[LogRecord]]]


async def tail(log: Log, topic: str, last: int | None, *, is_followed: bool) -> Tailed:
    """Read the end of all partitions of a topic.

    Parameters
    ----------
    log
        Started.
    topic
        Its name.
    last
        How many offsets before the end of each partition it begins; None: with the first record that is kept.
    is_followed
        False: stop at the end as it is now. True: wait there for more, without end.

    Yields
    ------
    tuple[TopicPartition, Sequence[LogRecord]]
        Records of one partition in order; partitions take turns.

    Raises
    ------
    SettingsError
        When there is no such topic.
    """
    partition_count = await log.partition_count(topic)
    if partition_count is None:
        message = f"topic {topic}: there is no such topic; check --app and --log, or see `stream-app topics create`"
        raise SettingsError(message, code="missing_topic")
    partitions = [TopicPartition(topic, number) for number in range(partition_count)]
    reaches = await asyncio.gather(*map(log.bounds, partitions))
    starts = {
        partition: reach.start if last is None else max(reach.start, reach.stable_end - last)
        for partition, reach in zip(partitions, reaches, strict=True)
    }
    if is_followed:
        async for partition, records in log.follow(starts):
            yield partition, records
        return
    for partition, reach in zip(partitions, reaches, strict=True):
        async for records in log.read(partition, starts[partition], reach.stable_end):
            yield partition, records
