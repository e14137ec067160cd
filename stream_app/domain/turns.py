"""Whose turn it is: customers ordered by their minute of the 28-day cycle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.events import MS_PER_MINUTE
from stream_app.domain.identifiers import CYCLE_MINUTES
from stream_app.domain.rows import ERASED_TURN

_UNSORTED_MIN = 1 << 12


class TurnOrder:
    """Row numbers ordered by turn, for sweeps of a slice of the customers.

    New rows wait unsorted until they are an eighth of all; then everything is sorted again.

    Parameters
    ----------
    period_minutes
        A divisor of 40,320: how often each customer's turn comes.
    """

    def __init__(self, period_minutes: int) -> None:
        self._period = period_minutes
        self._turns = np.empty(_UNSORTED_MIN, dtype=np.uint16)
        self._count = 0
        self._erased_count = 0
        self._sorted_rows = np.empty(0, dtype=np.int32)
        self._sorted_turns = np.empty(0, dtype=np.uint16)

    @property
    def byte_count(self) -> int:
        """Memory in use, in bytes."""
        return self._turns.nbytes + self._sorted_rows.nbytes + self._sorted_turns.nbytes

    def append(self, turns: NDArray[np.uint16]) -> None:
        """Add rows with the next row numbers; shape `(n,)`, `0 <= turn < 40320` or `ERASED_TURN`."""
        end = self._count + len(turns)
        if end > len(self._turns):
            grown = np.empty(max(end, len(self._turns) * 5 // 4), dtype=np.uint16)
            grown[: self._count] = self._turns[: self._count]
            self._turns = grown
        is_erased = turns == ERASED_TURN
        self._turns[self._count : end] = np.where(is_erased, turns, turns % np.uint16(self._period))
        self._count = end
        self._erased_count += int(np.count_nonzero(is_erased))

    def erase(self, rows: NDArray[np.int64]) -> None:
        """Take rows out that are in it, each once; shape `(n,)`. Other rows keep their numbers."""
        self._turns[rows] = ERASED_TURN
        self._erased_count += len(rows)
        is_kept = self._turns[self._sorted_rows] != ERASED_TURN
        # Unsorted rows are told from sorted ones by how many these are, so that erased ones stay, behind all turns.
        order = np.concatenate((np.flatnonzero(is_kept), np.flatnonzero(~is_kept)))
        self._sorted_rows = self._sorted_rows[order]
        self._sorted_turns = self._turns[self._sorted_rows]

    def due(self, after_ms: int, until_ms: int) -> NDArray[np.int64]:
        """Give the rows whose turn comes after one time and not after the other.

        Parameters
        ----------
        after_ms, until_ms
            Milliseconds since 1970-01-01 UTC; whole minutes count.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`: row numbers, each once, in no promised order.
        """
        after, until = after_ms // MS_PER_MINUTE, until_ms // MS_PER_MINUTE
        if until - after >= self._period:
            return self.all_rows()
        if until <= after:
            return np.empty(0, dtype=np.int64)
        if self._count - len(self._sorted_rows) > max(_UNSORTED_MIN, self._count // 8):
            self._sort()
        first, last = (after + 1) % self._period, until % self._period
        spans = [(first, last)] if first <= last else [(first, self._period - 1), (0, last)]
        waiting = self._turns[len(self._sorted_rows) : self._count]
        parts = []
        for low, high in spans:
            # A Python int would make numpy convert the whole array at each call.
            start = np.searchsorted(self._sorted_turns, np.uint16(low), side="left")
            end = np.searchsorted(self._sorted_turns, np.uint16(high), side="right")
            parts.append(self._sorted_rows[start:end].astype(np.int64))
            parts.append(np.flatnonzero((waiting >= low) & (waiting <= high)) + len(self._sorted_rows))
        return np.concatenate(parts)

    def of_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Give the turns of rows within the period; shape `(n,)`, undefined for row -1."""
        return np.take(self._turns, rows)

    def spans_of(self, turns: NDArray[np.uint16], after_ms: int, until_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tell in which of several spans turns come: each reaches from the end of the one before to its own end.

        Parameters
        ----------
        turns
            Shape `(n,)`.
        after_ms
            Where the first span begins.
        until_ms
            Shape `(n_spans,)`, rising: where spans end; all of them less than a period together.

        Returns
        -------
        NDArray[np.int64]
            Shape `(n,)`: the places of the spans; `n_spans` for turns that come in none of them.
        """
        after = after_ms // MS_PER_MINUTE
        minutes_to_turn = (turns.astype(np.int64) - after - 1) % self._period
        return np.searchsorted(until_ms // MS_PER_MINUTE - after, minutes_to_turn, side="right")

    def all_rows(self) -> NDArray[np.int64]:
        """Give the numbers of all rows that are not erased, rising; shape `(n,)`."""
        if not self._erased_count:
            return np.arange(self._count)
        return np.flatnonzero(self._turns[: self._count] != ERASED_TURN)

    def _sort(self) -> None:
        turns = self._turns[: self._count]
        order = np.argsort(turns, kind="stable")
        self._sorted_rows = order.astype(np.int32)
        self._sorted_turns = turns[order]


def is_snapshot_due(
    turns: NDArray[np.uint16], after_ms: NDArray[np.int64], until_ms: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell whose turn of the full 28-day cycle comes after one time and not after the other.

    Parameters
    ----------
    turns
        Shape `(n,)`.
    after_ms, until_ms
        Shape `(n,)`: as in `TurnOrder.due`, for each.

    Returns
    -------
    NDArray[np.bool_]
        Shape `(n,)`.
    """
    after, until = after_ms // MS_PER_MINUTE, until_ms // MS_PER_MINUTE
    minutes_to_turn = (turns.astype(np.int64) - after - 1) % CYCLE_MINUTES
    result: NDArray[np.bool_] = minutes_to_turn < until - after
    return result
