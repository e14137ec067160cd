"""Tiers: which one a score suggests, and when the suggestion becomes the held tier (S13, S16-S19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.effects import Cause
from stream_app.domain.knowledge import AxisKnowledge
from stream_app.domain.population import bucket_of
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


@dataclass(frozen=True, slots=True, eq=False)
class TierState:
    """What the rows of u customers hold of one axis, as columns of shape `(u,)`: views, changed in place."""

    held: NDArray[np.int8]
    candidate: NDArray[np.int8]
    since_ms: NDArray[np.int64]
    cause: NDArray[np.uint8]
    score: NDArray[np.float64]
    bucket: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Rescores:
    """New scores on one axis, as columns of shape `(n,)`; those of one customer in the order in which they came.

    Parameters
    ----------
    customers
        Which customer, `0 <= customer < u`.
    is_rated
        Whether the customer is rated; the others' scores do not count.
    scores
        The new scores.
    at_ms
        The time each score is as of.
    cause
        `Cause.EVENT` or `Cause.TIME`; `Cause.CUT_POINT` at a switch to another scoring.
    """

    customers: NDArray[np.int64]
    is_rated: NDArray[np.bool_]
    scores: NDArray[np.float64]
    at_ms: NDArray[np.int64]
    cause: Cause


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The re-scores that changed a held tier, or gave the first one, as columns of shape `(m,)`.

    Parameters
    ----------
    places
        Which re-scores, rising.
    from_tiers
        Held tier before.
    cut_points
        The line that was crossed; NaN for a first rating into the lowest tier.
    causes
        `Cause` codes.
    is_triggered
        The candidate came with this very event; never in a tick.
    """

    places: NDArray[np.int64]
    from_tiers: NDArray[np.int8]
    cut_points: NDArray[np.float64]
    causes: NDArray[np.uint8]
    is_triggered: NDArray[np.bool_]

    def take(self, index: NDArray[np.int64]) -> Settled:
        """Take some of them, in the order of the index."""
        return Settled(
            self.places[index],
            self.from_tiers[index],
            self.cut_points[index],
            self.causes[index],
            self.is_triggered[index],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Settled]) -> Settled:
        """Put several together, in order; at least one."""
        return cls(
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.from_tiers for part in parts]),
            np.concatenate([part.cut_points for part in parts]),
            np.concatenate([part.causes for part in parts]),
            np.concatenate([part.is_triggered for part in parts]),
        )


def settle(
    state: TierState, rescores: Rescores, lines: AxisKnowledge | None, confirmation_ms: int, bucket_width: float
) -> tuple[NDArray[np.int8], Settled, int]:
    """Bring held tiers, candidates, scores and buckets up to date, re-score by re-score.

    Parameters
    ----------
    state
        Of u customers; changed in place.
    rescores
        The n new scores.
    lines
        The lines in force; None where there are none, and tiers stay as they are.
    confirmation_ms
        How long a candidate must hold, in milliseconds.
    bucket_width
        Of the axis's histogram.

    Returns
    -------
    tuple
        Held tier after each re-score, shape `(n,)`; what changed; and the number of candidates that were given up.
    """
    nothing = np.empty(0)
    told = (nothing, nothing, nothing) if lines is None else (lines.cut_points, lines.promote_lines, lines.demote_lines)
    held_after, changes, suppressed_count = _settle_each(
        (rescores.customers, rescores.is_rated, rescores.scores, rescores.at_ms),
        (state.held, state.candidate, state.since_ms, state.cause, state.score),
        told,
        (lines is not None, confirmation_ms),
        (NOT_HELD, int(rescores.cause), int(Cause.EVENT), int(Cause.FIRST_RATED), int(Cause.CUT_POINT)),
    )
    rated = rescores.customers[rescores.is_rated]
    state.bucket[rated] = bucket_of(state.score[rated], bucket_width)
    return held_after, Settled(*changes), suppressed_count


_Columns = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]
_State = tuple[
    NDArray[np.int8],
    NDArray[np.int8],
    NDArray[np.int64],
    NDArray[np.uint8],
    NDArray[np.float64],
]
_Lines = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
_Changes = tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float64], NDArray[np.uint8], NDArray[np.bool_]]


@compiled
def _settle_each(
    rescores: _Columns,
    state: _State,
    lines: _Lines,
    rule: tuple[bool, int],
    codes: tuple[int, int, int, int, int],
) -> tuple[NDArray[np.int8], _Changes, int]:
    """Do what `settle` says; gives its columns one by one."""
    customers, is_rated, scores, at_ms = rescores
    held, candidate, since_ms, causes, stored = state
    cut_points, promote_lines, demote_lines = lines
    has_lines, confirmation_ms = rule
    not_held, cause, event, first_rated, moved_line = codes
    count, suppressed_count, n = 0, 0, len(scores)
    held_after, places, from_tiers = np.empty(n, np.int8), np.empty(n, np.int64), np.empty(n, np.int8)
    crossed, told, is_triggered = np.empty(n), np.empty(n, np.uint8), np.empty(n, np.bool_)
    for place in range(n):
        customer, score = customers[place], scores[place]
        own, pending, score_before = held[customer], candidate[customer], stored[customer]
        held_after[place] = own
        if not is_rated[place]:
            continue
        stored[customer] = score
        if not has_lines:
            continue
        is_first = own == not_held
        suggested = _position(cut_points, score) if is_first else _suggested(own, score, promote_lines, demote_lines)
        is_new, is_kept = suggested != pending, suggested == own
        if pending != not_held and (is_new or is_kept):
            suppressed_count += 1
        if is_new and not is_kept:
            candidate[customer], since_ms[customer], causes[customer] = suggested, at_ms[place], cause
            if is_first:
                causes[customer] = first_rated
            elif _suggested(own, score_before, promote_lines, demote_lines) != own:
                causes[customer] = moved_line
        is_changed = not is_kept and (is_first or at_ms[place] - since_ms[customer] >= confirmation_ms)
        if is_changed:
            held[customer] = held_after[place] = suggested
            places[count], from_tiers[count], told[count] = place, own, causes[customer]
            is_triggered[count] = is_new and cause == event
            crossed[count] = _crossed(own, suggested, is_first, lines)
            count += 1
        if is_changed or is_kept:
            # The unused fields get one fixed value, so that equal customers have equal rows.
            candidate[customer], since_ms[customer], causes[customer] = not_held, 0, 0
    changes = (places[:count], from_tiers[:count], crossed[:count], told[:count], is_triggered[:count])
    return held_after, changes, suppressed_count


@compiled
def _position(lines: NDArray[np.float64], score: float) -> int:
    """Count the lines at or below a score."""
    count = 0
    for line in lines:
        if score >= line:
            count += 1
    return count


@compiled
def _suggested(held: int, score: float, promote_lines: NDArray[np.float64], demote_lines: NDArray[np.float64]) -> int:
    """Give the tier that a score suggests to a customer who holds one (S17)."""
    return min(max(held, _position(promote_lines, score)), _position(demote_lines, score))


@compiled
def _crossed(from_tier: int, to_tier: int, is_first: bool, lines: _Lines) -> float:
    """Give the line between the tiers that was crossed last; NaN for a first rating into the lowest tier."""
    cut_points, promote_lines, demote_lines = lines
    if is_first:
        return float(cut_points[to_tier - 1]) if to_tier > 0 else np.nan
    return float(promote_lines[to_tier - 1] if to_tier > from_tier else demote_lines[to_tier])
