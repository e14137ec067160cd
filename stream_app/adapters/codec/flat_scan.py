"""Finds the fields of flat JSON records, without making a Python object of any of them.

A record is flat here when it is one JSON object of RFC 8259 without escapes, in which every field that is looked for
is text, a number, true, false or null; what else it holds may be nested. Of everything else is said that it is not
flat, and nothing more: others can read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.codec.flat_numbers import read_numbers
from stream_app.adapters.codec.single_event import RECORD_BYTES_MAX
from stream_app.domain.compiled import compiled

NOTHING, TEXT, INTEGER, REAL, FLAG = range(5)
"""What stands in a field: nothing or null, text, a whole number, another number (and -0), true or false."""

_TAB, _LINE_FEED, _RETURN, _SPACE = b"\t\n\r "
_QUOTE, _PLUS, _COMMA, _MINUS, _DOT, _ZERO, _NINE, _COLON = b'"+,-.09:'
_UPPER_E, _LOWER_E, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = b"Ee{}[]"
_TRUE, _FALSE, _NULL = (np.frombuffer(word, dtype=np.uint8) for word in (b"true", b"false", b"null"))

_ENDS_TEXT = np.zeros(256, dtype=np.bool_)
"""Bytes at which a text ends, or which cannot stand in it as they are."""
_ENDS_TEXT[:_SPACE] = _ENDS_TEXT[list(b'"\\')] = True
_ENDS_TEXT_OR_ASCII = _ENDS_TEXT.copy()
_ENDS_TEXT_OR_ASCII[128:] = True

_DEPTH_MAX = 60
"""Deeper nesting than this is for others; each level takes a bit."""
_BEFORE_NAME, _BEFORE_VALUE, _BEHIND_VALUE, _IS_WRONG = range(4)


@dataclass(frozen=True, slots=True)
class Words:
    """Names to be found again.

    Parameters
    ----------
    data
        All of them, UTF-8, one behind the other.
    bounds
        Shape `(n_words + 1,)`: where each begins, and the end.
    """

    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, words: Sequence[str]) -> Words:
        """Put words together."""
        written = [word.encode() for word in words]
        bounds = np.cumsum([0, *map(len, written)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(written), dtype=np.uint8), bounds)


@dataclass(frozen=True, slots=True, eq=False)
class FlatFields:
    """Where the fields of records stand; those of a record that is not flat mean nothing.

    Parameters
    ----------
    content
        The records, with a line end between two.
    is_flat
        Shape `(n,)`.
    begins, ends
        Shape `(n_fields, n)`, int64: places in the content, of a text without its quotes; the same where there is
        nothing.
    kinds
        Shape `(n_fields, n)`, uint8: `NOTHING`, `TEXT`, `INTEGER`, `REAL` or `FLAG`.
    """

    content: bytes
    is_flat: NDArray[np.bool_]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    kinds: NDArray[np.uint8]

    def packed(self, field: int, rows: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
        """Copy a field of some records, each of at most `width` bytes, padded with zeros; shape `(n_rows, width)`."""
        return _packed(self._data, self.begins[field], self.ends[field], rows, width)

    def find(self, field: int, words: Words) -> NDArray[np.int64]:
        """Give which word each record has in a field; -1 where it is none of them. Shape `(n,)`."""
        return _found(self._data, self.begins[field], self.ends[field], words.data, words.bounds)

    def numbers(self, field: int) -> NDArray[np.float64]:
        """Read the numbers of a field, as `read_numbers` does; NaN where there is none. Shape `(n,)`."""
        kinds = self.kinds[field]
        return read_numbers(self._data, self.begins[field], self.ends[field], (kinds == INTEGER) | (kinds == REAL))

    @property
    def _data(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.content, dtype=np.uint8)


def scan_records(records: Sequence[bytes], fields: Words) -> FlatFields:
    """Find fields in records.

    Parameters
    ----------
    records
        Length n, n > 0.
    fields
        The names of the fields.

    Returns
    -------
    FlatFields
        A record in which one of them occurs twice is not flat.
    """
    content = b"\n".join(records)
    lengths = np.fromiter(map(len, records), dtype=np.int64, count=len(records))
    stops = np.cumsum(lengths + 1) - 1
    # Nothing but whole records can be UTF-8 on their own, for the line ends stand between them.
    breaks = _ENDS_TEXT if content.isascii() or _is_utf8(content) else _ENDS_TEXT_OR_ASCII
    data = np.frombuffer(content, dtype=np.uint8)
    is_flat, begins, ends, kinds = _scanned(data, stops - lengths, stops, fields.data, fields.bounds, breaks)
    return FlatFields(content, is_flat & (lengths <= RECORD_BYTES_MAX), begins, ends, kinds)


def compile_scan() -> None:
    """Compile what has not been compiled on this machine yet, and load the rest; see `engine.compilation`."""
    fields = scan_records([b"{}"], Words.of(["a"]))
    fields.find(0, Words.of(["a"]))
    fields.numbers(0)
    fields.packed(0, np.zeros(1, dtype=np.int64), 1)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@compiled
def _scanned(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    names: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    breaks: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    shape = (len(bounds) - 1, len(starts))
    begins, ends, kinds = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
    is_flat = np.zeros(len(starts), np.bool_)
    for row in range(len(starts)):
        is_flat[row] = _scan_one(data[: stops[row]], starts[row], names, bounds, breaks, begins, ends, kinds, row)
    return is_flat, begins, ends, kinds


@compiled
def _scan_one(data, at, names, bounds, breaks, begins, ends, kinds, row):  # type: ignore[no-untyped-def]
    """Scan the record from `at` to the end of the data; False where it is not flat."""
    at = _behind_blanks(data, at)
    if not _is_at(data, at, _OPEN):
        return False
    at = _behind_blanks(data, at + 1)
    if _is_at(data, at, _CLOSE):
        return _behind_blanks(data, at + 1) == len(data)
    while True:
        if not _is_at(data, at, _QUOTE):
            return False
        begin, end = at + 1, _text_end(data, at + 1, breaks)
        if end < 0:
            return False
        field = _word_at(data, begin, end, names, bounds)
        at = _behind_blanks(data, end + 1)
        if not _is_at(data, at, _COLON):
            return False
        value = _behind_blanks(data, at + 1)
        begin, end, at, kind = _value_at(data, value, breaks)
        if at < 0 and field < 0:
            at = _behind_nested(data, value, breaks)
        if at < 0:
            return False
        if field >= 0:
            if ends[field, row] > 0:
                return False
            begins[field, row], ends[field, row], kinds[field, row] = begin, end, kind
        at = _behind_blanks(data, at)
        if _is_at(data, at, _CLOSE):
            return _behind_blanks(data, at + 1) == len(data)
        if not _is_at(data, at, _COMMA):
            return False
        at = _behind_blanks(data, at + 1)


@compiled
def _is_at(data, at, byte):  # type: ignore[no-untyped-def]
    return at < len(data) and data[at] == byte


@compiled
def _behind_blanks(data, at):  # type: ignore[no-untyped-def]
    while at < len(data) and (data[at] == _SPACE or data[at] == _LINE_FEED or data[at] == _RETURN or data[at] == _TAB):
        at += 1
    return at


@compiled
def _text_end(data, at, breaks):  # type: ignore[no-untyped-def]
    """Give where the quote behind a text stands; -1 where it is not plain."""
    while at < len(data) and not breaks[data[at]]:
        at += 1
    return at if _is_at(data, at, _QUOTE) else -1


@compiled
def _word_at(data, begin, end, words, bounds):  # type: ignore[no-untyped-def]
    """Give which word stands between two places; -1 where it is none."""
    for word in range(len(bounds) - 1):
        start = bounds[word]
        if bounds[word + 1] - start != end - begin:
            continue
        place = 0
        while place < end - begin and words[start + place] == data[begin + place]:
            place += 1
        if place == end - begin:
            return word
    return -1


@compiled
def _value_at(data, at, breaks):  # type: ignore[no-untyped-def]
    """Give where a value begins and ends, where to go on, and of which kind it is; -1 for a value that is not flat."""
    if at >= len(data):
        return at, at, -1, NOTHING
    if data[at] == _QUOTE:
        end = _text_end(data, at + 1, breaks)
        return at + 1, end, end + 1 if end >= 0 else -1, TEXT
    if data[at] == _MINUS or _ZERO <= data[at] <= _NINE:
        end, kind = _number_end(data, at)
        return at, end, end, kind
    for word, kind in ((_NULL, NOTHING), (_TRUE, FLAG), (_FALSE, FLAG)):
        place = 0
        while place < len(word) and _is_at(data, at + place, word[place]):
            place += 1
        if place == len(word):
            return at, at + place if kind == FLAG else at, at + place, kind
    return at, at, -1, NOTHING


@compiled
def _behind_nested(data, at, breaks):  # type: ignore[no-untyped-def]
    """Give where to go on behind an object or a list; -1 where there is none that is sound, or one that is too deep."""
    are_objects, depth, state, is_empty = 0, 0, _BEFORE_VALUE, False
    while True:
        at = _behind_blanks(data, at)
        closing = _CLOSE if are_objects & 1 else _CLOSE_LIST
        if state == _BEFORE_VALUE and (_is_at(data, at, _OPEN) or _is_at(data, at, _OPEN_LIST)):
            is_object = data[at] == _OPEN
            are_objects, depth, is_empty = (are_objects << 1) | is_object, depth + 1, True
            at, state = at + 1, _BEFORE_NAME if is_object else _BEFORE_VALUE
        elif depth > 0 and _is_at(data, at, closing) and (state == _BEHIND_VALUE or is_empty):
            are_objects, depth, is_empty = are_objects >> 1, depth - 1, False
            at, state = at + 1, _BEHIND_VALUE
        else:
            at, state = _behind_piece(data, at, breaks, state, are_objects & 1)
            is_empty = False
        if state == _IS_WRONG or depth == 0 or depth > _DEPTH_MAX:
            return at if depth == 0 and state == _BEHIND_VALUE else -1


@compiled
def _behind_piece(data, at, breaks, state, is_in_object):  # type: ignore[no-untyped-def]
    """Go over a name with its colon, a value that is not nested, or a comma; give the place and state behind it."""
    if state == _BEFORE_NAME and _is_at(data, at, _QUOTE):
        end = _text_end(data, at + 1, breaks)
        colon = _behind_blanks(data, end + 1) if end >= 0 else len(data)
        return colon + 1, _BEFORE_VALUE if _is_at(data, colon, _COLON) else _IS_WRONG
    if state == _BEFORE_VALUE:
        _, _, behind, _ = _value_at(data, at, breaks)
        return behind, _BEHIND_VALUE if behind >= 0 else _IS_WRONG
    if state == _BEHIND_VALUE and _is_at(data, at, _COMMA):
        return at + 1, _BEFORE_NAME if is_in_object else _BEFORE_VALUE
    return at, _IS_WRONG


@compiled
def _number_end(data, at):  # type: ignore[no-untyped-def]
    """Give where a number ends, -1 where it is none, and its kind."""
    begin = at + 1 if data[at] == _MINUS else at
    at = _behind_digits(data, begin)
    if at == begin or (data[begin] == _ZERO and at > begin + 1):
        return -1, NOTHING
    kind = REAL if data[begin] == _ZERO and data[begin - 1] == _MINUS else INTEGER
    if _is_at(data, at, _DOT):
        begin, kind = at + 1, REAL
        at = _behind_digits(data, begin)
        if at == begin:
            return -1, NOTHING
    if _is_at(data, at, _LOWER_E) or _is_at(data, at, _UPPER_E):
        begin, kind = at + 1, REAL
        if _is_at(data, begin, _PLUS) or _is_at(data, begin, _MINUS):
            begin += 1
        at = _behind_digits(data, begin)
        if at == begin:
            return -1, NOTHING
    return at, kind


@compiled
def _behind_digits(data, at):  # type: ignore[no-untyped-def]
    while at < len(data) and _ZERO <= data[at] <= _NINE:
        at += 1
    return at


@compiled
def _packed(
    data: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    rows: NDArray[np.int64],
    width: int,
) -> NDArray[np.uint8]:
    packed = np.zeros((len(rows), width), np.uint8)
    for place in range(len(rows)):
        begin = begins[rows[place]]
        for offset in range(ends[rows[place]] - begin):
            packed[place, offset] = data[begin + offset]
    return packed


@compiled
def _found(
    data: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    words: NDArray[np.uint8],
    bounds: NDArray[np.int64],
) -> NDArray[np.int64]:
    found = np.empty(len(begins), np.int64)
    for row in range(len(begins)):
        found[row] = _word_at(data, begins[row], ends[row], words, bounds)
    return found
