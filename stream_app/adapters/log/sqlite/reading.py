"""Reading an embedded log: short statements, so that no reader holds up the write-ahead log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from stream_app.adapters.log.errors import UnusableLogError
from stream_app.adapters.log.sqlite.batches import Record, unpack
from stream_app.adapters.log.sqlite.file import OFFSET_BITS, open_file, running
from stream_app.adapters.log.sqlite.topic_tables import PartitionIds

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

CHUNK_BYTES_MAX: Final = 1 << 20
"""Packed bytes of a chunk, unless a single batch is larger."""
CHUNK_RECORDS_MAX: Final = 8192
"""Records of a chunk, less those of its last batch: some milliseconds of unpacking."""
_BODIES = "SELECT id, last_offset, body FROM batches WHERE id >= ? AND id < ? ORDER BY id"


class Reach(NamedTuple):
    """How far a partition reaches: offset of the first record that is kept, and of the next one."""

    start: int
    end: int


class Chunk(NamedTuple):
    """Records of a partition, and the offset to go on from, which lies behind holes that follow them."""

    records: list[Record]
    next_offset: int


def batch_key(partition_id: int, offset: int) -> int:
    """Give the id of a batch that begins at an offset."""
    return partition_id << OFFSET_BITS | offset


def first_offset(key: int) -> int:
    """Give the offset at which the batch of an id begins."""
    return key & ((1 << OFFSET_BITS) - 1)


def read_reach(connection: sqlite3.Connection, partition_id: int) -> Reach:
    """Tell how far a partition reaches."""
    statement = "SELECT start_offset, end_offset FROM partitions WHERE id = ?"
    return Reach(*connection.execute(statement, (partition_id,)).fetchone())


def read_ends(connection: sqlite3.Connection, partition_ids: Sequence[int]) -> dict[int, int]:
    """Tell, for some partitions, the offset of the next record."""
    if not partition_ids:
        return {}
    marks = ", ".join("?" * len(partition_ids))
    statement = f"SELECT id, end_offset FROM partitions WHERE id IN ({marks})"
    return dict(connection.execute(statement, partition_ids).fetchall())


class ReadingThread:
    """The one thread through which a client reads.

    Parameters
    ----------
    path
        The log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_file(path, is_writing=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self.ids = PartitionIds(path)

    async def run(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Call a function with the connection and these arguments.

        Raises
        ------
        LogError
            When the log cannot be read.
        """
        call = partial(self._call, function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _call(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        with running(self._path):
            return function(self._connection, *arguments, **named)

    async def close(self) -> None:
        """Close the connection; what is running is finished first."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()


class PartitionReader:
    """Reads one partition chunk by chunk.

    Parameters
    ----------
    path
        The log, for messages.
    name
        Topic and partition, for messages.
    partition_id
        Where it stands in the file.
    """

    def __init__(self, path: Path, name: str, partition_id: int) -> None:
        self._path = path
        self._name = name
        self.partition_id = partition_id

    def read(self, connection: sqlite3.Connection, start: int, end: int, records_max: int = CHUNK_RECORDS_MAX) -> Chunk:
        """Read some records with `start <= offset < end`.

        Parameters
        ----------
        connection
            Used by nobody else meanwhile.
        start, end
            Records outside of what the partition holds are not there.
        records_max
            No further batch is taken when there are so many.

        Returns
        -------
        Chunk
            Without records only if there are none up to its next offset; that is at least `end` when nothing follows.

        Raises
        ------
        LogError
            When a batch is damaged.
        """
        bodies, reach = self._fetch(connection, start, end, records_max)
        begin, stop = max(start, reach.start), min(end, reach.end)
        records: list[Record] = []
        for first, last, body in bodies:
            unpacked = self._unpack(body, first)
            if first < begin or last >= stop:
                unpacked = [record for record in unpacked if begin <= record.offset < stop]
            records = records + unpacked if records else unpacked
        if not bodies:
            return Chunk([], max(begin, stop))
        return Chunk(records, min(stop, bodies[-1][1] + 1))

    def _fetch(
        self, connection: sqlite3.Connection, start: int, end: int, records_max: int
    ) -> tuple[list[tuple[int, int, bytes]], Reach]:
        """Take batches out of the file: first and last offset, and packed records."""
        bodies = []
        connection.execute("BEGIN")
        try:
            reach = read_reach(connection, self.partition_id)
            begin, stop = max(start, reach.start), min(end, reach.end)
            if begin < stop:
                span = (batch_key(self.partition_id, 0), batch_key(self.partition_id, begin))
                [at] = connection.execute("SELECT max(id) FROM batches WHERE id BETWEEN ? AND ?", span).fetchone()
                span = (span[1] if at is None else at, batch_key(self.partition_id, stop))
                size = count = 0
                rows = connection.execute(_BODIES, span)
                for key, last, body in rows:
                    if last < begin:
                        continue
                    bodies.append((first_offset(key), last, body))
                    size += len(body)
                    count += last + 1 - first_offset(key)
                    if size >= CHUNK_BYTES_MAX or count >= records_max:
                        break
                rows.close()
        finally:
            connection.execute("COMMIT")
        return bodies, reach

    def _unpack(self, body: bytes, first: int) -> list[Record]:
        try:
            return unpack(body, first)
        except Exception as error:  # Damaged bytes make each library fail in its own way.
            message = (
                f"log {self._path} is damaged at {self._name} offset {first} ({type(error).__name__}: {error}); "
                "restore a copy, or name a new file and produce the events again"
            )
            raise UnusableLogError(message) from error
