"""Packed state records: rows of customers by row number, with what a shard needs to go on from them.

A record is a fixed prelude, a header in JSON, and columns, all little-endian, each beginning at a multiple of 8 bytes:

====================  ==================================================================
prelude (32 bytes)    magic, format version, bytes of a row, checksum, lengths
header                JSON, filled up with spaces
row numbers           u4
places of ids         u4, into the row numbers
erased row numbers    u4
lengths of ids        u2
rows                  as they lie in the table
ids                   bytes, one behind the other
====================  ==================================================================
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.log.topics import RECORD_BYTES_MAX
from stream_app.adapters.state_header import StateHeader, dump_header, read_header
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.rows import LAYOUT_VERSION

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FORMAT_VERSION: Final = 1
ROW_OVERHEAD_BYTES: Final = 10
"""What a row with its id takes beyond their own bytes: row number, place and length of the id."""

_MAGIC: Final = b"SEGS"
_PRELUDE: Final = struct.Struct("<4sHH")
_LENGTHS: Final = struct.Struct("<5I")
_ALIGNMENT: Final = 8
_CHECKED_FROM: Final = _PRELUDE.size + 4
"""The checksum is of everything but itself; it stands before this place."""
_HEADER_FROM: Final = _CHECKED_FROM + _LENGTHS.size
_SLACK_BYTES: Final = 256
"""What a record takes beyond header and rows: fixed lengths, filling, and numbers of parts of any length."""
_RESTORE: Final = (
    "restore the topic from a copy, or recreate the state topic and let the application read its events from the "
    "beginning"
)


@dataclass(frozen=True, slots=True, eq=False)
class StateRecord:
    """One record of the state log.

    Parameters
    ----------
    header
        Where the shard stands after the commit.
    row_numbers
        Shape `(n,)`, uint32: each once.
    rows
        Shape `(n,)`, dtype `V<bytes of a row>`.
    ids
        Shape `(m,)`, dtype `S<width>`: ids of rows that are new, or written anew before the log is truncated.
    id_places
        Shape `(m,)`, uint32: which of the row numbers the ids belong to.
    erased
        Shape `(k,)`, uint32: numbers of rows whose customers were erased.
    """

    header: StateHeader
    row_numbers: NDArray[np.uint32]
    rows: NDArray[np.void]
    ids: NDArray[np.bytes_]
    id_places: NDArray[np.uint32]
    erased: NDArray[np.uint32]


RowReader = Callable[[NDArray[np.void], StateHeader], NDArray[np.void]]
"""Turns stored rows of one layout into rows of the present one."""


def _read_present(rows: NDArray[np.void], _: StateHeader) -> NDArray[np.void]:
    return rows


ROW_READERS: Final[Mapping[int, RowReader]] = {LAYOUT_VERSION: _read_present}
"""Layout version to what reads it. Whoever raises `LAYOUT_VERSION` leaves a reader of the former layout here; layouts
that are not here are refused."""


def encode_state_record(record: StateRecord) -> bytes:
    """Pack a record.

    Parameters
    ----------
    record
        Its rows are of the present layout.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        When it is larger than `RECORD_BYTES_MAX`: a bug of the caller, who cuts commits into records.
    """
    header = _pad(dump_header(record.header), b" ")
    id_lengths = np.strings.str_len(record.ids).astype("<u2")
    id_bytes = b"".join(record.ids.tolist())
    columns = (record.row_numbers, record.id_places, record.erased)
    lengths = (len(header), len(record.row_numbers), len(record.ids), len(id_bytes), len(record.erased))
    sections: list[ReadableBuffer] = [
        _LENGTHS.pack(*lengths),
        header,
        *(_pad(column.astype("<u4", copy=False).tobytes()) for column in columns),
        _pad(id_lengths.tobytes()),
        np.ascontiguousarray(record.rows).view(np.uint8).data,
        bytes(-record.rows.nbytes % _ALIGNMENT),
        id_bytes,
    ]
    prelude = _PRELUDE.pack(_MAGIC, FORMAT_VERSION, record.rows.dtype.itemsize)
    checksum = zlib.crc32(prelude)
    for section in sections:
        checksum = zlib.crc32(section, checksum)
    packed = b"".join((prelude, checksum.to_bytes(4, "little"), *sections))
    if len(packed) > RECORD_BYTES_MAX:
        message = f"a state record of {len(packed)} bytes is larger than {RECORD_BYTES_MAX}"
        raise ValueError(message)
    return packed


def header_byte_count(header: StateHeader) -> int:
    """Give what a record takes beyond its rows, at most, in bytes."""
    return len(dump_header(header)) + _SLACK_BYTES


def decode_state_record(packed: bytes) -> StateRecord:
    """Read a record.

    Parameters
    ----------
    packed
        The bytes of a record.

    Returns
    -------
    StateRecord
        Views of these bytes, but for the ids.

    Raises
    ------
    IncompatibleStateError
        When it is no state record, is damaged, or was written by a version of the software that this one cannot read.
    """
    record = open_state_record(packed)
    columns = join_columns([record])
    return StateRecord(record.header(), *columns)


@dataclass(frozen=True, slots=True, eq=False)
class OpenRecord:
    """A record whose checksum fits, with its columns still packed; `join_columns` reads many at once.

    Parameters
    ----------
    document
        The header.
    row_bytes
        Bytes of a row.
    row_numbers, id_places, erased, id_lengths, rows, id_bytes
        The columns.
    """

    document: dict[str, Any]
    row_bytes: int
    row_numbers: memoryview
    id_places: memoryview
    erased: memoryview
    id_lengths: memoryview
    rows: memoryview
    id_bytes: memoryview

    @property
    def row_count(self) -> int:
        """Rows in it that are not erased."""
        return len(self.row_numbers) // 4

    @property
    def id_count(self) -> int:
        """Ids in it."""
        return len(self.id_places) // 4

    @property
    def erased_count(self) -> int:
        """Marks of erased rows in it."""
        return len(self.erased) // 4

    def header(self) -> StateHeader:
        """Read the header."""
        try:
            return read_header(self.document)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise _damaged(fault) from error


def open_state_record(packed: bytes) -> OpenRecord:
    """Check a record and find its columns; raises as `decode_state_record`."""
    row_bytes, lengths = _read_prelude(packed)
    header_bytes, row_count, id_count, id_byte_count, erased_count = lengths
    view = memoryview(packed)
    place = _HEADER_FROM + header_bytes
    sections = []
    for size in (4 * row_count, 4 * id_count, 4 * erased_count, 2 * id_count, row_bytes * row_count, id_byte_count):
        sections.append(view[place : place + size])
        place += size + -size % _ALIGNMENT
    # The ids stand last and are not filled up.
    if place - -id_byte_count % _ALIGNMENT != len(packed):
        fault = f"{len(packed)} bytes, its lengths say {place}"
        raise _damaged(fault)
    try:
        document = orjson.loads(view[_HEADER_FROM : _HEADER_FROM + header_bytes])
        layout_version = document["layout_version"]
    except (ValueError, KeyError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise _damaged(fault) from error
    record = OpenRecord(document, row_bytes, *sections)
    return record if layout_version == LAYOUT_VERSION else _in_present_layout(record)


def join_columns(
    records: Sequence[OpenRecord],
) -> tuple[NDArray[np.uint32], NDArray[np.void], NDArray[np.bytes_], NDArray[np.uint32], NDArray[np.uint32]]:
    """Read the columns of several records as if they were one; at least one, all of one size of row.

    Parameters
    ----------
    records
        In the order of the log.

    Returns
    -------
    tuple
        Row numbers, rows, ids, places of ids, and erased rows, as in `StateRecord`.
    """
    row_numbers = _joined([record.row_numbers for record in records], "<u4")
    rows = _joined([record.rows for record in records], f"V{records[0].row_bytes}")
    places = _joined([record.id_places for record in records], "<u4")
    erased = _joined([record.erased for record in records], "<u4")
    lengths = _joined([record.id_lengths for record in records], "<u2").astype(np.int64)
    id_bytes = _joined([record.id_bytes for record in records], "u1")
    if len(records) > 1:
        starts = np.cumsum([0, *(record.row_count for record in records[:-1])])
        places = places + np.repeat(starts, [record.id_count for record in records]).astype(np.uint32)
    if lengths.sum() != len(id_bytes) or places.max(initial=0) >= max(1, len(row_numbers)):
        fault = "its ids do not belong to its rows"
        raise _damaged(fault)
    return row_numbers, rows, split_ids(id_bytes, lengths), places, erased


def split_ids(id_bytes: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.bytes_]:
    """Cut ids apart that stand one behind the other.

    Parameters
    ----------
    id_bytes
        Shape `(sum of lengths,)`.
    lengths
        Shape `(n,)`.

    Returns
    -------
    NDArray[np.bytes_]
        Shape `(n,)`, dtype `S<longest>`.
    """
    width = max(1, int(lengths.max(initial=1)))
    if len(id_bytes) == width * len(lengths):
        return id_bytes.view(f"S{width}")
    ids = np.zeros((len(lengths), width), dtype=np.uint8)
    ids[np.arange(width) < lengths[:, None]] = id_bytes
    return ids.view(f"S{width}").reshape(-1)


def _joined(sections: list[memoryview], dtype: str) -> NDArray[Any]:
    if len(sections) == 1:
        return np.frombuffer(sections[0], dtype) if len(sections[0]) else np.empty(0, dtype)
    return np.frombuffer(b"".join(sections), dtype)


def _read_prelude(packed: bytes) -> tuple[int, tuple[int, ...]]:
    """Give the bytes of a row, and the lengths of the sections."""
    if len(packed) < _HEADER_FROM or packed[:4] != _MAGIC:
        fault = f"{len(packed)} bytes that do not begin as one"
        raise _damaged(fault)
    _, version, row_bytes = _PRELUDE.unpack_from(packed)
    if version != FORMAT_VERSION:
        message = (
            f"state record of format {version}; this software reads {FORMAT_VERSION}; use the version that wrote it, "
            "export the state with it, and import it with this one"
        )
        raise IncompatibleStateError(message, code="state_format")
    checksum = zlib.crc32(memoryview(packed)[_CHECKED_FROM:], zlib.crc32(packed[: _PRELUDE.size]))
    if checksum != int.from_bytes(packed[_PRELUDE.size : _CHECKED_FROM], "little"):
        fault = "its checksum does not fit"
        raise _damaged(fault)
    return row_bytes, _LENGTHS.unpack_from(packed, _CHECKED_FROM)


def _in_present_layout(record: OpenRecord) -> OpenRecord:
    layout_version = record.document["layout_version"]
    reader = ROW_READERS.get(layout_version)
    if reader is None:
        known = ", ".join(map(str, ROW_READERS))
        action = "use a newer version" if layout_version > LAYOUT_VERSION else "export it with the old version"
        message = f"state record with row layout {layout_version}; this software reads {known}; {action}"
        raise IncompatibleStateError(message, code="state_layout")
    rows = reader(_joined([record.rows], f"V{record.row_bytes}"), record.header())
    return replace(record, row_bytes=rows.dtype.itemsize, rows=memoryview(rows.tobytes()))


def _pad(section: bytes, filler: bytes = b"\0") -> bytes:
    return section + filler * (-len(section) % _ALIGNMENT)


def _damaged(what: str) -> IncompatibleStateError:
    return IncompatibleStateError(f"a state record is damaged ({what}); {_RESTORE}", code="damaged_state_record")
