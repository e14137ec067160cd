"""The state log of one shard: what a commit writes, how far the log may be truncated, and how a shard is read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.log.topics import RECORD_BYTES_MAX, TRANSACTION_BYTES_MAX
from stream_app.adapters.state_header import StateHeader
from stream_app.adapters.state_records import (
    ROW_OVERHEAD_BYTES,
    StateRecord,
    encode_state_record,
    header_byte_count,
)
from stream_app.domain.table import CustomerTable

LOG_RATIO: Final = 2
"""Rows of the log a row of the table, above which the oldest rows are written anew. A commit writes at most twice as
many rows as it touched, and a few; so the log never holds more than three times the table."""
REFRESH_RATIO: Final = 0.5
"""A touched row gets its id again, so that it counts as written anew, when so many rows of the log a row of the table
have been written since it last did: ids take a tenth of the bytes, and this saves rows from being written for the
sake of their age alone."""
RECORD_ROWS: Final = 2
"""A record counts as so many rows more than it holds, for its header."""
REWRITTEN_ROWS: Final = 256
"""Rows that a commit may write anew beyond as many as it touched: 100 KB."""
ROWS_MIN: Final = 1 << 14
"""A log of so many rows is left alone, however small the table is: 6 MB."""
TRUNCATION_ROWS: Final = 1 << 14
"""The log is truncated in steps of so many rows, about the size of a segment of the topic."""


@dataclass(frozen=True, slots=True, eq=False)
class WrittenRecord:
    """A record of the log as far as it matters when rows are to be written anew.

    Parameters
    ----------
    offset
        Where it is.
    batch_number
        Its commit.
    row_count
        Rows in it, erased ones included.
    id_rows
        Shape `(n,)`: those of them that it tells with their id, or as erased.
    """

    offset: int
    batch_number: int
    row_count: int
    id_rows: NDArray[np.uint32]

    @property
    def size_rows(self) -> int:
        """Its size in rows."""
        return self.row_count + RECORD_ROWS


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """A commit that has been packed but not written."""

    batch_number: int
    row_counts: list[int]
    id_rows: list[NDArray[np.uint32]]
    table_rows: int
    has_erased: bool


class StateLog:
    """The books of a shard's state log: which record last told each row with its id.

    The shard that owns it calls `pack`, commits the records, and then calls `committed`; one commit after the other.
    A log whose commit has failed is of no use any more, like the rest of the shard.

    Parameters
    ----------
    rows_min
        Rows of the log below which none is written anew.
    truncation_rows
        Rows that a truncation frees at least.
    """

    def __init__(self, *, rows_min: int = ROWS_MIN, truncation_rows: int = TRUNCATION_ROWS) -> None:
        self._rows_min = rows_min
        self._truncation_rows = truncation_rows
        self._batch_number = 0
        # Records are numbered from 1, so that 0 is of no record.
        self._number_of_row = np.zeros(1 << 12, dtype=np.int64)
        self._row_count = 0
        self._records: deque[WrittenRecord] = deque()
        self._next_number = 1
        self._size_rows = 0
        self._freed_rows = 0
        self._refresh_before = 1
        self._refresh_rows: deque[int] = deque()
        self._rows_since_refresh = 0
        self._purge_before = 0
        self._packed: _Packed | None = None

    @property
    def next_batch_number(self) -> int:
        """Number of the next commit."""
        return self._batch_number + 1

    @property
    def size_rows(self) -> int:
        """Size of the records that recovery needs, in rows; a header counts as `RECORD_ROWS`."""
        return self._size_rows

    @property
    def byte_count(self) -> int:
        """Memory in use, in bytes."""
        return self._number_of_row.nbytes + sum(record.id_rows.nbytes for record in self._records)

    @property
    def is_purging(self) -> bool:
        """True while records may hold what was known of an erased customer."""
        return self._first_number < self._purge_before

    def pack(
        self, table: CustomerTable, touched_rows: NDArray[np.int64], header: StateHeader, new_from: int
    ) -> list[bytes]:
        """Pack what a commit has to tell.

        Parameters
        ----------
        table
            The shard's customers as they are now.
        touched_rows
            Shape `(n,)`: rows that changed since the last commit, in any order; erased ones, too.
        header
            Where the shard stands; batch number, parts and counts are filled in here.
        new_from
            Rows from this one on are new since the last commit.

        Returns
        -------
        list[bytes]
            Records of at most `RECORD_BYTES_MAX`, at least one.
        """
        if self._packed is not None:
            message = "the last commit was packed, but nobody has said that it was written"
            raise ValueError(message)
        if new_from != self._row_count:
            message = f"new rows begin with {self._row_count}, not {new_from}: a commit is missing"
            raise ValueError(message)
        touched = _with_new(touched_rows, new_from, len(table))
        self._grow(len(table))
        has_erased = bool(table.is_erased(touched).any())
        rewritten = self._oldest(touched, len(table))
        # Rows of new customers are of record 0, before all others.
        needs_id = self._number_of_row[touched] < max(self._refresh_before, self._purge_before)
        rows = np.concatenate((touched, rewritten))
        needs_id = np.concatenate((needs_id, np.ones(len(rewritten), dtype=np.bool_)))
        header = replace(
            header,
            batch_number=self.next_batch_number,
            part=0,
            part_count=1,
            row_count=len(table),
            customer_count=table.customer_count,
        )
        parts = _cut(table, rows, needs_id, header)
        self._packed = _Packed(
            self.next_batch_number,
            [len(part) for part, _ in parts],
            [part[own | table.is_erased(part)].astype(np.uint32) for part, own in parts],
            len(table),
            has_erased,
        )
        if len(parts) == 1:
            return [encode_state_record(_record(table, *parts[0], header))]
        headers = (replace(header, part=number, part_count=len(parts)) for number in range(len(parts)))
        return [encode_state_record(_record(table, *part, own)) for part, own in zip(parts, headers, strict=True)]

    def committed(self, offsets: Sequence[int]) -> int | None:
        """Take down that the packed records were written.

        Parameters
        ----------
        offsets
            Of each record of the commit.

        Returns
        -------
        int or None
            Records before this offset are not needed any more; None while that would free too little.
        """
        packed, self._packed = self._packed, None
        if packed is None or len(offsets) != len(packed.row_counts):
            message = f"{len(offsets)} offsets, but another number of records was packed"
            raise ValueError(message)
        if packed.has_erased:
            self.begin_purge()
        was_purging = self.is_purging
        for offset, row_count, id_rows in zip(offsets, packed.row_counts, packed.id_rows, strict=True):
            self.wrote(WrittenRecord(offset, packed.batch_number, row_count, id_rows), packed.table_rows)
        self._forget()
        if self._freed_rows < self._truncation_rows and (self.is_purging or not was_purging):
            return None
        self._freed_rows = 0
        return self._records[0].offset

    def wrote(self, record: WrittenRecord, table_rows: int) -> None:
        """Take down a record of the log, and how many rows the table has with its commit."""
        self._grow(table_rows)
        self._row_count = table_rows
        self._batch_number = record.batch_number
        self._number_of_row[record.id_rows] = self._next_number
        self._next_number += 1
        self._records.append(record)
        self._size_rows += record.size_rows
        self._advance_refresh(record.size_rows)

    def begin_purge(self) -> None:
        """Write all rows anew, little by little, until no record is needed that was written before now."""
        self._purge_before = self._next_number

    @property
    def _first_number(self) -> int:
        """Number of the first record that is needed."""
        return self._next_number - len(self._records)

    def _grow(self, row_count: int) -> None:
        if row_count > len(self._number_of_row):
            grown = np.zeros(max(row_count, len(self._number_of_row) * 3 // 2), dtype=np.int64)
            grown[: len(self._number_of_row)] = self._number_of_row
            self._number_of_row = grown

    def _advance_refresh(self, size_rows: int) -> None:
        """Move on the record before which touched rows get their id again."""
        self._refresh_rows.append(size_rows)
        self._rows_since_refresh += size_rows
        while self._rows_since_refresh - self._refresh_rows[0] > REFRESH_RATIO * self._row_count:
            self._rows_since_refresh -= self._refresh_rows.popleft()
        self._refresh_before = self._next_number - len(self._refresh_rows)

    def _oldest(self, touched: NDArray[np.int64], row_count: int) -> NDArray[np.int64]:
        """Give rows whose records are the oldest, so that the log can be truncated; `touched` is sorted."""
        excess = self._size_rows + len(touched) - max(self._rows_min, LOG_RATIO * row_count)
        allowed = len(touched) + REWRITTEN_ROWS
        parts: list[NDArray[np.int64]] = []
        for number, record in enumerate(self._records, self._first_number):
            if allowed <= 0 or (excess <= 0 and number >= self._purge_before):
                break
            rows = record.id_rows[self._number_of_row[record.id_rows] == number].astype(np.int64)
            if len(touched):
                places = np.minimum(np.searchsorted(touched, rows), len(touched) - 1)
                rows = rows[touched[places] != rows]
            rows = rows[:allowed]
            parts.append(rows)
            allowed -= len(rows)
            excess -= record.size_rows - len(rows)
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _forget(self) -> None:
        """Drop records from the front of which no row is needed; those of the last commit stay."""
        while self._records[0].batch_number != self._batch_number:
            record = self._records[0]
            if (self._number_of_row[record.id_rows] == self._first_number).any():
                break
            self._records.popleft()
            self._size_rows -= record.size_rows
            self._freed_rows += record.size_rows


def pack_table(table: CustomerTable, header: StateHeader) -> Iterator[list[bytes]]:
    """Pack a whole table as the first commits of a log that has none; only all of them together can be read.

    Parameters
    ----------
    table
        All of the shard's customers.
    header
        Where the shard stands.

    Yields
    ------
    list[bytes]
        Records of one commit, of at most `TRANSACTION_BYTES_MAX` together.
    """
    rows = np.arange(len(table))
    header = replace(header, row_count=len(table), customer_count=table.customer_count)
    parts = _cut(table, rows, np.ones(len(rows), dtype=np.bool_), header)
    step = TRANSACTION_BYTES_MAX // RECORD_BYTES_MAX
    for number, start in enumerate(range(0, len(parts), step), 1):
        own = parts[start : start + step]
        yield [
            encode_state_record(
                _record(table, *part, replace(header, batch_number=number, part=place, part_count=len(own)))
            )
            for place, part in enumerate(own)
        ]


def _with_new(touched_rows: NDArray[np.int64], new_from: int, row_count: int) -> NDArray[np.int64]:
    """Give the rows rising, each once, with all new ones among them."""
    touched = touched_rows
    if not (touched[1:] > touched[:-1]).all():
        touched = np.unique(touched)
    if len(touched) - np.searchsorted(touched, new_from) == row_count - new_from:
        return touched
    return np.union1d(touched, np.arange(new_from, row_count))


def _cut(
    table: CustomerTable, rows: NDArray[np.int64], needs_id: NDArray[np.bool_], header: StateHeader
) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Cut rows into records; at least one."""
    row_bytes = table.rows.dtype.itemsize + ROW_OVERHEAD_BYTES
    bytes_max = len(rows) * (row_bytes + table.id_bytes_max)
    if bytes_max <= RECORD_BYTES_MAX // 2:
        return [(rows, needs_id)]
    room = RECORD_BYTES_MAX - header_byte_count(header)
    if bytes_max <= room:
        return [(rows, needs_id)]
    sizes = np.full(len(rows), row_bytes)
    sizes[needs_id] += np.strings.str_len(table.ids_of(rows[needs_id]))
    ends = np.cumsum(sizes)
    cuts = [0]
    while cuts[-1] < len(rows):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(int(np.searchsorted(ends, before + room, side="right")))
    return [(rows[start:end], needs_id[start:end]) for start, end in pairwise(cuts)]


def _record(
    table: CustomerTable, rows: NDArray[np.int64], needs_id: NDArray[np.bool_], header: StateHeader
) -> StateRecord:
    is_erased = table.is_erased(rows)
    live, needs_id = rows[~is_erased], needs_id[~is_erased]
    block = table.gather(live)
    return StateRecord(
        header=header,
        row_numbers=live.astype(np.uint32),
        rows=block.view(f"V{block.dtype.itemsize}"),
        ids=table.ids_of(live[needs_id]),
        id_places=np.flatnonzero(needs_id).astype(np.uint32),
        erased=rows[is_erased].astype(np.uint32),
    )
