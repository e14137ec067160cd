"""The ticker: it tells all shards each minute that time has passed, and how far the events reached then."""

from __future__ import annotations

import asyncio
import logging

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.topics import Topics
from stream_app.domain.events import MS_PER_MINUTE, MS_PER_SECOND
from stream_app.streaming.shard_task import Services
from stream_app.streaming.ticks import TickRecord, encode_tick

_logger = logging.getLogger(__name__)


class Ticker:
    """Writes ticks by the wall clock. Whoever owns the learner runs it; a second one does no harm.

    Parameters
    ----------
    services
        What tasks share.
    topics
        Names of the topics.
    partition_count
        Number of shards.
    """

    def __init__(self, services: Services, topics: Topics, partition_count: int) -> None:
        self._services, self._topics, self._partition_count = services, topics, partition_count

    async def run(self) -> None:
        """Tick on each full minute until cancelled."""
        while True:
            now_ms = self._services.clock_ms()
            next_ms = (now_ms // MS_PER_MINUTE + 1) * MS_PER_MINUTE
            await asyncio.sleep((next_ms - now_ms) / MS_PER_SECOND)
            try:
                await self.tick(next_ms)
            except LogError as error:
                _logger.warning("no tick topic=%s time_ms=%d error=%s", self._topics.ticks, next_ms, error)

    async def tick(self, time_ms: int) -> None:
        """Tell all shards that a time has come; events that are in the log now precede it (S1)."""
        partitions = range(self._partition_count)
        log = self._services.log
        ends = {str(p): (await log.bounds(TopicPartition(self._topics.events, p))).end for p in partitions}
        value = encode_tick(TickRecord(time_ms, ends))
        await log.append([Outgoing(self._topics.ticks, p, [value], timestamps_ms=[time_ms]) for p in partitions])
