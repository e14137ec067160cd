"""The census of a shard: who stands where, kept up to date with every change, in integers that add up over shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Changes
from stream_app.domain.events import MS_PER_DAY
from stream_app.domain.population import AxisSketch, PopulationSketch, move, sum_terms
from stream_app.domain.rating import AxisRating
from stream_app.domain.rows import NOT_HELD, PROSPECT, UNRATED, RowBlock

_STATE_OFFSET = -PROSPECT
"""Column of the populations in which tier 0 is counted; prospects and unrated come before."""


class Census:
    """Histograms of scores, sums of score terms, and customers by held tier; only its engine changes it.

    Parameters
    ----------
    term_counts
        Terms of each axis's score.
    tiers_max
        Most tiers of an axis.
    """

    def __init__(self, term_counts: Sequence[int], tiers_max: int) -> None:
        self.sums_day = 0
        self._sketches = [AxisSketch.empty(count) for count in term_counts]
        self._populations = np.zeros((len(term_counts), tiers_max + _STATE_OFFSET), dtype=np.int64)

    def populations(self) -> NDArray[np.int64]:
        """Shape `(n_axes, n_tiers_max + 2)`: prospects, unrated, then customers by held tier, 0-padded."""
        return self._populations.copy()

    def sketch(self, scoring_version: int) -> PopulationSketch:
        """Tell the population under the scoring of its rows."""
        axes = [AxisSketch(s.histogram.copy(), s.term_sums.copy(), s.term_count) for s in self._sketches]
        return PopulationSketch(scoring_version, tuple(axes))

    def term_totals(self) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """Give term sums and term counts of each axis."""
        sums = tuple(tuple(sketch.term_sums.tolist()) for sketch in self._sketches)
        return sums, tuple(sketch.term_count for sketch in self._sketches)

    def enter(self, rows: RowBlock, states: NDArray[np.int8], sign: int = 1) -> None:
        """Count stored customers in or, with sign -1, out: tiers and buckets.

        Parameters
        ----------
        rows
            Shape `(n,)`.
        states
            Shape `(n, n_axes)`: their tiers, `UNRATED` or `PROSPECT`.
        sign
            1 or -1.
        """
        self.count(states, sign)
        for place, sketch in enumerate(self._sketches):
            buckets = rows["bucket"][:, place]
            np.add.at(sketch.histogram, buckets[buckets != NOT_HELD], sign)

    def count(self, states: NDArray[np.int8], sign: int) -> None:
        """Count customers in or, with sign -1, out of their tiers; shape `(n, n_axes)`."""
        for axis in range(states.shape[1]):
            counts = np.bincount(states[:, axis] + _STATE_OFFSET, minlength=self._populations.shape[1])
            self._populations[axis] += sign * counts

    def move_told(self, changes: Changes) -> None:
        """Move customers between tiers by their changes alone: in a sweep, nothing else moves them."""
        left = np.maximum(changes.from_tiers, UNRATED) + _STATE_OFFSET
        np.subtract.at(self._populations, (changes.axes, left), 1)
        np.add.at(self._populations, (changes.axes, changes.to_tiers + _STATE_OFFSET), 1)

    def move_buckets(self, before: NDArray[np.int32], after: NDArray[np.int32]) -> None:
        """Move customers between buckets; shape `(n, n_axes)` each."""
        for place, sketch in enumerate(self._sketches):
            move(sketch.histogram, before, after, place)

    def add_terms(self, axes: Sequence[AxisRating], is_rated: NDArray[np.bool_]) -> None:
        """Add the re-scores of a sweep to the term sums."""
        for place, axis in enumerate(axes):
            self._sketches[place] = with_terms(self._sketches[place], axis.terms, is_rated)

    def restart_sums(self, last_tick_ms: int, *, is_switch: bool) -> None:
        """Begin the term sums anew after the first tick of a day, whose sweep was the last that renewal saw."""
        day = last_tick_ms // MS_PER_DAY
        if day > self.sums_day or is_switch:
            self.sums_day = day
            self._sketches = [sketch.without_terms() for sketch in self._sketches]

    def restore_sums(self, sums_day: int, sketch: PopulationSketch) -> None:
        """Take over the term sums of a stored engine."""
        self.sums_day = sums_day
        self._sketches = [
            AxisSketch(own.histogram, s.term_sums.copy(), s.term_count)
            for own, s in zip(self._sketches, sketch.axes, strict=True)
        ]


def with_terms(sketch: AxisSketch, terms: NDArray[np.float64], is_counted: NDArray[np.bool_]) -> AxisSketch:
    """Add some re-scores to the term sums, as integers, so that neither order nor number of shards matters."""
    sums = sketch.term_sums + sum_terms(terms, is_counted)
    return AxisSketch(sketch.histogram, sums, sketch.term_count + int(np.count_nonzero(is_counted)))
