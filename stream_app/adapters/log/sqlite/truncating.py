"""Forgetting the oldest records of a partition, a bounded number of bytes at a time."""

from __future__ import annotations

import sqlite3
from typing import Final

from stream_app.adapters.log.sqlite.reading import batch_key, read_reach

PIECE_BYTES_MAX: Final = 16 << 20
"""Freed in one transaction: others write between two pieces."""
_PIECE_BATCHES_MAX: Final = 2000


def truncate_some(connection: sqlite3.Connection, partition_id: int, before: int) -> bool:
    """Forget records before an offset, within a transaction.

    The partition begins there at once; the batches that lie before it are freed piece by piece. SQLite uses their pages
    for what is written next, so the file does not grow.

    Parameters
    ----------
    connection
        In a writing transaction.
    partition_id
        Whose records.
    before
        Offset of the first record that is kept; beyond the end it counts as the end.

    Returns
    -------
    bool
        Whether there are pieces left: call it again, in another transaction.
    """
    reach = read_reach(connection, partition_id)
    start = max(reach.start, min(before, reach.end))
    if start > reach.start:
        connection.execute("UPDATE partitions SET start_offset = ? WHERE id = ?", (start, partition_id))
    span = (batch_key(partition_id, 0), batch_key(partition_id, start), _PIECE_BATCHES_MAX)
    rows = connection.execute(
        "SELECT id, last_offset, length(body) FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", span
    ).fetchall()
    size = 0
    freed = []
    for key, last, length in rows:
        if last >= start:
            break
        freed.append((key,))
        size += length
        if size >= PIECE_BYTES_MAX:
            break
    connection.executemany("DELETE FROM batches WHERE id = ?", freed)
    return size >= PIECE_BYTES_MAX or len(freed) == _PIECE_BATCHES_MAX
