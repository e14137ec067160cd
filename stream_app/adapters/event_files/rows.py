"""Rows of a file between reading and the spool: what became of each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.event_files.text_arrays import Array
from stream_app.domain.refusals import Refusal


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that becomes a dead letter: its index in the chunk, why, and its bytes, or the first of them."""

    index: int
    code: Refusal
    message: str
    raw: bytes
    is_cut: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AcceptedRows:
    """Rows that go into events, as columns.

    Parameters
    ----------
    indices
        Shape `(n,)`, int64, increasing: the row in the chunk.
    customer_ids
        `pa.string()` array without null.
    event_ids
        `pa.string()` array; null where the row has none.
    times_ms
        Shape `(n,)`, int64.
    families
        Shape `(n,)`, uint8: as the policy says for the type, before the sign of the amount decides.
    amounts
        Shape `(n,)`, float64, in the reporting currency and with the sign of the source.
    satisfactions
        Shape `(n,)`, float64 in [0, 1], or NaN.
    order_ids
        `pa.string()` array, null where the row is no line item; None: no row of the chunk is.
    type_codes
        Shape `(n,)`, int32: a number for each event type of the log.
    """

    indices: NDArray[np.int64]
    customer_ids: Array
    event_ids: Array
    times_ms: NDArray[np.int64]
    families: NDArray[np.uint8]
    amounts: NDArray[np.float64]
    satisfactions: NDArray[np.float64]
    order_ids: Array | None
    type_codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True, eq=False)
class ReadChunk:
    """Some consecutive rows of a file.

    Parameters
    ----------
    first_row
        Number of the first one in its file, from 1.
    row_count
        All of them: accepted, refused and ignored.
    accepted
        Rows that go into events.
    refused
        Rows that become dead letters, by index.
    ignored
        Rows that bring nothing, by reason.
    unmapped_types
        Event types without a rule among the ignored, with their rows.
    """

    first_row: int
    row_count: int
    accepted: AcceptedRows
    refused: list[RefusedRow]
    ignored: Mapping[str, int]
    unmapped_types: Mapping[str, int] = field(default_factory=Counter)
