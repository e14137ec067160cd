"""Partitions of a topic in one order of replay, in which time passes for each as it does for its shard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.log.merging import merge_heads
from stream_app.streaming.event_runs import NO_WATERMARK_MS


def merge_by_watermark(partitions: Sequence[Iterable[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Merge events by the watermark of their partition: the latest event time up to and with the event.

    Within a partition events keep their order, late ones included; equal watermarks go by partition. So the first event
    at or after a tick in the merged order is, for each partition, the first one at or after that tick in its own.

    Parameters
    ----------
    partitions
        Batches of each partition with a column `time_ms`, in the order of offsets.

    Yields
    ------
    pa.RecordBatch
        In order; not more than one batch of each partition is in memory.
    """
    heads = [head for head in map(_Head, partitions) if head.fill()]
    while heads:
        counts, order = merge_heads([head.watermarks for head in heads])
        parts = [head.take(count) for head, count in zip(heads, counts, strict=True)]
        for batch in pa.Table.from_batches(parts).combine_chunks().to_batches():
            yield batch if len(heads) == 1 else batch.take(pa.array(order))
        heads = [head for head in heads if head.fill()]


class _Head:
    """What is in memory of one partition; `fill` before anything else."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self._batch: pa.RecordBatch | None = None
        self._reached_ms = NO_WATERMARK_MS
        self.watermarks: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def fill(self) -> bool:
        """Read on if nothing is at hand; gives False when the partition is at its end."""
        while not len(self.watermarks):
            self._batch = next(self._batches, None)
            if self._batch is None:
                return False
            times_ms = self._batch.column("time_ms").to_numpy(zero_copy_only=False)
            self.watermarks = np.maximum.accumulate(np.maximum(times_ms, self._reached_ms))
            if len(self.watermarks):
                self._reached_ms = int(self.watermarks[-1])
        return True

    def take(self, count: int) -> pa.RecordBatch:
        """Take the first events at hand."""
        assert self._batch is not None
        taken = self._batch.slice(0, count)
        self._batch, self.watermarks = self._batch.slice(count), self.watermarks[count:]
        return taken
