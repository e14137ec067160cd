"""Tiers: which one a score suggests, and when the suggestion becomes the held tier (S13, S16-S19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Cause
from stream_app.domain.knowledge import AxisKnowledge
from stream_app.domain.rows import NOT_HELD


def position(lines: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int8]:
    """Count the lines at or below each score.

    Parameters
    ----------
    lines
        Shape `(m,)`.
    scores
        Shape `(n,)`.

    Returns
    -------
    NDArray[np.int8]
        Shape `(n,)`, `0 <= position <= m`.

    Examples
    --------
    >>> position(np.array([1.0, 2.0]), np.array([0.5, 1.0, 3.0])).tolist()
    [0, 1, 2]
    """
    result = np.zeros(len(scores), dtype=np.int8)
    for line in lines:
        result += scores >= line
    return result


@dataclass(slots=True, eq=False)
class TierState:
    """The tier fields of some customers on one axis, as contiguous columns of shape `(n,)`."""

    held: NDArray[np.int8]
    candidate: NDArray[np.int8]
    since_ms: NDArray[np.int64]
    cause: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Rescore:
    """A new score of some rated customers on one axis, as columns of shape `(n,)`.

    Parameters
    ----------
    scores, stored_scores
        The new score, and the one that the row held before.
    at_ms
        The time the new score is as of.
    cause
        `Cause.EVENT` or `Cause.TIME`; `Cause.CUT_POINT` at a switch to another scoring.
    """

    scores: NDArray[np.float64]
    stored_scores: NDArray[np.float64]
    at_ms: NDArray[np.int64]
    cause: Cause


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What `settle` found, as columns of shape `(n,)`.

    Parameters
    ----------
    is_changed
        The held tier changed, or was given for the first time.
    from_tiers
        Held tier before.
    cut_points
        The line that was crossed; NaN where there is none.
    causes
        `Cause` codes, meaningful where `is_changed`.
    is_triggered
        The candidate came with this very event; never in a tick.
    suppressed_count
        Candidates given up before they were confirmed.
    """

    is_changed: NDArray[np.bool_]
    from_tiers: NDArray[np.int8]
    cut_points: NDArray[np.float64]
    causes: NDArray[np.uint8]
    is_triggered: NDArray[np.bool_]
    suppressed_count: int

    def take(self, index: NDArray[np.int64]) -> Settled:
        """Take some customers, in the order of the index."""
        return Settled(
            self.is_changed[index],
            self.from_tiers[index],
            self.cut_points[index],
            self.causes[index],
            self.is_triggered[index],
            self.suppressed_count,
        )

    def where_changed(self) -> Settled:
        """Take the customers whose tier changed."""
        return self.take(np.flatnonzero(self.is_changed))

    @classmethod
    def concatenate(cls, parts: Sequence[Settled]) -> Settled:
        """Put several together, in order; at least one."""
        return cls(
            np.concatenate([part.is_changed for part in parts]),
            np.concatenate([part.from_tiers for part in parts]),
            np.concatenate([part.cut_points for part in parts]),
            np.concatenate([part.causes for part in parts]),
            np.concatenate([part.is_triggered for part in parts]),
            sum(part.suppressed_count for part in parts),
        )


def needs_settling(state: TierState, scores: NDArray[np.float64], lines: AxisKnowledge) -> NDArray[np.bool_]:
    """Tell which re-scores can change anything but the score: the others leave tiers as they are.

    Parameters
    ----------
    state
        Columns of shape `(n,)`.
    scores
        Shape `(n,)`.
    lines
        The lines in force.

    Returns
    -------
    NDArray[np.bool_]
        Shape `(n,)`.
    """
    result: NDArray[np.bool_] = state.candidate != NOT_HELD
    result |= state.held == NOT_HELD
    result |= position(lines.promote_lines, scores) > state.held
    result |= position(lines.demote_lines, scores) < state.held
    return result


def candidate_for(held: NDArray[np.int8], scores: NDArray[np.float64], lines: AxisKnowledge) -> NDArray[np.int8]:
    """Give the tier that a score suggests to a customer who holds one (S17); shape `(n,)`."""
    up = position(lines.promote_lines, scores)
    down = position(lines.demote_lines, scores)
    result: NDArray[np.int8] = np.minimum(np.maximum(held, up), down)
    return result


def settle(state: TierState, rescore: Rescore, lines: AxisKnowledge, confirmation_ms: int) -> Settled:
    """Bring held tiers and candidates up to date with new scores; changes `state` in place.

    Parameters
    ----------
    state
        Columns of shape `(n,)`.
    rescore
        The new scores of the same customers.
    lines
        The lines in force.
    confirmation_ms
        How long a candidate must hold, in milliseconds.

    Returns
    -------
    Settled
        Columns of shape `(n,)`.
    """
    from_tiers = state.held.copy()
    is_first = from_tiers == NOT_HELD
    suggested = candidate_for(from_tiers, rescore.scores, lines)
    suggested[is_first] = position(lines.cut_points, rescore.scores[is_first])

    was_pending = state.candidate != NOT_HELD
    is_kept = (suggested == from_tiers) & ~is_first
    is_new = ~is_kept & (suggested != state.candidate)
    suppressed_count = int(np.count_nonzero(was_pending & (is_kept | is_new)))

    # At a first rating this is never read: its cause is set below.
    has_left_before = candidate_for(from_tiers, rescore.stored_scores, lines) != from_tiers
    state.cause[is_new] = np.where(has_left_before[is_new], Cause.CUT_POINT, rescore.cause)
    state.cause[is_first] = Cause.FIRST_RATED
    state.since_ms[is_new] = rescore.at_ms[is_new]
    state.candidate[is_new] = suggested[is_new]
    state.candidate[is_kept] = NOT_HELD

    is_due = rescore.at_ms - state.since_ms >= confirmation_ms
    is_changed = is_first | ((state.candidate != NOT_HELD) & is_due)
    causes = state.cause.copy()
    state.held[is_changed] = state.candidate[is_changed]
    _clear(state, is_changed | is_kept)
    return Settled(
        is_changed=is_changed,
        from_tiers=from_tiers,
        cut_points=_crossed(from_tiers, state.held, lines),
        causes=causes,
        is_triggered=is_changed & is_new & (rescore.cause is Cause.EVENT),
        suppressed_count=suppressed_count,
    )


def _clear(state: TierState, where: NDArray[np.bool_]) -> None:
    """Forget candidates; the unused fields get one fixed value, so that equal customers have equal rows."""
    state.candidate[where] = NOT_HELD
    state.since_ms[where] = 0
    state.cause[where] = 0


def _crossed(from_tiers: NDArray[np.int8], to_tiers: NDArray[np.int8], lines: AxisKnowledge) -> NDArray[np.float64]:
    """Give the line between the tiers that was crossed last; NaN for a first rating into the lowest tier."""
    lower_edge = np.maximum(to_tiers - 1, 0)
    upper_edge = np.maximum(np.minimum(to_tiers, len(lines.cut_points) - 1), 0)
    is_first = from_tiers == NOT_HELD
    crossed = np.where(to_tiers > from_tiers, lines.promote_lines[lower_edge], lines.demote_lines[upper_edge])
    first_line = np.where(to_tiers > 0, lines.cut_points[lower_edge], np.nan)
    result: NDArray[np.float64] = np.where(is_first, first_line, crossed)
    return result
