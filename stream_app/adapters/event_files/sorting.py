"""The spool in order of time, sorted out of core, with the line items of an order made one event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from stream_app.adapters.event_files.spool import EVENT_SCHEMA, SpoolWriter, read_spool

SORTED_BATCH_ROWS = 1 << 16
SORT_THREADS = 2


def sort_spool(source: Path, target: Path, order_by: str, schema: pa.Schema, memory_limit_bytes: int) -> None:
    """Sort a spool.

    Parameters
    ----------
    source, target
        Spools of the same schema; the target is new. Temporary files go beside it.
    order_by
        Columns, as SQL; together they name a row, so that the order is the same on every run.
    schema
        Of both.
    memory_limit_bytes
        Beyond it, the sort goes on on disk.
    """
    writer = SpoolWriter(target, schema)
    for batch in _sorted_batches(source, order_by, schema, memory_limit_bytes):
        writer.write(batch)
    writer.close()


def _sorted_batches(
    source: Path, order_by: str, schema: pa.Schema, memory_limit_bytes: int
) -> Iterator[pa.RecordBatch]:
    settings = {
        "threads": SORT_THREADS,
        "memory_limit": f"{memory_limit_bytes >> 20}MiB",
        "temp_directory": str(source.with_suffix(".sort")),
        "preserve_insertion_order": False,
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        spooled = pa.RecordBatchReader.from_batches(schema, read_spool(source))
        connection.register("spooled", spooled)
        result = connection.execute(f"SELECT * FROM spooled ORDER BY {order_by}")
        for batch in result.to_arrow_reader(SORTED_BATCH_ROWS):
            yield batch.cast(schema)


EVENT_ORDER = "time_ms, position"
ARRIVAL_ORDER = "position"

__all__ = ["ARRIVAL_ORDER", "EVENT_ORDER", "EVENT_SCHEMA", "sort_spool"]
