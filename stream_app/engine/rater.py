"""Scoring and settling a block of customers, shared by events and ticks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.effects import Changes, ScoredBlock
from stream_app.domain.history import FeatureLayout
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.outlook import Customers
from stream_app.domain.policy import Policy
from stream_app.domain.population import AxisSketch, PopulationSketch, bucket_of
from stream_app.domain.rating import AxisRating, Moment, Standing, rated, settle_axis, states_of, tell_changes
from stream_app.domain.rows import RowBlock, row_dtype, take_rows
from stream_app.domain.scores import ScoreFactory, build_functions, weigh
from stream_app.domain.table import CustomerTable
from stream_app.domain.tiers import position
from stream_app.engine.census import Census, with_terms

CHUNK_ROWS = 8192
"""Rows that a sweep works on at a time: with 4,096 a quarter more time goes into calls of numpy, with 65,536 a third
more into memory beyond the caches (measured)."""


class Rater:
    """A shard's table and census, and how its customers are scored.

    Parameters
    ----------
    policy
        What people decide.
    scores
        Score functions that the policy's axes can name.
    rows_max
        Most customers of this shard.
    """

    def __init__(self, policy: Policy, scores: Mapping[str, ScoreFactory], rows_max: int) -> None:
        self.policy = policy
        self.functions = build_functions(policy, scores)
        self.layout = FeatureLayout.from_policy(policy)
        dtype = row_dtype(len(policy.axes), policy.horizon_periods)
        self.table = CustomerTable(dtype, policy.sweep_period_minutes, rows_max)
        term_counts = [len(function.terms) for function in self.functions.values()]
        self.census = Census(term_counts, max(len(axis.tiers) for axis in policy.axes))

    def is_rated(self, rows: RowBlock) -> NDArray[np.bool_]:
        """Tell who is rated (S13); shape `(n,)`."""
        return rated(rows, rates_everyone=self.policy.rates_everyone)

    def states(self, rows: RowBlock) -> NDArray[np.int8]:
        """Shape `(n, n_axes)`: held tiers, `UNRATED` or `PROSPECT`."""
        return states_of(rows["held"], self.is_rated(rows))

    def rate(
        self, after: RowBlock, block: RowBlock, moment: Moment, knowledge: Knowledge
    ) -> tuple[list[AxisRating], Changes, NDArray[np.int64]]:
        """Score all axes of the rows after each event and settle tiers in `block`, the rows after the last ones.

        Parameters
        ----------
        after
            Shape `(n,)`: rows after each of n events, those of one customer in order.
        block
            Shape `(u,)`: rows of the u customers after their last event; tiers, scores and buckets are changed.
        moment
            The n re-scores.
        knowledge
            The version in force.

        Returns
        -------
        tuple
            What changed on each axis, the changes to tell, and the place of each among the re-scores.
        """
        standing = Standing.of(block)
        buckets_before = standing.buckets.copy()
        axes = []
        # Nobody reads the scores of customers who are not rated.
        told = None if moment.is_rated.all() else np.flatnonzero(moment.is_rated)
        rows, as_of_ms = (after, moment.as_of_ms) if told is None else (take_rows(after, told), moment.as_of_ms[told])
        customers = Customers(rows, as_of_ms, knowledge.scoring, self.layout)
        for place, (axis, function) in enumerate(zip(self.policy.axes, self.functions.values(), strict=True)):
            scored = weigh(function.bases(customers), knowledge.scoring.weights[axis.name])
            if told is not None:
                scored = _spread(scored, told, len(after))
            rule = (knowledge.axes[axis.name], axis.confirmation_ms, function.bucket_width)
            axes.append(settle_axis(standing, place, scored, moment, rule))
        changes, places = Changes.none(len(axes)), np.empty(0, dtype=np.int64)
        if any(len(axis.changes.places) for axis in axes):
            changes, places = tell_changes(standing, axes, moment, self.table.ids_of, list(knowledge.axes.values()))
        self.census.move_buckets(buckets_before, standing.buckets)
        return axes, changes, places

    def full_sketch(self, scoring: Scoring, time_ms: int, stride: int) -> PopulationSketch:
        """Score customers as of a time without changing anything; see `Engine.full_sketch`."""
        sketches = [AxisSketch.empty(len(function.terms)) for function in self.functions.values()]
        for _, block in self.blocks(stride):
            rows = take_rows(block, np.flatnonzero(self.is_rated(block)))
            customers = Customers(rows, np.maximum(rows["clock_ms"], time_ms), scoring, self.layout)
            for place, (name, function) in enumerate(self.functions.items()):
                terms, scores = weigh(function.bases(customers), scoring.weights[name])
                np.add.at(sketches[place].histogram, bucket_of(scores, function.bucket_width), 1)
                sketches[place] = with_terms(sketches[place], terms, np.ones(len(terms), dtype=np.bool_))
        return PopulationSketch(scoring.version, tuple(sketches))

    def scored(self, time_ms: int, knowledge: Knowledge) -> Iterator[ScoredBlock]:
        """Score everybody as of a time without changing anything, block by block in the order of rows."""
        for row_numbers, block in self.blocks():
            is_rated = self.is_rated(block)
            as_of_ms = np.maximum(block["clock_ms"], time_ms)
            customers = Customers(block, as_of_ms, knowledge.scoring, self.layout)
            scores = np.full(block["score"].shape, np.nan)
            rank_tiers = np.full(scores.shape, -1, dtype=np.int8)
            for place, (name, function) in enumerate(self.functions.items()):
                weights = knowledge.scoring.weights[name]
                _, own = weigh(function.bases(customers), weights)
                scores[is_rated, place] = own[is_rated]
                lines = knowledge.axes[name]
                if lines is not None:
                    rank_tiers[is_rated, place] = position(lines.cut_points, own[is_rated])
            states = states_of(block["held"], is_rated)
            yield ScoredBlock(self.table.ids_of(row_numbers), block, scores, states, rank_tiers, customers.outlook)

    def blocks(self, stride: int = 1) -> Iterator[tuple[NDArray[np.int64], RowBlock]]:
        """Give numbers and copies of the rows that are not erased, or those of each so many turns, some at a time."""
        live = self.table.live_rows()
        if stride > 1:
            live = live[self.table.rows["turn"][live] % stride == 0]
        for start in range(0, len(live), CHUNK_ROWS):
            rows = live[start : start + CHUNK_ROWS]
            yield rows, self.table.gather(rows)


def _spread(
    scored: tuple[NDArray[np.float64], NDArray[np.float64]], index: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put terms and scores of some rows to their places among all, of which the others have 0."""
    terms, scores = np.zeros((count, scored[0].shape[1])), np.zeros(count)
    terms[index], scores[index] = scored
    return terms, scores
