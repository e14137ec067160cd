"""Clients of a log under test: started, closed at the end whatever happens, and read in short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from stream_app.adapters.log.port import Headers, Log, LogRecord, TopicPartition, Writer

Followed = AsyncIterator[tuple[TopicPartition, Sequence[LogRecord]]]
Plain = tuple[int, bytes | None, bytes | None, Headers]


class Opens(Protocol):
    """Whatever gives clients of a log."""

    def open(self, group: str = ...) -> Log:
        """Give another client, not yet started."""


class Clients:
    """Opens clients of a log, and closes them in the end.

    Parameters
    ----------
    source
        Gives them.
    """

    def __init__(self, source: Opens) -> None:
        self._source = source
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def start(self, group: str = "segments") -> Log:
        log = self._source.open(group)
        await log.start()
        self._stack.push_async_callback(log.stop)
        return log

    async def writer(self, log: Log, name: str) -> Writer:
        writer = await log.writer(name)
        self._stack.push_async_callback(writer.close)
        return writer

    @asynccontextmanager
    async def following(self, starts: Mapping[TopicPartition, int]) -> AsyncIterator[Followed]:
        """Follow with a client of its own."""
        log = self._source.open()
        await log.start()
        records = log.follow(starts)
        try:
            yield records
        finally:
            close = getattr(records, "aclose", None)
            if close is not None:
                await close()
            await log.stop()


def plain(record: LogRecord) -> Plain:
    return (record.timestamp, record.key, record.value, list(record.headers))


async def read_all(log: Log, partition: TopicPartition, start: int = 0, end: int | None = None) -> list[LogRecord]:
    """Read a partition from an offset on, to its end unless another is given."""
    if end is None:
        end = (await log.bounds(partition)).stable_end
    return [record async for chunk in log.read(partition, start, end) for record in chunk]


async def take(records: Followed, count: int) -> dict[TopicPartition, list[bytes | None]]:
    """Take chunks from a follower until there are this many records; give their values by partition."""
    values: defaultdict[TopicPartition, list[bytes | None]] = defaultdict(list)
    while sum(map(len, values.values())) < count:
        partition, chunk = await anext(records)
        values[TopicPartition(*partition)].extend(record.value for record in chunk)
    return dict(values)
