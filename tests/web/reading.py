"""Reading a log into a model to its end."""

from __future__ import annotations

import asyncio

from stream_app.adapters.log.port import Log, TopicPartition
from stream_app.web.follower import Follower
from stream_app.web.read_model import ReadModel
from tests.web.shop_log import make_log

DEADLINE_SECONDS = 120.0


async def is_read(model: ReadModel, log: Log) -> bool:
    """Tell whether a model has seen everything on a log."""
    topics = model.topics
    count = await log.partition_count(topics.state)
    for name, partitions in ((topics.segment_changes, count), (topics.knowledge, 1)):
        for number in range(partitions or 0):
            end = (await log.bounds(TopicPartition(name, number))).end
            position = model.history.positions(name).get(number)
            if end and (position is None or position.next_offset < end):
                return False
    ends = [(await log.bounds(TopicPartition(topics.state, number))).end for number in range(count or 0)]
    return model.is_ready and all(model.progress_of(p).state_position >= end for p, end in enumerate(ends))


async def read_all(model: ReadModel, log: Log) -> None:
    """Follow a log until all of it has been read."""
    watching = make_log(log._path)  # type: ignore[attr-defined]
    await watching.start()
    task = asyncio.create_task(Follower(model, log).run())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await is_read(model, watching):
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await log.stop()
        await watching.stop()
