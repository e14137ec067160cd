"""Line items of an order made one event, out of core and in one fixed order of addition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.adapters.event_files.spool import EVENT_SCHEMA, settle_sign
from stream_app.adapters.event_files.text_arrays import to_mask

LINE_ORDER = "customer_id, order_id, type_code, position"
"""Line items sorted by it stand group by group, in each group by file and row."""

_KEY_COLUMNS = ("customer_id", "order_id", "type_code")


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Orders of a batch, or of its beginning.

    Parameters
    ----------
    first
        The first line of each order, with the columns of the spool.
    sums
        Shape `(n,)`, float64: signed amounts, added up in the order of file and row.
    times_ms
        Shape `(n,)`, int64: earliest time.
    line_counts
        Shape `(n,)`, int64.
    """

    first: pa.RecordBatch
    sums: NDArray[np.float64]
    times_ms: NDArray[np.int64]
    line_counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sums)

    def part(self, start: int, stop: int) -> _Groups:
        return _Groups(
            self.first.slice(start, stop - start),
            self.sums[start:stop],
            self.times_ms[start:stop],
            self.line_counts[start:stop],
        )


class LineMerger:
    """Makes one event of all lines of one order: same customer, same order, same event type.

    The event stands at the earliest time of its lines and has the id, the position and the satisfaction of its first
    line; the sign of the sum decides between purchase and refund.
    """

    def __init__(self) -> None:
        self._positions: list[NDArray[np.int64]] = []
        self._line_counts: list[NDArray[np.int64]] = []
        self.first_time_ms: int | None = None
        self.last_time_ms: int | None = None

    def merge(self, sorted_lines: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Merge lines that stand in `LINE_ORDER`; give events in the schema of the spool, order by order."""
        held: _Groups | None = None
        for batch in sorted_lines:
            if not batch.num_rows:
                continue
            groups = _group(batch, held)
            # The last order of a batch may go on in the next one.
            if len(groups) > 1:
                yield self._finish(groups.part(0, len(groups) - 1))
            held = groups.part(len(groups) - 1, len(groups))
        if held is not None:
            yield self._finish(held)

    def line_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the positions of events of several lines, increasing, and how many lines each has."""
        if not self._positions:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        positions, counts = np.concatenate(self._positions), np.concatenate(self._line_counts)
        order = np.argsort(positions)
        return positions[order], counts[order]

    def _finish(self, groups: _Groups) -> pa.RecordBatch:
        first = groups.first
        families = np.asarray(first.column("family").to_numpy(zero_copy_only=False))
        families, amounts = settle_sign(families, groups.sums)
        # Partial refunds and fees of one refund are added up with their signs; what is left was paid back.
        positions = np.asarray(first.column("position").to_numpy(zero_copy_only=False))
        is_merged = groups.line_counts > 1
        if is_merged.any():
            self._positions.append(positions[is_merged])
            self._line_counts.append(groups.line_counts[is_merged])
        earliest, latest = int(groups.times_ms.min()), int(groups.times_ms.max())
        self.first_time_ms = earliest if self.first_time_ms is None else min(self.first_time_ms, earliest)
        self.last_time_ms = latest if self.last_time_ms is None else max(self.last_time_ms, latest)
        columns = {name: first.column(name) for name in EVENT_SCHEMA.names}
        columns["time_ms"] = pa.array(groups.times_ms)
        columns["family"] = pa.array(families)
        columns["amount"] = pa.array(amounts)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=EVENT_SCHEMA)


def _group(batch: pa.RecordBatch, held: _Groups | None) -> _Groups:
    """Add up the orders of a batch; the first goes on with the held one when it is the same order."""
    row_count = batch.num_rows
    amounts = np.array(batch.column("amount").to_numpy(zero_copy_only=False), dtype=np.float64)
    times_ms = np.asarray(batch.column("time_ms").to_numpy(zero_copy_only=False))
    is_start = np.ones(row_count, dtype=np.bool_)
    if row_count > 1:
        is_start[1:] = False
        for name in _KEY_COLUMNS:
            column = batch.column(name)
            is_start[1:] |= to_mask(pc.not_equal(column.slice(1), column.slice(0, row_count - 1)))
    goes_on = held is not None and all(batch.column(name)[0] == held.first.column(name)[0] for name in _KEY_COLUMNS)
    if goes_on and held is not None:
        amounts[0] = held.sums[0] + amounts[0]
    starts = np.flatnonzero(is_start)
    # bincount adds one after the other, so that the sum does not depend on where batches were cut.
    sums = np.bincount(np.cumsum(is_start) - 1, weights=amounts).astype(np.float64)
    groups = _Groups(
        first=batch.take(pa.array(starts)),
        sums=sums,
        times_ms=np.minimum.reduceat(times_ms, starts),
        line_counts=np.diff(np.append(starts, row_count)),
    )
    if held is None:
        return groups
    if not goes_on:
        return _joined(held, groups)
    groups.times_ms[0] = min(int(held.times_ms[0]), int(groups.times_ms[0]))
    groups.line_counts[0] += held.line_counts[0]
    return _Groups(_stacked(held.first, groups.first.slice(1)), groups.sums, groups.times_ms, groups.line_counts)


def _joined(before: _Groups, after: _Groups) -> _Groups:
    return _Groups(
        _stacked(before.first, after.first),
        np.concatenate((before.sums, after.sums)),
        np.concatenate((before.times_ms, after.times_ms)),
        np.concatenate((before.line_counts, after.line_counts)),
    )


def _stacked(before: pa.RecordBatch, after: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [pa.concat_arrays(pair) for pair in zip(before.columns, after.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=before.schema)
