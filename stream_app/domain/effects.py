"""What a batch or a tick brings about: the engine returns it, and the driver carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.outlook import Outlook
from stream_app.domain.rows import RowBlock
from stream_app.domain.snapshots import Snapshots, join_snapshots


class Cause(IntEnum):
    """Why a candidate appeared (S19)."""

    FIRST_RATED = 0
    EVENT = 1
    TIME = 2
    CUT_POINT = 3
    MERGE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Segment changes as columns, in the order in which they are told.

    Parameters
    ----------
    event_indices
        Shape `(n,)`, int64: the event of the batch at which the change came; -1 in a tick.
    customer_ids
        Shape `(n,)`, dtype `S<width>`.
    sequences
        Shape `(n,)`, uint32: gapless per customer, from 1.
    axes
        Shape `(n,)`, uint8: index into the policy's axes.
    from_tiers, to_tiers
        Shape `(n,)`, int8: tier indices; from is `UNRATED` at a first rating.
    segments
        Shape `(n, n_axes)`, int8: every axis's tier after all changes of that moment, or `UNRATED` or `PROSPECT`.
    scores
        Shape `(n,)`, float64.
    percentiles
        Shape `(n,)`, float64 in [0, 100]: share of the population below the score, by the knowledge in force.
    cut_points
        Shape `(n,)`, float64: the line that the score crossed; NaN for a first rating into the lowest tier.
    causes
        Shape `(n,)`, uint8: `Cause` codes.
    is_triggered
        Shape `(n,)`, bool: True when the event at `event_indices` itself brought the candidate that is told now.
    term_values
        Shape `(n, n_terms_max)`, float64: the score's additive terms; 0 past the axis's own terms.
    contributions
        Shape `(n, n_terms_max)`, float64: terms minus their population means (S20).
    effective_at_ms
        Shape `(n,)`, int64.
    """

    event_indices: NDArray[np.int64]
    customer_ids: NDArray[np.bytes_]
    sequences: NDArray[np.uint32]
    axes: NDArray[np.uint8]
    from_tiers: NDArray[np.int8]
    to_tiers: NDArray[np.int8]
    segments: NDArray[np.int8]
    scores: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    cut_points: NDArray[np.float64]
    causes: NDArray[np.uint8]
    is_triggered: NDArray[np.bool_]
    term_values: NDArray[np.float64]
    contributions: NDArray[np.float64]
    effective_at_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequences)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Changes:
        """Take some changes, in the order of the index or where it is True."""
        return Changes(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def at_events(self, event_indices: NDArray[np.int64]) -> Changes:
        """Say at which events the changes came; shape `(n,)`."""
        return replace(self, event_indices=event_indices)

    @classmethod
    def concatenate(cls, parts: Sequence[Changes]) -> Changes:
        """Put several together, in order; at least one."""
        told = [part for part in parts if len(part)]
        if len(told) <= 1:
            return told[0] if told else parts[0]
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in told]) for field in fields(cls)}
        )

    @classmethod
    def none(cls, axis_count: int) -> Changes:
        """Give no changes, for so many axes."""
        return cls(
            event_indices=np.empty(0, dtype=np.int64),
            customer_ids=np.empty(0, dtype="S1"),
            sequences=np.empty(0, dtype=np.uint32),
            axes=np.empty(0, dtype=np.uint8),
            from_tiers=np.empty(0, dtype=np.int8),
            to_tiers=np.empty(0, dtype=np.int8),
            segments=np.empty((0, axis_count), dtype=np.int8),
            scores=np.empty(0),
            percentiles=np.empty(0),
            cut_points=np.empty(0),
            causes=np.empty(0, dtype=np.uint8),
            is_triggered=np.empty(0, dtype=np.bool_),
            term_values=np.empty((0, 1)),
            contributions=np.empty((0, 1)),
            effective_at_ms=np.empty(0, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """All that one call of the engine brought about.

    Parameters
    ----------
    changes
        Segment changes, in input order for events; in the order of ticks, then of id bytes for ticks (S4).
    is_duplicate
        Shape `(n_events,)`, bool: events that were dropped because of their id (S7); empty for a tick.
    tiers_before
        Shape `(n_events, n_axes)`, int8: held tier before each event, or `UNRATED` or `PROSPECT`; `PROSPECT` for
        duplicates, which nobody counts; empty for a tick.
    touched_rows
        Shape `(n_touched,)`, int64: row numbers that changed.
    rescored_count
        How many times a customer was scored.
    suppressed_counts
        Shape `(n_axes,)`, int64: candidates that were given up before they were confirmed (S18).
    tick_times_ms
        Of ticks: shape `(n_changes,)`, int64, the tick of each change; None for events.
    snapshots
        Of ticks: the sampled buyers whose turn of the 28-day cycle has come; None when there are none.
    """

    changes: Changes
    is_duplicate: NDArray[np.bool_]
    tiers_before: NDArray[np.int8]
    touched_rows: NDArray[np.int64]
    rescored_count: int
    suppressed_counts: NDArray[np.int64]
    tick_times_ms: NDArray[np.int64] | None = None
    snapshots: Snapshots | None = None


def join_ticks(parts: Sequence[Effects]) -> Effects:
    """Put the effects of the same ticks on different customers together, at least one; changes are sorted (S4)."""
    changes = Changes.concatenate([part.changes for part in parts])
    times_ms = np.concatenate([part.tick_times_ms for part in parts if part.tick_times_ms is not None])
    order = np.lexsort((changes.customer_ids, times_ms))
    return Effects(
        changes=changes.take(order),
        is_duplicate=parts[0].is_duplicate,
        tiers_before=parts[0].tiers_before,
        touched_rows=np.concatenate([part.touched_rows for part in parts]),
        rescored_count=sum(part.rescored_count for part in parts),
        suppressed_counts=np.sum([part.suppressed_counts for part in parts], axis=0),
        tick_times_ms=times_ms[order],
        snapshots=join_snapshots([part.snapshots for part in parts]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBlock:
    """Customers scored as of a time, without changing them.

    Parameters
    ----------
    customer_ids
        Shape `(n,)`, dtype `S<width>`.
    rows
        Shape `(n,)`: copies of their rows.
    scores
        Shape `(n, n_axes)`; NaN where a customer is not rated.
    states
        Shape `(n, n_axes)`: held tiers, `UNRATED` or `PROSPECT`.
    rank_tiers
        Shape `(n, n_axes)`: the tier by the cut points in force without hysteresis; -1 where there is none.
    outlook
        What is expected of them.
    """

    customer_ids: NDArray[np.bytes_]
    rows: RowBlock
    scores: NDArray[np.float64]
    states: NDArray[np.int8]
    rank_tiers: NDArray[np.int8]
    outlook: Outlook
