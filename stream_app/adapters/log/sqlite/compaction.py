"""Compaction of a partition: the last record of each key stays where it was, and the others leave holes.

A pass takes the records that came since the last one, notes the last offset of each of their keys, and rewrites
everything up to there, a window of batches at a time. Each window is one short transaction, so others write in between,
and a process that dies in the midst has only done a part of the work.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stream_app.adapters.log.sqlite.batches import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Record, pack_kept, unpack
from stream_app.adapters.log.sqlite.reading import batch_key, first_offset, read_reach

KEYS_MAX: Final = 300_000
"""Distinct keys of a pass: some 50 MB. A pass that meets more ends there, and another one follows."""
DIRTY_BYTES_MIN: Final = 1 << 20
"""Less than this, or than what is compacted already, waits for a day."""
TOMBSTONE_MS: Final = 86_400_000
"""So long a tombstone stays, for readers who were away; also the longest time that old records wait for a pass."""


class _Row(NamedTuple):
    """A batch as it lies in the file."""

    first: int
    last: int
    appended_ms: int
    size: int


@dataclass(slots=True)
class CompactionPass:
    """A pass over one partition.

    Parameters
    ----------
    partition_id
        Which one.
    clean_end
        Up to here there is one record a key.
    now_ms
        As of when tombstones are old.
    """

    partition_id: int
    clean_end: int
    now_ms: int
    latest: dict[bytes, int] = field(default_factory=dict)
    noted_to: int = -1
    rewritten_to: int = 0

    def note_some(self, connection: sqlite3.Connection) -> bool:
        """Note the last offsets of keys in some more of the new batches.

        Returns
        -------
        bool
            Whether there is more to note.
        """
        start = self.clean_end if self.noted_to < 0 else self.noted_to
        span = (batch_key(self.partition_id, start), batch_key(self.partition_id + 1, 0))
        rows = connection.execute(
            "SELECT id, last_offset, body FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT 8", span
        ).fetchall()
        for key, last, body in rows:
            for record in unpack(body, first_offset(key)):
                if record.key is not None:
                    self.latest[record.key] = record.offset
            self.noted_to = last + 1
            if len(self.latest) >= KEYS_MAX:
                return False
        return bool(rows)

    def rewrite_some(self, connection: sqlite3.Connection) -> bool:
        """Rewrite the next window of batches, within a transaction.

        Returns
        -------
        bool
            Whether there is more to rewrite.
        """
        rows = self._window(connection)
        if not rows:
            connection.execute(
                "UPDATE partitions SET compacted_offset = ?, compacted_ms = ? WHERE id = ?",
                (self.noted_to, self.now_ms, self.partition_id),
            )
            return False
        kept: list[Record] = []
        record_count = 0
        for row in rows:
            key = (batch_key(self.partition_id, row.first),)
            [body] = connection.execute("SELECT body FROM batches WHERE id = ?", key).fetchone()
            records = unpack(body, row.first)
            record_count += len(records)
            is_old = row.appended_ms < self.now_ms - TOMBSTONE_MS
            kept += [record for record in records if self._is_kept(record, are_tombstones_old=is_old)]
        if len(kept) < record_count or len(rows) > 1:
            appended_ms = max(row.appended_ms for row in rows)
            self._replace(connection, rows, kept, appended_ms)
        self.rewritten_to = rows[-1].last + 1
        return True

    def _window(self, connection: sqlite3.Connection) -> list[_Row]:
        """Find the next batches that together make one."""
        begin = max(self.rewritten_to, read_reach(connection, self.partition_id).start)
        span = (batch_key(self.partition_id, begin), batch_key(self.partition_id, self.noted_to))
        cursor = connection.execute(
            "SELECT id, last_offset, appended_ms, length(body) FROM batches WHERE id >= ? AND id < ? ORDER BY id", span
        )
        rows: list[_Row] = []
        size = count = 0
        for key, last, appended_ms, length in cursor:
            row = _Row(first_offset(key), last, appended_ms, length)
            size += length
            count += row.last + 1 - row.first
            if rows and (size > BATCH_BYTES_MAX // 2 or count > BATCH_RECORDS_MAX):
                break
            rows.append(row)
        cursor.close()
        return rows

    def _is_kept(self, record: Record, *, are_tombstones_old: bool) -> bool:
        if record.key is None:
            return True
        latest = self.latest.get(record.key)
        if latest is not None and record.offset < latest:
            return False
        return not (are_tombstones_old and record.value is None)

    def _replace(self, connection: sqlite3.Connection, rows: list[_Row], kept: list[Record], appended_ms: int) -> None:
        keys = [(batch_key(self.partition_id, row.first),) for row in rows]
        connection.executemany("DELETE FROM batches WHERE id = ?", keys)
        if kept:
            row = (batch_key(self.partition_id, kept[0].offset), kept[-1].offset, appended_ms, pack_kept(kept))
            connection.execute("INSERT INTO batches (id, last_offset, appended_ms, body) VALUES (?, ?, ?, ?)", row)


def due_pass(connection: sqlite3.Connection, partition_id: int, now_ms: int) -> CompactionPass | None:
    """Begin a pass over a partition if there is enough to gain, or what came is a day old.

    Parameters
    ----------
    connection
        Reads only.
    partition_id
        Which partition.
    now_ms
        Milliseconds since 1970-01-01 UTC.
    """
    clean_end, compacted_ms = connection.execute(
        "SELECT compacted_offset, compacted_ms FROM partitions WHERE id = ?", (partition_id,)
    ).fetchone()
    middle = batch_key(partition_id, clean_end)
    sizes = "SELECT coalesce(sum(length(body)), 0) FROM batches WHERE id >= ? AND id < ?"
    [clean] = connection.execute(sizes, (batch_key(partition_id, 0), middle)).fetchone()
    [dirty] = connection.execute(sizes, (middle, batch_key(partition_id + 1, 0))).fetchone()
    is_old = compacted_ms < now_ms - TOMBSTONE_MS
    if dirty >= max(clean, DIRTY_BYTES_MIN) or (dirty and is_old):
        return CompactionPass(partition_id, clean_end, now_ms)
    return None
