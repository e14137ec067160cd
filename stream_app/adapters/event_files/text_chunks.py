"""What records of text files have in common: their encoding, and the chunk that is made of them."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files.normalising import NormalisedColumns
from stream_app.adapters.event_files.options import FileIgnoredReason
from stream_app.adapters.event_files.records import RecordBlock
from stream_app.adapters.event_files.rows import AcceptedRows, ReadChunk, RefusedRow


def find_invalid_utf8(records: RecordBlock, skipped: Container[int]) -> list[int]:
    """Find the records that are no UTF-8, besides those that are refused already."""
    if records.data.isascii():
        return []
    try:
        records.data.decode()
    except UnicodeDecodeError:
        pass
    else:
        return []
    places = np.flatnonzero(np.frombuffer(records.data, dtype=np.uint8) >= 0x80)
    suspects = np.unique(np.searchsorted(records.starts, places, side="right") - 1)
    invalid = []
    for index in suspects[suspects >= 0].tolist():
        if index in skipped:
            continue
        try:
            records.data[records.starts[index] : records.ends[index]].decode()
        except UnicodeDecodeError:
            invalid.append(index)
    return invalid


def chunk_of(
    records: RecordBlock,
    first_row: int,
    sound: NDArray[np.int64],
    normalised: NormalisedColumns,
    bad: Mapping[int, RefusedRow],
    *,
    blank_count: int,
) -> ReadChunk:
    """Put together what became of the records of a block.

    Parameters
    ----------
    records
        All of them.
    first_row
        Row number of the first one.
    sound
        Shape `(n_sound,)`, int64: which of them were normalised.
    normalised
        What became of those.
    bad
        Which others were refused before.
    blank_count
        How many of them are blank.
    """
    refused = list(bad.values())
    for place, (code, message) in normalised.faults.items():
        index = int(sound[place])
        refused.append(RefusedRow(index, code, message, records.raw_of(index)))
    refused.sort(key=lambda row: row.index)
    ignored = dict(normalised.ignored)
    if blank_count:
        ignored[FileIgnoredReason.BLANK_LINE] = blank_count
    return ReadChunk(
        first_row=first_row,
        row_count=len(records),
        accepted=renumbered(normalised.accepted, sound),
        refused=refused,
        ignored=ignored,
        unmapped_types=normalised.unmapped_types,
    )


def renumbered(rows: AcceptedRows, indices: NDArray[np.int64]) -> AcceptedRows:
    """Give rows the indices that the rows of their columns have in the chunk."""
    return AcceptedRows(
        indices=indices[rows.indices],
        customer_ids=rows.customer_ids,
        event_ids=rows.event_ids,
        times_ms=rows.times_ms,
        families=rows.families,
        amounts=rows.amounts,
        satisfactions=rows.satisfactions,
        order_ids=rows.order_ids,
        type_codes=rows.type_codes,
    )
