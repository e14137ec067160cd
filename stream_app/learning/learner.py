"""The learner: the one place where knowledge of the whole population is renewed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.knowledge import AxisKnowledge, Knowledge, Scoring
from stream_app.domain.policy import CutRule, Policy
from stream_app.domain.population import TERM_UNIT, AxisSketch, PopulationSketch, draw_lines, merge_axis
from stream_app.domain.scores import SCORES, ScoreFactory, build_functions, first_scoring
from stream_app.domain.snapshots import Snapshots
from stream_app.learning.scoring_learner import ScoringLearner

MEAN_SAMPLE_MIN = 1000
"""Re-scores from which a population mean is taken without asking the shards to score everybody."""


class Learner:
    """Renews cut points from merged population sketches, and brings a new scoring into force with its own lines.

    Parameters
    ----------
    policy
        What people decide.
    scores
        Score functions that the policy's axes can name.
    knowledge
        Where to go on; None begins with the first version.
    """

    def __init__(
        self, policy: Policy, scores: Mapping[str, ScoreFactory] = SCORES, *, knowledge: Knowledge | None = None
    ) -> None:
        self.policy = policy
        self._functions = build_functions(policy, scores)
        self.knowledge = self._first() if knowledge is None else knowledge
        self.models = ScoringLearner(policy, self._functions)

    def _first(self) -> Knowledge:
        nobody = [AxisSketch.empty(len(function.terms)) for function in self._functions.values()]
        return Knowledge(
            version=1,
            policy_hash=self.policy.content_hash,
            time_reached_ms=-1,
            scoring=first_scoring(self.policy, self._functions),
            axes=self._draw(nobody, {axis.name: None for axis in self.policy.axes}),
        )

    def take_in(self, snapshots: Snapshots | None) -> None:
        """Take in the snapshots of a tick of one or all shards."""
        self.models.take_in(snapshots)

    def learn(self, time_ms: int) -> None:
        """Learn from the day's snapshots and outcomes, after the first tick of a UTC day and before `renew` (S5)."""
        self.models.learn(time_ms, self.knowledge.scoring)

    def due_scoring(self, time_ms: int) -> Scoring | None:
        """Give the next scoring when it is time for one: have every shard try it, then `switch`."""
        return self.models.due_scoring(time_ms, self.knowledge.scoring.version + 1)

    def wants_full_sketch(self, sketches: Sequence[PopulationSketch]) -> bool:
        """Tell whether the day's sweeps saw too few customers to take the population means from them.

        Parameters
        ----------
        sketches
            One of each shard (`Engine.sketch`).

        Returns
        -------
        bool
            True: pass `Engine.full_sketch` of each shard to `renew` as well.
        """
        for sketch in self._merge(sketches):
            rated_count = int(sketch.histogram.sum())
            if sketch.term_count < min(rated_count, MEAN_SAMPLE_MIN):
                return True
        return False

    def renew(
        self, time_ms: int, sketches: Sequence[PopulationSketch], full: Sequence[PopulationSketch] = ()
    ) -> Knowledge:
        """Draw new lines for the scoring in force.

        Parameters
        ----------
        time_ms
            The tick, in milliseconds since 1970-01-01 UTC.
        sketches
            One of each shard, in any order.
        full
            Likewise by `Engine.full_sketch`, when `wants_full_sketch`.

        Returns
        -------
        Knowledge
            The next version, which holds for all that follows.

        Raises
        ------
        ValueError
            When a sketch was taken under another scoring: a bug of the driver.
        """
        self._require(sketches, self.knowledge.scoring)
        merged = self._merge(sketches)
        if full:
            merged = [
                AxisSketch(own.histogram, whole.term_sums, whole.term_count)
                for own, whole in zip(merged, self._merge(full), strict=True)
            ]
        return self._publish(time_ms, self.knowledge.scoring, merged)

    def switch(self, time_ms: int, scoring: Scoring, dry_runs: Sequence[PopulationSketch]) -> Knowledge:
        """Bring a new scoring into force, together with the lines that belong to it.

        Old lines under a new scoring would send a storm of changes; the dry runs of all shards give the new lines.

        Parameters
        ----------
        time_ms
            The tick, in milliseconds since 1970-01-01 UTC.
        scoring
            The new scoring, of the next version.
        dry_runs
            `Engine.full_sketch(scoring, time_ms, dry_run_stride(sample_limit))` of every shard, with the limit of the
            knowledge in force.

        Returns
        -------
        Knowledge
            The next version; shards re-score everybody at the next tick.

        Raises
        ------
        ValueError
            When a dry run was made under another scoring, or the version is not the next one.
        """
        if scoring.version != self.knowledge.scoring.version + 1:
            message = f"scoring version {scoring.version} does not follow {self.knowledge.scoring.version}"
            raise ValueError(message)
        self._require(dry_runs, scoring)
        return self._publish(time_ms, scoring, self._merge(dry_runs))

    def _publish(self, time_ms: int, scoring: Scoring, merged: Sequence[AxisSketch]) -> Knowledge:
        self.knowledge = Knowledge(
            version=self.knowledge.version + 1,
            policy_hash=self.policy.content_hash,
            time_reached_ms=time_ms,
            scoring=scoring,
            axes=self._draw(merged, self.knowledge.axes),
            sample_limit=self.models.sample_limit,
            snapshot_count=self.models.snapshot_count,
            outcome_count=self.models.label_count,
        )
        return self.knowledge

    def _draw(
        self, merged: Sequence[AxisSketch], known: Mapping[str, AxisKnowledge | None]
    ) -> dict[str, AxisKnowledge | None]:
        lines: dict[str, AxisKnowledge | None] = {}
        for axis, sketch in zip(self.policy.axes, merged, strict=True):
            function = self._functions[axis.name]
            means = _means(sketch, known[axis.name])
            drawn = draw_lines(axis, sketch, function.bucket_width, self.policy.rated_customers_min, means)
            # Lines once drawn stay when customers are erased below the minimum.
            lines[axis.name] = drawn if drawn is not None or axis.cut_rule is CutRule.ABSOLUTE else known[axis.name]
        return lines

    @staticmethod
    def _merge(sketches: Sequence[PopulationSketch]) -> list[AxisSketch]:
        return [merge_axis(parts) for parts in zip(*(sketch.axes for sketch in sketches), strict=True)]

    @staticmethod
    def _require(sketches: Sequence[PopulationSketch], scoring: Scoring) -> None:
        for sketch in sketches:
            # A shard that has seen nothing yet has no scoring.
            if sketch.scoring_version not in (0, scoring.version):
                message = f"sketch of scoring {sketch.scoring_version}, expected {scoring.version}"
                raise ValueError(message)


def _means(sketch: AxisSketch, known: AxisKnowledge | None) -> NDArray[np.float64]:
    """Give the mean of each term; the known ones while there is nothing to take them from."""
    if sketch.term_count:
        return np.asarray(sketch.term_sums * (TERM_UNIT / sketch.term_count), dtype=np.float64)
    if known is not None:
        return known.term_means
    return np.zeros(len(sketch.term_sums))
