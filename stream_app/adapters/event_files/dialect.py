"""How a delimited file is written: its delimiter, its header, and its decimal mark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from stream_app.adapters.event_files.records import RecordSplitter, cell_pattern
from stream_app.domain.errors import SettingsError

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_ROWS_MAX = 200
"""Rows of the head from which delimiter and decimal mark are recognised."""
SAMPLE_BYTES_MAX = 1 << 18

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE = re.compile(rb"sep=([,;|\t])\r?\n", re.IGNORECASE)
_DATA_CELL = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
_POINT_DECIMAL = re.compile(r"[+-]?[0-9]*\.([0-9]{1,2}|[0-9]{4,})|[+-]?0?\.[0-9]+|[+-]?[0-9]{1,3}(,[0-9]{3})+\.[0-9]+")
_COMMA_DECIMAL = re.compile(r"[+-]?[0-9]*,([0-9]{1,2}|[0-9]{4,})|[+-]?0?,[0-9]+|[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+")


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a delimited file.

    Parameters
    ----------
    delimiter
        One character.
    header
        Column names, in order.
    body_start
        Where the first data row begins, in bytes from the start of the file.
    sample
        Cells of the first data rows.
    """

    delimiter: str
    header: list[str]
    body_start: int
    sample: list[list[str]]


def read_head(file_name: str, head: bytes, delimiter: str | None) -> Head:
    """Recognise delimiter and header.

    Parameters
    ----------
    file_name
        For messages.
    head
        First block of the file.
    delimiter
        As given; None: recognised.

    Returns
    -------
    Head

    Raises
    ------
    SettingsError
        Code `unreadable_event_file`: UTF-16, nothing but blanks, or no header line.
    """
    if head.startswith(_WIDE_MARKS):
        _fail(file_name, "is UTF-16 text; save it as UTF-8")
    start = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    separator_line = _SEPARATOR_LINE.match(head, start)
    if separator_line:
        start = separator_line.end()
        delimiter = delimiter or separator_line[1].decode()
    while (line_end := head.find(b"\n", start)) >= 0 and not head[start:line_end].strip():
        start = line_end + 1
    if not head[start:].strip():
        _fail(file_name, "is empty but for blank lines, there is nothing to read; leave it out")
    if delimiter is None:
        first_line = head[start : line_end if line_end >= 0 else len(head)]
        delimiter = _recognise(head[start : start + SAMPLE_BYTES_MAX], first_line)
    rows, body_start = _sample_rows(head[start : start + SAMPLE_BYTES_MAX], delimiter)
    if not rows:
        _fail(file_name, "has no header line that can be read (it is too long, or a quote in it is wrong); mend it")
    header = [cell.strip() for cell in rows[0]]
    return Head(delimiter, header, start + body_start, rows[1:])


def _recognise(sample: bytes, first_line: bytes) -> str:
    """Take the delimiter that cuts most rows into as many cells as the header, then the one with more cells."""

    def quality(candidate: str) -> tuple[float, int]:
        rows, _ = _sample_rows(sample, candidate)
        if not rows or len(rows[0]) < 2:
            return (0.0, 0)
        return (sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0]))

    candidates = [mark for mark in DELIMITERS if mark.encode() in first_line]
    return max(candidates, key=quality, default=",")


def _sample_rows(sample: bytes, delimiter: str) -> tuple[list[list[str]], int]:
    """Give the cells of the first rows, the header first, and where the row after the header begins."""
    splitter = RecordSplitter(delimiter.encode())
    block = splitter.split(sample, is_last=True)
    bad = {record.index for record in block.bad}
    if not len(block) or 0 in bad:
        return [], 0
    pattern = cell_pattern(delimiter.encode())
    rows = []
    # The last record may be cut off where the sample ends.
    count = len(block) if len(block) == 1 or len(sample) < SAMPLE_BYTES_MAX else len(block) - 1
    for index in range(min(count, SAMPLE_ROWS_MAX)):
        if index not in bad and block.ends[index] > block.starts[index]:
            rows.append([cell.decode("utf-8", "replace") for cell in cells_of(pattern, block.raw_of(index))])
    body_start = int(block.starts[1]) if len(block) > 1 else len(sample)
    return rows, body_start


def cells_of(pattern: re.Pattern[bytes], record: bytes) -> list[bytes]:
    """Cut a record into cells.

    Parameters
    ----------
    pattern
        `records.cell_pattern` of the delimiter.
    record
        Bytes of a record that the splitter has accepted.
    """
    cells: list[bytes] = []
    place = 0
    while (match := pattern.match(record, place)) is not None:
        quoted = match[1]
        cells.append(match[0] if quoted is None else quoted.replace(b'""', b'"'))
        place = match.end() + 1
        if match.end() >= len(record):
            break
    return cells


def check_header(file_name: str, header: list[str], *, is_known: bool) -> None:
    """Refuse a first line that is a row of data.

    Parameters
    ----------
    header
        Cells of the first line.
    is_known
        True when columns of the required fields were found among them.

    Raises
    ------
    SettingsError
        Code `missing_header`.
    """
    if not is_known and any(_DATA_CELL.fullmatch(cell.strip()) for cell in header):
        line = ascii(", ".join(header)[:120])
        message = (
            f"{file_name}: the first line looks like data, not like column names = {line}; "
            "put a header line before it, for example customer_id,occurred_at,amount"
        )
        raise SettingsError(message, code="missing_header")


def recognise_decimal(cells: Iterable[str]) -> str | None:
    """Tell the decimal mark from amounts; None when they do not show it.

    Examples
    --------
    >>> recognise_decimal(["12", "7,50"])
    ','
    >>> recognise_decimal(["1,234"]) is None
    True
    """
    has_point = has_comma = False
    for cell in cells:
        text = cell.strip()
        has_point = has_point or _POINT_DECIMAL.fullmatch(text) is not None
        has_comma = has_comma or _COMMA_DECIMAL.fullmatch(text) is not None
    if has_point == has_comma:
        return None
    return "." if has_point else ","


def _fail(file_name: str, fault: str) -> NoReturn:
    message = f"{file_name}: {fault}"
    raise SettingsError(message, code="unreadable_event_file")
