"""The client of an embedded log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Bounds, LogRecord, Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.pieces import transactions_of
from stream_app.adapters.log.sqlite.session import Session
from stream_app.adapters.log.sqlite.topic_tables import partition_counts
from stream_app.adapters.log.sqlite.truncating import truncate_some
from stream_app.adapters.log.sqlite.writing import Committer, Submission


class SqliteLog:
    """A log in one SQLite file, for any number of processes at once.

    Statements run in two threads, one for reading and one for writing, so that the event loop does not wait for a disk.

    Parameters
    ----------
    path
        The file; `topic_tables.ensure_topics` makes it.
    group
        Whose positions are told and read.
    """

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        self._group = group
        self._session: Session | None = None

    async def start(self) -> None:
        """Connect.

        Raises
        ------
        SettingsError
            When there is no log, or it cannot be used.
        IncompatibleStateError
            When it is of another version.
        """
        if self._session is None:
            self._session = Session(self._path, self._group)

    async def stop(self) -> None:
        """Close everything that was opened; more than once does no harm."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def writer(self, name: str) -> SqliteWriter:
        """Open the writer of an owner; from here on earlier ones of this name can commit no more."""
        committer = self._opened().committer
        return SqliteWriter(committer, name, await committer.raise_epoch(name))

    async def append(self, outgoing: Sequence[Outgoing]) -> None:
        """Write records that belong to no owner; each once, but not all or none."""
        committer = self._opened().committer
        for piece in transactions_of(outgoing):
            await committer.submit(Submission(piece, {}))

    async def bounds(self, partition: TopicPartition) -> Bounds:
        """Tell how far a partition reaches now; whatever is in the file is stable."""
        reach = await self._opened().reach(partition)
        return Bounds(reach.start, reach.end, reach.end)

    async def partition_count(self, topic: str) -> int | None:
        """Give the number of a topic's partitions; None when there is no such topic."""
        counts = await self._opened().reading.run(partition_counts)
        return counts.get(topic)

    async def read(self, partition: TopicPartition, start: int, end: int) -> AsyncIterator[Sequence[LogRecord]]:
        """Read the records with `start <= offset < end`, in chunks, and stop there."""
        session = self._opened()
        end = min(end, (await session.reach(partition)).end)
        reader = await session.reader(partition)
        while start < end:
            chunk = await session.reading.run(reader.read, start, end)
            start = chunk.next_offset
            if chunk.records:
                yield chunk.records

    async def follow(
        self, starts: Mapping[TopicPartition, int]
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[LogRecord]]]:
        """Read records from these offsets on, and wait for more without end."""
        session = self._opened()
        positions = dict(starts)
        while True:
            seen = session.watch.version()
            ends = await session.ends(list(positions))
            for partition, end in ends.items():
                if positions[partition] >= end:
                    continue
                reader = await session.reader(partition)
                chunk = await session.reading.run(reader.read, positions[partition], end)
                positions[partition] = chunk.next_offset
                if chunk.records:
                    yield partition, chunk.records
            if all(positions[partition] >= end for partition, end in ends.items()):
                await session.watch.wait_for_change(seen)

    async def truncate(self, partition: TopicPartition, before: int) -> None:
        """Let the log forget records with `offset < before`; their space is used again."""
        session = self._opened()
        partition_id = await session.partition_id(partition)
        while await session.committer.run(truncate_some, partition_id, before):
            pass

    async def committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Give the group's positions, of those partitions that have one."""
        return await self._opened().committed(partitions)

    def _opened(self) -> Session:
        if self._session is None:
            message = f"log {self._path} is not open; start it first"
            raise LogError(message)
        return self._session


class SqliteWriter:
    """The right to commit in the name of one owner.

    Parameters
    ----------
    committer
        Writes for it.
    name, epoch
        What it is known by; a higher epoch of the name in the file has fenced it.
    """

    def __init__(self, committer: Committer, name: str, epoch: int) -> None:
        self._committer = committer
        self._name = name
        self._epoch = epoch
        self._failure: LogError | None = None

    async def commit(self, outgoing: Sequence[Outgoing], positions: Mapping[TopicPartition, int]) -> list[int]:
        """Make records and positions durable in one transaction: all of it or nothing."""
        if self._failure is not None:
            raise type(self._failure)(str(self._failure)) from self._failure
        try:
            return await self._committer.submit(Submission(outgoing, positions, (self._name, self._epoch)))
        except LogError as error:
            self._failure = error
            raise
        except BaseException as error:
            self._failure = LogError(f"writer {self._name} did not finish its last commit; open a new one and recover")
            self._failure.__cause__ = error
            raise

    async def close(self) -> None:
        """Give it up; more than once does no harm."""
        if self._failure is None:
            self._failure = LogError(f"writer {self._name} was closed; open a new one")
