"""The population as integers: log-histograms with delete, sums of score terms, and the lines drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.compiled import compiled
from stream_app.domain.knowledge import QUANTILE_STEPS, AxisKnowledge
from stream_app.domain.policy import AxisPolicy, CutRule

BUCKET_COUNT = 1 << 15
"""Buckets of an axis; scores beyond the last edge count in the last bucket."""
TERM_UNIT = 2.0**-20
"""Unit in which score terms are added up as integers, so that the sum does not depend on the order."""
SHARE_TOLERANCE = 1e-9
"""Share of customers by which rounding may move a quantile."""


def bucket_of(scores: NDArray[np.float64], bucket_width: float) -> NDArray[np.int32]:
    """Give each score's bucket.

    Parameters
    ----------
    scores
        Shape `(n,)`, finite.
    bucket_width
        Width of a bucket in units of the score.

    Returns
    -------
    NDArray[np.int32]
        Shape `(n,)`, `0 <= bucket < BUCKET_COUNT`; bucket i holds scores in `[i * width, (i + 1) * width)`.
    """
    buckets = np.floor(scores / bucket_width)
    return np.minimum(np.maximum(buckets, 0), BUCKET_COUNT - 1).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class AxisSketch:
    """One axis of a shard's population, as integers that add up over shards.

    Parameters
    ----------
    histogram
        Shape `(BUCKET_COUNT,)`, int64: rated customers by bucket.
    term_sums
        Shape `(n_terms,)`, int64: sum of each term over `term_count` re-scores, in `TERM_UNIT`.
    term_count
        Number of re-scores in `term_sums`.
    """

    histogram: NDArray[np.int64]
    term_sums: NDArray[np.int64]
    term_count: int

    @classmethod
    def empty(cls, term_count: int) -> AxisSketch:
        """Give the sketch of no customers."""
        return cls(np.zeros(BUCKET_COUNT, dtype=np.int64), np.zeros(term_count, dtype=np.int64), 0)

    def without_terms(self) -> AxisSketch:
        """Give the same histogram with term sums of nobody."""
        return AxisSketch(self.histogram, np.zeros_like(self.term_sums), 0)


@dataclass(frozen=True, slots=True, eq=False)
class PopulationSketch:
    """What a shard tells of its population.

    Parameters
    ----------
    scoring_version
        The scoring under which it was taken.
    axes
        In the policy's order.
    """

    scoring_version: int
    axes: tuple[AxisSketch, ...]


def merge_axis(sketches: Sequence[AxisSketch]) -> AxisSketch:
    """Add up the sketches of one axis over all shards; at least one."""
    return AxisSketch(
        histogram=np.sum([sketch.histogram for sketch in sketches], axis=0, dtype=np.int64),
        term_sums=np.sum([sketch.term_sums for sketch in sketches], axis=0, dtype=np.int64),
        term_count=sum(sketch.term_count for sketch in sketches),
    )


@compiled
def sum_terms(terms: NDArray[np.float64], is_counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Add score terms of shape `(n, n_terms)` up over the customers who are counted, in `TERM_UNIT`; `(n_terms,)`."""
    sums = np.zeros(terms.shape[1], np.int64)
    for row in range(len(terms)):
        if is_counted[row]:
            for place in range(terms.shape[1]):
                sums[place] += np.int64(np.rint(terms[row, place] / TERM_UNIT))
    return sums


@compiled
def move(histogram: NDArray[np.int64], old: NDArray[np.int32], new: NDArray[np.int32], axis: int) -> None:
    """Take customers out of their old bucket of an axis, if they have one (0 or more), and put them into the new one.

    Shape `(n, n_axes)` each.
    """
    for row in range(len(old)):
        before, after = old[row, axis], new[row, axis]
        if before != after:
            if before >= 0:
                histogram[before] -= 1
            histogram[after] += 1


def cut_at(histogram: NDArray[np.int64], quantiles: NDArray[np.float64], bucket_width: float) -> NDArray[np.float64]:
    """Give the lowest bucket edge with a share of at most 1 - q at or above it (S16).

    Parameters
    ----------
    histogram
        Shape `(BUCKET_COUNT,)`, with at least one customer.
    quantiles
        Shape `(m,)`, in [0, 1].
    bucket_width
        Width of a bucket in units of the score.

    Returns
    -------
    NDArray[np.float64]
        Shape `(m,)`: scores.
    """
    below = np.concatenate(([0], np.cumsum(histogram)))
    count = below[-1]
    # The tolerance lets 20 of 100 pass as the top 20 %, although 1 - 0.8 is a little less than 0.2 in binary.
    above_max = np.floor((1.0 - quantiles) * count + count * SHARE_TOLERANCE)
    edges = np.searchsorted(below, count - above_max, side="left")
    result: NDArray[np.float64] = edges * bucket_width
    return result


def draw_lines(
    axis: AxisPolicy, sketch: AxisSketch, bucket_width: float, rated_customers_min: int, means: NDArray[np.float64]
) -> AxisKnowledge | None:
    """Draw an axis's cut points and the edges of its hysteresis bands (S16, S17).

    Parameters
    ----------
    axis
        What the policy says.
    sketch
        The merged population.
    bucket_width
        Width of a bucket in units of the score.
    rated_customers_min
        With fewer rated customers there are no quantile cut points (S13).
    means
        Shape `(n_terms,)`: population means of the terms.

    Returns
    -------
    AxisKnowledge or None
        None while there are too few rated customers.
    """
    rated_count = int(sketch.histogram.sum())
    cuts = np.array(axis.cuts, dtype=np.float64)
    grid = np.empty(0, dtype=np.float64)
    if rated_count:
        grid = cut_at(sketch.histogram, np.linspace(0.0, 1.0, QUANTILE_STEPS + 1), bucket_width)
    if axis.cut_rule is CutRule.ABSOLUTE:
        return AxisKnowledge(cuts, cuts + axis.margin.rise, cuts - axis.margin.fall, means, grid, rated_count)
    if rated_count < max(1, rated_customers_min):
        return None
    sides = np.minimum(cuts, 1.0 - cuts)
    at_cut, promote, demote = (
        cut_at(sketch.histogram, quantiles, bucket_width)
        for quantiles in (cuts, cuts + axis.margin.rise * sides, cuts - axis.margin.fall * sides)
    )
    return AxisKnowledge(at_cut, promote, demote, means, grid, rated_count)
