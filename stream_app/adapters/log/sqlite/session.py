"""The connections of a client to an embedded log while it is open."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from stream_app.adapters.log.port import TopicPartition
from stream_app.adapters.log.sqlite.reading import PartitionReader, Reach, ReadingThread, read_ends, read_reach
from stream_app.adapters.log.sqlite.watching import ChangeWatch
from stream_app.adapters.log.sqlite.writing import Committer


class Session:
    """The connections of a client while it is open.

    Parameters
    ----------
    path
        The log.
    group
        Whose positions are told.
    """

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        self._group = group
        self.reading = ReadingThread(path)
        self.committer = Committer(path, group)
        self.watch = ChangeWatch(path)
        self._readers: dict[TopicPartition, PartitionReader] = {}

    async def partition_id(self, partition: TopicPartition) -> int:
        """Find a partition in the file."""
        return await self.reading.run(self.reading.ids.find, partition)

    async def reader(self, partition: TopicPartition) -> PartitionReader:
        """Give the reader of a partition."""
        reader = self._readers.get(partition)
        if reader is None:
            name = f"{partition.topic}/{partition.partition}"
            reader = PartitionReader(self._path, name, await self.partition_id(partition))
            self._readers[partition] = reader
        return reader

    async def reach(self, partition: TopicPartition) -> Reach:
        """Tell how far a partition reaches."""
        return await self.reading.run(read_reach, await self.partition_id(partition))

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Tell the ends of some partitions."""
        ids = [(await self.reader(partition)).partition_id for partition in partitions]
        ends = await self.reading.run(read_ends, ids)
        return {partition: ends[one] for partition, one in zip(partitions, ids, strict=True)}

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the group's positions, of those partitions that have one."""
        positions = await self.reading.run(_read_positions, self._group)
        return {partition: positions[partition] for partition in partitions if partition in positions}

    async def close(self) -> None:
        """Close all connections; whoever still reads gets an error."""
        self.watch.close()
        # One after the other: whoever closes last moves the write-ahead log into the file, and two that close at the
        # same moment each take the other for one who stays.
        await self.reading.close()
        await self.committer.close()


def _read_positions(connection: sqlite3.Connection, group: str) -> dict[tuple[str, int], int]:
    statement = (
        "SELECT name, number, position FROM positions JOIN partitions ON partition_id = partitions.id "
        "JOIN topics ON topic_id = topics.id WHERE group_name = ?"
    )
    rows = connection.execute(statement, (group,)).fetchall()
    return {(name, number): position for name, number, position in rows}
