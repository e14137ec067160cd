"""What makes a new scoring: snapshots come in, their outcomes are joined to earlier ones, models learn once a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields, replace

import numpy as np
from numpy.typing import NDArray

from stream_app.domain.credibility import (
    AmountMoments,
    CustomerAmounts,
    SpendPopulation,
    amount_moments,
    estimate_spend_population,
)
from stream_app.domain.errors import IncompatibleStateError
from stream_app.domain.events import MS_PER_DAY, MS_PER_SECOND
from stream_app.domain.history import FeatureLayout, FloatArray, history_of
from stream_app.domain.knowledge import Scoring
from stream_app.domain.outlook import DAYS_PER_WEEK, Outlook
from stream_app.domain.policy import Policy
from stream_app.domain.population_model import PopulationModel
from stream_app.domain.reasons import Evidence
from stream_app.domain.rows import column
from stream_app.domain.scores import (
    ScoreFunction,
    growth_bases,
    growth_probability_of,
    value_of,
    value_parts,
    weights_for,
)
from stream_app.domain.snapshots import SAMPLE_ALL, Snapshots, join_snapshots
from stream_app.learning.blending import PastShareChoice
from stream_app.learning.outcome_models import LABELS_MIN, OutcomeModels, Outcomes
from stream_app.learning.pending import (
    SECONDS_PER_DAY,
    LearnerState,
    PendingSnapshots,
    SnapshotBlock,
    block_from,
)
from stream_app.learning.prequential import PrequentialEvaluation, ScoredOutcomes
from stream_app.learning.purchase_fit import PurchaseFit
from stream_app.learning.states import join_states, part_of

CYCLE_DAYS = 28
EXAMPLES_PER_CYCLE = 50_000
"""Budget of examples per 28 days."""
SCORING_GROWTH = 1.5
"""A new scoring is due when so many times the snapshots, or outcomes, of the last one have been seen."""
WEEKLY_SCORING_GROWTH = 1.2
"""And a week after the last one when so many times as many have: each re-scores everybody twice."""
HISTORY_PER_HORIZON = 3
"""A label horizon of h needs a history of 3 h: a third to look back, a third to learn from, a third to wait."""
STATE_VERSION = 5
_PREDICTIONS = 7
"""Columns that a pending snapshot has beside its history: those of `predict`, and both parts of the value score."""
_AMOUNTS = ("log_count", "log_sum", "log_square_sum")


class ScoringLearner:
    """Learns from snapshots of all shards; owned and changed by the learner alone.

    Parameters
    ----------
    policy
        What people decide.
    functions
        Axis name to its score function.
    """

    def __init__(self, policy: Policy, functions: Mapping[str, ScoreFunction]) -> None:
        self._functions = functions
        self._policy_hash = policy.state_hash
        self._layout = FeatureLayout.from_policy(policy)
        self._periods = policy.horizon_periods
        history = len(self._layout.history_names)
        self._column_count = history + 3 * self._periods + len(_AMOUNTS)
        self._taken_in: list[Snapshots] = []
        self._waiting: list[SnapshotBlock] = []
        self._pending = PendingSnapshots(history + _PREDICTIONS, CYCLE_DAYS * self._periods + 1)
        self._fit = PurchaseFit()
        self._models = OutcomeModels(self._layout)
        self._past_share = PastShareChoice()
        self.evaluation = PrequentialEvaluation()
        # Of the last 28 days, one after the other: day, buyers that a full sample would have had, amounts.
        self._days: list[tuple[int, float, AmountMoments]] = []
        self.sample_limit = SAMPLE_ALL
        self._first_ms: int | None = None
        self._snapshot_count = 0
        self.late_outcome_count = 0
        # Of the last switch: its time, snapshots and labels seen by then.
        self._switched = (-1, 0, 0)

    @property
    def label_count(self) -> int:
        """Outcomes learned from, each label horizon counted."""
        return self._models.label_count

    @property
    def snapshot_count(self) -> int:
        """Snapshots seen."""
        return self._snapshot_count

    def take_in(self, snapshots: Snapshots | None) -> None:
        """Take in the snapshots of a tick, of any shard, in any order within the day."""
        if snapshots is not None and len(snapshots):
            self._taken_in.append(snapshots)

    def forget(self, customer_id: bytes) -> None:
        """Drop all that is kept of a customer; what models have learned from it stays in their weights."""
        block = self._read_taken_in()
        self._waiting = [block.take(np.flatnonzero(block.customer_ids != customer_id))]
        self._pending.forget_customer(customer_id)

    def _read_taken_in(self) -> SnapshotBlock:
        """Give everything that waits; many ticks are read at once, since each call of numpy costs."""
        if self._taken_in:
            taken = join_snapshots(self._taken_in)
            assert taken is not None
            self._waiting.append(self._read(taken))
            self._taken_in = []
        self._waiting = [SnapshotBlock.concatenate([SnapshotBlock.none(self._column_count), *self._waiting])]
        return self._waiting[0]

    def _read(self, snapshots: Snapshots) -> SnapshotBlock:
        rows = snapshots.rows
        history = history_of(self._layout, rows, np.maximum(rows["clock_ms"], snapshots.times_ms))
        # The newest kept total is that of this very snapshot.
        kept = [
            column(rows, name, -1 - periods)
            for periods in range(1, self._periods + 1)
            for name in ("kept_s", "kept_gross_spend", "kept_baskets")
        ]
        amounts = [column(rows, name) for name in _AMOUNTS]
        times_s = snapshots.times_ms // MS_PER_SECOND
        return SnapshotBlock(snapshots.customer_ids, times_s, np.stack([*history, *kept, *amounts]))

    def learn(self, time_ms: int, scoring: Scoring) -> None:
        """Learn from all that came in since the last time, in the order of time and id bytes (S5).

        Parameters
        ----------
        time_ms
            The first tick of a UTC day, in milliseconds since 1970-01-01.
        scoring
            Under which the day's sweeps were made; what it predicts is kept until the outcome comes.
        """
        if self._first_ms is None:
            self._first_ms = time_ms
        block = self._read_taken_in()
        self._waiting = []
        block = block.take(np.lexsort((block.customer_ids, block.times_s)))
        history = np.ascontiguousarray(block.columns[: len(self._layout.history_names)])
        day = time_ms // MS_PER_DAY
        if len(block):
            repeats = np.maximum(history[1] - 1.0, 0.0)
            self._fit.remember(repeats, history[5] / DAYS_PER_WEEK, history[4] / DAYS_PER_WEEK)
            self._snapshot_count += len(block)
        self._count_day(day, block, history)
        self._fit.learn_day()
        self._learn_outcomes(time_ms, block, history)
        self._pending.forget(day)
        outlook = Outlook(self._layout, history, scoring)
        columns = np.concatenate([history, predict(outlook), np.stack(value_parts(outlook))])
        self._pending.add(SnapshotBlock(block.customer_ids, block.times_s, columns))

    def due_scoring(self, time_ms: int, version: int) -> Scoring | None:
        """Give a new scoring when it is time for one: half as many snapshots or outcomes again, or a fifth and a week.

        At the latest after 28 days, if there are snapshots at all.

        Parameters
        ----------
        time_ms
            Milliseconds since 1970-01-01 UTC.
        version
            Of the new scoring.
        """
        switched_ms, snapshots, labels = self._switched
        known = self.label_count if self.label_count >= LABELS_MIN else 0
        days = (time_ms - switched_ms) // MS_PER_DAY
        growth = WEEKLY_SCORING_GROWTH if days >= DAYS_PER_WEEK else SCORING_GROWTH
        has_more = self._snapshot_count >= growth * snapshots or known >= max(growth * labels, 1)
        if not self._snapshot_count or not (has_more or days >= CYCLE_DAYS):
            return None
        self._switched = (time_ms, self._snapshot_count, known)
        count = self._models.count()
        evidence = Evidence.SNAPSHOTS if count is None else Evidence.LABELS
        scoring = Scoring(
            version=version,
            weights={},
            population=self._population(),
            buy=self._models.buy(),
            growth=self._models.growth(),
            count=count,
            label_count=self.label_count,
            past_share=self._past_share.choose(),
        )
        weights = weights_for(self._functions, evidence, scoring.label_share, scoring.past_share)
        return replace(scoring, weights=weights)

    def state(self) -> LearnerState:
        """Give everything needed to go on as plain arrays."""
        waiting = self._read_taken_in()
        parts = {
            "fit": self._fit.state(),
            "models": self._models.state(),
            "blending": self._past_share.state(),
            "pending": self._pending.state(),
            "evaluation": self.evaluation.state(),
            "waiting": {"ids": waiting.customer_ids, "times_s": waiting.times_s, "columns": waiting.columns},
        }
        counters = [
            STATE_VERSION,
            -1 if self._first_ms is None else self._first_ms,
            self._snapshot_count,
            self.late_outcome_count,
            self.sample_limit,
            *self._switched,
        ]
        moments = [[str(value) for value in astuple(known)] for _, _, known in self._days]
        return join_states(parts) | {
            "policy": np.array([self._policy_hash], dtype=np.str_),
            "counters": np.array(counters, dtype=np.int64),
            "days": np.array([day for day, _, _ in self._days], dtype=np.int64),
            "buyers": np.array([buyers for _, buyers, _ in self._days], dtype=np.float64),
            # As text: the sums of a large shop do not fit in 64 bits.
            "moments": np.array(moments, dtype=np.str_).reshape(len(self._days), len(fields(AmountMoments))),
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Fill a new learner with a stored state; it goes on to the bit.

        Raises
        ------
        IncompatibleStateError
            If it is not a state of this version and policy.
        """
        try:
            counters = [int(value) for value in state["counters"]]
            self._require_own(counters[0], state)
            _, first_ms, self._snapshot_count, self.late_outcome_count, self.sample_limit = counters[:5]
            switched_ms, snapshots, labels = counters[5:]
            self._waiting = [block_from(part_of(state, "waiting"), self._column_count)]
            self._pending.restore(part_of(state, "pending"))
            moments = [AmountMoments(*(int(value) for value in row)) for row in state["moments"].tolist()]
            self._days = list(zip(state["days"].tolist(), state["buyers"].tolist(), moments, strict=True))
        except (KeyError, ValueError, IndexError, TypeError) as error:
            message = f"learner state is damaged ({error}): restore an older state or learn afresh"
            raise IncompatibleStateError(message, code="damaged_learner_state") from error
        self._first_ms = None if first_ms < 0 else first_ms
        self._switched = (switched_ms, snapshots, labels)
        self._fit = PurchaseFit.from_state(part_of(state, "fit"))
        self._models = OutcomeModels.from_state(part_of(state, "models"), self._layout)
        self._past_share = PastShareChoice.from_state(part_of(state, "blending"))
        self.evaluation = PrequentialEvaluation.from_state(part_of(state, "evaluation"))

    def _require_own(self, version: int, state: Mapping[str, NDArray[np.generic]]) -> None:
        if version != STATE_VERSION:
            message = f"learner state of version {version}: version {STATE_VERSION} is needed; learn afresh"
            raise IncompatibleStateError(message, code="incompatible_learner_state")
        policy_hash = str(state["policy"][0])
        if policy_hash != self._policy_hash:
            message = (
                f"learner state of a policy with state hash {policy_hash}, this one has {self._policy_hash} (axes, "
                "tiers, event rules, money, half-lives or horizon differ): go back to that policy or learn afresh"
            )
            raise IncompatibleStateError(message, code="other_policy_learner_state")

    def _population(self) -> PopulationModel:
        return PopulationModel(self._fit.parameters, self._spend())

    def _spend(self) -> SpendPopulation:
        return estimate_spend_population(sum((known for _, _, known in self._days), AmountMoments()))

    def _count_day(self, day: int, block: SnapshotBlock, history: FloatArray) -> None:
        """Keep the amounts of the last 28 days' snapshots, and hold the sample to the budget."""
        logs = block.columns[-len(_AMOUNTS) :]
        moments = amount_moments(CustomerAmounts(history[0], history[1], *logs))
        buyers = len(block) * (SAMPLE_ALL / self.sample_limit)
        self._days = [known for known in self._days if known[0] > day - CYCLE_DAYS] + [(day, buyers, moments)]
        expected = sum(known[1] for known in self._days) * CYCLE_DAYS / max(day - self._days[0][0] + 1, 1)
        if expected * self.sample_limit > EXAMPLES_PER_CYCLE * SAMPLE_ALL and len(self._days) > 1:
            self.sample_limit = max(int(EXAMPLES_PER_CYCLE / expected * SAMPLE_ALL), 1)

    def _label_periods(self, time_ms: int) -> int:
        """Give the label horizon in periods; 0 while history is too short for any."""
        assert self._first_ms is not None
        history_periods = (time_ms - self._first_ms) // (CYCLE_DAYS * MS_PER_DAY)
        return min(self._periods, int(history_periods) // HISTORY_PER_HORIZON)

    def _learn_outcomes(self, time_ms: int, block: SnapshotBlock, history: FloatArray) -> None:
        periods = self._label_periods(time_ms)
        population = self._population()
        for horizon in sorted({periods, self._periods} - {0}):
            found, spend, baskets = self._matured(block, history, horizon)
            if not len(found):
                continue
            known = np.ascontiguousarray(found.columns[: len(self._layout.history_names)])
            if horizon == self._periods:
                self._evaluate(time_ms, found, (spend, baskets, known))
            if horizon == periods:
                assert self._first_ms is not None
                past_ms = found.times_s * MS_PER_SECOND - horizon * CYCLE_DAYS * MS_PER_DAY
                outcomes = Outcomes(known, horizon, spend, baskets, past_ms >= self._first_ms)
                self._models.learn(outcomes, population)
                past, forecast = found.columns[-2:]
                self._past_share.learn_many(past, forecast, spend)

    def _matured(
        self, block: SnapshotBlock, history: FloatArray, periods: int
    ) -> tuple[SnapshotBlock, FloatArray, FloatArray]:
        """Join today's snapshots to those so many periods before; gives these, with spend and baskets since."""
        start = len(self._layout.history_names) + 3 * (periods - 1)
        kept_s, kept_gross, kept_baskets = block.columns[start : start + 3]
        off_s = np.abs(block.times_s - kept_s - periods * CYCLE_DAYS * SECONDS_PER_DAY)
        is_known, is_exact = kept_s > 0.0, off_s <= SECONDS_PER_DAY
        if periods == self._periods:
            self.late_outcome_count += int(np.count_nonzero(is_known & ~is_exact))
        asked = np.flatnonzero(is_known & is_exact)
        found, places = self._pending.find(block.customer_ids[asked], kept_s[asked].astype(np.int64))
        places = asked[places]
        spend = np.maximum(history[0][places] - kept_gross[places], 0.0)
        return found, spend, np.maximum(history[1][places] - kept_baskets[places], 0.0)

    def _evaluate(
        self, time_ms: int, found: SnapshotBlock, outcomes: tuple[FloatArray, FloatArray, FloatArray]
    ) -> None:
        """Score what was predicted at the snapshots, before anything is learned from the outcome."""
        spend, baskets, history = outcomes
        assert self._first_ms is not None
        value, buy, growth, purchases, expected_spend, _, _ = found.columns[-_PREDICTIONS:]
        previous = history[self._layout.places[f"spend_window_{self._periods}"]]
        past_ms = found.times_s * MS_PER_SECOND - self._periods * CYCLE_DAYS * MS_PER_DAY
        scored = ScoredOutcomes(
            value_score=value,
            buy_probability=buy,
            growth_probability=growth,
            expected_purchases=purchases,
            expected_spend=expected_spend,
            spend=spend,
            baskets=baskets,
            previous_spend=previous,
            has_full_past=(past_ms >= self._first_ms).astype(np.float64),
        )
        self.evaluation.add(scored, time_ms / MS_PER_DAY)


def predict(outlook: Outlook) -> FloatArray:
    """Give value score, P(buy), P(growth), expected purchases and expected spend, shape `(5, n)`."""
    growth = growth_probability_of(_added(growth_bases(outlook)))
    parts = [value_of(outlook), outlook.buy_probability, growth, outlook.expected_purchases, outlook.expected_spend]
    return np.stack(parts)


def _added(parts: Sequence[FloatArray]) -> FloatArray:
    total = np.zeros(len(parts[0]))
    for part in parts:
        total = total + part
    return total
