"""Rows of CSV files and their kin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from stream_app.adapters.event_files.byte_blocks import ByteBlocks
from stream_app.adapters.event_files.columns import ColumnChoice, choose_columns, expects_money, require_amount
from stream_app.adapters.event_files.dialect import Head, cells_of, check_header, read_head, recognise_decimal
from stream_app.adapters.event_files.ids import clean_cells, without_empty_words
from stream_app.adapters.event_files.normalising import Normaliser
from stream_app.adapters.event_files.records import RecordBlock, RecordSplitter, cell_pattern
from stream_app.adapters.event_files.rows import ReadChunk, RefusedRow
from stream_app.adapters.event_files.text_arrays import Array
from stream_app.adapters.event_files.text_chunks import chunk_of, find_invalid_utf8
from stream_app.domain.errors import SettingsError
from stream_app.domain.refusals import Refusal

_WORD_FIELDS = ("customer_id", "event_id", "type", "currency", "order_id", "occurred_at")

_BLANKS = b" \t\r\v\f"


def read_delimited(blocks: ByteBlocks, normaliser: Normaliser) -> Iterator[ReadChunk]:
    """Read a delimited file.

    Parameters
    ----------
    blocks
        Its bytes.
    normaliser
        Makes events of columns.

    Raises
    ------
    SettingsError
        When the file has no header line that names the required columns.
    """
    reader = DelimitedReader(blocks, normaliser)
    yield from reader.chunks()


class DelimitedReader:
    """Reads one delimited file; the first block settles delimiter, columns and decimal mark."""

    def __init__(self, blocks: ByteBlocks, normaliser: Normaliser) -> None:
        options = normaliser.options
        self._normaliser = normaliser
        self._blocks = iter(blocks)
        first = next(self._blocks, b"")
        if not first:
            message = f"{blocks.file.path}: is empty, there is nothing to read; leave it out"
            raise SettingsError(message, code="unreadable_event_file")
        self._swaps_returns = b"\n" not in first and first.count(b"\r") > 0
        first = self._with_newlines(first)
        name = str(blocks.file.path)
        self._head = read_head(name, first, options.delimiter)
        self._columns = _choose(name, self._head, normaliser)
        normaliser.has_types = normaliser.has_types or "type" in self._columns.indices
        self._first = first[self._head.body_start :]
        delimiter = self._head.delimiter.encode()
        self._delimiter = delimiter
        self._blanks = _BLANKS.replace(delimiter, b"")
        self._pattern = cell_pattern(delimiter)
        self._splitter = RecordSplitter(delimiter)
        self._decimal = options.decimal or recognise_decimal(self._number_cells())

    def chunks(self) -> Iterator[ReadChunk]:
        """Give the rows, block by block."""
        first_row = 1
        block = self._first
        for following in chain(self._blocks, [None]):
            records = self._splitter.split(block, is_last=following is None)
            if len(records):
                yield self._chunk(records, first_row)
                first_row += len(records)
            block = b"" if following is None else self._with_newlines(following)

    def _with_newlines(self, block: bytes) -> bytes:
        return block.replace(b"\r", b"\n") if self._swaps_returns else block

    def _number_cells(self) -> Iterator[str]:
        for field in ("amount", "satisfaction"):
            index = self._columns.indices.get(field)
            if index is not None:
                yield from (row[index] for row in self._head.sample if len(row) == len(self._head.header))

    def _chunk(self, records: RecordBlock, first_row: int) -> ReadChunk:
        bad = {record.index: record for record in records.bad}
        is_blank = self._blank(records)
        is_blank[list(bad)] = False
        for index in find_invalid_utf8(records, skipped=bad):
            message = "the row is no UTF-8; save the file as UTF-8"
            bad[index] = RefusedRow(index, Refusal.INVALID_UTF8, message, records.raw_of(index))
        if records.is_regular:
            sound, cells = self._cells_at_once(records, is_blank, bad)
        else:
            sound, cells = self._cells_singly(records, is_blank, bad)
        columns = {field: self._clean(field, array) for field, array in cells.items()}
        normalised = self._normaliser.normalise(columns, self._decimal)
        return chunk_of(records, first_row, sound, normalised, bad, blank_count=int(is_blank.sum()))

    @staticmethod
    def _clean(field: str, array: Array) -> Array:
        cleaned = clean_cells(array)
        return without_empty_words(cleaned) if field in _WORD_FIELDS else cleaned

    def _blank(self, records: RecordBlock) -> NDArray[np.bool_]:
        is_blank = records.ends <= records.starts
        if is_blank.all():
            return is_blank
        characters = np.frombuffer(records.data, dtype=np.uint8)
        first = characters[np.minimum(records.starts, len(characters) - 1)]
        for index in np.flatnonzero(np.isin(first, np.frombuffer(self._blanks, dtype=np.uint8)) & ~is_blank).tolist():
            is_blank[index] = not records.data[records.starts[index] : records.ends[index]].strip(self._blanks)
        return is_blank

    def _cells_at_once(
        self, records: RecordBlock, is_blank: NDArray[np.bool_], bad: dict[int, RefusedRow]
    ) -> tuple[NDArray[np.int64], dict[str, Array]]:
        """Cut all records into cells with Arrow's parser, after taking out those of another length than the header."""
        self._refuse_odd_lengths(records, self._cell_counts(records), is_blank, bad)
        is_sound = ~is_blank
        is_sound[list(bad)] = False
        sound = np.flatnonzero(is_sound)
        fields = self._columns.indices
        if not len(sound):
            return sound, {field: pa.array([], pa.string()) for field in fields}
        data = records.data if len(sound) == len(records) else _only(records, is_sound)
        names = [f"c{index}" for index in range(len(self._head.header))]
        wanted = sorted(set(fields.values()))
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._head.delimiter,
                quote_char='"' if records.has_quotes else False,
                newlines_in_values=records.has_quotes,
            ),
            convert_options=pa_csv.ConvertOptions(
                check_utf8=False,
                column_types={names[index]: pa.string() for index in wanted},
                include_columns=[names[index] for index in wanted],
                strings_can_be_null=False,
            ),
        )
        if table.num_rows != len(sound):
            message = f"{table.num_rows} rows were parsed, {len(sound)} expected"
            raise AssertionError(message)
        arrays = {index: table.column(place).combine_chunks() for place, index in enumerate(wanted)}
        return sound, {field: arrays[index] for field, index in fields.items()}

    def _cell_counts(self, records: RecordBlock) -> NDArray[np.int64]:
        """Count the cells of each record: one more than its delimiters outside of quotes."""
        characters = np.frombuffer(records.data, dtype=np.uint8)
        marks = np.flatnonzero(characters == self._delimiter[0])
        if records.has_quotes:
            quotes = np.flatnonzero(characters == ord('"'))
            marks = marks[np.searchsorted(quotes, marks) % 2 == 0]
        width = len(self._head.header) - 1
        if len(marks) == width * len(records) and width:
            by_record = marks.reshape(len(records), width)
            if (by_record[:, 0] >= records.starts).all() and (by_record[:, -1] < records.ends).all():
                return np.full(len(records), width + 1)
        return np.searchsorted(marks, records.ends) - np.searchsorted(marks, records.starts) + 1

    def _cells_singly(
        self, records: RecordBlock, is_blank: NDArray[np.bool_], bad: dict[int, RefusedRow]
    ) -> tuple[NDArray[np.int64], dict[str, Array]]:
        """Cut records one by one, by the rules by which their ends were found."""
        fields = self._columns.indices
        cells: dict[str, list[str]] = {field: [] for field in fields}
        counts = np.full(len(records), len(self._head.header))
        sound: list[int] = []
        for index in np.flatnonzero(~is_blank).tolist():
            if index in bad:
                continue
            row = cells_of(self._pattern, records.data[records.starts[index] : records.ends[index]])
            counts[index] = len(row)
            if len(row) == len(self._head.header):
                sound.append(index)
                for field, place in fields.items():
                    cells[field].append(row[place].decode())
        self._refuse_odd_lengths(records, counts, is_blank, bad)
        arrays = {field: pa.array(values, pa.string()) for field, values in cells.items()}
        return np.array(sound, dtype=np.int64), arrays

    def _refuse_odd_lengths(
        self,
        records: RecordBlock,
        counts: NDArray[np.int64],
        is_blank: NDArray[np.bool_],
        bad: dict[int, RefusedRow],
    ) -> None:
        width = len(self._head.header)
        for index in np.flatnonzero((counts != width) & ~is_blank).tolist():
            if index not in bad:
                message = (
                    f"the row has {int(counts[index])} cells, the header has {width}; quote cells that hold a delimiter"
                )
                bad[index] = RefusedRow(index, Refusal.MALFORMED_RECORD, message, records.raw_of(index))


def _choose(name: str, head: Head, normaliser: Normaliser) -> ColumnChoice:
    options, policy = normaliser.options, normaliser.policy
    try:
        choice = choose_columns(name, head.header, options.mapping)
    except SettingsError:
        check_header(name, head.header, is_known=False)
        raise
    types = {policy.default_event_type}
    place = choice.indices.get("type")
    if place is not None:
        cells = {row[place].strip() for row in head.sample if len(row) > place}
        types = {cell or policy.default_event_type for cell in cells}
    require_amount(name, head.header, choice, is_needed=expects_money(policy, types))
    return choice


def _only(records: RecordBlock, is_sound: NDArray[np.bool_]) -> bytes:
    """Give the bytes of the sound records with their line ends."""
    characters = np.frombuffer(records.data, dtype=np.uint8)
    bounds = np.append(records.starts, len(characters))
    is_kept = np.repeat(is_sound, np.diff(bounds))
    kept = characters[bounds[0] :][is_kept].tobytes()
    return kept if kept.endswith(b"\n") else kept + b"\n"
