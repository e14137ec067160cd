"""Records of a topic, decoded as the worker decodes them, on disk until they are replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.adapters.codec.decoding import EventDecoder
from stream_app.adapters.event_files.dead_letters import DeadLetterFile
from stream_app.adapters.event_files.options import FileIgnoredReason, RowTally
from stream_app.adapters.event_files.spool import SpoolWriter, read_spool
from stream_app.adapters.log.port import LogRecord
from stream_app.backtest.watermark_merge import merge_by_watermark
from stream_app.domain.events import EventBatch
from stream_app.streaming.erasure import is_erasure, split_at_erasures
from stream_app.streaming.event_runs import NO_WATERMARK_MS, EventRun, EventSource, read_run

ERASE_COMMAND: Final = "erase_command"
"""Why the command to erase a customer brings no event."""
OFFSET_BITS: Final = 48
"""A position is the partition's number above the offset, which takes this many bits."""
_MERGED_ROWS_MAX: Final = 1 << 20
_BATCH_ROWS_MIN, _BATCH_ROWS_MAX = 1 << 10, 1 << 14

SCHEMA: Final = pa.schema(
    [
        ("customer_id", pa.string()),
        ("event_id", pa.string()),
        ("time_ms", pa.int64()),
        ("family", pa.uint8()),
        ("amount", pa.float64()),
        ("satisfaction", pa.float64()),
        ("position", pa.int64()),
    ]
)


@dataclass(slots=True)
class TimeSpan:
    """Earliest and latest time of the events so far; None before the first."""

    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, times_ms: NDArray[np.int64]) -> None:
        """Take in the times of some events, at least one."""
        first, last = int(times_ms.min()), int(times_ms.max())
        self.first_ms = first if self.first_ms is None else min(first, self.first_ms)
        self.last_ms = last if self.last_ms is None else max(last, self.last_ms)


class TopicSpool:
    """Takes the records of one partition after the other, and gives the events of all in order of replay.

    Parameters
    ----------
    folder
        Of the temporary files.
    decoder
        Of the policy.
    dead_letters
        Where refused records go.
    to_ms
        Events at or after it are ignored; None: no end.
    """

    def __init__(self, folder: Path, decoder: EventDecoder, dead_letters: DeadLetterFile, *, to_ms: int | None) -> None:
        self._folder, self._decoder, self._dead_letters, self._to_ms = folder, decoder, dead_letters, to_ms
        self._partitions: list[_PartitionSpool] = []
        self.tally = RowTally()
        self.span = TimeSpan()

    def begin(self, source: EventSource, partition_count: int) -> None:
        """Begin the next partition; they come in the order of their numbers, from 0."""
        rows_max = min(max(_MERGED_ROWS_MAX // partition_count, _BATCH_ROWS_MIN), _BATCH_ROWS_MAX)
        path = self._folder / f"partition-{source.partition}.arrows"
        self._partitions.append(_PartitionSpool(source, SpoolWriter(path, SCHEMA), rows_max))

    def add(self, records: Sequence[LogRecord]) -> None:
        """Take in the next records of the partition that was begun last."""
        partition = self._partitions[-1]
        self.tally.rows_read += len(records)
        for part in split_at_erasures(records):
            if is_erasure(part[0]):
                self.tally.count_ignored(ERASE_COMMAND, 1)
                continue
            run = read_run(part, self._decoder, NO_WATERMARK_MS, source=partition.source)
            self._count(run)
            events = self._until_end(run.decoded.batch)
            if len(events):
                self.span.add(events.times_ms)
                partition.write(events)

    def end(self) -> None:
        """Finish the partition that was begun last."""
        self._partitions[-1].close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the events of all partitions in order of replay; each call begins anew."""
        yield from merge_by_watermark([read_spool(partition.path) for partition in self._partitions])

    def _count(self, run: EventRun) -> None:
        for reason, count in run.decoded.ignored_counts.items():
            self.tally.count_ignored(reason, count)
        for letter in run.dead_letters:
            self.tally.dead_letters[letter.code.value] += 1
            self._dead_letters.write_letter(letter.value)

    def _until_end(self, events: EventBatch) -> EventBatch:
        if self._to_ms is not None:
            is_before = events.times_ms < self._to_ms
            self.tally.count_ignored(FileIgnoredReason.AFTER_TO, int((~is_before).sum()))
            events = events if is_before.all() else events.select(np.flatnonzero(is_before))
        self.tally.rows_accepted += len(events)
        return events


class _PartitionSpool:
    """Writes the events of one partition, in batches of an even size."""

    def __init__(self, source: EventSource, writer: SpoolWriter, rows_max: int) -> None:
        self.source = source
        self._writer, self._rows_max = writer, rows_max
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    @property
    def path(self) -> Path:
        """Where the events are."""
        return self._writer.path

    def write(self, events: EventBatch) -> None:
        """Append events; what is less than a batch waits for more."""
        self._waiting.append(_columns(events, self.source.partition << OFFSET_BITS))
        self._waiting_rows += len(events)
        if self._waiting_rows >= self._rows_max:
            self._write_waiting()

    def close(self) -> None:
        """Finish the file."""
        self._write_waiting()
        self._writer.close()

    def _write_waiting(self) -> None:
        for batch in pa.Table.from_batches(self._waiting, SCHEMA).combine_chunks().to_batches(self._rows_max):
            self._writer.write(batch)
        self._waiting, self._waiting_rows = [], 0


def _columns(events: EventBatch, base: int) -> pa.RecordBatch:
    columns = [
        pa.array(events.customer_ids.tolist(), pa.binary()).cast(pa.string()),
        pa.array(list(events.event_ids), pa.string()),
        pa.array(events.times_ms),
        pa.array(events.families),
        pa.array(events.amounts),
        pa.array(events.satisfactions),
        pa.array(events.positions + base),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
