"""Sweeps: re-scoring the customers whose turn has come, all at once or in slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.behaviour import keep_totals
from stream_app.domain.effects import Cause, Changes, Effects, join_ticks
from stream_app.domain.grouping import each_once
from stream_app.domain.identifiers import order_of_ids
from stream_app.domain.knowledge import Knowledge
from stream_app.domain.rating import AxisRating, Moment
from stream_app.domain.rows import RowBlock, take_rows
from stream_app.domain.snapshots import SAMPLE_ALL, Snapshots, sample_numbers
from stream_app.domain.turns import is_snapshot_due
from stream_app.engine.clock import NO_TICK_MS
from stream_app.engine.rater import CHUNK_ROWS, Rater


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """Customers to sweep, each as of its own tick.

    Parameters
    ----------
    rows
        Shape `(n,)`: row numbers, each once.
    since_ms, times_ms
        Shape `(n,)`: the tick before, and the tick that sweeps.
    knowledge
        The version in force.
    cause
        Of the changes: time, or a new scoring.
    """

    rows: NDArray[np.int64]
    since_ms: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    knowledge: Knowledge
    cause: Cause

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, end: int) -> Due:
        """Give some of them."""
        own = slice(start, end)
        return Due(self.rows[own], self.since_ms[own], self.times_ms[own], self.knowledge, self.cause)


class Sweep:
    """A tick that is worked off in slices, in the order of id bytes (S4); the engine that began it owns it.

    The engine's clock moves with the last slice, and only then may the engine do anything else.

    Parameters
    ----------
    rater
        The shard.
    due
        Who is to be swept.
    after_id
        Customers up to this id were swept before.
    begin, finish
        What the engine does before the first slice, and after the last one.
    """

    def __init__(
        self, rater: Rater, due: Due, after_id: bytes | None, begin: Callable[[], None], finish: Callable[[], None]
    ) -> None:
        ids = rater.table.ids_of(due.rows)
        order = order_of_ids(ids)
        if after_id is not None:
            order = order[ids[order] > after_id]
        self._rater = rater
        self._due = Due(due.rows[order], due.since_ms[order], due.times_ms[order], due.knowledge, due.cause)
        self._begin = begin
        self._finish = finish
        self._done_count = 0
        self._after_id = after_id
        self._is_begun = False
        self._is_finished = False

    @property
    def after_id(self) -> bytes | None:
        """The last customer swept so far: where to begin again after a restart; None before the first slice."""
        return self._after_id

    @property
    def is_finished(self) -> bool:
        """True when the last slice is done, and the engine's clock has moved."""
        return self._is_finished

    @property
    def remaining_count(self) -> int:
        """Customers that are still to be swept."""
        return len(self._due) - self._done_count

    def next(self, rows_max: int) -> Effects | None:
        """Sweep the next slice.

        Parameters
        ----------
        rows_max
            Most customers of it, at least 1.

        Returns
        -------
        Effects or None
            Its effects, empty where nobody is due; None when the sweep is finished.
        """
        if self._is_finished:
            return None
        if rows_max < 1:
            message = f"a slice of {rows_max} customers never ends; give it one at least"
            raise ValueError(message)
        if not self._is_begun:
            self._begin()
            self._is_begun = True
        start, end = self._done_count, min(self._done_count + rows_max, len(self._due))
        effects = sweep_together(self._rater, self._due.part(start, end))
        self._done_count = end
        if end > start:
            self._after_id = bytes(self._rater.table.ids_of(self._due.rows[end - 1 : end])[0])
        if end == len(self._due):
            self._finish()
            self._is_finished = True
        return effects


def sweep_together(rater: Rater, due: Due) -> Effects:
    """Sweep customers, some at a time, and put the effects together."""
    parts = sweep_apart(rater, due)
    return join_ticks(parts) if parts else no_effects(len(rater.policy.axes))


def sweep_apart(rater: Rater, due: Due) -> list[Effects]:
    """Sweep customers; gives a part for each chunk of rows."""
    return [_sweep(rater, due.part(start, start + CHUNK_ROWS)) for start in range(0, len(due), CHUNK_ROWS)]


def no_effects(axis_count: int) -> Effects:
    """Give the effects of a tick at which nobody is due."""
    return Effects(
        changes=Changes.none(axis_count),
        is_duplicate=np.empty(0, dtype=np.bool_),
        tiers_before=np.empty((0, axis_count), dtype=np.int8),
        tick_times_ms=np.empty(0, dtype=np.int64),
        touched_rows=np.empty(0, dtype=np.int64),
        rescored_count=0,
        suppressed_counts=np.zeros(axis_count, dtype=np.int64),
    )


def suppressed_counts(axes: list[AxisRating]) -> NDArray[np.int64]:
    """Give the candidates given up on each axis."""
    return np.array([axis.suppressed_count for axis in axes], dtype=np.int64)


def _sweep(rater: Rater, due: Due) -> Effects:
    """Re-score customers, each as of its own tick; the spans reach from the tick before to that one."""
    block = rater.table.gather(due.rows)
    is_snapshot = np.zeros(len(due), dtype=np.bool_)
    if due.since_ms[0] != NO_TICK_MS:
        is_snapshot = is_snapshot_due(block["turn"], due.since_ms, due.times_ms)
        keep_totals(block, is_snapshot, due.times_ms)
    as_of_ms = np.maximum(block["clock_ms"], due.times_ms)
    moment = Moment(each_once(due.rows), rater.is_rated(block), as_of_ms, due.cause)
    axes, changes, places = rater.rate(block, block, moment, due.knowledge)
    if len(changes):
        rater.census.move_told(changes)
    rater.census.add_terms(axes, moment.is_rated)
    rater.table.scatter(due.rows, block)
    return Effects(
        changes=changes,
        is_duplicate=np.empty(0, dtype=np.bool_),
        tiers_before=np.empty((0, len(axes)), dtype=np.int8),
        touched_rows=due.rows,
        rescored_count=int(np.count_nonzero(moment.is_rated)),
        suppressed_counts=suppressed_counts(axes),
        tick_times_ms=due.times_ms[places],
        snapshots=_snapshots(rater, due, block, is_snapshot),
    )


def _snapshots(rater: Rater, due: Due, block: RowBlock, is_snapshot: NDArray[np.bool_]) -> Snapshots | None:
    """Copy the sampled buyers whose turn of the 28-day cycle has come (S15)."""
    places = np.flatnonzero(is_snapshot & (block["basket_count"] > 0))
    if not len(places):
        return None
    ids = rater.table.ids_of(due.rows[places])
    if due.knowledge.sample_limit < SAMPLE_ALL:
        is_sampled = sample_numbers(ids) < np.uint64(due.knowledge.sample_limit)
        ids, places = ids[is_sampled], places[is_sampled]
    return Snapshots(due.times_ms[places], ids, take_rows(block, places))
