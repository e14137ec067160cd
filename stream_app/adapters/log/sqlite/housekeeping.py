"""What an embedded log needs now and then: compaction and retention, in pieces between which others write."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from stream_app.adapters.log.errors import UnusableLogError
from stream_app.adapters.log.sqlite.compaction import due_pass
from stream_app.adapters.log.sqlite.reading import batch_key
from stream_app.adapters.log.sqlite.truncating import truncate_some
from stream_app.adapters.log.sqlite.writing import Committer


class Housekeeper:
    """Compacts the compacted topics and forgets what topics with a retention need not keep.

    Parameters
    ----------
    path
        The log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._committer = Committer(path, group="")

    async def work(self) -> None:
        """Do what is due.

        Raises
        ------
        LogError
            When the log cannot be read or written.
        """
        now_ms = time.time_ns() // 1_000_000
        for partition_id, retention_ms in await self._committer.run(_with_retention):
            await self._forget(partition_id, now_ms - retention_ms)
        for partition_id in await self._committer.run(_compacted):
            await self._compact(partition_id, now_ms)

    async def close(self) -> None:
        """Close the connection."""
        await self._committer.close()

    async def _forget(self, partition_id: int, before_ms: int) -> None:
        keep_from = await self._committer.run(_first_kept, partition_id, before_ms)
        while await self._committer.run(truncate_some, partition_id, keep_from):
            await asyncio.sleep(0)

    async def _compact(self, partition_id: int, now_ms: int) -> None:
        compaction = await self._committer.run(due_pass, partition_id, now_ms)
        if compaction is None:
            return
        try:
            while await self._committer.run(compaction.note_some):
                await asyncio.sleep(0)
            while await self._committer.run(compaction.rewrite_some):
                await asyncio.sleep(0)
        except ValueError as error:
            message = f"log {self._path} is damaged in a compacted topic ({error}); restore a copy"
            raise UnusableLogError(message) from error


def _with_retention(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    statement = (
        "SELECT partitions.id, retention_ms FROM partitions JOIN topics ON topic_id = topics.id "
        "WHERE retention_ms IS NOT NULL"
    )
    return connection.execute(statement).fetchall()


def _compacted(connection: sqlite3.Connection) -> list[int]:
    statement = "SELECT partitions.id FROM partitions JOIN topics ON topic_id = topics.id WHERE is_compacted"
    return [partition_id for (partition_id,) in connection.execute(statement)]


def _first_kept(connection: sqlite3.Connection, partition_id: int, before_ms: int) -> int:
    """Find the first offset behind the batches at the beginning that were appended before a time."""
    span = (batch_key(partition_id, 0), batch_key(partition_id + 1, 0))
    keep_from = 0
    rows = connection.execute("SELECT last_offset, appended_ms FROM batches WHERE id >= ? AND id < ? ORDER BY id", span)
    for last, appended_ms in rows:
        if appended_ms >= before_ms:
            break
        keep_from = last + 1
    rows.close()
    return keep_from
