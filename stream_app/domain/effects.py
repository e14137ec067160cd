"""What a batch or a tick brings about: the engine returns it, and the driver carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

UNRATED = -1
"""Held tier of a buyer for whom there are no cut points yet (S13)."""
PROSPECT = -2
"""Held tier of a customer who has bought nothing (S13)."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """All that one call of the engine brought about.

    Parameters
    ----------
    changes
        Segment changes, in input order for events and in the order of id bytes for a tick (S4).
    is_duplicate
        Shape `(n_events,)`, bool: events that were dropped because of their id (S7); empty for a tick.
    tiers_before
        Shape `(n_events, n_axes)`, int8: held tier before each event, or `UNRATED` or `PROSPECT`; empty for a tick.
    touched_rows
        Shape `(n_touched,)`, int64: row numbers that changed.
    rescored_count
        How many times a customer was scored.
    suppressed_counts
        Shape `(n_axes,)`, int64: candidates that were given up before they were confirmed (S18).
    """

    changes: Changes
    is_duplicate: NDArray[np.bool_]
    tiers_before: NDArray[np.int8]
    touched_rows: NDArray[np.int64]
    rescored_count: int
    suppressed_counts: NDArray[np.int64]
