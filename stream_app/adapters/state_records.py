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

import base64
import binascii
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.adapters.log.topics import RECORD_BYTES_MAX
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.rows import LAYOUT_VERSION
from stream_app.engine import EngineClock

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


@dataclass(frozen=True, slots=True)
class SweepCursor:
    """How far a sweep has come that was cut into slices.

    Parameters
    ----------
    time_ms
        Its tick.
    after_id
        Customers up to this id, in the order of id bytes, have been swept.
    """

    time_ms: int
    after_id: bytes


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What a shard needs to go on, besides its rows; the same in all records of a commit but for `part`.

    Parameters
    ----------
    state_hash, policy_hash
        Of the policy that the rows were built with.
    app
        Name of the application.
    partition, partition_count
        Which shard, of how many.
    positions
        Topic to the offset to go on from.
    knowledge_version, pending_knowledge_version
        In force, and in force from the next tick on.
    clock
        How far the engine has come.
    term_sums, term_counts
        Of each axis, in the policy's order: what the engine's sketch holds beyond its histograms.
    renewed_day
        UTC day, in days since 1970-01-01, that was last reported as done to the learner.
    cursor
        Of the sweep in progress; None between sweeps.
    extra
        Whatever else the shard wants back, as JSON.
    batch_number
        Number of the commit, counted from 1 without a gap. This and what follows is filled in by the state log.
    part, part_count
        The record's place among those of its commit, counted from 0.
    row_count, customer_count
        Rows of the table after this commit, and those of them that are not erased.
    layout_version
        Of the rows.
    """

    state_hash: str
    policy_hash: str
    app: str
    partition: int
    partition_count: int
    positions: Mapping[str, int]
    knowledge_version: int
    pending_knowledge_version: int
    clock: EngineClock
    term_sums: tuple[tuple[int, ...], ...]
    term_counts: tuple[int, ...]
    renewed_day: int
    cursor: SweepCursor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    batch_number: int = 0
    part: int = 0
    part_count: int = 1
    row_count: int = 0
    customer_count: int = 0
    layout_version: int = LAYOUT_VERSION


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
    header = _pad(orjson.dumps(_header_document(record.header)), b" ")
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
    return len(orjson.dumps(_header_document(header))) + _SLACK_BYTES


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
    row_bytes, lengths = _read_prelude(packed)
    header_bytes, row_count, id_count, id_byte_count, erased_count = lengths
    try:
        header = _read_header(orjson.loads(memoryview(packed)[_HEADER_FROM : _HEADER_FROM + header_bytes]))
        reader = _Columns(packed, _HEADER_FROM + header_bytes)
        row_numbers = reader.take("<u4", row_count)
        id_places = reader.take("<u4", id_count)
        erased = reader.take("<u4", erased_count)
        id_lengths = reader.take("<u2", id_count).astype(np.int64)
        rows = reader.take(f"V{row_bytes}", row_count)
        id_bytes = reader.take("u1", id_byte_count)
        if reader.place != len(packed) or id_lengths.sum() != id_byte_count:
            fault = f"{len(packed)} bytes, its lengths say {reader.place}"
            raise _damaged(fault)
        if max(row_numbers.max(initial=0), erased.max(initial=0)) >= max(1, header.row_count):
            fault = f"row numbers beyond {header.row_count}"
            raise _damaged(fault)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        fault = f"{type(error).__name__}: {error}"
        raise _damaged(fault) from error
    rows = _in_present_layout(rows, header)
    return StateRecord(header, row_numbers, rows, split_ids(id_bytes, id_lengths), id_places, erased)


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


class _Columns:
    """Reads column after column."""

    def __init__(self, packed: bytes, place: int) -> None:
        self._packed = packed
        self.place = place

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        column = (
            np.frombuffer(self._packed, dtype=dtype, count=count, offset=self.place) if count else np.empty(0, dtype)
        )
        end = self.place + column.nbytes
        # Ids stand last and need no filling.
        self.place = end if dtype == "u1" else end + -end % _ALIGNMENT
        return column


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


def _in_present_layout(rows: NDArray[np.void], header: StateHeader) -> NDArray[np.void]:
    reader = ROW_READERS.get(header.layout_version)
    if reader is None:
        known = ", ".join(map(str, ROW_READERS))
        action = "use a newer version" if header.layout_version > LAYOUT_VERSION else "export it with the old version"
        message = f"state record with row layout {header.layout_version}; this software reads {known}; {action}"
        raise IncompatibleStateError(message, code="state_layout")
    return reader(rows, header)


def _header_document(header: StateHeader) -> dict[str, Any]:
    cursor = header.cursor
    return {
        "layout_version": header.layout_version,
        "state_hash": header.state_hash,
        "policy_hash": header.policy_hash,
        "app": header.app,
        "partition": header.partition,
        "partition_count": header.partition_count,
        "batch_number": header.batch_number,
        "part": header.part,
        "part_count": header.part_count,
        "row_count": header.row_count,
        "customer_count": header.customer_count,
        "positions": dict(header.positions),
        "knowledge_version": header.knowledge_version,
        "pending_knowledge_version": header.pending_knowledge_version,
        "clock": [header.clock.last_tick_ms, header.clock.sums_day, header.clock.scoring_version],
        "term_sums": header.term_sums,
        "term_counts": header.term_counts,
        "renewed_day": header.renewed_day,
        "cursor": None if cursor is None else [cursor.time_ms, base64.b64encode(cursor.after_id).decode()],
        "extra": dict(header.extra),
    }


def _read_header(document: dict[str, Any]) -> StateHeader:
    cursor = document["cursor"]
    try:
        after_id = None if cursor is None else base64.b64decode(cursor[1], validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return StateHeader(
        **{
            **document,
            "clock": EngineClock(*document["clock"]),
            "term_sums": tuple(map(tuple, document["term_sums"])),
            "term_counts": tuple(document["term_counts"]),
            "cursor": None if after_id is None else SweepCursor(cursor[0], after_id),
        }
    )


def _pad(section: bytes, filler: bytes = b"\0") -> bytes:
    return section + filler * (-len(section) % _ALIGNMENT)


def _damaged(what: str) -> IncompatibleStateError:
    return IncompatibleStateError(f"a state record is damaged ({what}); {_RESTORE}", code="damaged_state_record")
