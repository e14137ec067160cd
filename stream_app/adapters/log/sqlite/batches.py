"""Batches: records that were written together, packed into one value of the file."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import cramjam
import msgspec

from stream_app.adapters.log.errors import LogError
from stream_app.adapters.log.port import Headers, Outgoing
from stream_app.adapters.log.topics import RECORD_BYTES_MAX

BATCH_BYTES_MAX: Final = 512 << 10
"""Values of one batch, unless a single record is larger: a reader takes one at a time into memory."""
BATCH_RECORDS_MAX: Final = 4096
COMPRESSED_BYTES_MIN: Final = 512
_COMPRESSED_RATIO_MAX: Final = 0.9
"""State records hardly shrink; what does not save a tenth is kept as it is."""
_VALUE_BYTES_MAX: Final = RECORD_BYTES_MAX + 100_000
"""What a broker takes by default, about; a record that Kafka would refuse is refused here, too."""
_PLAIN: Final = b"\0"
_LZ4: Final = b"\1"
_CHECKSUM_BYTES: Final = 4


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read; see `LogRecord`."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class _Columns(msgspec.Struct, array_like=True, gc=False):
    """The content of a batch, column by column; columns that say nothing are left out."""

    values: list[bytes | None]
    timestamps: int | list[int]
    keys: list[bytes | None] | None
    headers: list[list[tuple[str, bytes]]] | None
    offsets: list[int] | None
    """From the first one of the batch; None where there are no holes."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Records that go into one batch.

    Parameters
    ----------
    record_count
        How many offsets it takes.
    body
        The packed records.
    """

    record_count: int
    body: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Columns)
_NO_HEADERS: Final[tuple[tuple[str, bytes], ...]] = ()


def pack(outgoing: Outgoing, now_ms: int) -> list[Packed]:
    """Pack records into batches of bounded size.

    Parameters
    ----------
    outgoing
        Any number of records.
    now_ms
        Timestamp of records that have none.

    Returns
    -------
    list[Packed]
        In order; empty without records.

    Raises
    ------
    LogError
        When a record is larger than brokers take, or columns differ in length.
    """
    count = len(outgoing.values)
    for column in (outgoing.keys, outgoing.headers, outgoing.timestamps_ms):
        if column is not None and len(column) != count:
            message = f"records for {outgoing.topic}: {count} values, but {len(column)} keys, headers or timestamps"
            raise LogError(message)
    return [_pack_slice(outgoing, start, end, now_ms) for start, end in _cuts(outgoing)]


def _cuts(outgoing: Outgoing) -> list[tuple[int, int]]:
    """Cut records where a batch is full."""
    values = outgoing.values
    sizes = [0 if value is None else len(value) for value in values]
    if sizes and max(sizes) > _VALUE_BYTES_MAX:
        message = (
            f"a record for {outgoing.topic} has {max(sizes):,} bytes, allowed are {RECORD_BYTES_MAX:,}; "
            "nothing was written"
        )
        raise LogError(message)
    cuts = []
    start = size_before = 0
    size_sums = list(accumulate(sizes))
    while start < len(sizes):
        end = bisect_right(size_sums, size_before + BATCH_BYTES_MAX, start)
        end = min(max(end, start + 1), start + BATCH_RECORDS_MAX)
        cuts.append((start, end))
        start, size_before = end, size_sums[end - 1]
    return cuts


def _pack_slice(outgoing: Outgoing, start: int, end: int, now_ms: int) -> Packed:
    place = slice(start, end)
    timestamps: int | list[int] = now_ms
    if outgoing.timestamps_ms is not None:
        timestamps = list(outgoing.timestamps_ms[place])
        if timestamps.count(timestamps[0]) == len(timestamps):
            timestamps = timestamps[0]
    columns = _Columns(
        list(outgoing.values[place]),
        timestamps,
        None if outgoing.keys is None else list(outgoing.keys[place]),
        None if outgoing.headers is None else [list(headers) for headers in outgoing.headers[place]],
        None,
    )
    return Packed(end - start, _seal(columns))


def pack_kept(records: Sequence[Record]) -> bytes:
    """Pack records that keep their offsets, with holes between them.

    Parameters
    ----------
    records
        At least one, by rising offset.
    """
    first = records[0].offset
    return _seal(
        _Columns(
            [record.value for record in records],
            [record.timestamp for record in records],
            [record.key for record in records],
            [list(record.headers) for record in records] if any(record.headers for record in records) else None,
            [record.offset - first for record in records],
        )
    )


def _seal(columns: _Columns) -> bytes:
    content = _ENCODER.encode(columns)
    kind = _PLAIN
    if len(content) >= COMPRESSED_BYTES_MIN:
        compressed = bytes(cramjam.lz4.compress_block(content))
        if len(compressed) < len(content) * _COMPRESSED_RATIO_MAX:
            kind, content = _LZ4, compressed
    return b"".join((zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little"), kind, content))


def unpack(body: bytes, first_offset: int) -> list[Record]:
    """Unpack a batch.

    Parameters
    ----------
    body
        What `pack` or `pack_kept` made.
    first_offset
        Offset of its first record.

    Returns
    -------
    list[Record]
        By rising offset.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    content = memoryview(body)[_CHECKSUM_BYTES + 1 :]
    if zlib.crc32(content) != int.from_bytes(body[:_CHECKSUM_BYTES], "little"):
        message = "the checksum does not fit"
        raise ValueError(message)
    if body[_CHECKSUM_BYTES] == _LZ4[0]:
        content = memoryview(cramjam.lz4.decompress_block(content))
    columns = _DECODER.decode(content)
    count = len(columns.values)
    offsets: Sequence[int] = range(first_offset, first_offset + count)
    if columns.offsets is not None:
        offsets = [first_offset + offset for offset in columns.offsets]
    timestamps = columns.timestamps
    headers: Sequence[Headers] | None = columns.headers
    return list(
        map(
            Record,
            offsets,
            [timestamps] * count if isinstance(timestamps, int) else timestamps,
            [None] * count if columns.keys is None else columns.keys,
            columns.values,
            [_NO_HEADERS] * count if headers is None else headers,
        )
    )
