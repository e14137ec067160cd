"""Rounds: the k-th events of all customers of a batch together, so that each event counts on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """A batch's events laid out round by round.

    Customers are ordered by how many events they have, most first. The events of round k stand side by side, in
    that order of customers; those of round k - 1 that went before them are therefore a prefix of the round before.

    Parameters
    ----------
    event_indices
        Shape `(n,)`: the event at each place of the layout.
    customer_indices
        Shape `(n,)`: the customer at each place, `0 <= index < u`.
    unique_rows
        Shape `(u,)`: table row of each customer.
    event_counts
        Shape `(u,)`: events of each customer, not increasing.
    offsets
        Length rounds + 1: where each round begins.
    """

    event_indices: NDArray[np.int64]
    customer_indices: NDArray[np.int64]
    unique_rows: NDArray[np.int64]
    event_counts: NDArray[np.int64]
    offsets: list[int]

    @property
    def is_single(self) -> bool:
        """Whether no customer has more than one event."""
        return len(self.offsets) <= 2

    @property
    def last_places(self) -> NDArray[np.int64]:
        """Shape `(u,)`: the place of each customer's last event."""
        offsets = np.array(self.offsets, dtype=np.int64)
        return offsets[self.event_counts - 1] + np.arange(len(self.unique_rows))

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
        result[: len(initial)] = initial
        for start, end, previous in self._later_rounds():
            result[start:end] = after[previous : previous + end - start]
        return result

    def _later_rounds(self) -> list[tuple[int, int, int]]:
        """Give start, end and start of the previous round, for every round but the first."""
        offsets = self.offsets
        return list(zip(offsets[1:-1], offsets[2:], offsets[:-2], strict=True))


def lay_out(rows: NDArray[np.int64]) -> Rounds:
    """Sort a batch's events into rounds.

    Parameters
    ----------
    rows
        Shape `(n,)`: table row of each event's customer, below 2**40.

    Returns
    -------
    Rounds
        The events of one customer keep their order.
    """
    count = len(rows)
    index_bits = max(1, int(count - 1).bit_length())
    keys = np.sort((rows << index_bits) | np.arange(count))
    sorted_rows = keys >> index_bits
    sorted_events = keys & ((1 << index_bits) - 1)
    is_first = np.empty(count, dtype=np.bool_)
    is_first[:1] = True
    np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=is_first[1:])
    starts = np.flatnonzero(is_first)
    if len(starts) == count:
        return Rounds(sorted_events, np.arange(count), sorted_rows, np.ones(count, dtype=np.int64), [0, count])
    counts = np.diff(starts, append=count)
    by_count = np.argsort(-counts, kind="stable")
    rank_of_customer = np.empty(len(starts), dtype=np.int64)
    rank_of_customer[by_count] = np.arange(len(starts))
    customer = np.cumsum(is_first) - 1
    round_number = np.arange(count) - starts[customer]
    sizes = len(starts) - np.cumsum(np.bincount(counts))[:-1]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    place = offsets[round_number] + rank_of_customer[customer]
    event_indices = np.empty(count, dtype=np.int64)
    event_indices[place] = sorted_events
    customer_indices = np.empty(count, dtype=np.int64)
    customer_indices[place] = rank_of_customer[customer]
    return Rounds(event_indices, customer_indices, sorted_rows[starts][by_count], counts[by_count], offsets.tolist())


def all_once(rows: NDArray[np.int64]) -> Rounds:
    """Lay out one event for each of some different rows, in their order."""
    count = len(rows)
    places = np.arange(count)
    return Rounds(places, places, rows, np.ones(count, dtype=np.int64), [0, count])
