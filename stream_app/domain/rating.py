"""Rating customers: their scores on every axis, the tiers these bring, and the changes to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Cause, Changes
from stream_app.domain.grouping import Grouping
from stream_app.domain.knowledge import AxisKnowledge
from stream_app.domain.rows import NOT_HELD, PROSPECT, UNRATED, RowBlock
from stream_app.domain.tiers import Rescores, Settled, TierState, settle


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where some customers stand on every axis: views of their rows, so that what is settled is stored at once.

    Parameters
    ----------
    tiers
        One for each axis.
    buckets
        Shape `(u, n_axes)`: as stored.
    sequences
        Shape `(u,)`, uint32.
    """

    tiers: list[TierState]
    buckets: NDArray[np.int32]
    sequences: NDArray[np.uint32]

    @classmethod
    def of(cls, rows: RowBlock) -> Standing:
        """Look into rows of shape `(u,)`."""
        fields = [rows[name] for name in ("held", "candidate", "since_ms", "candidate_cause", "score", "bucket")]
        tiers = [TierState(*(field[:, axis] for field in fields)) for axis in range(fields[0].shape[1])]
        return cls(tiers, rows["bucket"], rows["sequence"])


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
    changes
        The re-scores that brought a change.
    suppressed_count
        Candidates given up.
    """

    terms: NDArray[np.float64]
    scores: NDArray[np.float64]
    held_after: NDArray[np.int8]
    changes: Settled
    suppressed_count: int


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What all axes share in a batch of re-scores, as columns of shape `(n,)`, those of one customer in order."""

    groups: Grouping
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
    terms, scores = scored
    rescores = Rescores(moment.groups.customer_indices, moment.is_rated, scores, moment.as_of_ms, moment.cause)
    held_after, changes, suppressed_count = settle(standing.tiers[axis], rescores, *rule)
    return AxisRating(terms, scores, held_after, changes, suppressed_count)


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
        change among the re-scores.
    """
    counts = [len(axis.changes.places) for axis in axes]
    settled = Settled.concatenate([axis.changes for axis in axes])
    places = settled.places
    axis_numbers = np.repeat(np.arange(len(axes)), counts)
    customers = moment.groups.customer_indices[places]
    # Places also order the events of one customer.
    order = np.lexsort((axis_numbers, places, customers))
    settled, axis_numbers, customers = settled.take(order), axis_numbers[order], customers[order]
    places = settled.places
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
        customer_ids=ids_of(moment.groups.rows[customers]),
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
