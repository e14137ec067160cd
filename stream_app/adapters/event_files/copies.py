"""Line items that were delivered twice: recognised before their order is added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_app.adapters.event_files.text_arrays import to_mask

COPY_ORDER = "customer_id, order_id, type_code, event_id, time_ms, amount, position"
"""Copies of a line item stand side by side in it, the first one of the log before the others."""

_SAME_IN_COPIES = ("customer_id", "order_id", "type_code", "event_id", "time_ms", "amount")


class LineCopies:
    """Leaves out line items that repeat event id, time and amount of another line of their order.

    The engine knows an order only by the id of its first line, so copies of the others must go before. A line whose
    event id is its order's id says nothing of its own and is never taken for a copy: two equal items of one order are
    two.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: pa.RecordBatch | None = None

    def leave_out(self, sorted_lines: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the lines that are no copies; they come in `COPY_ORDER`."""
        for batch in sorted_lines:
            if not batch.num_rows:
                continue
            before = batch.slice(0, 0) if self._last is None else self._last
            is_copy = np.zeros(batch.num_rows, dtype=np.bool_)
            is_copy[1 - before.num_rows :] = _are_equal(before, batch)
            self._last = batch.slice(batch.num_rows - 1)
            self.count += int(is_copy.sum())
            yield batch.filter(pa.array(~is_copy)) if is_copy.any() else batch


def _are_equal(before: pa.RecordBatch, batch: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Compare each line with the one before it; one element less than lines when nothing goes before the first."""
    joined = pa.Table.from_batches([before, batch])
    count = joined.num_rows - 1
    is_equal = np.ones(count, dtype=np.bool_)
    for name in _SAME_IN_COPIES:
        column = joined[name].combine_chunks()
        same = pc.equal(column.slice(1), column.slice(0, count))
        # Comparing with a missing id gives null: such a line is no copy.
        is_equal &= to_mask(pc.fill_null(same, False))
    ids, orders = joined["event_id"].combine_chunks().slice(1), joined["order_id"].combine_chunks().slice(1)
    own = to_mask(pc.fill_null(pc.not_equal(ids, orders), False))
    return np.asarray(is_equal & own, dtype=np.bool_)
