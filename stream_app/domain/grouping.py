"""A batch's events by customer, so that each event counts on its own, after those of its customer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Where events stand when those of one customer stand together, in their order.

    Parameters
    ----------
    event_indices
        Shape `(n,)`: the event at each place.
    customer_indices
        Shape `(n,)`, not falling: the customer at each place, `0 <= index < u`.
    starts
        Shape `(u,)`: the place of each customer's first event.
    rows
        Shape `(u,)`: table row of each customer, each once.
    """

    event_indices: NDArray[np.int64]
    customer_indices: NDArray[np.int64]
    starts: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def is_single(self) -> bool:
        """Whether no customer has more than one event."""
        return len(self.rows) == len(self.event_indices)

    def before(self, initial: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
        """Give each event the value that the customer's previous event left.

        Parameters
        ----------
        initial
            Shape `(u, ...)`: value of each customer before the batch.
        after
            Shape `(n, ...)`: value after each event.

        Returns
        -------
        NDArray
            Shape `(n, ...)`.
        """
        if self.is_single:
            return initial
        result = np.empty_like(after)
        result[1:] = after[:-1]
        result[self.starts] = initial
        return result


def group_by_row(rows: NDArray[np.int64]) -> Grouping:
    """Group a batch's events.

    Parameters
    ----------
    rows
        Shape `(n,)`: table row of each event's customer, below 2**40.

    Returns
    -------
    Grouping
        Customers by rising row; the events of one customer keep their order.
    """
    count = len(rows)
    index_bits = max(1, int(count - 1).bit_length())
    keys = np.sort((rows << index_bits) | np.arange(count))
    sorted_rows = keys >> index_bits
    is_first = np.ones(count, dtype=np.bool_)
    np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=is_first[1:])
    starts = np.flatnonzero(is_first)
    return Grouping(keys & ((1 << index_bits) - 1), np.cumsum(is_first) - 1, starts, sorted_rows[starts])


def each_once(rows: NDArray[np.int64]) -> Grouping:
    """Give one event for each of some different rows, in their order."""
    places = np.arange(len(rows))
    return Grouping(places, places, places, rows)
