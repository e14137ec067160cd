"""Where records begin and end in the bytes of a text file, whatever is wrong with some of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files.rows import RefusedRow
from stream_app.domain.refusals import Refusal

RECORD_BYTES_MAX = 1 << 20
"""Longest record, in bytes; longer ones are refused, and no more of them is kept than a dead letter shows."""
CUT_BYTES = 256 << 10
"""How much is kept of a record that is too long to be kept whole, in bytes."""

_NEWLINE = ord("\n")
_RETURN = ord("\r")
_QUOTE = ord('"')


@dataclass(frozen=True, slots=True, eq=False)
class RecordBlock:
    """Records of one block of bytes.

    Parameters
    ----------
    data
        The bytes, without the unfinished rest.
    starts, ends
        Shape `(n,)`, int64: where each record begins, and where it ends without its line end; a bad record keeps its
        place but has no bytes here.
    bad
        Records that cannot be used, in order.
    is_regular
        True when quotes and line ends are where RFC 4180 has them, so that any CSV parser finds the same cells.
    has_quotes
        True when there are quotes in the data.
    """

    data: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    bad: list[RefusedRow] = field(default_factory=list)
    is_regular: bool = True
    has_quotes: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def raw_of(self, index: int) -> bytes:
        """Give the bytes of a record."""
        return self.data[self.starts[index] : self.ends[index]]


class RecordSplitter:
    """Cuts blocks of bytes into records and keeps the unfinished rest for the next block.

    Parameters
    ----------
    delimiter
        Between cells, one byte; None for formats without quotes, as JSON Lines: every line is a record.
    """

    def __init__(self, delimiter: bytes | None) -> None:
        self._delimiter = delimiter
        self._rest = b""
        self._is_skipping = False
        self._cell_pattern = None if delimiter is None else cell_pattern(delimiter)

    def split(self, block: bytes, *, is_last: bool) -> RecordBlock:
        """Cut a block.

        Parameters
        ----------
        block
            The next bytes of the file.
        is_last
            No more bytes follow: what is left is a record even without a line end.
        """
        data = self._rest + block if self._rest else block
        if self._is_skipping:
            line_end = data.find(b"\n")
            if line_end < 0:
                self._rest = b""
                return RecordBlock(b"", _positions([]), _positions([]))
            data = data[line_end + 1 :]
            self._is_skipping = False
        has_quotes = self._delimiter is not None and b'"' in data
        if has_quotes or (self._delimiter is not None and self._has_stray_return(data)):
            return self._split_quoted(data, is_last=is_last, has_quotes=has_quotes)
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
        return self._finish_lines(data, ends, is_last=is_last, has_quotes=False)

    @staticmethod
    def _has_stray_return(data: bytes) -> bool:
        return b"\r" in data and data.count(b"\r") != data.count(b"\r\n") + data.endswith(b"\r")

    def _split_quoted(self, data: bytes, *, is_last: bool, has_quotes: bool) -> RecordBlock:
        characters = np.frombuffer(data, dtype=np.uint8)
        quotes = np.flatnonzero(characters == _QUOTE)
        newlines = np.flatnonzero(characters == _NEWLINE)
        # A newline ends a record when an even number of quotes stands before it.
        ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
        finished_bytes = len(data) if is_last else (int(ends[-1]) + 1 if len(ends) else 0)
        # Where nothing ends for long, a quote may have swallowed rows.
        longest = max(int(np.diff(ends, prepend=-1).max(initial=0)), len(data) - finished_bytes)
        if longest <= RECORD_BYTES_MAX and self._is_regular(
            characters, quotes[quotes < finished_bytes], data[:finished_bytes]
        ):
            return self._finish_lines(data, ends, is_last=is_last, has_quotes=has_quotes)
        return self._split_irregular(data, is_last=is_last)

    def _is_regular(self, characters: NDArray[np.uint8], quotes: NDArray[np.int64], finished: bytes) -> bool:
        if len(quotes) % 2 or self._has_stray_return(finished):
            return False
        if not len(quotes):
            return True
        assert self._delimiter is not None
        before_opening = np.zeros(256, dtype=np.bool_)
        before_opening[[_NEWLINE, self._delimiter[0]]] = True
        after_closing = before_opening.copy()
        after_closing[_RETURN] = True
        opening, closing = quotes[::2], quotes[1::2]
        is_doubled = closing[:-1] + 1 == opening[1:]
        opens = (opening == 0) | before_opening[characters[opening - 1]]
        opens[1:] |= is_doubled
        closes = (closing == len(characters) - 1) | after_closing[
            characters[np.minimum(closing + 1, len(characters) - 1)]
        ]
        closes[:-1] |= is_doubled
        return bool(opens.all() and closes.all())

    def _finish_lines(self, data: bytes, ends: NDArray[np.int64], *, is_last: bool, has_quotes: bool) -> RecordBlock:
        starts = np.concatenate((np.zeros(1, dtype=np.int64), ends + 1))
        rest_start = int(starts[-1])
        self._rest = data[rest_start:]
        if is_last and self._rest:
            ends = np.append(ends, len(data))
            self._rest = b""
        else:
            starts = starts[:-1]
        bad = self._too_long(data, starts, ends)
        if len(self._rest) > RECORD_BYTES_MAX:
            bad.append(_too_large(len(starts), self._rest[:CUT_BYTES], is_cut=True))
            self._rest = b""
            self._is_skipping = True
            starts = np.append(starts, rest_start)
            ends = np.append(ends, rest_start)
        finished = data[: int(ends[-1]) + 1] if len(ends) else b""
        ends = _without_returns(data, starts, ends)
        return RecordBlock(finished, starts, ends, bad, has_quotes=has_quotes)

    @staticmethod
    def _too_long(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[RefusedRow]:
        return [
            _too_large(index, data[starts[index] : ends[index]])
            for index in np.flatnonzero(ends - starts > RECORD_BYTES_MAX).tolist()
        ]

    def _split_irregular(self, data: bytes, *, is_last: bool) -> RecordBlock:
        """Cut record by record, by rules that a wrong quote cannot lead astray for more than one line."""
        starts: list[int] = []
        ends: list[int] = []
        bad: list[RefusedRow] = []
        place = 0
        while place < len(data):
            end = self._record_end(data, place)
            if end is None or end - place > RECORD_BYTES_MAX:
                is_unfinished = not is_last and len(data) - place <= RECORD_BYTES_MAX
                if is_unfinished and self._may_go_on(data, place):
                    break
                line_end = data.find(b"\n", place)
                if line_end < 0 and not is_last:
                    if is_unfinished:
                        break
                    self._is_skipping = True
                end = line_end if line_end >= 0 else len(data)
                bad.append(_bad_line(len(starts), data[place:end], is_cut=self._is_skipping))
            elif end == len(data) and not is_last:
                break
            starts.append(place)
            ends.append(end)
            place = end + 1
        self._rest = b"" if self._is_skipping else data[place:]
        begins, finishes = _positions(starts), _positions(ends)
        finishes = _without_returns(data, begins, finishes)
        return RecordBlock(data, begins, finishes, bad, is_regular=False, has_quotes=True)

    def _record_end(self, data: bytes, start: int) -> int | None:
        """Find the line end of the record that begins here; None when a quote in it is wrong or never closed."""
        line_end = data.find(b"\n", start)
        line_end = len(data) if line_end < 0 else line_end
        if line_end - start > RECORD_BYTES_MAX or data.find(b'"', start, line_end) < 0:
            return line_end
        assert self._cell_pattern is not None
        limit = min(len(data), start + RECORD_BYTES_MAX + 1)
        place = start
        while True:
            match = self._cell_pattern.match(data, place, limit)
            if match is None:
                return None
            place = match.end()
            if place >= len(data) or data[place] == _NEWLINE:
                return place
            if place >= limit:
                return None
            place += 1

    def _may_go_on(self, data: bytes, start: int) -> bool:
        """Tell whether more bytes could still close the quote that is open at the end of the data."""
        assert self._cell_pattern is not None
        place = start
        while (match := self._cell_pattern.match(data, place)) is not None:
            if match.end() >= len(data):
                return True
            place = match.end() + 1
        return _OPEN_CELL.match(data, place) is not None


_OPEN_CELL = re.compile(rb'"(?:[^"]++|"")*+"?\Z')


def cell_pattern(delimiter: bytes) -> re.Pattern[bytes]:
    """Make the pattern of one cell: quoted, perhaps with blanks after the closing quote, or plain.

    Parameters
    ----------
    delimiter
        One byte.

    Returns
    -------
    re.Pattern[bytes]
        Group 1 is the inside of a quoted cell, with doubled quotes; it is missing for a plain cell.
    """
    mark = re.escape(delimiter)
    blanks = rb"[ \r]*+" if delimiter == b"\t" else rb"[ \t\r]*+"
    return re.compile(rb'"((?:[^"]++|"")*+)"' + blanks + rb"(?=" + mark + rb'|\n|\Z)|(?!")[^' + mark + rb"\n]*+")


def _too_large(index: int, raw: bytes, *, is_cut: bool = False) -> RefusedRow:
    length = f"more than {RECORD_BYTES_MAX}" if is_cut else str(len(raw))
    message = f"record of {length} bytes, must be at most {RECORD_BYTES_MAX}; mend the export"
    return RefusedRow(index, Refusal.RECORD_TOO_LARGE, message, raw[:CUT_BYTES] if is_cut else raw, is_cut)


def _bad_line(index: int, raw: bytes, *, is_cut: bool) -> RefusedRow:
    if is_cut or len(raw) > RECORD_BYTES_MAX:
        return _too_large(index, raw, is_cut=is_cut)
    message = (
        "a quoted cell is not closed, or text follows its closing quote; "
        'write quotes inside of a quoted cell twice, as "5"" nail"'
    )
    return RefusedRow(index, Refusal.MALFORMED_RECORD, message, raw)


def _positions(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _without_returns(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    if b"\r" not in data:
        return ends
    characters = np.frombuffer(data, dtype=np.uint8)
    has_return = (ends > starts) & (characters[np.maximum(ends - 1, 0)] == _RETURN)
    return np.asarray(ends - has_return, dtype=np.int64)
