"""The layout of a customer's row: everything that is remembered of one customer, at fixed places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import BEHAVIOUR_FAMILIES

LAYOUT_VERSION = 2
"""Goes up with every change of the fields below; stored rows name the version they were written with."""

RING_SIZE = 8
"""Keys of the last applied events that a row keeps to recognise duplicates (S7)."""
HALF_LIFE_COUNT = 4
_ALIGNMENT = 8
GAP_STEP_S = 10_800
"""Unit of `kept_gap`: three hours, so that the 28 days between two snapshots fit in a byte."""
GAP_NONE = 255
"""The last purchase before a snapshot was 32 days or longer ago, or there was none."""
NOT_HELD = -1
"""Held tier, candidate or bucket of a customer who has none yet."""
UNRATED = -1
"""Held tier of a buyer for whom there are no cut points yet (S13)."""
PROSPECT = -2
"""Held tier of a customer who has bought nothing (S13)."""
ERASED_TURN = 0xFFFF
"""Turn of a row whose customer was erased; nobody's turn, since turns are below 40,320."""

RowBlock = NDArray[np.void]
"""Rows of some customers, shape `(n,)`, dtype `row_dtype(...)`."""


def row_dtype(axis_count: int, horizon_periods: int) -> np.dtype[np.void]:
    """Lay out a row; fields of 8 bytes come first so that all are aligned.

    Parameters
    ----------
    axis_count
        Number of axes; per-axis fields are sub-arrays of this length.
    horizon_periods
        K; totals are kept for the last 2 K snapshots.

    Returns
    -------
    np.dtype
        Item size a multiple of 8 bytes; 384 bytes for two axes and K = 3.
    """
    kept = 2 * horizon_periods
    behaviours = len(BEHAVIOUR_FAMILIES)
    fields: list[tuple[str, str, tuple[int, ...]]] = [
        ("clock_ms", "<i8", ()),
        ("event_keys", "<u8", (RING_SIZE,)),
        ("gross_spend", "<f8", ()),
        ("net_spend", "<f8", ()),
        ("refunded", "<f8", ()),
        ("log_sum", "<f8", ()),
        ("log_square_sum", "<f8", ()),
        ("last_basket", "<f8", ()),
        ("largest_basket", "<f8", ()),
        ("kept_gross_spend", "<f8", (kept,)),
        ("score", "<f8", (axis_count,)),
        ("since_ms", "<i8", (axis_count,)),
        ("decayed_spend", "<f4", (HALF_LIFE_COUNT,)),
        ("decayed_count", "<f4", (HALF_LIFE_COUNT,)),
        ("behaviour_count", "<f4", (behaviours,)),
        ("satisfaction_sum", "<f4", ()),
        ("satisfaction_count", "<u4", ()),
        ("behaviour_last_s", "<u4", (behaviours,)),
        ("first_purchase_s", "<u4", ()),
        ("last_purchase_s", "<u4", ()),
        ("purchase_count", "<u4", ()),
        ("basket_count", "<u4", ()),
        ("refund_count", "<u4", ()),
        ("log_count", "<u4", ()),
        ("kept_s", "<u4", (kept,)),
        ("kept_baskets", "<u4", (kept,)),
        ("sequence", "<u4", ()),
        ("bucket", "<i4", (axis_count,)),
        ("turn", "<u2", ()),
        ("held", "i1", (axis_count,)),
        ("candidate", "i1", (axis_count,)),
        ("candidate_cause", "u1", (axis_count,)),
        ("ring_position", "u1", ()),
        ("kept_gap", "u1", (horizon_periods,)),
    ]
    packed = np.dtype(fields)
    if packed.itemsize % _ALIGNMENT:
        # Named padding: numpy leaves bytes that belong to no field undefined when it copies.
        fields.append(("padding", "u1", (-packed.itemsize % _ALIGNMENT,)))
    return np.dtype(fields)


def is_erased(rows: RowBlock) -> NDArray[np.bool_]:
    """Tell which rows are of customers who were erased; shape `(n,)`."""
    result: NDArray[np.bool_] = rows["turn"] == ERASED_TURN
    return result


def make_blank(rows: RowBlock) -> None:
    """Set rows, shape `(n,)`, to those of customers of whom nothing is known yet; turns are the caller's."""
    rows.view(np.uint8)[:] = 0
    for name in ("held", "candidate", "bucket"):
        rows[name] = NOT_HELD


def column(rows: RowBlock, name: str, place: int | None = None) -> NDArray[np.float64]:
    """Copy one field of a block into a contiguous float64 array.

    Transcendental functions take another code path on strided views, with another last bit; every
    formula therefore starts from such a copy.

    Parameters
    ----------
    rows
        Shape `(n,)`.
    name
        Field of the row.
    place
        Which element, where the field is a sub-array.

    Returns
    -------
    NDArray[np.float64]
        Shape `(n,)`.
    """
    values = rows[name] if place is None else rows[name][:, place]
    return np.array(values, dtype=np.float64, order="C")


def take_rows(rows: RowBlock, index: NDArray[np.int64]) -> RowBlock:
    """Copy some rows as opaque bytes, which is several times faster than field by field; shape `(n,)`."""
    block: RowBlock = np.take(rows.view(f"V{rows.dtype.itemsize}"), index).view(rows.dtype)
    return block
