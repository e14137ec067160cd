"""Orders of one line each: recognised without sorting, since most logs have no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.event_files.spool import EVENT_SCHEMA, settle_sign
from stream_app.adapters.event_files.text_arrays import pack_texts
from stream_app.domain.identifiers import hash_ids

LINES_MAX = 20_000_000
"""More lines are not looked at, which bounds the memory of the look to 320 MB."""

_CUSTOMER_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_TYPE_FACTOR = np.uint64(0xD1B54A32D192ED03)


def are_single(lines: Iterable[pa.RecordBatch]) -> bool:
    """Tell whether no two lines are of one order: same customer, same order id, same event type.

    Parameters
    ----------
    lines
        Batches in the schema of line items.

    Returns
    -------
    bool
        True only if it is so. Two orders with one 64-bit hash give False, which costs time and nothing else.
    """
    hashes = [_hash_of(batch) for batch in lines]
    joined = np.sort(np.concatenate(hashes)) if hashes else np.empty(0, dtype=np.uint64)
    return not bool((joined[1:] == joined[:-1]).any())


def _hash_of(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    customers = hash_ids(pack_texts(batch.column("customer_id")))
    orders = hash_ids(pack_texts(batch.column("order_id")))
    types = np.asarray(batch.column("type_code").to_numpy(zero_copy_only=False)).astype(np.uint64)
    return np.asarray(orders + customers * _CUSTOMER_FACTOR + types * _TYPE_FACTOR, dtype=np.uint64)


class SingleLines:
    """Makes an event of each line, and notes whether they come in order of time."""

    def __init__(self) -> None:
        self.is_sorted = True
        self.first_time_ms: int | None = None
        self.last_time_ms: int | None = None
        self._previous_ms = -(2**62)

    def events(self, lines: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events, in the schema of the spool and the order of the lines."""
        for batch in lines:
            if not batch.num_rows:
                continue
            times_ms = np.asarray(batch.column("time_ms").to_numpy(zero_copy_only=False), dtype=np.int64)
            self.is_sorted &= bool(times_ms[0] >= self._previous_ms and (times_ms[1:] >= times_ms[:-1]).all())
            self._previous_ms = int(times_ms[-1])
            first, last = int(times_ms.min()), int(times_ms.max())
            self.first_time_ms = first if self.first_time_ms is None else min(first, self.first_time_ms)
            self.last_time_ms = last if self.last_time_ms is None else max(last, self.last_time_ms)
            families, amounts = settle_sign(
                np.asarray(batch.column("family").to_numpy(zero_copy_only=False)),
                np.asarray(batch.column("amount").to_numpy(zero_copy_only=False), dtype=np.float64),
            )
            columns = {name: batch.column(name) for name in EVENT_SCHEMA.names}
            columns |= {"family": pa.array(families), "amount": pa.array(amounts)}
            yield pa.RecordBatch.from_arrays(list(columns.values()), schema=EVENT_SCHEMA)
