"""What a backtest predicted of its sample every four weeks, kept until the log has told what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_app.backtest.evaluation.sample import CustomerSample
from stream_app.backtest.judging.figures import Prediction
from stream_app.backtest.judging.tiers import NO_TIER
from stream_app.domain.effects import Effects
from stream_app.domain.events import MS_PER_DAY, EventBatch
from stream_app.domain.history import FeatureLayout
from stream_app.domain.knowledge import Knowledge, Scoring
from stream_app.domain.outlook import Customers
from stream_app.domain.policy import Policy
from stream_app.domain.rows import RowBlock
from stream_app.learning.scoring_learner import predict

CUTOFFS_MAX: Final = 13
"""A year of four weeks; of a longer log every second is kept, then every fourth, and so on."""
PERIOD_DAYS: Final = 28
_CHUNK_ROWS: Final = 4096
VALUE: Final = "value"


@dataclass(frozen=True, slots=True, eq=False)
class CutoffPrediction:
    """What was predicted of the sampled buyers at one cutoff.

    Parameters
    ----------
    cutoff_ms
        T: 00:00 UTC.
    names
        Shape `(n,)`: the customers as the sample names them, rising.
    columns
        Shape `(5, n)`: as `scoring_learner.predict` gives them.
    held_tiers
        Shape `(n,)`: place of the tier held on the value axis, or `NO_TIER`.
    """

    cutoff_ms: int
    names: NDArray[np.int64]
    columns: NDArray[np.float64]
    held_tiers: NDArray[np.int64]

    def take(self, which: NDArray[np.generic]) -> CutoffPrediction:
        """Take some customers, by a mask or in the order of an index."""
        return CutoffPrediction(self.cutoff_ms, self.names[which], self.columns[:, which], self.held_tiers[which])

    def prediction(self) -> Prediction:
        """Give it as the predictions of a method."""
        value, buy, growth, purchases, spend = self.columns
        return Prediction(value, buy, growth, expected_spend=spend, expected_purchases=purchases, buy_probability=buy)


class CutoffPredictions:
    """Watches a replay and predicts what the sampled customers will do, every four weeks from the first event on.

    Parameters
    ----------
    sample
        Told of events before this observer.
    policy
        Of the run.
    from_ms
        Cutoffs before it are left out; None: none is.
    """

    def __init__(self, sample: CustomerSample, policy: Policy, from_ms: int | None) -> None:
        self._sample = sample
        self._layout = FeatureLayout.from_policy(policy)
        self._place = policy.axis_names.index(VALUE) if VALUE in policy.axis_names else None
        self._from_ms = from_ms
        self._first_day: int | None = None
        self._period_days = PERIOD_DAYS
        self._kept: list[CutoffPrediction] = []

    @property
    def kept(self) -> tuple[CutoffPrediction, ...]:
        """Oldest first."""
        return tuple(self._kept)

    def on_batch(self, events: EventBatch, effects: Effects, knowledge: Knowledge) -> None:
        """Note the first day."""
        del effects, knowledge
        if self._first_day is None:
            self._first_day = int(events.times_ms.min()) // MS_PER_DAY

    def on_tick(self, time_ms: int, effects: Effects, knowledge: Knowledge) -> None:
        """Predict nothing: a cutoff is the first tick of a day, after knowledge was renewed."""

    def on_day(self, time_ms: int, knowledge: Knowledge) -> None:
        """Predict when a cutoff has come."""
        day, rest = divmod(time_ms, MS_PER_DAY)
        if self._first_day is None or rest or day <= self._first_day or (day - self._first_day) % self._period_days:
            return
        if self._from_ms is not None and time_ms < self._from_ms:
            return
        self._kept.append(self._predicted(time_ms, knowledge.scoring))
        if len(self._kept) > CUTOFFS_MAX:
            self._period_days *= 2
            self._kept = [
                kept for kept in self._kept if (kept.cutoff_ms // MS_PER_DAY - self._first_day) % self._period_days == 0
            ]

    def _predicted(self, time_ms: int, scoring: Scoring) -> CutoffPrediction:
        names = self._sample.buyers()
        places, blocks = self._sample.rows_of(names)
        columns = np.empty((5, len(names)))
        held = np.full(len(names), NO_TIER, dtype=np.int64)
        at = 0
        for block in blocks:
            for start in range(0, len(block), _CHUNK_ROWS):
                rows = block[start : start + _CHUNK_ROWS]
                own = places[at : at + len(rows)]
                columns[:, own] = self._predict(rows, time_ms, scoring)
                if self._place is not None:
                    held[own] = rows["held"][:, self._place]
                at += len(rows)
        return CutoffPrediction(time_ms, names, columns, held)

    def _predict(self, rows: RowBlock, time_ms: int, scoring: Scoring) -> NDArray[np.float64]:
        as_of_ms = np.maximum(rows["clock_ms"], time_ms)
        return predict(Customers(rows, as_of_ms, scoring, self._layout).outlook)
