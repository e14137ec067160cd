"""Snapshots whose outcome is still to come: columns by day, bounded in time by the horizon and in number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.history import FloatArray

LearnerState = dict[str, NDArray[np.generic]]

PENDING_MAX = 400_000
"""Snapshots kept; beyond it, new ones are dropped and counted."""
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotBlock:
    """Snapshots as columns.

    Parameters
    ----------
    customer_ids
        Shape `(n,)`, dtype `S<width>`.
    times_s
        Shape `(n,)`, int64: seconds since 1970-01-01 UTC.
    columns
        Shape `(n_columns, n)`.
    """

    customer_ids: NDArray[np.bytes_]
    times_s: NDArray[np.int64]
    columns: FloatArray

    def __len__(self) -> int:
        return len(self.customer_ids)

    def take(self, index: NDArray[np.int64]) -> SnapshotBlock:
        """Take some, in the order of the index."""
        return SnapshotBlock(self.customer_ids[index], self.times_s[index], self.columns[:, index])

    @classmethod
    def none(cls, column_count: int) -> SnapshotBlock:
        """Give no snapshots of so many columns."""
        return cls(np.empty(0, dtype="S1"), np.empty(0, dtype=np.int64), np.empty((column_count, 0)))

    @classmethod
    def concatenate(cls, parts: list[SnapshotBlock]) -> SnapshotBlock:
        """Put several together, in order; at least one."""
        return cls(
            np.concatenate([part.customer_ids for part in parts]),
            np.concatenate([part.times_s for part in parts]),
            np.concatenate([part.columns for part in parts], axis=1),
        )


class PendingSnapshots:
    """The bounded store; owned and changed by the learner alone.

    Parameters
    ----------
    column_count
        Columns of each snapshot.
    days_max
        Snapshots older than this are forgotten.
    """

    def __init__(self, column_count: int, days_max: int) -> None:
        self._column_count, self._days_max = column_count, days_max
        # Day to snapshots in the order of id bytes.
        self._days: dict[int, SnapshotBlock] = {}
        self.dropped_count = 0

    def __len__(self) -> int:
        return sum(len(block) for block in self._days.values())

    def add(self, block: SnapshotBlock) -> None:
        """Take in snapshots of later ticks than all before; what does not fit is dropped and counted."""
        room = max(PENDING_MAX - len(self), 0)
        self.dropped_count += max(len(block) - room, 0)
        block = block.take(np.arange(min(len(block), room)))
        days = block.times_s // SECONDS_PER_DAY
        for day in np.unique(days).tolist():
            own = block.take(np.flatnonzero(days == day))
            known = self._days.get(day)
            joined = own if known is None else SnapshotBlock.concatenate([known, own])
            self._days[day] = joined.take(np.argsort(joined.customer_ids, kind="stable"))

    def forget(self, day: int) -> None:
        """Forget what is too old on a day (days since 1970-01-01)."""
        for known in [known for known in self._days if known < day - self._days_max]:
            del self._days[known]

    def forget_customer(self, customer_id: bytes) -> None:
        """Forget all snapshots of a customer."""
        for day, block in list(self._days.items()):
            kept = np.flatnonzero(block.customer_ids != customer_id)
            if len(kept):
                self._days[day] = block.take(kept)
            else:
                del self._days[day]

    def find(
        self, customer_ids: NDArray[np.bytes_], times_s: NDArray[np.int64]
    ) -> tuple[SnapshotBlock, NDArray[np.int64]]:
        """Find snapshots by customer and time.

        Parameters
        ----------
        customer_ids, times_s
            Shape `(n,)`.

        Returns
        -------
        tuple
            The m snapshots found, and the place in the question of each, in rising order.
        """
        days = times_s // SECONDS_PER_DAY
        parts, places = [SnapshotBlock.none(self._column_count)], [np.empty(0, dtype=np.int64)]
        for day in np.unique(days).tolist():
            block = self._days.get(day)
            if block is None:
                continue
            asked = np.flatnonzero(days == day)
            found = np.searchsorted(block.customer_ids, customer_ids[asked])
            found = np.minimum(found, len(block) - 1)
            is_same = (block.customer_ids[found] == customer_ids[asked]) & (block.times_s[found] == times_s[asked])
            parts.append(block.take(found[is_same]))
            places.append(asked[is_same])
        joined, place = SnapshotBlock.concatenate(parts), np.concatenate(places)
        order = np.argsort(place)
        return joined.take(order), place[order]

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        blocks = [self._days[day] for day in sorted(self._days)]
        joined = SnapshotBlock.concatenate([SnapshotBlock.none(self._column_count), *blocks])
        return {
            "dropped": np.array([self.dropped_count], dtype=np.int64),
            "ids": joined.customer_ids,
            "times_s": joined.times_s,
            "columns": joined.columns,
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Fill an empty store with a stored state."""
        block = block_from(state, self._column_count)
        days = block.times_s // SECONDS_PER_DAY
        for day in np.unique(days).tolist():
            self._days[day] = block.take(np.flatnonzero(days == day))
        self.dropped_count = int(state["dropped"][0])


def block_from(state: Mapping[str, NDArray[np.generic]], column_count: int) -> SnapshotBlock:
    """Read snapshots from plain arrays; ValueError when they do not fit."""
    ids, times_s = np.asarray(state["ids"]), np.array(state["times_s"], dtype=np.int64)
    columns = np.array(state["columns"], dtype=np.float64)
    is_whole = ids.dtype.kind == "S" and times_s.shape == ids.shape and columns.shape == (column_count, len(ids))
    if not is_whole or not np.isfinite(columns).all():
        message = f"snapshots of shapes {ids.shape}, {times_s.shape}, {columns.shape}"
        raise ValueError(message)
    return SnapshotBlock(ids.astype(np.bytes_), times_s, columns)
