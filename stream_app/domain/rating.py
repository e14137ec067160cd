"""Rating customers: their scores on every axis, the tiers these bring, and the changes to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Cause, Changes
from stream_app.domain.knowledge import AxisKnowledge
from stream_app.domain.population import bucket_of
from stream_app.domain.rounds import Rounds
from stream_app.domain.rows import NOT_HELD, PROSPECT, UNRATED, RowBlock
from stream_app.domain.tiers import Rescore, Settled, TierState, needs_settling, settle


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where some customers stand on every axis: views of their rows, so that what is settled is stored at once.

    Parameters
    ----------
    tiers
        One for each axis, columns of shape `(u,)`.
    scores, buckets
        Shape `(u, n_axes)`: as stored.
    sequences
        Shape `(u,)`, uint32.
    """

    tiers: list[TierState]
    scores: NDArray[np.float64]
    buckets: NDArray[np.int32]
    sequences: NDArray[np.uint32]

    @classmethod
    def of(cls, rows: RowBlock) -> Standing:
        """Look into rows of shape `(u,)`."""
        held, candidate, since_ms, cause = (rows[name] for name in ("held", "candidate", "since_ms", "candidate_cause"))
        tiers = [
            TierState(held[:, axis], candidate[:, axis], since_ms[:, axis], cause[:, axis])
            for axis in range(held.shape[1])
        ]
        return cls(tiers, rows["score"], rows["bucket"], rows["sequence"])


def rated(rows: RowBlock, *, rates_everyone: bool) -> NDArray[np.bool_]:
    """Tell who is rated: buyers, or everyone (S13); shape `(n,)`."""
    if rates_everyone:
        return np.ones(len(rows), dtype=np.bool_)
    result: NDArray[np.bool_] = rows["purchase_count"] > 0
    return result


def states_of(held: NDArray[np.int8], is_rated: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Replace missing tiers by `UNRATED` or `PROSPECT`; shape `(n, n_axes)`."""
    missing = np.where(is_rated, np.int8(UNRATED), np.int8(PROSPECT))
    return np.where(held == NOT_HELD, missing[:, None], held)


@dataclass(frozen=True, slots=True, eq=False)
class AxisRating:
    """What a batch of re-scores did on one axis.

    Parameters
    ----------
    terms
        Shape `(n, n_terms)`.
    scores
        Shape `(n,)`; 0 where a customer is not rated.
    held_after
        Shape `(n,)`: held tier after each re-score.
    places
        Shape `(m,)`: which re-scores brought a change.
    changes
        Columns of shape `(m,)`.
    suppressed_count
        Candidates given up.
    """

    terms: NDArray[np.float64]
    scores: NDArray[np.float64]
    held_after: NDArray[np.int8]
    places: NDArray[np.int64]
    changes: Settled | None
    suppressed_count: int


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What all axes share in a batch of re-scores, as columns of shape `(n,)` in round order."""

    rounds: Rounds
    is_rated: NDArray[np.bool_]
    as_of_ms: NDArray[np.int64]
    cause: Cause


def settle_axis(
    standing: Standing,
    axis: int,
    scored: tuple[NDArray[np.float64], NDArray[np.float64]],
    moment: Moment,
    rule: tuple[AxisKnowledge | None, int, float],
) -> AxisRating:
    """Bring one axis up to date with new scores; changes `standing`.

    Parameters
    ----------
    standing
        Of the u customers.
    axis
        Which axis.
    scored
        Terms of shape `(n, n_terms)` and scores of shape `(n,)`.
    moment
        The n re-scores.
    rule
        The lines in force, the confirmation in milliseconds and the bucket width.

    Returns
    -------
    AxisRating
        What changed.
    """
    lines, confirmation_ms, bucket_width = rule
    terms, scores = scored
    rounds = moment.rounds
    if not moment.is_rated.all():
        scores = np.where(moment.is_rated, scores, 0.0)
    state = standing.tiers[axis]
    held_after = state.held[rounds.customer_indices] if not rounds.is_single else state.held.copy()
    parts: list[tuple[NDArray[np.int64], Settled]] = []
    suppressed_count = 0
    if lines is not None:
        stored = rounds.before(standing.scores[:, axis], scores)
        for places in _rounds_to_settle(state, scores, moment, lines):
            customers = rounds.customer_indices[places]
            own = TierState(
                state.held[customers], state.candidate[customers], state.since_ms[customers], state.cause[customers]
            )
            rescore = Rescore(scores[places], stored[places], moment.as_of_ms[places], moment.cause)
            settled = settle(own, rescore, lines, confirmation_ms)
            state.held[customers] = held_after[places] = own.held
            state.candidate[customers] = own.candidate
            state.since_ms[customers] = own.since_ms
            state.cause[customers] = own.cause
            suppressed_count += settled.suppressed_count
            if settled.is_changed.any():
                parts.append((places[settled.is_changed], settled.where_changed()))
    last = slice(None) if rounds.is_single else rounds.last_places
    is_rated = moment.is_rated[last]
    standing.scores[is_rated, axis] = scores[last][is_rated]
    standing.buckets[is_rated, axis] = bucket_of(scores[last][is_rated], bucket_width)
    places = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, dtype=np.int64)
    changes = Settled.concatenate([part[1] for part in parts]) if parts else None
    return AxisRating(terms, scores, held_after, places, changes, suppressed_count)


def _rounds_to_settle(
    state: TierState, scores: NDArray[np.float64], moment: Moment, lines: AxisKnowledge
) -> list[NDArray[np.int64]]:
    """Give the re-scores of those customers for whom any of them may matter, round by round."""
    rounds = moment.rounds
    if rounds.is_single:
        places = np.flatnonzero(needs_settling(state, scores, lines) & moment.is_rated)
        return [places] if len(places) else []
    at_events = TierState(
        state.held[rounds.customer_indices], state.candidate[rounds.customer_indices], state.since_ms, state.cause
    )
    needs = needs_settling(at_events, scores, lines) & moment.is_rated
    if not needs.any():
        return []
    is_concerned = np.zeros(len(state.held), dtype=np.bool_)
    is_concerned[rounds.customer_indices[needs]] = True
    places = np.flatnonzero(is_concerned[rounds.customer_indices] & moment.is_rated)
    bounds = np.searchsorted(places, rounds.offsets)
    return [places[start:end] for start, end in pairwise(bounds.tolist()) if end > start]


def tell_changes(
    standing: Standing,
    axes: Sequence[AxisRating],
    moment: Moment,
    ids_of: Callable[[NDArray[np.int64]], NDArray[np.bytes_]],
    knowledge: Sequence[AxisKnowledge | None],
) -> tuple[Changes, NDArray[np.int64]]:
    """Make the records of all changes, each with the whole segment; gives out the sequence numbers.

    Parameters
    ----------
    standing
        Of the u customers; its sequences are raised.
    axes
        One for each axis.
    moment
        The n re-scores.
    ids_of
        Gives the customer ids of table rows.
    knowledge
        The lines in force, one for each axis.

    Returns
    -------
    tuple
        The changes, ordered by customer, then in the order in which they happened, and the place of each
        change in the layout.
    """
    counts = [len(axis.places) for axis in axes]
    places = np.concatenate([axis.places for axis in axes])
    axis_numbers = np.repeat(np.arange(len(axes)), counts)
    customers = moment.rounds.customer_indices[places]
    # Places grow from round to round, so they also order the events of one customer.
    order = np.lexsort((axis_numbers, places, customers))
    places, axis_numbers, customers = places[order], axis_numbers[order], customers[order]
    settled = Settled.concatenate([axis.changes for axis in axes if axis.changes is not None]).take(order)
    sequences = _number(standing.sequences, customers)
    held = np.stack([axis.held_after[places] for axis in axes], axis=1)
    term_count = max(axis.terms.shape[1] for axis in axes)
    values = np.zeros((len(places), term_count))
    contributions = np.zeros((len(places), term_count))
    scores, percentiles = np.empty(len(places)), np.empty(len(places))
    for number, axis in enumerate(axes):
        own = np.flatnonzero(axis_numbers == number)
        lines = knowledge[number]
        if not len(own) or lines is None:
            continue
        terms = axis.terms[places[own]]
        values[own, : terms.shape[1]] = terms
        contributions[own, : terms.shape[1]] = terms - lines.term_means
        scores[own] = axis.scores[places[own]]
        percentiles[own] = lines.percentiles(scores[own])
    changes = Changes(
        event_indices=np.full(len(places), -1, dtype=np.int64),
        customer_ids=ids_of(moment.rounds.unique_rows[customers]),
        sequences=sequences,
        axes=axis_numbers.astype(np.uint8),
        from_tiers=settled.from_tiers,
        to_tiers=held[np.arange(len(places)), axis_numbers],
        segments=states_of(held, moment.is_rated[places]),
        scores=scores,
        percentiles=percentiles,
        cut_points=settled.cut_points,
        causes=settled.causes,
        is_triggered=settled.is_triggered,
        term_values=values,
        contributions=contributions,
        effective_at_ms=moment.as_of_ms[places],
    )
    return changes, places


def _number(known: NDArray[np.uint32], customers: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Give each change the next sequence number of its customer; `customers` is sorted, `known` is raised."""
    is_first = np.ones(len(customers), dtype=np.bool_)
    is_first[1:] = customers[1:] != customers[:-1]
    starts = np.flatnonzero(is_first)
    rank = np.arange(len(customers)) - starts[np.cumsum(is_first) - 1]
    sequences: NDArray[np.uint32] = known[customers] + (rank + 1).astype(np.uint32)
    np.add.at(known, customers, np.uint32(1))
    return sequences
