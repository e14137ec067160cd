"""Writing an embedded log: what waits goes into one transaction, and each part of it is there whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from stream_app.adapters.log.errors import FencedError, LogError
from stream_app.adapters.log.port import Outgoing, TopicPartition
from stream_app.adapters.log.sqlite.batches import Packed, pack
from stream_app.adapters.log.sqlite.file import open_file, running, writing
from stream_app.adapters.log.sqlite.reading import batch_key, read_ends
from stream_app.adapters.log.sqlite.topic_tables import PartitionIds

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

CHECKPOINT_BYTES: Final = 4 << 20
"""After so many bytes a writer moves what it wrote from the write-ahead log into the file."""
_WAL_PAGES_MAX: Final = 16_384
"""A write-ahead log of 64 MB, which readers kept from beginning anew, is waited for."""
_RESTART_WAIT_MS: Final = 200
_ROWS_TOGETHER: Final = 100
"""Rows of one statement; old versions of SQLite take 999 values."""
_NEWER_POSITION: Final = "ON CONFLICT (group_name, partition_id) DO UPDATE SET position = excluded.position"
_TOGETHER_MAX: Final = 32
"""Submissions that share a transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """What is to become durable, all of it or nothing.

    Parameters
    ----------
    outgoing, positions
        As in `Writer.commit`.
    fence
        Name and epoch of the writer; None for those who have none.
    """

    outgoing: Sequence[Outgoing]
    positions: Mapping[TopicPartition, int]
    fence: tuple[str, int] | None = None


Result = list[int] | LogError


class Committer:
    """The one thread through which a client writes.

    While a transaction is written, others gather, and the next one takes them all: they share its wait for the disk.
    Each stands in a savepoint of its own, so that a fenced one takes nobody with it.

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
        self._connection = open_file(path, is_writing=True)
        self._ids = PartitionIds(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-writer")
        self._waiting: list[tuple[Submission, asyncio.Future[list[int]]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._bytes_since_checkpoint = 0

    async def submit(self, submission: Submission) -> list[int]:
        """Write it; give the offset of the first record of each `Outgoing`, -1 for an empty one.

        Raises
        ------
        LogError
            When it failed; nothing of it is in the log.
        """
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._write_all())
        return await future

    async def raise_epoch(self, name: str) -> int:
        """Fence earlier writers of a name; give the epoch of the new one."""
        return await self.run(_raise_epoch, name)

    async def run(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        """Call a function with the connection and these arguments, in a transaction of its own.

        Raises
        ------
        LogError
            When it failed; nothing of it is in the log.
        """
        call = partial(self._call, function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _call(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _Arguments], _Answer],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> _Answer:
        with running(self._path), writing(self._connection):
            return function(self._connection, *arguments, **named)

    async def close(self) -> None:
        """Finish what was submitted and close the connection."""
        if self._pump is not None:
            await self._pump
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken, self._waiting = self._waiting[:_TOGETHER_MAX], self._waiting[_TOGETHER_MAX:]
            try:
                results = await loop.run_in_executor(self._thread, self._write, [each for each, _ in taken])
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(taken, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, LogError):
                    future.set_exception(result)
                else:
                    future.set_result(result)
            if self._bytes_since_checkpoint >= CHECKPOINT_BYTES:
                # Those who waited are served first; a checkpoint that fails is told with the next commit.
                await loop.run_in_executor(self._thread, self._checkpoint)

    def _write(self, submissions: Sequence[Submission]) -> list[Result]:
        now_ms = time.time_ns() // 1_000_000
        packed = [self._pack(submission, now_ms) for submission in submissions]
        results: list[Result] = []
        is_alone = len(submissions) == 1
        try:
            with running(self._path), writing(self._connection):
                for submission, batches in zip(submissions, packed, strict=True):
                    write = self._write_one if is_alone else self._write_apart
                    results.append(batches if isinstance(batches, LogError) else write(submission, batches, now_ms))
        except LogError as error:
            return [error] if is_alone else [type(error)(str(error)) for _ in submissions]
        for batches in packed:
            if not isinstance(batches, LogError):
                self._bytes_since_checkpoint += sum(len(batch.body) for part in batches for batch in part)
        return results

    @staticmethod
    def _pack(submission: Submission, now_ms: int) -> list[list[Packed]] | LogError:
        try:
            return [pack(outgoing, now_ms) for outgoing in submission.outgoing]
        except LogError as error:
            return error

    def _write_apart(self, submission: Submission, batches: list[list[Packed]], now_ms: int) -> Result:
        """Write one of several; when it is refused, nothing of it is left, and the others go on."""
        self._connection.execute("SAVEPOINT submission")
        try:
            result: Result = self._write_one(submission, batches, now_ms)
        except LogError as error:
            self._connection.execute("ROLLBACK TO submission")
            result = error
        self._connection.execute("RELEASE submission")
        return result

    def _write_one(self, submission: Submission, batches: list[list[Packed]], now_ms: int) -> list[int]:
        """Write with few statements: each gives the interpreter away and has to wait to get it back."""
        connection = self._connection
        if submission.fence is not None:
            self._require_epoch(*submission.fence)
        ids = [self._ids.find(connection, (outgoing.topic, outgoing.partition)) for outgoing in submission.outgoing]
        ends = read_ends(connection, list({one for one, parts in zip(ids, batches, strict=True) if parts}))
        rows: list[tuple[int, int, int, bytes]] = []
        offsets = []
        for partition_id, parts in zip(ids, batches, strict=True):
            offsets.append(ends[partition_id] if parts else -1)
            for part in parts:
                offset = ends[partition_id]
                ends[partition_id] = offset + part.record_count
                rows.append((batch_key(partition_id, offset), ends[partition_id] - 1, now_ms, part.body))
        _insert(connection, "batches (id, last_offset, appended_ms, body)", rows)
        _move_ends(connection, ends)
        positions = [
            (self._group, self._ids.find(connection, partition), position)
            for partition, position in submission.positions.items()
        ]
        _insert(connection, "positions (group_name, partition_id, position)", positions, _NEWER_POSITION)
        return offsets

    def _require_epoch(self, name: str, epoch: int) -> None:
        [newest] = self._connection.execute("SELECT epoch FROM writers WHERE name = ?", (name,)).fetchone()
        if newest != epoch:
            message = f"log {self._path}: a newer writer {name} exists; nothing was committed, leave the work to it"
            raise FencedError(message)

    def _checkpoint(self) -> None:
        self._bytes_since_checkpoint = 0
        try:
            _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > _WAL_PAGES_MAX:
                self._connection.execute(f"PRAGMA busy_timeout = {_RESTART_WAIT_MS}")
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                self._connection.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error:
            # Nothing is lost: it stays in the write-ahead log, and the next commit meets the same fault.
            self._bytes_since_checkpoint = CHECKPOINT_BYTES


def _insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]], conflict: str = "") -> None:
    for start in range(0, len(rows), _ROWS_TOGETHER):
        part = rows[start : start + _ROWS_TOGETHER]
        places = ", ".join([f"({', '.join('?' * len(part[0]))})"] * len(part))
        connection.execute(f"INSERT INTO {into} VALUES {places} {conflict}", list(chain.from_iterable(part)))


def _move_ends(connection: sqlite3.Connection, ends: Mapping[int, int]) -> None:
    moved = list(ends.items())
    for start in range(0, len(moved), _ROWS_TOGETHER):
        part = moved[start : start + _ROWS_TOGETHER]
        cases = " ".join(["WHEN ? THEN ?"] * len(part))
        statement = f"UPDATE partitions SET end_offset = CASE id {cases} END WHERE id IN ({', '.join('?' * len(part))})"
        connection.execute(statement, [*chain.from_iterable(part), *(partition_id for partition_id, _ in part)])


def _raise_epoch(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT INTO writers (name, epoch) VALUES (?, 0) ON CONFLICT DO NOTHING", (name,))
    connection.execute("UPDATE writers SET epoch = epoch + 1 WHERE name = ?", (name,))
    [epoch] = connection.execute("SELECT epoch FROM writers WHERE name = ?", (name,)).fetchone()
    return int(epoch)
