"""Two streams of rows that are in order, made one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def interleave(
    first: Iterator[pa.RecordBatch], second: Iterator[pa.RecordBatch], order: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Merge two streams of one schema; one batch of each is in memory at a time.

    Parameters
    ----------
    first, second
        Batches whose rows are in order, within a batch and from batch to batch.
    order
        Names of int64 columns, the most important first; together they name a row.

    Yields
    ------
    pa.RecordBatch
        All rows of both, in order.
    """
    own, other = next(first, None), next(second, None)
    while own is not None and other is not None:
        # Rows up to the smaller of the two last ones have all arrived.
        bound = min(_last(own, order), _last(other, order))
        own_count, other_count = _count_until(own, order, bound), _count_until(other, order, bound)
        yield _in_order([own.slice(0, own_count), other.slice(0, other_count)], order)
        own = own.slice(own_count) if own_count < own.num_rows else next(first, None)
        other = other.slice(other_count) if other_count < other.num_rows else next(second, None)
    if own is not None:
        yield own
    if other is not None:
        yield other
    yield from first
    yield from second


def _values(batch: pa.RecordBatch, name: str) -> NDArray[np.int64]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def _last(batch: pa.RecordBatch, order: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(batch.column(name)[-1].as_py()) for name in order)


def _count_until(batch: pa.RecordBatch, order: Sequence[str], bound: tuple[int, ...]) -> int:
    """Count the rows that do not come after a bound; the rows are in order."""
    start, end = 0, int(batch.num_rows)
    for name, value in zip(order, bound, strict=True):
        values = _values(batch, name)[start:end]
        end = start + int(np.searchsorted(values, value, "right"))
        start += int(np.searchsorted(values, value, "left"))
    return end


def _in_order(parts: Sequence[pa.RecordBatch], order: Sequence[str]) -> pa.RecordBatch:
    filled = [part for part in parts if part.num_rows]
    if len(filled) == 1:
        return filled[0]
    joined = pa.concat_batches(filled)
    places = np.lexsort([_values(joined, name) for name in reversed(order)])
    return joined.take(pa.array(places))
