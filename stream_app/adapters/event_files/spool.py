"""Accepted rows on disk, in Arrow's stream format, between reading and replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.event_files.rows import AcceptedRows
from stream_app.adapters.event_files.text_arrays import Array, to_mask
from stream_app.domain.events import Family

ROW_BITS = 41
"""A position is the file's number above the row's number, which takes this many bits."""
ROWS_MAX = 1 << ROW_BITS

EVENT_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("event_id", pa.string()),
        ("time_ms", pa.int64()),
        ("family", pa.uint8()),
        ("amount", pa.float64()),
        ("satisfaction", pa.float64()),
        ("position", pa.int64()),
        ("type_code", pa.int32()),
    ]
)
"""One event a row; amounts are >= 0 and families final."""

LINE_SCHEMA = EVENT_SCHEMA.append(pa.field("order_id", pa.string()))
"""One line item of an order a row; amounts have the sign of the source, families are those of the type."""


def settle_sign(
    families: NDArray[np.uint8], amounts: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Let the sign of the amount decide between purchase and refund, as `event_rules.classify` does for one event."""
    is_refund = (families == Family.PURCHASE) & (amounts < 0)
    return np.where(is_refund, np.uint8(Family.REFUND), families), np.abs(amounts)


class SpoolWriter:
    """Writes batches of one schema to one file; it does not exist before the first batch."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.row_count = 0
        self._schema = schema
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(str(self.path), self._schema, options=options)
        self._writer.write_batch(batch)
        self.row_count += batch.num_rows

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append batches and finish the file."""
        try:
            for batch in batches:
                self.write(batch)
        finally:
            self.close()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def read_spool(path: Path) -> Iterator[pa.RecordBatch]:
    """Give the batches of a spool, one in memory at a time; none when nothing was written."""
    if path.exists():
        with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader


class Spool:
    """Takes accepted rows: single events to one file, line items of orders to another.

    Parameters
    ----------
    folder
        Where the files go.

    Notes
    -----
    `is_sorted`, `first_time_ms` and `last_time_ms` speak of single events only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = SpoolWriter(folder / "events.arrows", EVENT_SCHEMA)
        self.lines = SpoolWriter(folder / "lines.arrows", LINE_SCHEMA)
        self.is_sorted = True
        self.first_time_ms: int | None = None
        self.last_time_ms: int | None = None
        self.has_event_ids = False

    def add(self, rows: AcceptedRows, positions: NDArray[np.int64]) -> None:
        """Append the rows of a chunk; `positions` has shape `(n,)`."""
        if not len(rows):
            return
        self.has_event_ids = self.has_event_ids or rows.event_ids.null_count < len(rows)
        if rows.order_ids is None or rows.order_ids.null_count == len(rows):
            self._add_events(rows, positions, np.ones(len(rows), dtype=np.bool_))
            return
        is_money = (rows.families == Family.PURCHASE) | (rows.families == Family.REFUND)
        is_line = is_money & to_mask(rows.order_ids.is_valid())
        self._add_events(rows, positions, ~is_line)
        if is_line.any():
            batch = _batch(rows, positions, rows.families, rows.amounts, LINE_SCHEMA)
            self.lines.write(batch if is_line.all() else batch.filter(pa.array(is_line)))

    def close(self) -> None:
        """Finish the files."""
        self.events.close()
        self.lines.close()

    def _add_events(self, rows: AcceptedRows, positions: NDArray[np.int64], chosen: NDArray[np.bool_]) -> None:
        if not chosen.any():
            return
        self._note_times(rows.times_ms[chosen])
        families, amounts = settle_sign(rows.families, rows.amounts)
        batch = _batch(rows, positions, families, amounts, EVENT_SCHEMA)
        self.events.write(batch if chosen.all() else batch.filter(pa.array(chosen)))

    def _note_times(self, times_ms: NDArray[np.int64]) -> None:
        first, last = int(times_ms.min()), int(times_ms.max())
        if self.first_time_ms is None or self.last_time_ms is None:
            self.first_time_ms, self.last_time_ms = first, last
        else:
            self.is_sorted = self.is_sorted and int(times_ms[0]) >= self.last_time_ms
            self.first_time_ms = min(self.first_time_ms, first)
            self.last_time_ms = max(self.last_time_ms, last)
        self.is_sorted = self.is_sorted and bool((times_ms[1:] >= times_ms[:-1]).all())


def _batch(
    rows: AcceptedRows,
    positions: NDArray[np.int64],
    families: NDArray[np.uint8],
    amounts: NDArray[np.float64],
    schema: pa.Schema,
) -> pa.RecordBatch:
    columns: list[Array] = [
        rows.customer_ids,
        rows.event_ids,
        pa.array(rows.times_ms),
        pa.array(families),
        pa.array(amounts),
        pa.array(rows.satisfactions),
        pa.array(positions),
        pa.array(rows.type_codes),
    ]
    if len(schema) > len(columns):
        columns.append(rows.order_ids)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
