"""Simulated events as Arrow columns, with ids as text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream_app.simulation.log import KIND_NAMES, NO_AMOUNT, NO_ORDER, NO_RATING

TIME_TYPE = pa.timestamp("ms", tz="UTC")

EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("occurred_at", TIME_TYPE, nullable=False),
        pa.field("amount", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("satisfaction", pa.float64()),
    ]
)
"""Columns of an event log: the native event, with the satisfaction of its properties as a column of its own."""

_EVENT_DIGITS = 12
_CUSTOMER_DIGITS = 8
_ORDER_DIGITS = 6
RATING_MAX = 5
"""Ratings are 1 to 5 stars; an event tells them as a satisfaction from 0 to 1, in steps of a quarter."""
_ZERO = ord("0")
_CENTS = 100.0


def customer_ids(numbers: NDArray[np.int64]) -> pa.Array:
    """Give the ids of customers by number, as `c00000042`."""
    return _texts(_characters(b"c", numbers, _CUSTOMER_DIGITS))


def event_columns(events: NDArray[np.void], first_ordinal: int, currency: str) -> pa.RecordBatch:
    """Give packed events as columns.

    Parameters
    ----------
    events
        Shape `(n,)`, dtype `log.EVENT_DTYPE`.
    first_ordinal
        Place of the first of them in the whole log; event ids count on from it.
    currency
        Code for all amounts.
    """
    count = len(events)
    ordinals = np.arange(first_ordinal, first_ordinal + count, dtype=np.int64)
    customers = events["customer"].astype(np.int64)
    cents = events["cents"]
    orders = events["order"]
    has_amount = cents != NO_AMOUNT
    columns = [
        _texts(_characters(b"e", ordinals, _EVENT_DIGITS)),
        customer_ids(customers),
        pa.array(KIND_NAMES).take(pa.array(events["kind"])),
        pa.array(np.ascontiguousarray(events["time_ms"])).cast(TIME_TYPE),
        pa.array(cents / _CENTS, mask=~has_amount),
        _repeated(currency, has_amount),
        _order_ids(customers, orders),
        pa.array((events["rating"] - 1.0) / (RATING_MAX - 1), mask=events["rating"] == NO_RATING),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def _order_ids(customers: NDArray[np.int64], orders: NDArray[np.uint32]) -> pa.Array:
    has_order = orders != NO_ORDER
    characters = np.concatenate(
        (
            _characters(b"o", customers[has_order], _CUSTOMER_DIGITS),
            _characters(b"-", orders[has_order].astype(np.int64), _ORDER_DIGITS),
        ),
        axis=1,
    )
    return _texts(characters, has_order)


def _repeated(text: str, is_there: NDArray[np.bool_]) -> pa.Array:
    row = np.frombuffer(text.encode(), dtype=np.uint8)
    return _texts(np.tile(row, (int(is_there.sum()), 1)), is_there)


def _characters(prefix: bytes, numbers: NDArray[np.int64], digits: int) -> NDArray[np.uint8]:
    """Write numbers with leading zeros after a prefix, shape `(n, 1 + digits)`."""
    characters = np.empty((len(numbers), 1 + digits), dtype=np.uint8)
    characters[:, 0] = prefix[0]
    rest = numbers
    for place in range(digits, 0, -1):
        rest, digit = np.divmod(rest, 10)
        characters[:, place] = digit + _ZERO
    return characters


def _texts(characters: NDArray[np.uint8], is_there: NDArray[np.bool_] | None = None) -> pa.Array:
    """Make a column of texts of equal width; where `is_there` is given and False, the text is null."""
    count, width = characters.shape
    validity = None
    lengths = np.full(count, width)
    if is_there is not None:
        count = len(is_there)
        lengths = np.where(is_there, width, 0)
        validity = pa.py_buffer(np.packbits(is_there, bitorder="little").tobytes())
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [validity, pa.py_buffer(offsets.tobytes()), pa.py_buffer(np.ascontiguousarray(characters).tobytes())]
    return pa.Array.from_buffers(pa.string(), count, buffers)
