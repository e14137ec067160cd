"""Spools in order: sorted out of core by DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

SORTED_BATCH_ROWS = 1 << 16
SORT_THREADS = 2
_LEAST_MEMORY_BYTES = 64 << 20

EVENT_ORDER = ("time_ms", "position")
ARRIVAL_ORDER = ("position",)


def sorted_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, order_by: str, folder: Path, memory_limit_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Sort batches.

    Parameters
    ----------
    batches
        Of any number of rows in all.
    schema
        Of the batches.
    order_by
        Columns, as SQL; together they name a row, so that the order is the same on every run.
    folder
        Where the sort goes on when the memory is used up.
    memory_limit_bytes
        Of the sort.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": SORT_THREADS,
        "memory_limit": f"{max(memory_limit_bytes, _LEAST_MEMORY_BYTES) >> 10}KiB",
        "temp_directory": str(folder / "sort"),
        # The sort keys say all of the order; keeping that of the input as well would cost memory.
        "preserve_insertion_order": False,
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        rows = connection.from_arrow(pa.RecordBatchReader.from_batches(schema, iter(batches)))
        for batch in rows.order(order_by).to_arrow_reader(SORTED_BATCH_ROWS):
            yield batch.cast(schema)
