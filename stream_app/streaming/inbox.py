"""Records of events that wait for a shard, bounded by number and bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from operator import attrgetter

from stream_app.adapters.log.port import LogRecord

TAKEN_RECORDS_MAX = 8192
"""Records that a shard takes at a time: more would leave the cache of a core, and the 8 MB of a transaction."""
TAKEN_BYTES_MAX = 4_000_000
"""Bytes that a shard takes at a time: if all are refused, their dead letters fit into a transaction, too."""
WAITING_RECORDS_MAX = 3 * TAKEN_RECORDS_MAX
WAITING_BYTES_MAX = 16_000_000


class Inbox:
    """First in, first out; filled by the transport and emptied by one shard."""

    def __init__(self) -> None:
        self._records: deque[LogRecord] = deque()
        self._byte_count = 0
        self._expected = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def end(self) -> int:
        """Offset behind the last record that was added."""
        return self._expected

    @property
    def wants_more(self) -> bool:
        """Tell whether there is room, so that the transport may fetch more."""
        return len(self._records) < WAITING_RECORDS_MAX and self._byte_count < WAITING_BYTES_MAX

    def expect(self, offset: int) -> None:
        """Empty it, and drop records before an offset from now on."""
        self._records.clear()
        self._byte_count = 0
        self._expected = offset

    def add(self, records: Sequence[LogRecord]) -> None:
        """Add records in the order of their offsets; those before what is expected are dropped."""
        if records and records[0].offset < self._expected:
            records = [record for record in records if record.offset >= self._expected]
        if records:
            self._records.extend(records)
            self._byte_count += sum(_sizes(records))
            self._expected = records[-1].offset + 1

    def take(self) -> list[LogRecord]:
        """Take what waits, as much as fits into a commit; at least one record unless it is empty."""
        sizes = _sizes(islice(self._records, TAKEN_RECORDS_MAX))
        if sum(sizes) > TAKEN_BYTES_MAX:
            del sizes[max(bisect_right(list(accumulate(sizes)), TAKEN_BYTES_MAX), 1) :]
        self._byte_count -= sum(sizes)
        return [self._records.popleft() for _ in sizes]

    def drain(self) -> list[LogRecord]:
        """Take everything."""
        records = list(self._records)
        self._records.clear()
        self._byte_count = 0
        return records


_value = attrgetter("value")


def _sizes(records: Iterable[LogRecord]) -> list[int]:
    """Give the bytes of each value; a tombstone has none."""
    values = list(map(_value, records))
    try:
        return list(map(len, values))
    except TypeError:
        return [0 if value is None else len(value) for value in values]
